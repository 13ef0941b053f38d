"""Imports: a checked, complete bundle in the end, or nothing and a reason."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ni_core.bundles import ModelCache, load_bundle, read_manifest, write_tiny_bundle
from ni_core.bundles.importer import Imported, Progress, Sources, import_bundle
from ni_core.errors import (
    BrokenBundleError,
    CheckpointError,
    GeneratorMismatchError,
    InvalidInputError,
)
from tests.ni_core.trunks import random_trunk


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bundle to take parts from."""
    return write_tiny_bundle(tmp_path / "sources", "source")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model directory that is not there yet."""
    return tmp_path / "data" / "models"


def import_source(source: Path, directory: Path, **options: object) -> Imported:
    return import_bundle("cats", Sources(generator=source), directory=directory, **options)  # type: ignore[arg-type]


def rewrite(source: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    file = source / "generator.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


def left_over(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def test_an_imported_generator_gives_the_same_pictures(source: Path, directory: Path) -> None:
    imported = import_source(source, directory, domain={"subject": "noise"})
    assert imported.folder == directory / "cats"
    ours, theirs = load_bundle(imported.folder), load_bundle(source)
    z = torch.randn(2, ours.generator.z_dim, generator=torch.Generator().manual_seed(0))
    pictures = [
        b.generator.synthesize(b.generator.broadcast(b.generator.map(z))) for b in (ours, theirs)
    ]
    assert torch.equal(*pictures)
    summary = ModelCache([directory]).summary("cats")
    assert summary["domain"] == {"subject": "noise"} and summary["licence"] == "Apache-2.0"
    assert left_over(directory) == ["cats"]


def test_the_manifest_says_where_the_parts_came_from_and_what_the_check_found(
    source: Path, directory: Path, tmp_path: Path
) -> None:
    trunk = tmp_path / "trunk.pth"
    torch.save(random_trunk("alex"), trunk)
    imported = import_bundle("cats", Sources(source, trunk=trunk), directory=directory)
    manifest = read_manifest(imported.folder)
    assert manifest.source["parts"]["generator"] == {"format": "bundle", "file": "source"}
    assert manifest.source["parts"]["trunk"]["bytes"] == trunk.stat().st_size
    assert manifest.source["check"]["pictures"] == 4
    assert manifest.source["sha256"].keys() == {"generator.safetensors", "trunk.safetensors"}
    assert manifest.trunk.architecture == "alexnet" and not manifest.trunk.calibrated
    assert str(tmp_path) not in json.dumps(dict(manifest.source)), "folders are nobody's business"


def test_without_a_trunk_the_embedded_one_is_copied_and_named(
    source: Path, directory: Path
) -> None:
    imported = import_source(source, directory)
    assert read_manifest(imported.folder).trunk.name == "portraits-squeeze"
    assert any("portraits-squeeze" in note and "vgg16" in note for note in imported.notes)


def test_the_trunk_of_another_bundle_can_be_taken(source: Path, directory: Path) -> None:
    imported = import_bundle("cats", Sources(source, trunk=source), directory=directory)
    assert read_manifest(imported.folder).trunk.name == "random-squeeze"


def test_directions_come_along(source: Path, directory: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "smile.npy", np.eye(1, 32))
    imported = import_bundle(
        "cats", Sources(source, directions=(tmp_path / "smile.npy",)), directory=directory
    )
    part = read_manifest(imported.folder).directions
    assert part is not None and [entry.name for entry in part.entries] == ["smile"]


def test_directions_of_another_generator_are_refused(
    source: Path, directory: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "smile.npy", np.eye(1, 512))
    sources = Sources(source, directions=(tmp_path / "smile.npy",))
    with pytest.raises(GeneratorMismatchError, match=r"512.*32"):
        import_bundle("cats", sources, directory=directory)
    assert left_over(directory) == []


def test_progress_tells_every_step_with_sizes_and_seconds(source: Path, directory: Path) -> None:
    seen: list[Progress] = []
    import_source(source, directory, on_progress=seen.append)
    assert [progress.step for progress in seen] == [
        "reading", "converted", "writing", "writing", "checking", "done"
    ]  # fmt: skip
    assert all(progress.nbytes > 0 for progress in seen[1:])
    assert [progress.seconds for progress in seen] == sorted(progress.seconds for progress in seen)


@pytest.mark.parametrize("name", ["", "Cats", "../cats", ".cats", "c" * 65, "a b"])
def test_a_name_that_no_bundle_may_have_is_refused(
    source: Path, directory: Path, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        import_bundle(name, Sources(source), directory=directory)
    assert not directory.exists()


@pytest.mark.parametrize("name", ["cats", "portraits"])
def test_a_name_that_is_taken_is_refused_unless_it_may_be_replaced(
    source: Path, directory: Path, name: str
) -> None:
    if name != "portraits":
        import_bundle(name, Sources(source), directory=directory)
    with pytest.raises(InvalidInputError, match=f"{name}.* already"):
        import_bundle(name, Sources(source), directory=directory)
    import_bundle(name, Sources(source), directory=directory, replace=True)
    assert left_over(directory) == [name]


def test_a_replaced_bundle_counts_up_and_is_loaded_anew(source: Path, directory: Path) -> None:
    import_source(source, directory)
    cache = ModelCache([directory])
    first = cache.get("cats")
    rewrite(source, lambda tensors: tensors["constant"].mul_(2))
    import_source(source, directory, replace=True)
    second = cache.get("cats")
    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert first.generator.fingerprint != second.generator.fingerprint


def poison(tensors: dict[str, Tensor]) -> None:
    tensors["constant"][0, 0, 0, 0] = torch.nan


def silence(tensors: dict[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if key.startswith(("to_rgbs", "layers")):
            tensor.zero_()


def ignore_z(tensors: dict[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if "affine.weight" in key:
            tensor.zero_()


@pytest.mark.parametrize(
    ("change", "reason"),
    [(poison, "not finite"), (silence, "one colour"), (ignore_z, "4 equal pictures")],
)
def test_a_generator_whose_pictures_cannot_be_used_is_refused(
    source: Path, directory: Path, change: Callable[[dict[str, Tensor]], None], reason: str
) -> None:
    rewrite(source, change)
    with pytest.raises(BrokenBundleError, match=reason):
        import_source(source, directory)
    assert left_over(directory) == []


def test_odd_colours_and_an_odd_mean_are_warnings(source: Path, directory: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors["to_rgbs.2.bias"].add_(10)
        tensors["w_avg"].add_(5)

    rewrite(source, change)
    check = import_source(source, directory).check
    assert check.figures["share_outside_range"] == 1.0
    colours, mean = check.warnings
    assert "[-1, 1]" in colours and "w_avg" in mean


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (Sources(), "neither"),
        (Sources(Path(__file__)), Path(__file__).name),
        (Sources(Path("nowhere.pt")), "nowhere.pt"),
    ],
)
def test_files_that_cannot_be_read_leave_nothing(
    directory: Path, sources: Sources, reason: str
) -> None:
    with pytest.raises((InvalidInputError, CheckpointError, OSError), match=reason):
        import_bundle("cats", sources, directory=directory)
    assert not directory.exists() or left_over(directory) == []


def test_an_encoder_is_not_made_up(source: Path, directory: Path) -> None:
    with pytest.raises(InvalidInputError, match="source has 0 encoders, but must have 1"):
        import_bundle("cats", Sources(encoder=source), directory=directory)


def run_import(source: Path, directory: Path, setup: str) -> subprocess.CompletedProcess[str]:
    """Import in a process of its own, after some code that is there as `progress` is called."""
    code = (
        "import os, resource, signal, sys\nfrom pathlib import Path\n"
        "from ni_core.bundles.importer import Sources, import_bundle\n"
        f"progress = None\n{setup}\n"
        "import_bundle('cats', Sources(Path(sys.argv[1])), directory=Path(sys.argv[2]),"
        " on_progress=progress)\n"
    )
    line = [sys.executable, "-c", code, str(source), str(directory)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("step", ["writing", "checking"])
def test_a_killed_import_is_never_listed_and_the_next_one_cleans_up(
    source: Path, directory: Path, step: str
) -> None:
    killed = run_import(
        source,
        directory,
        "def progress(p):\n"
        f"    if p.step == {step!r}:\n        os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(left_over(directory)) == 1, "what it had made is still there"
    assert ModelCache([directory]).names() == ["portraits"]
    import_source(source, directory)
    assert left_over(directory) == ["cats"]


def test_a_disk_that_takes_no_more_bytes_is_a_reason_and_leaves_nothing(
    source: Path, directory: Path
) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    done = run_import(source, directory, limit)
    assert done.returncode == 1 and "OSError: [Errno 27] File too large" in done.stderr
    assert left_over(directory) == []


def test_of_two_imports_of_one_name_one_wins_and_both_leave_nothing_else(
    source: Path, directory: Path
) -> None:
    both_read = threading.Barrier(2)

    def meet(progress: Progress) -> None:
        if progress.step == "checking":
            both_read.wait(60)

    def attempt(_: int) -> str:
        try:
            return str(import_source(source, directory, on_progress=meet).folder)
        except InvalidInputError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(attempt, range(2)))
    assert results[0] == str(directory / "cats")
    assert "already" in results[1]
    assert left_over(directory) == ["cats"]


def test_where_folders_cannot_be_exchanged_a_replacement_that_is_killed_is_taken_back(
    source: Path, directory: Path
) -> None:
    import_source(source, directory)
    os.rename(directory / "cats", directory / ".replaced-cats-01234567")
    import_bundle("dogs", Sources(source), directory=directory)
    assert left_over(directory) == ["cats", "dogs"]
