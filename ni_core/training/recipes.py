"""Named ways to train a generator: its architecture, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ni_core.generators.stylegan2 import StyleGAN2Config


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on besides its pictures and its critic's features.

    Attributes:
        batch: Pictures per step.
        generator_rate: Learning rate of the generator; per-parameter gains multiply it.
        critic_rate: Learning rate of both critics.
        settle: From so many pictures on, the rates are halved and styles are mixed.
        pixel_coefficient: Weight of the pixel critic in the generator's loss; at 2
            its gradient was about as long as the projected critic's.
        fine_coefficient: Weight of the second projected critic, for a run that has one.
        penalty_coefficient: R1's gamma.
        penalty_interval: Steps between two R1 penalties; each counts for all.
        information_coefficient: Weight of reading z back from the picture's coarsest
            features; keeps z visible (arXiv:1606.03657, without factors).
        mixing: Probability of mixing two styles, after `settle`.
        average: Half-life of the weight average in pictures; shorter at the start, a
            twentieth of the pictures seen.
        reconstruct_from: From so many pictures on, the generator learns to reconstruct real ones
            as well; None is never.
        reconstructed: Real pictures of a step.
        reconstruction_coefficient: Weight of the logarithm of their distance; at 5 its gradient
            was about as long as the critics', at 15 samples were no worse and renders came nearer.
        descents: Descents towards real pictures at once.
        descent_steps: Steps of a descent; a longer one asks the generator what it can draw at all
            rather than how fast it is found.
        descent_rate: Learning rate of its first step, in units of the spread of W.
        pixel_widths: Channels of the pixel critic from half the resolution down to 4 px.
        seed: Of weights, order, latents and augmentation.
    """

    batch: int = 16
    generator_rate: float = 1.5e-3
    critic_rate: float = 2e-3
    settle: int = 350_000
    pixel_coefficient: float = 3.0
    fine_coefficient: float = 1.0
    penalty_coefficient: float = 0.3
    penalty_interval: int = 16
    information_coefficient: float = 0.1
    mixing: float = 0.0
    average: float = 10_000
    reconstruct_from: int | None = None
    reconstructed: int = 8
    reconstruction_coefficient: float = 5.0
    descents: int = 128
    descent_steps: int = 60
    descent_rate: float = 0.2
    pixel_widths: tuple[int, ...] = (32, 64, 128, 128)
    seed: int = 1


@dataclass(frozen=True)
class Setting:
    """A generator and its recipe."""

    config: StyleGAN2Config
    recipe: Recipe


SETTINGS = {
    "cpu": Setting(
        StyleGAN2Config(
            resolution=64,
            z_dim=64,
            w_dim=128,
            mapping_layers=3,
            channels=(128, 128, 96, 64, 32),
            noise=False,
        ),
        Recipe(
            reconstruct_from=400_000,
            reconstruction_coefficient=15.0,
            descents=64,
            descent_steps=200,
        ),
    ),
    "gpu": Setting(
        StyleGAN2Config(
            resolution=64,
            z_dim=64,
            w_dim=128,
            mapping_layers=4,
            channels=(192, 192, 160, 96, 64),
            noise=False,
        ),
        Recipe(
            batch=64,
            generator_rate=2.5e-3,
            critic_rate=2.5e-3,
            settle=1_500_000,
            reconstruct_from=1_500_000,
            reconstructed=32,
            descents=512,
            pixel_widths=(64, 96, 160, 192),
        ),
    ),
    "tiny": Setting(
        StyleGAN2Config(
            resolution=32,
            z_dim=8,
            w_dim=16,
            mapping_layers=2,
            channels=(8, 8, 8, 8),
            noise=False,
        ),
        Recipe(
            batch=8,
            settle=32,
            mixing=0.5,
            penalty_interval=2,
            reconstruct_from=16,
            reconstructed=2,
            descents=3,
            descent_steps=2,
            pixel_widths=(4, 8, 8),
        ),
    ),
}
"""`cpu` is how the embedded bundle is trained; `gpu` follows StyleGAN2's batch and rates, and was
never run; `tiny` exercises the code."""
