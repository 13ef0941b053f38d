"""SeFa of other systems on generators that we imported: the same factors and the same edits.

Theirs come unsorted and of either sign (an unsymmetric eigensolver in single precision), so they
are compared one by one with the nearest of ours.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator
from ni_core.directions.sefa import factorize
from ni_core.generators import Generator
from tests.ni_core.checkpoints.cases import ABSENT, OPEN, Case, cases, largest_difference

DISTINCT = 1e-3
"""Relative gap between eigenvalues above which single precision tells their directions apart."""


def arrays_of(path: Path) -> dict[str, Tensor]:
    with np.load(path) as arrays:
        numbers = [key for key in arrays.files if arrays[key].dtype.kind in "fi"]
        return {key: torch.from_numpy(arrays[key]) for key in numbers}


def assert_same_factors(style_weights: Tensor, theirs: Tensor, values: Tensor) -> Tensor:
    """Compare all eigenvalues and the directions of distinct ones.

    Returns:
        Ours in the order and with the signs of theirs.
    """
    vectors, found = factorize(style_weights, k=len(values))
    order = values.argsort(descending=True)
    torch.testing.assert_close(found, values[order], rtol=1e-4, atol=1e-6 * float(found[0]))
    ranks = order.argsort()[: len(theirs)]
    ours = vectors[ranks] * (vectors[ranks] * theirs).sum(dim=1, keepdim=True).sign()
    for index, rank in enumerate(ranks.tolist()):
        gap = float((found - found[rank]).abs().sort().values[1])
        if gap > DISTINCT * float(found[0]):
            assert largest_difference(ours[index], theirs[index]) < 1e-4, index
    return ours


def genforce_ranges() -> Iterator[object]:
    for parameter in cases("genforce/stylegan"):
        case = parameter.values[0]
        if case is None:
            yield parameter
            continue
        for key in arrays_of(case.folder / "sefa.npz"):
            if key.endswith("|layers"):
                yield pytest.param((case, key.split("|")[0]), id=f"{case}-{key.split('|')[0]}")


@pytest.mark.parametrize("chosen", list(genforce_ranges()))
def test_factors_and_edits_of_sefa_are_reproduced(chosen: tuple[Case, str]) -> None:
    case, name = chosen
    generator = load_generator(case.folder / "checkpoint.pth")
    sefa = arrays_of(case.folder / "sefa.npz")
    layers = sefa[f"{name}|layers"].tolist()
    ours = assert_same_factors(
        generator.style_weights(layers), sefa[f"{name}|boundaries"], sefa[f"{name}|eigen_values"]
    )
    edits = [(index, distance) for index in (0, 1, 4) for distance in (-3.0, 1.5)]
    for (index, distance), picture in zip(edits, sefa[f"{name}|edit_imgs_item0"], strict=True):
        code = case.io["wp_psi0.7_layers8"][:1].clone()
        code[:, layers] += ours[index] * distance
        assert largest_difference(generator.synthesize(code)[0], picture) < 1e-4, (index, distance)


@pytest.fixture(scope="module")
def narrow() -> Generator:
    return load_generator(OPEN / "rosinality_stylegan2" / "narrow64" / "checkpoint.pt")


@ABSENT
@pytest.mark.parametrize(
    ("name", "rows"), [("all", range(9)), ("2-5", range(2, 6)), ("0-2", range(3))]
)
def test_factors_of_e4e_are_reproduced(narrow: Generator, name: str, rows: range) -> None:
    """It factorises the rows it is asked for, and then edits those one lower."""
    sefa = arrays_of(OPEN / "directions" / "e4e_sefa_narrow64" / "sefa.npz")
    ours = assert_same_factors(
        narrow.style_weights(rows), sefa[f"{name}|boundaries"], sefa[f"{name}|eigen_values"]
    )
    layers = sefa[f"{name}|layers_returned"].tolist()
    assert layers == [row - 1 for row in rows if row > 0]
    edits = [(index, distance) for index in (0, 1) for distance in (-5.0, 0.0, 5.0)]
    edited = sefa[f"{name}|edited_sem2_d-5_to_5_step3"]
    for (index, distance), theirs in zip(edits, edited, strict=True):
        code = sefa["base_wplus"][0].clone()
        code[layers] += ours[index] * distance
        assert largest_difference(code, theirs) < 1e-4
