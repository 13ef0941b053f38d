"""A bundle that changed since its import is found out; a removed one is gone."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ni_core.bundles import ModelCache, load_bundle, read_manifest, write_tiny_bundle
from ni_core.bundles.bundle import EMBEDDED
from ni_core.bundles.importer import Progress, Sources, import_bundle
from ni_core.bundles.model_directory import broken_bundles, remove_bundle
from ni_core.bundles.verification import check_bundle, check_files, contact_sheet
from ni_core.errors import BrokenBundleError, InvalidInputError, UnknownModelError
from ni_core.generators import StyleGAN2
from ni_core.generators.protocol import Noise


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    source = write_tiny_bundle(tmp_path / "sources", "source")
    return import_bundle("cats", Sources(source), directory=tmp_path / "models").folder


def test_an_untouched_bundle_is_what_it_was(imported: Path) -> None:
    assert check_files(read_manifest(imported)) == 2
    figures = check_bundle(load_bundle(imported)).figures
    assert figures == read_manifest(imported).source["check"]


def test_one_changed_byte_is_named_with_both_digests(imported: Path) -> None:
    file = imported / "trunk.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    recorded = read_manifest(imported).source["sha256"]["trunk.safetensors"]
    with pytest.raises(BrokenBundleError, match=rf"trunk\.safetensors .* was {recorded}"):
        check_files(read_manifest(imported))


def test_the_embedded_bundle_passes_the_check_without_a_warning() -> None:
    manifest = read_manifest(EMBEDDED / "portraits")
    assert check_files(manifest) == len(manifest.files)
    assert check_bundle(load_bundle("portraits")).warnings == ()


class Restless(StyleGAN2):
    """A generator that draws new noise for every picture, whatever it is asked for."""

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        return super().synthesize(w_plus, "random")


def test_a_generator_that_draws_random_numbers_is_refused(imported: Path) -> None:
    bundle = load_bundle(imported)
    bundle.generator.__class__ = Restless
    with pytest.raises(BrokenBundleError, match=r"differ by 0\.\d+ for one and the same latent"):
        check_bundle(bundle)


def test_the_contact_sheet_shows_samples_side_by_side(imported: Path) -> None:
    sheet = contact_sheet(load_bundle(imported))
    assert tuple(sheet.shape) == (3, 2 * 18 + 2, 4 * 18 + 2)
    assert float(sheet.abs().max()) <= 1
    first, second = sheet[:, 2:18, 2:18], sheet[:, 2:18, 20:36]
    assert not torch.equal(first, second)


def test_a_removed_bundle_is_gone_for_those_who_had_it(imported: Path) -> None:
    cache = ModelCache([imported.parent])
    cache.get("cats")
    remove_bundle("cats", imported.parent)
    assert cache.names() == ["portraits"]
    with pytest.raises(UnknownModelError, match="cats"):
        cache.get("cats")
    assert [path.name for path in imported.parent.iterdir()] == [".lock"]


def test_a_bundle_whose_manifest_is_broken_can_be_removed(imported: Path) -> None:
    (imported / "manifest.json").write_text("{")
    assert list(broken_bundles(imported.parent)) == [imported]
    remove_bundle("cats", imported.parent)
    assert broken_bundles(imported.parent) == {}


def test_a_link_is_removed_and_what_it_leads_to_stays(imported: Path) -> None:
    link = imported.parent / "dogs"
    link.symlink_to(imported)
    remove_bundle("dogs", imported.parent)
    assert not link.is_symlink() and (imported / "manifest.json").is_file()


@pytest.mark.parametrize("name", ["dogs", "..", "", "cats/../cats"])
def test_what_is_not_there_cannot_be_removed(imported: Path, name: str) -> None:
    with pytest.raises(UnknownModelError):
        remove_bundle(name, imported.parent)
    assert imported.is_dir()


def test_an_embedded_bundle_stays(imported: Path) -> None:
    with pytest.raises(InvalidInputError, match="portraits comes with the package"):
        remove_bundle("portraits", imported.parent)


def test_an_import_does_not_clean_up_after_one_that_still_runs(
    imported: Path, tmp_path: Path
) -> None:
    reached, finish = threading.Event(), threading.Event()

    def pause(progress: Progress) -> None:
        if progress.step == "checking":
            reached.set()
            finish.wait(60)

    def slow() -> None:
        sources = Sources(tmp_path / "sources" / "source")
        import_bundle("slow", sources, directory=imported.parent, on_progress=pause)

    thread = threading.Thread(target=slow)
    thread.start()
    reached.wait(60)
    import_bundle("quick", Sources(imported), directory=imported.parent)
    finish.set()
    thread.join()
    assert ModelCache([imported.parent]).names() == ["cats", "portraits", "quick", "slow"]
