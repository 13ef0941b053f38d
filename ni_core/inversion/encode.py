"""Encoder-based inversion: a trained network gives the latent in one pass, or in a few.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699; In-Domain GAN
Inversion, arXiv:2004.00049.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import ANY_ENCODER
from ni_core.encoders import Encoder, Pass
from ni_core.errors import InvalidOptionError, SpaceNotAvailableError, UnknownMethodError
from ni_core.generators import Space
from ni_core.inversion.missing_parts import how_to_get
from ni_core.inversion.options import MethodOptions, option
from ni_core.inversion.report import Found, OnStep, StepReport
from ni_core.metrics import mse


@dataclass(frozen=True)
class EncoderOptions(MethodOptions):
    """Options of all methods that run an encoder."""

    space: str | None = option(
        None,
        "Latent space of the result: the encoder's own.",
        type=str,
        choices=("z", "w+"),
    )
    steps: int | None = option(
        None,
        "Passes of an encoder that refines its guess; by default as many as it was trained for.",
        type=int,
        minimum=1,
        maximum=50,
    )


def encode(
    bundle: Bundle,
    images: Tensor,
    options: EncoderOptions,
    *,
    kind: str,
    on_step: OnStep | None = None,
    start: Tensor | None = None,
    first_step: int = 0,
) -> Found:
    """Let an encoder of the bundle find the latents.

    The loss of a pass is the mean squared error of its picture on [-1, 1], if metrics are wanted;
    the result is that of the last pass.

    Args:
        bundle: Generator and encoder.
        images: Targets `[n, 3, r, r]`, on the bundle's device.
        options: How many passes.
        kind: Which encoder; `encoder` is the first the bundle has.
        on_step: Called after each pass.
        start: Latents in W+ to refine instead of the mean; an encoder of one pass ignores them.
        first_step: Passes already done by the run that left `start`.

    Returns:
        The latents of the last pass and their pictures.

    Raises:
        InvalidOptionError: More than one pass of an encoder that has only one.
        UnknownMethodError: The bundle has no such encoder.
    """
    encoder = encoder_of(bundle, kind)
    steps = options.steps if options.steps is not None else encoder.iterations
    if start is not None and first_step >= steps:
        return Found(start, [[] for _ in images], first_step, "steps")
    if not encoder.needs_generator:
        start, first_step = None, 0
    measures = options.metrics != "none"
    passes = _Passes(images, steps, first_step, on_step, measures=measures)
    encoder.encode(
        images, bundle.generator, steps=steps - first_step, start=start, on_pass=passes.see
    )
    return Found(passes.latents, passes.history, steps, "steps", passes.render)


def encoder_of(bundle: Bundle, kind: str) -> Encoder:
    """Return a bundle's encoder of some kind; `encoder` stands for the first it has.

    Raises:
        UnknownMethodError: It has none.
    """
    encoders = bundle.encoders
    if kind == ANY_ENCODER and encoders:
        return encoders.get(kind, next(iter(encoders.values())))
    if kind not in encoders:
        raise UnknownMethodError(
            f"{bundle.name} has no part {kind}; {how_to_get(kind, bundle.name)}",
            value=kind,
            limit=list(encoders),
        )
    return encoders[kind]


def encoded_space(bundle: Bundle, kind: str, options: EncoderOptions) -> Space:
    """Return the space of what an encoder finds.

    Raises:
        SpaceNotAvailableError: Another one was asked for.
    """
    space: Space = "z" if encoder_of(bundle, kind).space == "z" else "w+"
    if options.space not in (None, space):
        raise SpaceNotAvailableError(
            f"space is {options.space}, but the {kind} of {bundle.name} gives {space}",
            value=options.space,
            limit=space,
        )
    return space


def encoded_start(bundle: Bundle, images: Tensor, space: Space, kind: str) -> Tensor:
    """Find where a descent can start: the guess of an encoder of the bundle.

    Args:
        bundle: Whose encoder it is.
        images: The targets, `[n, 3, r, r]`.
        space: The space to start in.
        kind: Which encoder.

    Returns:
        `[n, ...]`; rows of W+ are averaged where the space is w.

    Raises:
        InvalidOptionError: The bundle has no such encoder, or it gives latents of another space.
    """
    try:
        encoder = encoder_of(bundle, kind)
    except UnknownMethodError as error:
        raise no_start(kind, error) from error
    if (encoder.space == "z") != (space == "z"):
        raise InvalidOptionError(
            f"start is {kind}, which gives latents in {encoder.space}, but the space is {space}",
            option="start",
            value=kind,
        )
    found = encoder.encode(images, bundle.generator)
    return found.mean(dim=1) if space == "w" else found


def no_start(part: str, error: UnknownMethodError) -> InvalidOptionError:
    """What to raise where the part to start with is missing."""
    return InvalidOptionError(f"start is {part}, but {error}", option="start", value=part)


class _Passes:
    """Measures each pass, unless told not to, and reports it as a step."""

    def __init__(
        self,
        images: Tensor,
        steps: int,
        first_step: int,
        on_step: OnStep | None,
        *,
        measures: bool = True,
    ) -> None:
        self.history: list[list[float]] = [[] for _ in images]
        self.latents = images.new_empty(0)
        self.render: Callable[[], Tensor] | None = None
        self._targets = images
        self._measures = measures
        self._steps = steps
        self._first_step = first_step
        self._on_step = on_step
        self._began = time.monotonic()

    def see(self, done: Pass) -> None:
        self.latents, self.render = done.latents, done.images
        errors = mse(done.images(), self._targets).tolist() if self._measures else []
        for losses, error in zip(self.history, errors, strict=self._measures):
            losses.append(error)
        if self._on_step is not None:
            self._on_step(self._report(done, errors))

    def _report(self, done: Pass, losses: list[float]) -> StepReport:
        seconds = time.monotonic() - self._began
        return StepReport(
            step=self._first_step + done.step,
            steps=self._steps,
            loss=sum(losses) / len(losses) if losses else None,
            losses=losses,
            latents=done.latents.clone(),
            eta_s=seconds / done.step * (done.steps - done.step),
            images=done.images,
        )
