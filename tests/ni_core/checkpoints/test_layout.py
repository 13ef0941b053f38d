"""Layout files, which tell of a stack of layers what its shapes leave open."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ni_core.checkpoints import load_generator, read_generator
from ni_core.errors import CheckpointError
from ni_core.generators import sample_z
from tests.ni_core.checkpoints.stacks import dcgan, layout, randomised, rendered, stored


def test_a_safetensors_file_is_read_with_a_layout(tmp_path: Path) -> None:
    network = randomised(dcgan(9, [8, 3], [4, 4]))
    save_file(network.state_dict(), tmp_path / "g")
    operations = [
        ["conv_transpose", "0", 1, 0], ["batch_norm", "1"], ["relu"],
        ["conv_transpose", "3", 2, 1], ["tanh"],
    ]  # fmt: skip
    generator = load_generator(tmp_path / "g", layout=layout(tmp_path, operations=operations))
    z = sample_z(generator, 2, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


def test_a_layout_beside_the_file_is_found(tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64)), tmp_path)
    fields = {"range": "unit", "operations": [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]]}
    (tmp_path / "g.json").write_text(json.dumps(fields))
    assert read_generator(path).config.operations[1] == ("reshape", 1, 8, 8, "CHW")


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({}, "operations are missing"),
        ({"operations": [], "size": 3}, "'size' is unknown"),
        ({"operations": ["relu"]}, "no list of lists"),
        ({"operations": [["relu"]]}, "no linear layer"),
        ({"operations": [["linear", "9"]]}, "asks for 9.weight"),
        ({"operations": [["linear", "0"], ["dance"]]}, "dance"),
        ({"operations": [["linear", "0"], ["linear", "0"]]}, "operation 1, linear"),
        ({"operations": [["linear", "0"], ["tanh"]]}, "not 1 or 3 channels"),
        ({"operations": [["conv", "0", 1, 1]]}, "has the shape"),
        ({"operations": [["linear", "0"], ["reshape", 1, 8, 9, "CHW"]]}, "reshape"),
        ({"operations": [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]], "range": "x"}, "range 'x'"),
        ({"operations": [["linear", "0"], ["upsample", 2, "nearest"]]}, "upsample"),
        ({"operations": [["linear"]]}, "linear"),
    ],
)
def test_a_wrong_layout_is_refused(fields: dict[str, Any], meaning: str, tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64)), tmp_path)
    with pytest.raises(CheckpointError, match=meaning):
        load_generator(path, layout=layout(tmp_path, **fields))


def test_left_over_keys_of_a_layout_are_noted(tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 64)), tmp_path)
    operations = [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]]
    checkpoint = read_generator(path, layout=layout(tmp_path, operations=operations))
    assert checkpoint.notes == ("not used: 1.weight, 1.bias",)
