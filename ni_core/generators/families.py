"""The table of generator families: from a name, a configuration and tensors to a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from ni_core.errors import BrokenBundleError
from ni_core.generators.base import GeneratorConfig
from ni_core.generators.exported import Exported, ExportedConfig
from ni_core.generators.pggan import PGGAN, PGGANConfig
from ni_core.generators.protocol import Generator
from ni_core.generators.sequential import Sequential, SequentialConfig
from ni_core.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from ni_core.generators.unfilled import fields_of, unfilled


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        name: As manifests write it.
        config: Frozen dataclass of numbers, texts, booleans and tuples of them.
        network: From a configuration to a network with random weights.
        has_styles: Whether its `style_weights` are known.
    """

    name: str
    config: Callable[..., GeneratorConfig]
    network: Callable[[Any], nn.Module]
    has_styles: bool = True


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(StyleGAN2.family, StyleGAN2Config, StyleGAN2),
        Family(StyleGAN1.family, StyleGAN1Config, StyleGAN1),
        Family(PGGAN.family, PGGANConfig, PGGAN),
        Family(StyleGAN3.family, StyleGAN3Config, StyleGAN3),
        Family(Sequential.family, SequentialConfig, Sequential),
        Family(Exported.family, ExportedConfig, Exported, has_styles=False),
    )
}
"""All families by name."""


def read_config(family: str, fields: Mapping[str, Any]) -> GeneratorConfig:
    """Make a family's configuration from JSON values.

    Raises:
        BrokenBundleError: The family is unknown, or the fields do not fit it.
    """
    try:
        return _family(family).config(**fields_of(fields))
    except (TypeError, ValueError) as error:
        raise BrokenBundleError(f"configuration of {family} cannot be read: {error}") from error


def empty_network(family: str, config: GeneratorConfig) -> nn.Module:
    """Build a family's network without memory for its weights: to compare shapes, or to fill."""
    with unfilled():
        return _family(family).network(config)


def build_generator(
    family: str, config: GeneratorConfig, tensors: Mapping[str, Tensor]
) -> Generator:
    """Build a frozen generator around tensors, without copying them.

    Args:
        family: A name in `FAMILIES`.
        config: The family's configuration.
        tensors: Every parameter and buffer of the network, by its name there.

    Raises:
        BrokenBundleError: The family is unknown, or the tensors do not fit the configuration.
    """
    network = empty_network(family, config)
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise BrokenBundleError(f"the weights do not fit {family}: {error}") from error
    return cast(Generator, cast(Any, network).freeze())


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise BrokenBundleError(
            f"generator family {name!r} is not one of {', '.join(FAMILIES)}",
            value=name,
            limit=list(FAMILIES),
        )
    return FAMILIES[name]
