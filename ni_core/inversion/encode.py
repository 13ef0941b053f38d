"""Encoder-based inversion: a trained network gives the latent in one pass, or in a few.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699; In-Domain GAN
Inversion, arXiv:2004.00049.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.encoders import Encoder, Pass
from ni_core.errors import UnknownMethodError
from ni_core.inversion.options import MethodOptions, option
from ni_core.inversion.report import Found, OnStep, StepReport


@dataclass(frozen=True)
class EncoderOptions(MethodOptions):
    """Options of `encoder`."""

    space: str | None = option(
        None, "Latent space of the result; there is only w+.", type=str, choices=("w+",)
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
    on_step: OnStep | None = None,
    start: Tensor | None = None,
    first_step: int = 0,
) -> Found:
    """Let the bundle's encoder find the latents.

    The loss of a pass is the mean squared error of its picture on [-1, 1]; the result is that of
    the last pass.

    Args:
        bundle: Generator and encoder.
        images: Targets `[n, 3, r, r]`, on the bundle's device.
        options: How many passes.
        on_step: Called after each pass.
        start: Latents in W+ to refine instead of the mean; an encoder of one pass ignores them.
        first_step: Passes already done by the run that left `start`.

    Returns:
        The latents of the last pass and their pictures.

    Raises:
        InvalidOptionError: More than one pass of an encoder that has only one.
        UnknownMethodError: The bundle has no encoder.
    """
    encoder = encoder_of(bundle)
    steps = options.steps if options.steps is not None else encoder.iterations
    if start is not None and first_step >= steps:
        return Found(start, [[] for _ in images], first_step, "steps")
    if not encoder.needs_generator:
        start, first_step = None, 0
    passes = _Passes(images, steps, first_step, on_step)
    encoder.encode(
        images, bundle.generator, steps=steps - first_step, start=start, on_pass=passes.see
    )
    return Found(passes.latents, passes.history, steps, "steps", passes.images)


def encoder_of(bundle: Bundle) -> Encoder:
    """Return the bundle's encoder.

    Raises:
        UnknownMethodError: It has none.
    """
    if bundle.encoder is None:
        raise UnknownMethodError(f"{bundle.name} has no encoder", value=bundle.name)
    return bundle.encoder


class _Passes:
    """Measures each pass and reports it as a step."""

    def __init__(self, images: Tensor, steps: int, first_step: int, on_step: OnStep | None) -> None:
        self.history: list[list[float]] = [[] for _ in images]
        self.latents = self.images = images.new_empty(0)
        self._targets = images
        self._steps = steps
        self._first_step = first_step
        self._on_step = on_step
        self._began = time.monotonic()

    def see(self, done: Pass) -> None:
        self.latents, self.images = done.latents, done.images()
        errors = (self.images - self._targets).square().mean(dim=(1, 2, 3)).tolist()
        for losses, error in zip(self.history, errors, strict=True):
            losses.append(error)
        if self._on_step is not None:
            self._on_step(self._report(done, errors))

    def _report(self, done: Pass, losses: list[float]) -> StepReport:
        seconds = time.monotonic() - self._began
        return StepReport(
            step=self._first_step + done.step,
            steps=self._steps,
            loss=sum(losses) / len(losses),
            losses=losses,
            latents=done.latents.clone(),
            eta_s=seconds / done.step * (done.steps - done.step),
            images=done.images,
        )
