"""Real generators of others become models that find their own pictures again."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ni_core import Bundle, edit, find_directions, invert, load_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.generators.protocol import sample_z
from tests.ni_core.checkpoints.real_layouts import ANIME, CELEBA


@dataclass(frozen=True)
class Real:
    """A generator, what its file does not tell, and a PSNR that its own samples reach.

    Medians of three were 29.7, 36.8, 34.0 and 64.6 dB; the bounds leave room for other machines.
    """

    file: str
    resolution: int
    least_db: float
    layout: str | None = None


REAL = [
    Real("anime64_dcgan_mit.pt", 64, 27.0, ANIME),
    Real("celeba32_dcgan_apache2.pt", 32, 34.0, CELEBA),
    Real("mnist28_wgangp_mit.pt", 28, 31.0),
    Real("mnist28_vae_mit.pth", 28, 55.0),
]
STEPS = 100


def import_real(real: Real, shared: Path, folder: Path) -> Bundle:
    layout = None
    if real.layout is not None:
        layout = folder / "layout.json"
        layout.write_text(real.layout)
    sources = Sources(
        shared / "real" / "generators" / real.file,
        trunk=shared / "real" / "lpips_squeeze" / "squeezenet1_1_features.pth",
        layout=layout,
    )
    imported = import_bundle("real", sources, directory=folder / "models")
    assert imported.check.warnings == ()
    return load_bundle(imported.folder)


def median_db(bundle: Bundle, images: Tensor) -> float:
    result = invert(bundle, images, options={"steps": STEPS})
    return float(np.median([metrics["psnr"] for metrics in result.metrics]))


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.file)
def test_a_real_generator_finds_its_own_samples_again(
    real: Real, shared: Path, tmp_path: Path
) -> None:
    bundle = import_real(real, shared, tmp_path)
    generator = bundle.generator
    assert generator.resolution == real.resolution and generator.spaces == {"z"}
    with torch.inference_mode():
        images = generator.synthesize(sample_z(generator, 3, seed=1)).clamp(-1, 1)
    assert median_db(bundle, images) > real.least_db


def test_real_digits_are_found_in_a_generator_of_digits(shared: Path, tmp_path: Path) -> None:
    bundle = import_real(REAL[2], shared, tmp_path)
    content = gzip.decompress(
        (shared / "real" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    )
    pixels = np.frombuffer(content, np.uint8, offset=16)[: 6 * 28 * 28].reshape(6, 1, 28, 28)
    digits = torch.from_numpy(pixels / np.float32(127.5) - 1).expand(-1, 3, -1, -1)
    assert median_db(bundle, digits) > 19.0


def test_an_edit_of_a_real_generator_changes_the_picture_smoothly(
    shared: Path, tmp_path: Path
) -> None:
    bundle = import_real(REAL[1], shared, tmp_path)
    generator = bundle.generator
    with torch.inference_mode():
        images = generator.synthesize(sample_z(generator, 1, seed=1)).clamp(-1, 1)
    latent = invert(bundle, images, options={"steps": 30}).latents[0]
    direction = find_directions(bundle, method="sefa", k=1)[0]
    weights = torch.linspace(*direction.range, 9).tolist()
    latents = [edit(latent, {direction: weight}, generator=generator).tensor for weight in weights]
    with torch.inference_mode():
        pictures = generator.synthesize(torch.stack(latents))
    steps = (pictures[1:] - pictures[:-1]).square().mean(dim=(1, 2, 3)).sqrt()
    whole = (pictures[-1] - pictures[0]).square().mean().sqrt()
    assert whole > 0.1, "the ends of the range look different"
    assert float(steps.max()) < float(whole), "no step is as large as the whole way"
