"""The table of encoder families: every family is built, and misfits are refused by name."""

import dataclasses
import json
from typing import Any

import pytest
import torch

from ni_core.encoders import ENCODERS, Encoder, build_encoder, empty_encoder, read_encoder_config
from ni_core.encoders.compact import CompactConfig
from ni_core.encoders.frozen import FeaturesConfig
from ni_core.encoders.idinvert import IdinvertEncoderConfig
from ni_core.encoders.mapper import MapperConfig
from ni_core.encoders.psp import PspConfig
from ni_core.errors import BrokenBundleError

CONFIGS: dict[str, Any] = {
    "psp": PspConfig(
        6, 8, widths=(4, 5, 6, 8), units=(1, 1, 1, 1), reduction=2, input_shape=(32, 32)
    ),
    "idinvert": IdinvertEncoderConfig(6, 8, (4, 6, 6)),
    "compact": CompactConfig(6, 8, resolution=32, hidden=8),
    "mapper": MapperConfig(
        "w+", 6, 8, 4, hidden=8, level=4, features=FeaturesConfig(side=16, widths=(4, 6, 8))
    ),
}


def test_every_family_is_tested() -> None:
    assert set(CONFIGS) == set(ENCODERS)


@pytest.mark.parametrize("family", CONFIGS)
def test_an_encoder_is_built_from_its_json_and_tensors(family: str) -> None:
    config = CONFIGS[family]
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    assert read_encoder_config(family, fields) == config
    network = ENCODERS[family].network(config)
    encoder = build_encoder(family, config, network.state_dict())
    assert isinstance(encoder, Encoder)
    latents = encoder.encode(torch.zeros(2, 3, *encoder.input_shape))
    assert latents.shape == (2, encoder.num_layers, encoder.w_dim) == (2, 6, 8)
    assert not latents.requires_grad
    assert all(tensor.is_meta for tensor in empty_encoder(family, config).state_dict().values())


def test_what_does_not_fit_is_refused_by_name() -> None:
    config = CONFIGS["psp"]
    with pytest.raises(BrokenBundleError, match="'magic' is not one of psp, idinvert"):
        read_encoder_config("magic", {})
    with pytest.raises(BrokenBundleError, match=r"configuration of encoder psp .* 'widhts'"):
        read_encoder_config("psp", {"num_layers": 6, "widhts": []})
    with pytest.raises(BrokenBundleError, match=r"do not fit encoder psp: [\s\S]*w_avg"):
        build_encoder("psp", config, {})
