"""GAN inversion and semantic editing: photo -> latent, directions, edited photo."""

from ni_core.bundles import Bundle, ModelCache, load_bundle
from ni_core.directions import Direction, find_directions, resolve_direction
from ni_core.editing import edit
from ni_core.generators import Generator
from ni_core.inversion import InversionResult, invert
from ni_core.latents import Latent

__all__ = [
    "Bundle",
    "Direction",
    "Generator",
    "InversionResult",
    "Latent",
    "ModelCache",
    "edit",
    "find_directions",
    "invert",
    "load_bundle",
    "resolve_direction",
]
