"""Generators with some weights of their own."""

import pytest
import torch
from torch import Tensor

from ni_core.errors import GeneratorMismatchError
from ni_core.generators import StyleGAN2, StyleGAN2Config
from ni_core.generators.tuned import tuned
from tests.ni_core.generators.textbook import Textbook

# Wide and large enough for the fast convolution, whose weights are made anew.
CONFIG = StyleGAN2Config(32, z_dim=8, w_dim=8, mapping_layers=1, channels=(128,) * 4)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(CONFIG).freeze()


def deltas(generator: StyleGAN2) -> dict[str, Tensor]:
    names = ("layers.1.conv", "layers.6.conv", "to_rgbs.3.conv")
    weights = {name: generator.state_dict()[f"{name}.weight"] for name in names}
    return {name: 0.3 * torch.randn_like(weight) for name, weight in weights.items()}


def test_a_tuned_generator_renders_as_the_textbook_with_the_new_weights(
    generator: StyleGAN2,
) -> None:
    found, w_plus = deltas(generator), torch.randn(2, 8, 8)
    before = generator.synthesize(w_plus)
    tensors = dict(generator.state_dict())
    for name, delta in found.items():
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + tensors[f"{name}.weight"] * delta
    rendered = tuned(generator, found).synthesize(w_plus)
    torch.testing.assert_close(rendered, Textbook(CONFIG, tensors).synthesize(w_plus))
    assert (rendered - before).abs().max() > 0.1
    assert torch.equal(generator.synthesize(w_plus), before)


def test_what_is_not_tuned_has_the_same_memory(generator: StyleGAN2) -> None:
    found = deltas(generator)
    twin, own = tuned(generator, found).state_dict(), {f"{name}.weight" for name in found}
    shared = {
        name
        for name, tensor in generator.state_dict().items()
        if twin[name].data_ptr() == tensor.data_ptr()
    }
    assert twin.keys() - shared == own


def test_a_tuned_generator_has_no_fingerprint_of_another(generator: StyleGAN2) -> None:
    generator.fingerprint = "sha256:0"
    assert tuned(generator, {}).fingerprint == ""
    assert generator.fingerprint == "sha256:0"


@pytest.mark.parametrize("name", ["layers.9.conv", "layers.0", "layers.0.conv"])
def test_what_the_generator_lacks_cannot_be_tuned(generator: StyleGAN2, name: str) -> None:
    with pytest.raises(GeneratorMismatchError, match=rf"{name} of shape \[4, 4, 3, 3\]"):
        tuned(generator, {name: torch.zeros(4, 4, 3, 3)})
