"""A real generator small enough for tests: 16 px, W of 32 numbers, random weights."""

from __future__ import annotations

import torch

from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config

TINY = StyleGAN2Config(resolution=16, z_dim=32, w_dim=32, mapping_layers=2, channels=(32, 32, 16))


def tiny_generator(seed: int = 0) -> StyleGAN2:
    """Make the tiny generator.

    Args:
        seed: Seed of the weights; the same seed gives the same weights.

    Returns:
        A frozen StyleGAN2 with visible noise and a measured `w_avg`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = StyleGAN2(TINY)
        for layer in generator.layers:
            torch.nn.init.constant_(layer.noise_strength, 0.05)  # type: ignore[arg-type]
        for to_rgb in generator.to_rgbs:
            to_rgb.conv.weight.data.mul_(0.4)  # type: ignore[operator, union-attr]
        generator.freeze()
        generator.w_avg.copy_(generator.map(torch.randn(4096, TINY.z_dim)).mean(dim=0))
    generator.fingerprint = f"tiny-{seed}"
    return generator
