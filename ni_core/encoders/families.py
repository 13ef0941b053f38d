"""The table of encoder families: from a name, a configuration and tensors to an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from torch import Tensor, nn

from ni_core.encoders.compact import CompactConfig, CompactEncoder
from ni_core.encoders.idinvert import IdinvertEncoder, IdinvertEncoderConfig
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.encoders.protocol import Encoder
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.errors import BrokenBundleError
from ni_core.generators.unfilled import fields_of, unfilled

EncoderConfig = PspConfig | IdinvertEncoderConfig | CompactConfig | MapperConfig
"""Frozen dataclass of numbers, texts, booleans and tuples of them."""


@dataclass(frozen=True)
class EncoderFamily:
    """One architecture.

    Attributes:
        name: As manifests write it.
        config: Class of its configuration.
        network: From a configuration to a network with random weights.
    """

    name: str
    config: Callable[..., EncoderConfig]
    network: Callable[[Any], nn.Module]


ENCODERS: dict[str, EncoderFamily] = {
    family.name: family
    for family in (
        EncoderFamily(Psp.family, PspConfig, Psp),
        EncoderFamily(IdinvertEncoder.family, IdinvertEncoderConfig, IdinvertEncoder),
        EncoderFamily(CompactEncoder.family, CompactConfig, CompactEncoder),
        EncoderFamily(LatentMapper.family, MapperConfig, LatentMapper),
    )
}
"""All families by name."""


def encoder_kind(family: str, config: EncoderConfig | Mapping[str, Any]) -> str:
    """Name of an encoder among a bundle's parts, and of the method that runs it.

    `restyle` looks at its last guess, `e4e` was trained row after row, `psp` neither, `mapper` is
    a family; an encoder of another family is just `encoder`.

    Args:
        family: A name in `ENCODERS`.
        config: The family's configuration, or its fields.
    """
    if family == LatentMapper.family:
        return family
    fields = config if isinstance(config, Mapping) else asdict(config)
    if fields.get("refines"):
        return "restyle"
    if fields.get("progressive"):
        return "e4e"
    return "encoder" if "refines" not in fields else "psp"


def read_encoder_config(family: str, fields: Mapping[str, Any]) -> EncoderConfig:
    """Make a family's configuration from JSON values.

    Raises:
        BrokenBundleError: The family is unknown, or the fields do not fit it.
    """
    try:
        return _family(family).config(**fields_of(fields))
    except (TypeError, ValueError) as error:
        raise BrokenBundleError(
            f"configuration of encoder {family} cannot be read: {error}"
        ) from error


def empty_encoder(family: str, config: EncoderConfig) -> nn.Module:
    """Build a family's network without memory for its weights: to compare shapes, or to fill.

    Raises:
        BrokenBundleError: The family is unknown.
    """
    with unfilled():
        return _family(family).network(config)


def build_encoder(family: str, config: EncoderConfig, tensors: Mapping[str, Tensor]) -> Encoder:
    """Build a frozen encoder around tensors.

    Args:
        family: A name in `ENCODERS`.
        config: The family's configuration.
        tensors: Every parameter and buffer of the network, by its name there.

    Raises:
        BrokenBundleError: The family is unknown, or the tensors do not fit the configuration.
    """
    network = empty_encoder(family, config)
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise BrokenBundleError(f"the weights do not fit encoder {family}: {error}") from error
    return cast(Encoder, cast(Any, network).freeze())


def _family(name: str) -> EncoderFamily:
    if name not in ENCODERS:
        raise BrokenBundleError(
            f"encoder family {name!r} is not one of {', '.join(ENCODERS)}",
            value=name,
            limit=list(ENCODERS),
        )
    return ENCODERS[name]
