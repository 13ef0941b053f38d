"""Finding directions of a bundle, and finding them again by id."""

from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from ni_core.directions import Direction, find_directions, resolve_direction
from ni_core.errors import (
    InvalidLayersError,
    InvalidOptionError,
    UnknownDirectionError,
    UnknownMethodError,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_layers_change_the_directions(bundle: Bundle) -> None:
    first = find_directions(bundle, layers="0-1", k=1)[0]
    second = find_directions(bundle, layers="2,4", k=1)[0]
    assert first.layers == (0, 1)
    assert second.layers == (2, 4)
    assert abs(float(first.vector @ second.vector)) < 0.999


def test_the_text_of_the_layers_does_not_matter_only_the_rows(bundle: Bundle) -> None:
    assert find_directions(bundle, layers="all") == find_directions(bundle, layers="5,0-4")


def test_asking_again_costs_nothing(bundle: Bundle) -> None:
    assert find_directions(bundle, k=3)[2] is find_directions(bundle, k=8)[2]


@pytest.mark.parametrize(("layers", "index"), [("all", 0), ("1,3", 5), ("0-2", 31)])
def test_an_id_finds_the_same_direction_in_another_process(
    folder: Path, bundle: Bundle, layers: str, index: int
) -> None:
    direction = find_directions(bundle, layers=layers, k=32)[index]
    again = resolve_direction(load_bundle(folder), direction.id)
    assert again == direction
    assert again.range == direction.range
    assert torch.equal(again.vector, direction.vector)


def test_the_id_says_what_it_is(bundle: Bundle) -> None:
    assert find_directions(bundle, layers="0-2,4", k=2)[1].id == "sefa.0-2,4.1"


def test_the_range_holds_nearly_all_of_w_along_the_direction(bundle: Bundle) -> None:
    z = torch.randn(2000, 32, generator=torch.Generator().manual_seed(9))
    w = bundle.generator.map(z) - bundle.generator.w_avg
    for direction in find_directions(bundle, k=8):
        low, high = direction.range
        amounts = w @ direction.vector
        inside = ((amounts > low) & (amounts < high)).float().mean()
        assert 0.98 < inside <= 1.0
        assert 2 < high / float(amounts.std()) < 4


@pytest.mark.parametrize("name", ["sefa", "sefa.0-5", "sefa.0-5.x", "", "sefa..1", "a" * 500])
def test_an_id_of_another_form_is_unknown(bundle: Bundle, name: str) -> None:
    with pytest.raises(UnknownDirectionError, match=r"form method\.layers\.index"):
        resolve_direction(bundle, name)


def test_an_index_beyond_w_is_unknown_with_the_limit(bundle: Bundle) -> None:
    with pytest.raises(UnknownDirectionError, match="index 32 exceeds 31"):
        resolve_direction(bundle, "sefa.0-5.32")


def test_an_unknown_method_is_named_with_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(UnknownMethodError, match="'magic' is not one of sefa"):
        find_directions(bundle, method="magic")


def test_layers_and_k_out_of_range_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InvalidLayersError, match="6 rows"):
        find_directions(bundle, layers="0-6")
    with pytest.raises(InvalidOptionError, match="k 33"):
        find_directions(bundle, k=33)


def test_directions_can_be_keys(bundle: Bundle) -> None:
    found = find_directions(bundle, k=2)
    weights: dict[Direction, float] = {found[0]: 1.0, found[1]: 2.0}
    assert weights[find_directions(bundle, k=1)[0]] == 1.0
