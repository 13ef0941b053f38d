"""invert: photo -> latent, by any method."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core import metrics
from ni_core.bundles.bundle import Bundle
from ni_core.errors import InvalidImageError, InvalidLatentError, InvalidOptionError
from ni_core.generators import Space, latent_shape, to_synthesis_input
from ni_core.inversion.methods import AUTO, METHODS, parse_options, resolve_method
from ni_core.inversion.options import MethodOptions
from ni_core.inversion.report import Found, InversionResult, OnStep
from ni_core.latents import Latent


def invert(
    bundle: Bundle,
    images: Float[Tensor, "n 3 r r"],
    *,
    method: str = AUTO,
    options: MethodOptions | Mapping[str, object] | None = None,
    on_step: OnStep | None = None,
    start: Tensor | None = None,
    first_step: int = 0,
) -> InversionResult:
    """Find latents whose synthesis resembles the images.

    The images of a batch share the work, but none influences another's result.

    Args:
        bundle: The model.
        images: RGB in [-1, 1], of the generator's resolution; see `images.fit`.
        method: A name in `METHODS`, or `auto` for the best the bundle has the parts for.
        options: The method's options, by name or parsed.
        on_step: Called after each step; what it raises ends the run and is raised here.
        start: Latents `[n, ...]` of the chosen space to start from.
        first_step: Steps already done by the run that left `start`.

    Returns:
        Latents, pictures, metrics and history.

    Raises:
        InvalidImageError: The images are not `[n, 3, r, r]`, or not finite.
        InvalidOptionError: An option is unknown or out of range.
        InvalidLatentError: `start` does not fit, or is not finite.
        UnknownMethodError: There is no such method for this bundle.
        SpaceNotAvailableError: The generator has no such space.
        InversionDivergedError: A loss or gradient is not finite; there is no result.
    """
    began = time.monotonic()
    name = resolve_method(method, bundle)
    if options is None or isinstance(options, Mapping):
        options = parse_options(name, options or {})
    images = _checked_images(bundle, images)
    space = METHODS[name].space(bundle, options)
    start = _checked_start(bundle, start, space, len(images))
    _check_first_step(first_step, options.steps)
    found = METHODS[name].run(
        bundle, images, options, on_step=on_step, start=start, first_step=first_step
    )
    render = cache(found.render or partial(_pictures, bundle, found, space))
    measured = options.metrics != "none"
    return InversionResult(
        latents=[
            Latent(tensor.float().cpu().clone(), space, bundle.generator.fingerprint)
            for tensor in found.latents
        ],
        render=render,
        metrics=metrics.compare(render(), images, bundle.perceptual) if measured else [],
        history=found.history,
        method=name,
        steps=found.steps,
        stopped=found.stopped,
        seconds=time.monotonic() - began,
    )


def _checked_images(bundle: Bundle, images: Tensor) -> Tensor:
    side = bundle.generator.resolution
    if images.dim() != 4 or not len(images) or tuple(images.shape[1:]) != (3, side, side):
        raise InvalidImageError(
            f"images of shape {list(images.shape)} do not fit {bundle.name}, "
            f"which takes [n, 3, {side}, {side}] with n from 1",
            value=list(images.shape),
            limit=[3, side, side],
        )
    if not images.isfinite().all():
        raise InvalidImageError("the images hold numbers that are not finite")
    return images.detach().to(bundle.device, torch.float32)


def _checked_start(bundle: Bundle, start: Tensor | None, space: Space, n: int) -> Tensor | None:
    if start is None:
        return None
    expected = (n, *latent_shape(bundle.generator, space))
    if tuple(start.shape) != expected:
        raise InvalidLatentError(
            f"start of shape {list(start.shape)} does not fit: {n} images in {space} take "
            f"{list(expected)}",
            value=list(start.shape),
            limit=list(expected),
        )
    if not start.isfinite().all():
        raise InvalidLatentError("start holds numbers that are not finite")
    return start.detach().to(bundle.device, torch.float32)


@torch.no_grad()
def _pictures(bundle: Bundle, found: Found, space: Space) -> Tensor:
    inputs = to_synthesis_input(bundle.generator, found.latents, space)
    return bundle.generator.synthesize(inputs)


def _check_first_step(first_step: int, steps: int | None) -> None:
    if steps is not None and not 0 <= first_step <= steps:
        raise InvalidOptionError(
            f"first_step is {first_step}, but must be from 0 to steps, {steps}",
            option="first_step",
            value=first_step,
            limit=steps,
        )
