"""Generators: one family per file behind one protocol."""

from ni_core.generators.families import FAMILIES, build_generator, read_config
from ni_core.generators.protocol import (
    SPACES,
    Generator,
    Noise,
    Prior,
    Space,
    latent_shape,
    require_space,
    sample_z,
    to_synthesis_input,
)
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.tiny import tiny_generator

__all__ = [
    "FAMILIES",
    "SPACES",
    "Generator",
    "Noise",
    "Prior",
    "Space",
    "StyleGAN2",
    "StyleGAN2Config",
    "build_generator",
    "latent_shape",
    "read_config",
    "require_space",
    "sample_z",
    "tiny_generator",
    "to_synthesis_input",
]
