"""Generators: one family per file behind one protocol."""

from ni_core.generators.protocol import (
    SPACES,
    Generator,
    Noise,
    Space,
    latent_shape,
    require_space,
    to_synthesis_input,
)
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.tiny import tiny_generator

__all__ = [
    "SPACES",
    "Generator",
    "Noise",
    "Space",
    "StyleGAN2",
    "StyleGAN2Config",
    "latent_shape",
    "require_space",
    "tiny_generator",
    "to_synthesis_input",
]
