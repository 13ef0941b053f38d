import subprocess
import sys

import torch
from torch import nn

from ni_core.generators.families import FAMILIES
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.unfilled import fields_of, unfilled

SMALL = StyleGAN2Config(resolution=16, z_dim=4, w_dim=4, mapping_layers=1, channels=(4, 4, 4))


def test_an_unfilled_network_has_the_shapes_of_a_filled_one_and_no_memory() -> None:
    with unfilled():
        empty = StyleGAN2(SMALL)
    filled = StyleGAN2(SMALL).state_dict()
    assert {k: v.shape for k, v in empty.state_dict().items()} == {
        k: v.shape for k, v in filled.items()
    }
    assert all(value.is_meta for value in empty.state_dict().values())


def test_tensors_outside_are_filled_as_ever() -> None:
    weight = torch.empty(1000)
    with unfilled():
        nn.init.normal_(weight, std=3.0)
    assert 2.5 < float(weight.std()) < 3.5


def test_no_slow_import_is_paid_for_a_network_without_numbers() -> None:
    code = (
        "import sys; from ni_core.generators.families import *; "
        f"empty_network('stylegan2', read_config('stylegan2', {SMALL.__dict__!r})); "
        "sys.exit('sympy' in sys.modules)"
    )
    assert "stylegan2" in FAMILIES
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_lists_of_json_become_tuples_all_the_way_down() -> None:
    assert fields_of({"a": [1, [2, 3]], "b": "x"}) == {"a": (1, (2, 3)), "b": "x"}
