"""From a request to what the renderer takes: latent, bundle, edits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.directions import Direction, direction_at, resolve_direction
from ni_core.editing import checked_weight, edit
from ni_core.errors import GeneratorMismatchError, InvalidLatentError, UnknownDirectionError
from ni_core.generators.protocol import to_synthesis_input
from ni_core.latents import Latent, decode_latent, latent_from_values
from ni_core.layers import ALL, parse_layers
from service.dependencies import Services
from service.schemas import LatentFile, LatentValues


@dataclass(frozen=True)
class Scene:
    """A latent with the bundle that can render it.

    Attributes:
        source: Id of the picture it was once inverted from, if any.
    """

    bundle: Bundle
    latent: Latent
    source: str | None = None

    def synthesis_input(self, psi: float = 1.0) -> Tensor:
        """What the renderer takes, on the generator's device."""
        generator = self.bundle.generator
        batch = self.latent.tensor[None].to(generator.device)
        return to_synthesis_input(generator, batch, self.latent.space, psi)[0]


def stored_scene(services: Services, latent_id: str) -> Scene:
    """Fetch a stored latent.

    Raises:
        GeneratorMismatchError: Its model was replaced since.
    """
    record, latent = services.store.get_latent(latent_id)
    bundle = services.models.get(record.model)
    if latent.generator != bundle.generator.fingerprint:
        raise GeneratorMismatchError(
            f"latent {latent_id} belongs to generator {latent.generator}; "
            f"{record.model} is {bundle.generator.fingerprint} now",
            value=latent.generator,
            limit=bundle.generator.fingerprint,
        )
    return Scene(bundle, latent, record.source)


def read_scene(services: Services, given: str | LatentValues | LatentFile) -> Scene:
    """Take the latent of a request, by id or inline."""
    if isinstance(given, str):
        return stored_scene(services, given)
    bundle = services.models.get(given.model or services.settings.default_model)
    return Scene(bundle, read_latent(given, bundle))


def read_latent(given: LatentValues | LatentFile, bundle: Bundle) -> Latent:
    """Read an inline latent for a bundle's generator."""
    if isinstance(given, LatentValues):
        return latent_from_values(given.values, bundle.generator, given.space)
    try:
        data = base64.b64decode(given.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidLatentError(f"data is not base64: {error}") from error
    return decode_latent(data, bundle.generator, given.space)


@dataclass(frozen=True)
class Rows:
    """How the directions of a request are meant.

    Attributes:
        method: The method whose directions an index counts.
        layers: Text of the rows that change; None leaves each direction its own.
        k: Number of directions an index may count, None for all.
    """

    method: str = "sefa"
    layers: str | None = None
    k: int | None = None


def choose_directions(
    bundle: Bundle, weights: Mapping[str, float], rows: Rows
) -> dict[Direction, float]:
    """Resolve direction ids and indices; two names of one direction add up.

    Raises:
        UnknownDirectionError: A name is neither an id nor an index of this model.
        InvalidWeightError: A weight is not finite or too large.
        InvalidLayersError: The layers text does not fit the generator.
    """
    totals: dict[Direction, float] = {}
    for name, weight in weights.items():
        direction = _direction(bundle, name, rows)
        totals[direction] = totals.get(direction, 0.0) + checked_weight(name, weight)
    return totals


def edited(scene: Scene, weights: Mapping[str, float], rows: Rows, psi: float) -> Scene:
    """Apply slider weights."""
    generator = scene.bundle.generator
    layers = None if rows.layers is None else parse_layers(rows.layers, generator.num_layers)
    directions = choose_directions(scene.bundle, weights, rows)
    latent = edit(scene.latent, directions, generator=generator, layers=layers, psi=psi)
    return Scene(scene.bundle, latent, scene.source)


def _direction(bundle: Bundle, name: str, rows: Rows) -> Direction:
    if not (name.isascii() and name.isdigit()):
        return resolve_direction(bundle, name)
    if rows.k is not None and int(name) >= rows.k:
        raise UnknownDirectionError(
            f"direction {name} is not below k = {rows.k}", value=name, limit=rows.k - 1
        )
    return direction_at(bundle, rows.method, rows.layers or ALL, int(name))
