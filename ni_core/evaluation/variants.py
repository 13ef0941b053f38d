"""Methods with options, as rows of a report: `optimize start=e4e steps=50`, `mapper masked`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core import metrics
from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import ANY_ENCODER
from ni_core.errors import InvalidOptionError
from ni_core.generators import to_synthesis_input
from ni_core.inversion import available_methods, invert, parse_options, resolve_method

BATCH = 8
"""Pictures inverted at once."""

MASKED = "masked"
"""Word after which a variant sees the left half of each picture alone."""

COMBINED = ("e4e", "mapper", "landscape")
"""Starts that a descent of a quarter of the steps is tried from."""


@dataclass(frozen=True)
class Variant:
    """One way to invert: a row of the report.

    Attributes:
        name: As users write it.
        method: A name in `METHODS`.
        options: The method's options.
        masked: Whether the right half of each picture is grey. Results are compared with the whole
            picture.
    """

    name: str
    method: str
    options: Mapping[str, object]
    masked: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a variant found for a set of pictures.

    Attributes:
        pictures: Reconstructions `[n, 3, r, r]`, clamped to [-1, 1].
        latents: What `synthesize` made them of, `[n, num_layers, w_dim]` or `[n, z_dim]`.
        metrics: Distance of each from the whole target.
        steps: Steps done, the most of any batch.
        seconds: Time for each picture.
    """

    pictures: Tensor
    latents: Tensor
    metrics: list[metrics.Metrics]
    steps: int
    seconds: float


def parse_variant(text: str, bundle: Bundle, *, steps: int) -> Variant:
    """Read a variant: a method, then `name=value` for each option, and `masked`.

    Args:
        text: What the user wrote.
        bundle: Must have the parts that the method needs.
        steps: Of `optimize`, where the text names none.

    Raises:
        UnknownMethodError: There is no such method for this bundle.
        InvalidOptionError: A word or a value that the method does not take.
    """
    first, *words = text.split() or [""]
    method = resolve_method(first, bundle)
    options: dict[str, object] = {"steps": steps} if method == "optimize" else {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            options[name] = value
        elif word != MASKED:
            raise InvalidOptionError(
                f"{word!r} in {text!r} is neither name=value nor {MASKED}", value=word
            )
    parse_options(method, options)
    return Variant(" ".join([first, *words]), method, options, MASKED in words)


def default_variants(bundle: Bundle, *, steps: int) -> list[str]:
    """Texts of all variants that a bundle has the parts for, the reference first."""
    parts = bundle.manifest.parts
    methods = available_methods(parts)
    if ANY_ENCODER in methods and ANY_ENCODER not in bundle.encoders:
        methods.remove(ANY_ENCODER)  # it stands for one that is listed anyway
    masked = [f"mapper {MASKED}"] if "mapper" in methods else []
    short = f"optimize steps={max(1, steps // 4)}"
    starts = [start_options(bundle, start) for start in COMBINED if start in parts]
    combined = [" ".join([short, *(f"{k}={v}" for k, v in one.items())]) for one in starts]
    return [*methods, *masked, *combined]


def start_options(bundle: Bundle, start: str) -> dict[str, object]:
    """Options of `optimize` for one start, that of an encoder in the encoder's space."""
    encoder = bundle.encoders.get(start)
    space = {"space": "z"} if encoder is not None and encoder.space == "z" else {}
    return {"start": start, "starts": 1, **space}


def run_variant(bundle: Bundle, variant: Variant, pictures: Tensor) -> Outcome:
    """Invert pictures `[n, 3, r, r]` in batches, after one that is not timed."""
    shown = half_grey(pictures) if variant.masked else pictures
    invert(bundle, shown[:1], method=variant.method, options={**variant.options, "steps": 1})
    results = [
        invert(bundle, batch, method=variant.method, options=variant.options)
        for batch in shown.split(BATCH)
    ]
    made = torch.cat([result.images for result in results]).clamp(-1, 1)
    found = [latent for result in results for latent in result.latents]
    stacked = torch.stack([latent.tensor for latent in found]).to(bundle.device)
    with torch.no_grad():
        latents = to_synthesis_input(bundle.generator, stacked, found[0].space)
    return Outcome(
        pictures=made,
        latents=latents,
        metrics=metrics.compare(made, pictures, bundle.perceptual),
        steps=max(result.steps for result in results),
        seconds=sum(result.seconds for result in results) / len(pictures),
    )


def half_grey(pictures: Tensor) -> Tensor:
    """Pictures `[n, 3, h, w]` with their right half at 0, middle grey."""
    hidden = pictures.clone()
    hidden[..., pictures.shape[-1] // 2 :] = 0
    return hidden
