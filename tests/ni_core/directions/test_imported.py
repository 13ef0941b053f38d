"""Directions that came with a model."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ni_core.bundles import Bundle, ModelCache, load_bundle, write_tiny_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.directions import available_direction_methods, find_directions, resolve_direction
from ni_core.editing import edit
from ni_core.errors import BrokenBundleError, UnknownDirectionError, UnknownMethodError
from ni_core.latents import Latent
from tests.bundles import ROW_MAPPING, add_directions, change_manifest, imported, unit, write_bundle


def rows_of(*rows: int) -> torch.Tensor:
    """A vector for each of six rows: along axis 0 in these, zero in the others."""
    vectors = torch.zeros(6, 32)
    vectors[list(rows), 0] = 1
    return vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_bundle(tmp_path_factory.mktemp("models"))
    add_directions(
        folder,
        [
            imported("smile", unit(32, 3)),
            imported("age", unit(32, 4), layers=(0, 1), deviation=1.5, source="pca: age.pt"),
            imported("pose", rows_of(1, 2)),
            imported("noise", unit(32, 5), space="z"),
        ],
    )
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_they_come_in_the_order_of_the_file_with_their_names(bundle: Bundle) -> None:
    found = find_directions(bundle, "imported")
    assert [direction.name for direction in found] == ["smile", "age", "pose", "noise"]
    assert [direction.index for direction in found] == [0, 1, 2, 3]
    assert [direction.space for direction in found] == ["w", "w", "w", "z"]
    assert {direction.eigenvalue for direction in found} == {None}
    assert found[1].source == "pca: age.pt"
    assert found == find_directions(bundle, "imported", k=32)
    assert found[:2] == find_directions(bundle, "imported", k=2)


def test_all_leaves_each_its_own_rows_and_a_text_gives_all_the_same(bundle: Bundle) -> None:
    own = find_directions(bundle, "imported", "all")
    assert [direction.layers for direction in own] == [
        tuple(range(6)),
        (0, 1),
        *[tuple(range(6))] * 2,
    ]
    named = find_directions(bundle, "imported", "2-3")
    assert {direction.layers for direction in named} == {(2, 3)}
    assert [direction.id for direction in named] == [f"imported.2-3.{index}" for index in range(4)]


@pytest.mark.parametrize("layers", ["all", "0-5", "1,3"])
def test_an_id_finds_the_same_direction_in_another_process(
    folder: Path, bundle: Bundle, layers: str
) -> None:
    other = load_bundle(folder)
    for direction in find_directions(bundle, "imported", layers):
        again = resolve_direction(other, direction.id)
        assert again == direction
        assert (again.range, again.space, again.name) == (
            direction.range,
            direction.space,
            direction.name,
        )
        assert torch.equal(again.vector, direction.vector)


def test_a_known_deviation_makes_the_range(bundle: Bundle) -> None:
    assert find_directions(bundle, "imported")[1].range == pytest.approx((-4.5, 4.5))


def test_an_unknown_deviation_is_measured_in_w(bundle: Bundle) -> None:
    z = torch.randn(4000, 32, generator=torch.Generator().manual_seed(9))
    spread = bundle.generator.map(z).std(dim=0)
    smile, _, pose, noise = find_directions(bundle, "imported")
    assert smile.range[1] == pytest.approx(3 * float(spread[3]), rel=0.1)
    assert pose.range[1] == pytest.approx(3 * float(spread[0]), rel=0.1)
    assert noise.range == pytest.approx((-3, 3))


def test_a_mapping_that_makes_rows_has_a_spread_for_each_row(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, "rows", "stylegan1", ROW_MAPPING)
    add_directions(folder, [imported("one", rows_of(4)), imported("same", unit(32, 0))])
    bundle = load_bundle(folder)
    z = torch.randn(4000, 24, generator=torch.Generator().manual_seed(9))
    spread = bundle.generator.map(z).std(dim=0)
    one, _ = find_directions(bundle, "imported", "4")
    _, same = find_directions(bundle, "imported", "2,4")
    assert one.range[1] == pytest.approx(3 * float(spread[4, 0]), rel=0.1)
    expected = float(spread[[2, 4], 0].square().mean().sqrt())
    assert same.range[1] == pytest.approx(3 * expected, rel=0.1)


def test_a_model_without_them_says_what_to_do(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    with pytest.raises(
        UnknownMethodError,
        match=r"needs directions, which tiny lacks.*ni models import --directions",
    ):
        find_directions(bundle, "imported")
    with pytest.raises(UnknownMethodError, match=r"'magic' is not one of sefa$"):
        find_directions(bundle, "magic")


def test_a_summary_lists_the_methods_a_model_has(folder: Path, tmp_path: Path) -> None:
    assert ModelCache([folder.parent]).summary("tiny")["direction_methods"] == ["sefa", "imported"]
    write_tiny_bundle(tmp_path)
    assert ModelCache([tmp_path]).summary("tiny")["direction_methods"] == ["sefa"]


def test_an_index_beyond_the_file_is_unknown_with_the_limit(bundle: Bundle) -> None:
    with pytest.raises(UnknownDirectionError, match="index 4 exceeds 3"):
        resolve_direction(bundle, "imported.0-5.4")


@pytest.mark.parametrize(
    ("direction", "named"),
    [
        (imported("a", torch.ones(8)), r"\[8\] in w"),
        (imported("a", torch.ones(5, 32)), r"\[5, 32\] in w"),
        (imported("a", torch.ones(32), layers=(7,)), r"rows \(7,\)"),
    ],
)
def test_directions_that_do_not_fit_are_a_broken_bundle(
    tmp_path: Path, direction: object, named: str
) -> None:
    folder = write_tiny_bundle(tmp_path)
    add_directions(folder, [direction])  # type: ignore[list-item]
    with pytest.raises(BrokenBundleError, match=named):
        find_directions(load_bundle(folder), "imported")


def test_a_file_that_cannot_be_read_is_a_broken_bundle(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    add_directions(folder, [imported("a", unit(32, 0))])
    (folder / "directions.safetensors").write_bytes(b"nothing")
    with pytest.raises(BrokenBundleError, match=r"directions\.safetensors"):
        find_directions(load_bundle(folder), "imported")


def test_the_file_is_opened_when_it_is_needed(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    add_directions(folder, [imported("a", unit(32, 0))])
    bundle = load_bundle(folder)
    (folder / "directions.safetensors").unlink()
    assert find_directions(bundle, "sefa", k=1)
    with pytest.raises(BrokenBundleError):
        find_directions(bundle, "imported")
    change_manifest(folder, directions=None)
    assert load_bundle(folder).manifest.directions is None


def test_a_program_without_style_weights_has_only_imported_directions(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4 * 8, 3 * 64), nn.Unflatten(1, (3, 8, 8)))
    program = torch.export.export(module.eval(), (torch.randn(1, 4, 8),))
    torch.export.save(program, tmp_path / "g.pt2")
    (tmp_path / "g.pt2.json").write_text('{"space": "w+", "range": "signed"}')
    torch.save(unit(8, 3), tmp_path / "smile.pt")
    sources = Sources(generator=tmp_path / "g.pt2", directions=(tmp_path / "smile.pt",))
    bundle = load_bundle(import_bundle("program", sources, directory=tmp_path / "models").folder)
    assert available_direction_methods(bundle.manifest) == ["imported"]
    with pytest.raises(UnknownMethodError, match="needs style weights, which program lacks"):
        find_directions(bundle, "sefa")
    (smile,) = find_directions(bundle, "imported")
    assert (smile.layers, smile.range) == ((0, 1, 2, 3), (-3.0, 3.0))
    latent = Latent(torch.zeros(4, 8), "w+", bundle.generator.fingerprint)
    edited = edit(latent, {smile: 2.0}, generator=bundle.generator)
    assert bundle.generator.synthesize(edited.tensor[None]).shape == (1, 3, 8, 8)
