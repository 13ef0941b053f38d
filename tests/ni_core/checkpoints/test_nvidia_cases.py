"""NVIDIA's files against what NVIDIA's code makes of them."""

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator, open_document
from ni_core.generators import Generator
from ni_core.generators.stylegan3 import StyleGAN3
from tests.ni_core.checkpoints.cases import Case, cases, largest_difference

CASES = cases("nvidia")
STYLEGAN3 = cases("nvidia/sg3")
ADA = cases("nvidia/sg2ada")

PICTURES = {
    "img_const": ("ws", "const"),
    "img_none": ("ws", "none"),
    "img_const_psi0.7": ("ws_psi0.7", "const"),
    "img_const_ws_free": ("ws_free", "const"),
}
"""Pictures and the latents and noise they are made with."""


def loaded(case: Case) -> Generator:
    return load_generator(case.folder / "network.pkl")


def labels_of(case: Case) -> Tensor | None:
    """Rows of labels of a conditional case."""
    return case.io.get("c")


@pytest.mark.parametrize("case", CASES)
def test_latents_are_those_of_the_reference(case: Case) -> None:
    generator = loaded(case)
    w = generator.map(case.io["z"].float(), labels_of(case))
    made = {
        "w": w,
        "w_avg": generator.w_avg,
        "ws": generator.broadcast(w),
        "ws_psi0.7": generator.broadcast(w, 0.7),
        "ws_psi0.5_cutoff4": generator.broadcast(w, 0.5, cutoff=4),
    }
    differences = {name: largest_difference(ours, case.io[name]) for name, ours in made.items()}
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize("case", CASES)
def test_pictures_are_those_of_the_reference(case: Case) -> None:
    generator = loaded(case)
    differences: dict[str, float] = {}
    with torch.no_grad():
        for picture, (latent, noise) in PICTURES.items():
            if picture in case.io:
                ours = generator.synthesize(case.io[latent], noise)  # type: ignore[arg-type]
                differences[picture] = largest_difference(ours, case.io[picture])
    assert len(differences) >= 3
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize("case", STYLEGAN3)
def test_a_transformed_picture_is_that_of_the_reference(case: Case) -> None:
    generator = loaded(case)
    assert isinstance(generator, StyleGAN3)
    generator.input.transform.copy_(case.io["transform_inverse"])
    with torch.no_grad():
        ours = generator.synthesize(case.io["ws"])
    assert largest_difference(ours, case.io["img_transformed"]) < 1e-5


@pytest.mark.parametrize("case", ADA)
def test_a_module_saved_by_pti_is_the_network_in_another_file(case: Case) -> None:
    saved = load_generator(case.folder / "model_run_img.pt")
    pivot = open_document(case.folder / "pti_pivot_0.pt").root
    assert isinstance(pivot, Tensor)
    assert pivot.shape == (1, saved.num_layers, saved.w_dim)
    with torch.no_grad():
        picture = saved.synthesize(pivot)
        assert largest_difference(picture, loaded(case).synthesize(pivot)) < 1e-5
