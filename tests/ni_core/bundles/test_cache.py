"""ModelCache: found by name, loaded once, bounded in bytes."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle, ModelCache, load_bundle, read_manifest, write_tiny_bundle
from ni_core.errors import BrokenBundleError, UnknownModelError
from ni_core.generators import tiny_generator


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(["tiny", "other", "third"]):
        write_tiny_bundle(directory, name, seed)
    return directory


def test_a_bundle_gives_its_generator_back(directory: Path) -> None:
    loaded = load_bundle("tiny", model_directory=directory).generator
    w = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    expected = tiny_generator(0)
    assert torch.equal(
        loaded.synthesize(loaded.broadcast(w)), expected.synthesize(expected.broadcast(w))
    )


def test_fingerprints_tell_weights_apart(directory: Path) -> None:
    prints = {read_manifest(directory / name).fingerprint() for name in ("tiny", "other")}
    assert len(prints) == 2


def test_concurrent_requests_load_a_bundle_once(directory: Path) -> None:
    cache = ModelCache([directory])
    barrier = threading.Barrier(8)

    def get() -> Bundle:
        barrier.wait()
        return cache.get("tiny")

    with ThreadPoolExecutor(8) as pool:
        bundles = [future.result() for future in [pool.submit(get) for _ in range(8)]]
    assert all(bundle is bundles[0] for bundle in bundles)
    assert cache.loads == 1


def test_the_least_recently_used_bundle_is_dropped(directory: Path) -> None:
    size = load_bundle("tiny", model_directory=directory).nbytes
    cache = ModelCache([directory], capacity_bytes=int(2.5 * size))
    first = cache.get("tiny")
    cache.get("other")
    assert cache.get("tiny") is first
    cache.get("third")
    assert cache.loaded() == ["tiny", "third"]
    assert cache.nbytes == 2 * size


def test_a_bundle_beyond_the_capacity_is_kept_while_it_is_the_newest(directory: Path) -> None:
    cache = ModelCache([directory], capacity_bytes=1)
    assert cache.get("tiny") is cache.get("tiny")
    cache.get("other")
    assert cache.loaded() == ["other"]


@pytest.mark.parametrize("name", ["missing", "../tiny", "", "TINY", "/etc/passwd", "a" * 100])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(
    directory: Path, name: str
) -> None:
    with pytest.raises(UnknownModelError, match=r"is not one of .*other.*tiny"):
        ModelCache([directory]).get(name)


def test_a_bundle_that_is_added_or_replaced_is_found_without_a_restart(tmp_path: Path) -> None:
    cache = ModelCache([tmp_path])
    assert "new" not in cache.names()
    folder = write_tiny_bundle(tmp_path, "new", seed=1)
    assert "new" in cache.names()
    before = cache.get("new")
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**document, "version": 22}))
    assert cache.get("new") is not before
    assert cache.summary("new")["version"] == 22


@pytest.mark.parametrize("ask", [lambda cache: cache.names(), lambda cache: cache.get("kept")])
def test_a_bundle_that_is_removed_is_dropped_from_memory(
    tmp_path: Path, ask: Callable[[ModelCache], object]
) -> None:
    for seed, name in enumerate(["kept", "gone"]):
        write_tiny_bundle(tmp_path, name, seed)
    cache = ModelCache([tmp_path])
    kept = cache.get("kept")
    cache.get("gone")
    shutil.rmtree(tmp_path / "gone")
    ask(cache)
    assert cache.loaded() == ["kept"] and cache.get("kept") is kept
    with pytest.raises(UnknownModelError, match="'gone' is not one of kept, portraits"):
        cache.get("gone")


def test_a_bundle_in_an_earlier_folder_hides_one_in_a_later(tmp_path: Path) -> None:
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    write_tiny_bundle(later, "tiny")
    cache = ModelCache([earlier, later])
    hidden = cache.get("tiny")
    folder = write_tiny_bundle(earlier, "tiny", seed=1)
    hiding = cache.get("tiny")
    assert hiding.generator.fingerprint != hidden.generator.fingerprint
    shutil.rmtree(folder)
    assert cache.get("tiny").generator.fingerprint == hidden.generator.fingerprint
    assert cache.loads == 3


def test_a_summary_loads_no_weights(directory: Path) -> None:
    cache = ModelCache([directory])
    summary = cache.summary("tiny")
    assert cache.loads == 0
    generator = cache.get("tiny").generator
    for fact in ("fingerprint", "resolution", "z_dim", "w_dim", "num_layers", "family"):
        assert summary[fact] == getattr(generator, fact), fact
    assert set(summary["spaces"]) == generator.spaces
    assert "optimize" in summary["methods"]
    assert "sefa" in summary["direction_methods"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": None}, "cannot be read"),
        ({"name": "No Good"}, "not of the form"),
        ({"trunk": {"file": "../trunk", "architecture": "vgg16", "name": "x"}}, "plain file name"),
        ({"trunk": {"file": "none", "architecture": "vgg16", "name": "x"}}, "lacks the file none"),
        ({"trunk": {"file": "trunk.safetensors", "architecture": "vgg16", "name": "x"}}, "vgg"),
        ({"trunk": {"file": "trunk.safetensors", "architecture": "v", "name": "x"}}, "not one of"),
    ],
)
def test_a_broken_manifest_is_refused_and_left_out_of_the_names(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = write_tiny_bundle(tmp_path)
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**document, **change}))
    cache = ModelCache([tmp_path])
    with pytest.raises(BrokenBundleError, match=message):
        cache.get("tiny")
    assert cache.loads == 0
    assert cache.loaded() == []


@pytest.mark.parametrize("file", ["generator.safetensors", "trunk.safetensors"])
def test_damaged_weights_are_a_broken_bundle(tmp_path: Path, file: str) -> None:
    path = write_tiny_bundle(tmp_path) / file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenBundleError, match=file):
        load_bundle(path.parent)


def test_weights_of_another_architecture_are_a_broken_bundle(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    document = json.loads((folder / "manifest.json").read_text())
    document["generator"]["config"]["w_dim"] = 64
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BrokenBundleError, match="do not fit"):
        load_bundle(folder)
