"""Encoders of idinvert made here, against the textbook, and those that cannot be used."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.checkpoints import load_encoder
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.idinvert_encoder import read_encoder
from ni_core.encoders.idinvert import IdinvertEncoderConfig
from ni_core.errors import CheckpointError, InvalidOptionError
from tests.ni_core.checkpoints.cases import ABSENT, largest_difference, real_size

WIDTHS = (4, 6, 6)
ROWS, W_DIM, SIDE = 6, 5, 16


def random_encoder(norms: bool = True) -> dict[str, Tensor]:
    """A small random file of this format."""
    source = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def layer(block: str, conv: str, norm: str, *shape: int, bias: str | None = None) -> None:
        tensors[f"{block}.{conv}.weight"] = torch.randn(shape, generator=source) / 3
        if bias:
            tensors[f"{block}.{bias}.bias"] = torch.randn(shape[0], generator=source)
        if norms:
            for part in ("weight", "bias", "running_mean"):
                tensors[f"{block}.{norm}.bn.{part}"] = torch.randn(shape[0], generator=source)
            variance = torch.rand(shape[0], generator=source) + 0.5
            tensors[f"{block}.{norm}.bn.running_var"] = variance
            tensors[f"{block}.{norm}.bn.num_batches_tracked"] = torch.tensor(3)

    layer("block0", "conv", "bn", WIDTHS[0], 3, 3, 3)
    for index, (inputs, outputs) in enumerate(pairwise(WIDTHS), 1):
        block, hidden = f"block{index}", min(inputs, outputs)
        if inputs != outputs:
            layer(block, "conv", "bn", outputs, inputs, 1, 1)
        layer(block, "conv1", "bn1", hidden, inputs, 3, 3, bias="wscale1")
        layer(block, "conv2", "bn2", outputs, hidden, 3, 3, bias="wscale2")
    layer("block3", "fc", "bn", ROWS * W_DIM, 16 * WIDTHS[-1])
    return tensors


def textbook(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
    """Rows of W+ of pictures, batch norms left as they are."""

    def normed(name: str, y: Tensor) -> Tensor:
        if f"{name}.bn.weight" not in tensors:
            return y
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(tensors[f"{name}.bn.{part}"] for part in parts))

    def convolved(block: str, number: str, y: Tensor) -> Tensor:
        weight, bias = tensors[f"{block}.conv{number}.weight"], f"{block}.wscale{number}.bias"
        y = F.conv2d(y, weight, tensors.get(bias), padding=weight.shape[-1] // 2)
        return F.leaky_relu(normed(f"{block}.bn{number}", y), 0.2)

    x = convolved("block0", "", x)
    for index in range(1, len(WIDTHS)):
        x, block = F.avg_pool2d(x, 2), f"block{index}"
        y = convolved(block, "2", convolved(block, "1", x))
        x = y + (convolved(block, "", x) if f"{block}.conv.weight" in tensors else x)
    weight = tensors["block3.fc.weight"]
    x = F.linear(x.flatten(1), weight / math.sqrt(weight.shape[1]))
    return normed("block3.bn", x).view(len(x), ROWS, W_DIM)


@pytest.mark.parametrize("norms", [True, False], ids=["with batch norms", "without"])
def test_the_encoder_gives_what_the_textbook_gives(norms: bool, tmp_path: Path) -> None:
    tensors = random_encoder(norms)
    torch.save(tensors, tmp_path / "encoder.pth")
    encoder = load_encoder(tmp_path / "encoder.pth")
    assert (encoder.num_layers, encoder.w_dim, encoder.input_shape) == (ROWS, W_DIM, (SIDE, SIDE))
    x = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert largest_difference(encoder.encode(x), textbook(tensors, x)) < 1e-5


def test_a_picture_of_another_size_is_brought_to_the_input(tmp_path: Path) -> None:
    torch.save(random_encoder(), tmp_path / "encoder.pth")
    encoder = load_encoder(tmp_path / "encoder.pth")
    small = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(encoder.encode(large), encoder.encode(small))
    with pytest.raises(InvalidOptionError, match="cannot refine a start"):
        encoder.encode(small, start=torch.zeros(1, ROWS, W_DIM))


def test_missing_keys_and_odd_sizes_are_named() -> None:
    tensors = random_encoder()
    del tensors["block1.bn2.bn.running_var"]
    with pytest.raises(CheckpointError, match=r"block1\.bn2\.bn\.running_var"):
        read_encoder(Document(Path("e.pth"), "torch", tensors))
    tensors["block3.fc.weight"] = tensors["block3.fc.weight"][1:]
    with pytest.raises(CheckpointError, match="gives 29 numbers, which are not 6 rows"):
        read_encoder(Document(Path("e.pth"), "torch", tensors))


@ABSENT
def test_the_keys_of_the_published_file_are_accepted() -> None:
    shapes = real_size("idinvert_ffhq256_encoder")["tensors"]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = read_encoder(Document(Path("e.pth"), "torch", tensors)).config
    assert config == IdinvertEncoderConfig(14, 512, (64, 128, 256, 512, 1024, 1024, 1024))
    assert config.resolution == 256
