"""Directions that came with the model: what others found for it, read from the bundle."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.bundles.manifest import DirectionEntry
from ni_core.directions.calibration import safe_range, w_deviations, z_deviation
from ni_core.directions.direction import Direction
from ni_core.errors import BrokenBundleError


def find_imported(bundle: Bundle, layers: tuple[int, ...] | None) -> list[Direction]:
    """List the directions of a bundle's own file, in its order.

    Args:
        bundle: A bundle that has the part directions.
        layers: Rows to apply them to instead of those each is meant for; None keeps these.

    Returns:
        All of them. The range is 3 deviations where the file knew the deviation, else 3 of W or Z.

    Raises:
        BrokenBundleError: The file cannot be read or does not fit the generator.
    """
    part = bundle.manifest.directions
    entries = part.entries if part else ()
    return [_direction(bundle, index, entry, layers) for index, entry in enumerate(entries)]


def _direction(
    bundle: Bundle, index: int, entry: DirectionEntry, layers: tuple[int, ...] | None
) -> Direction:
    vector = _vector(bundle, entry)
    num_layers = bundle.generator.num_layers
    rows = layers or entry.layers or tuple(range(num_layers))
    deviation = entry.deviation
    if deviation is None and entry.space == "z":
        deviation = z_deviation(bundle)
    elif deviation is None:
        (deviation,) = w_deviations(bundle, vector[None], rows)
    return Direction(
        index=index,
        method="imported",
        layers=rows if num_layers else (),
        vector=vector,
        eigenvalue=None,
        range=safe_range(deviation),
        generator=bundle.generator.fingerprint,
        name=entry.name,
        space="z" if entry.space == "z" else "w",
        source=entry.source,
    )


def _vector(bundle: Bundle, entry: DirectionEntry) -> Tensor:
    """The vector of an entry, once it is known to fit the generator."""
    generator = bundle.generator
    tensors = bundle.memo.get("imported tensors", lambda: _tensors(bundle))
    shapes: tuple[tuple[int, ...], ...] = ((generator.z_dim,),)
    if entry.space == "w":
        shapes = ((generator.w_dim,), (generator.num_layers, generator.w_dim))
    vector: Tensor | None = tensors.get(entry.key)
    fits = vector is not None and tuple(vector.shape) in shapes and vector.numel() > 0
    if vector is None or not fits or max(entry.layers or (-1,)) >= generator.num_layers:
        raise BrokenBundleError(
            f"direction {entry.name!r} of bundle {bundle.name} does not fit its generator: "
            f"{entry.key} is {None if vector is None else list(vector.shape)} in {entry.space}, "
            f"rows {entry.layers}",
            value=entry.name,
        )
    return vector


def _tensors(bundle: Bundle) -> dict[str, Tensor]:
    part = bundle.manifest.directions
    if part is None:
        return {}
    try:
        tensors = load_file(bundle.manifest.path(part.file))
    except (SafetensorError, OSError) as error:
        raise BrokenBundleError(f"{part.file} of bundle {bundle.name} cannot be read") from error
    return {key: tensor.to(torch.float32) for key, tensor in tensors.items()}
