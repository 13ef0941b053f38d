"""Directions of a generator that has only z."""

from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle, load_bundle
from ni_core.directions import find_directions, resolve_direction
from ni_core.directions.sefa import factorize
from ni_core.editing import edit
from ni_core.errors import InvalidLayersError, InvalidOptionError, UnknownDirectionError
from ni_core.generators import sample_z
from ni_core.generators.sequential import SequentialConfig
from ni_core.latents import Latent
from tests.bundles import Z_ONLY, add_directions, imported, unit, write_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bundle(tmp_path_factory.mktemp("models"), "plain", "pggan", Z_ONLY)
    add_directions(folder, [imported("smile", unit(24, 3), space="z")])
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_sefa_factorises_the_first_layer_in_z(bundle: Bundle) -> None:
    found = find_directions(bundle, k=24)
    vectors, eigenvalues = factorize(bundle.generator.style_weights(()), k=24)
    torch.testing.assert_close(torch.stack([one.vector for one in found]), vectors)
    assert [one.eigenvalue for one in found] == pytest.approx(eigenvalues.tolist())
    assert {(one.space, one.layers) for one in found} == {("z", ())}
    assert [one.id for one in found[:2]] == ["sefa.z.0", "sefa.z.1"]


def test_the_range_is_that_of_the_prior(bundle: Bundle) -> None:
    assert find_directions(bundle)[0].range == pytest.approx((-3, 3))


@pytest.mark.parametrize("method", ["sefa", "imported"])
def test_an_id_finds_the_same_direction_in_another_process(
    folder: Path, bundle: Bundle, method: str
) -> None:
    direction = find_directions(bundle, method)[0]
    again = resolve_direction(load_bundle(folder), direction.id)
    assert direction.id == f"{method}.z.0"
    assert again == direction
    assert torch.equal(again.vector, direction.vector)


def test_rows_are_refused_because_there_are_none(bundle: Bundle) -> None:
    with pytest.raises(InvalidLayersError, match="has no layers, only z; write all"):
        find_directions(bundle, layers="0-5")
    with pytest.raises(InvalidLayersError, match="has no layers"):
        resolve_direction(bundle, "sefa.0-5.3")


def test_numbers_out_of_range_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InvalidOptionError, match="k 25 is not between 1 and 24"):
        find_directions(bundle, k=25)
    with pytest.raises(UnknownDirectionError, match="index 24 exceeds 23"):
        resolve_direction(bundle, "sefa.z.24")


def test_the_range_of_a_uniform_prior_is_narrower(tmp_path: Path) -> None:
    operations = (
        ("linear", 8, 3 * 16 * 16),
        ("reshape", 3, 16, 16, "CHW"),
        ("tanh",),
    )
    config = SequentialConfig(16, 8, operations, prior="uniform")
    bundle = load_bundle(write_bundle(tmp_path, "uniform", "sequential", config))
    found = find_directions(bundle)
    assert {one.space for one in found} == {"z"}
    z = sample_z(bundle.generator, 4000, seed=0) @ found[0].vector
    assert found[0].range[1] == pytest.approx(3 * float(z.std()), rel=0.05)


def test_an_edit_adds_to_z_and_stays_in_z(bundle: Bundle) -> None:
    generator = bundle.generator
    latent = Latent(torch.randn(24), "z", generator.fingerprint)
    (smile,) = find_directions(bundle, "imported")
    first = find_directions(bundle)[0]
    edited = edit(latent, {smile: 2.0, first: -1.0}, generator=generator)
    assert edited.space == "z"
    expected = latent.tensor + 2 * smile.vector - first.vector
    torch.testing.assert_close(edited.tensor, expected)
    same = edit(latent, {smile: 0.0}, generator=generator, layers=())
    assert same.tensor.numpy().tobytes() == latent.tensor.numpy().tobytes()


def test_rows_and_truncation_of_an_edit_are_refused(bundle: Bundle) -> None:
    generator = bundle.generator
    latent = Latent(torch.randn(24), "z", generator.fingerprint)
    with pytest.raises(InvalidLayersError, match="has no layers"):
        edit(latent, {}, generator=generator, layers=(0,))
    with pytest.raises(InvalidOptionError, match="pggan has only z"):
        edit(latent, {}, generator=generator, psi=0.7)
