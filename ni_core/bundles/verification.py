"""Is a bundle what it says it is? Its files are hashed, its networks are run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ni_core import metrics
from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import Manifest
from ni_core.bundles.samples import spread_labels
from ni_core.encoders import require_fit
from ni_core.errors import BrokenBundleError
from ni_core.generators import Generator, latent_shape
from ni_core.generators.protocol import sample_z
from ni_core.images import grid
from ni_core.perceptual import embedded_distance

SAMPLES = 4
"""Latents that are rendered."""

_MAPPED = 1000
"""Latents whose mean is compared with `w_avg`."""

_SEED = 0
_COLOUR_LIMIT = 1.0
_MOST_OUTSIDE = 0.5
_DARK_OR_FLAT = 0.02
_LARGEST_SHIFT = 0.5
_SHEET_COLUMNS = 4
_SMALL_PX = 256


@dataclass(frozen=True)
class Check:
    """What a look at a bundle found.

    Attributes:
        figures: What was measured.
        warnings: What looks wrong but may be meant, one sentence each.
    """

    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __add__(self, other: Check) -> Check:
        """Both together."""
        return Check({**self.figures, **other.figures}, self.warnings + other.warnings)


def check_files(manifest: Manifest) -> int:
    """Compare the files of a bundle with the digests its manifest recorded.

    Returns:
        How many files have a recorded digest; those of a bundle that was not imported have none.

    Raises:
        BrokenBundleError: A file has changed since.
    """
    recorded: Mapping[str, str] = dict(manifest.source.get("sha256", {}))
    for file, digest in recorded.items():
        with manifest.path(file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != digest:
            raise BrokenBundleError(
                f"{file} of bundle {manifest.name} has changed: its SHA-256 is {found}, "
                f"and was {digest}",
                value=found,
                limit=digest,
            )
    return len(recorded)


@torch.inference_mode()
def check_bundle(bundle: Bundle) -> Check:
    """Run the networks of a bundle and look at what comes out.

    Args:
        bundle: As it was loaded from its folder.

    Returns:
        Figures and warnings.

    Raises:
        BrokenBundleError: What comes out cannot be used.
        GeneratorMismatchError: The encoder's latents are not those of the generator.
    """
    inputs = _inputs(bundle.generator, SAMPLES)
    pictures = _rendered(bundle.generator, inputs)
    check = _check_pictures(bundle, pictures)
    _check_repeats(bundle, inputs[:1], pictures[:1])
    if bundle.generator.num_layers and "z" in bundle.generator.spaces:
        check += _check_mean(bundle.generator)
    check += _check_distance(bundle, pictures)
    for kind in bundle.encoders:
        check += _check_encoder(bundle, kind, pictures)
    return check


@torch.inference_mode()
def contact_sheet(bundle: Bundle, n: int = 8) -> Tensor:
    """Lay samples out on a sheet, for a look at colours and faults.

    Args:
        bundle: Whose generator to sample; psi is 1, nothing is hidden.
        n: How many pictures; each is shown at 256 px or less.

    Returns:
        RGB `[3, h, w]` in [-1, 1].
    """
    inputs = _inputs(bundle.generator, n)
    small = [_shrunk(_rendered(bundle.generator, inputs[i : i + 1])) for i in range(n)]
    return grid(torch.cat(small).clamp(-1, 1), columns=_SHEET_COLUMNS)


def _inputs(generator: Generator, n: int) -> Tensor:
    """What `synthesize` takes, for n samples of a fixed seed; classes take turns.

    A generator without z has no law of w: the samples are standard normal.
    """
    if "z" not in generator.spaces:
        w = torch.randn(n, generator.w_dim, generator=torch.Generator().manual_seed(_SEED))
        return generator.broadcast(w.to(generator.device))
    z = sample_z(generator, n, seed=_SEED).to(generator.device)
    if generator.num_layers == 0:
        return z
    return generator.broadcast(generator.map(z, spread_labels(generator, n)))


def _rendered(generator: Generator, inputs: Tensor) -> Tensor:
    """Pictures one by one, so that large ones take the memory of one; on the CPU."""
    return torch.cat([generator.synthesize(row).cpu() for row in inputs.split(1)])


def _check_pictures(bundle: Bundle, pictures: Tensor) -> Check:
    generator = bundle.generator
    shape = (SAMPLES, 3, generator.resolution, generator.resolution)
    if tuple(pictures.shape) != shape or not bool(pictures.isfinite().all()):
        bad = int((~pictures.isfinite()).sum())
        raise _broken(
            bundle, f"gives pictures {list(pictures.shape)} with {bad} values that are not finite"
        )
    if float(pictures.flatten(1).std(dim=1).max()) == 0:
        raise _broken(bundle, f"gives one colour all over, {float(pictures[0, 0, 0, 0]):.4g}")
    if bool((pictures[1:] == pictures[:1]).all()):
        raise _broken(bundle, f"gives {SAMPLES} equal pictures for {SAMPLES} latents")
    return _colours(pictures)


def _check_repeats(bundle: Bundle, inputs: Tensor, pictures: Tensor) -> None:
    again = _rendered(bundle.generator, inputs)
    if not torch.equal(again, pictures):
        gap = float((again - pictures).abs().max())
        raise _broken(
            bundle, f"gives pictures that differ by {gap:.3g} for one and the same latent"
        )


def _colours(pictures: Tensor) -> Check:
    outside = float((pictures.abs() > _COLOUR_LIMIT).float().mean())
    spread = float(pictures.std())
    warnings = []
    if outside > _MOST_OUTSIDE:
        warnings.append(
            f"{outside:.0%} of the colour values lie outside [-1, 1]: the range is probably wrong"
        )
    if spread < _DARK_OR_FLAT:
        warnings.append(f"the pictures are nearly flat: their standard deviation is {spread:.3g}")
    figures = {
        "pictures": SAMPLES,
        "colour_mean": round(float(pictures.mean()), 4),
        "colour_deviation": round(spread, 4),
        "colour_least": round(float(pictures.min()), 4),
        "colour_most": round(float(pictures.max()), 4),
        "share_outside_range": round(outside, 4),
    }
    return Check(figures, tuple(warnings))


def _check_mean(generator: Generator) -> Check:
    """Compare `w_avg` with the mean of mapped samples, in standard deviations of W."""
    z = sample_z(generator, _MAPPED, seed=_SEED + 1).to(generator.device)
    w = generator.map(z, spread_labels(generator, _MAPPED)).float().flatten(0, -2)
    deviation = float((w - w.mean(dim=0)).square().mean().sqrt())
    gap = float((generator.w_avg - w.mean(dim=0)).square().mean().sqrt())
    shift = gap / max(deviation, 1e-12)
    warning = (
        f"w_avg lies {shift:.2g} standard deviations from the mean of {_MAPPED} samples: "
        "truncation will lead elsewhere"
    )
    return Check(
        {"w_avg_shift": round(shift, 4)}, (warning,) if not shift <= _LARGEST_SHIFT else ()
    )


def _check_distance(bundle: Bundle, pictures: Tensor) -> Check:
    """Compare two samples by LPIPS, and by the feature network of a bundle that has one."""
    first, second = _shrunk(pictures[:2]).to(bundle.device).split(1)
    distances = {"lpips": float(bundle.perceptual(first, second))}
    if bundle.features is not None:
        embeddings = [bundle.features.embedding(one) for one in (first, second)]
        distances["features"] = float(embedded_distance(*embeddings))
    for name, distance in distances.items():
        if not math.isfinite(distance):
            raise _broken(bundle, f"has a distance of {distance} between two samples, by {name}")
    return Check({f"{name}_between_samples": round(one, 4) for name, one in distances.items()})


def _check_encoder(bundle: Bundle, kind: str, pictures: Tensor) -> Check:
    """Encode samples; an encoder that fits does better than the mean picture."""
    encoder, generator = bundle.encoders[kind], bundle.generator
    require_fit(encoder, generator)
    inputs = pictures.clamp(-1, 1).to(bundle.device)
    codes = torch.cat([encoder.encode(picture, generator) for picture in inputs.split(1)])
    shape = (SAMPLES, *latent_shape(generator, encoder.space))
    if tuple(codes.shape) != shape or not bool(codes.isfinite().all()):
        raise _broken(
            bundle,
            f"has an encoder {kind!r} that gives {list(codes.shape)} with "
            f"{int((~codes.isfinite()).sum())} values that are not finite; "
            f"{list(shape)} is needed",
        )
    mean = codes.new_zeros(1, *shape[1:])
    if encoder.space != "z":
        mean = generator.broadcast(generator.w_avg[None])
    reached = _psnr(_rendered(generator, codes), pictures)
    baseline = _psnr(_rendered(generator, mean).expand_as(pictures), pictures)
    warning = (
        f"encoder {kind!r} brings back {SAMPLES} samples at {reached:.1f} dB, and their mean "
        f"picture alone has {baseline:.1f} dB: it may belong to another generator"
    )
    return Check(
        {f"{kind}_psnr_db": round(reached, 2), "mean_picture_psnr_db": round(baseline, 2)},
        (warning,) if not reached > baseline else (),
    )


def _psnr(pictures: Tensor, targets: Tensor) -> float:
    error = metrics.mse(pictures.clamp(-1, 1), targets.clamp(-1, 1))
    return float(metrics.psnr(error).mean())


def _shrunk(pictures: Tensor) -> Tensor:
    side = min(pictures.shape[2], _SMALL_PX)
    return interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)


def _broken(bundle: Bundle, reason: str) -> BrokenBundleError:
    return BrokenBundleError(f"the bundle {bundle.name} {reason}")
