"""Real pictures that a generator learns to reconstruct while it learns to look real.

Critics ask for pictures that look real, not for every real picture. So a buffer holds descents in
W+ towards real pictures, begun at the mean of W as `optimize` begins them; each step of the
training moves some of them on, and the gradient of their loss reaches the generator too: it learns
to draw real pictures where a descent looks for them. No factor takes part.

Related: codes learnt together with a generator, arXiv:1707.05776, and an autoencoder that shares
its decoder with a GAN, arXiv:1512.09300.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ni_core.generators.stylegan2 import StyleGAN2
from ni_core.metrics import mse
from ni_core.perceptual import Perceptual, embedded_distance
from ni_core.training.adversary import ProjectedCritic
from ni_core.training.own_samples import spread_of
from ni_core.training.picture_set import Pictures
from ni_core.training.precision import mixed_precision
from ni_core.training.recipes import Recipe
from ni_core.training.runs import random_of

LPIPS_COEFFICIENT = 0.1
"""Of the perceptual distance beside the mean squared error, as in `optimize`."""

FEATURES_COEFFICIENT = 0.5
"""Of the relative squared error of the critic's features, as in `optimize`."""

SPREAD_STEPS = 256
"""Steps after which the spread of W is measured again."""

BETAS = 0.9, 0.99
"""Of Adam in the descents."""

CALMED = 0.1
"""Learning rate of a descent's last step, as a part of that of its first."""

_SPREAD = 103
"""Stream of random numbers."""


class Descents:
    """Descents in W+ on their way, each with its picture, its code and Adam's moments.

    Args:
        recipe: How many, of how many steps, how fast.
        rows: Shape of W+, `(num_layers, w_dim)`.
        device: Where they are.
    """

    def __init__(self, recipe: Recipe, rows: tuple[int, int], device: torch.device) -> None:
        self._recipe = recipe
        n = recipe.descents
        self.codes = torch.zeros(n, *rows, device=device)
        self.first = torch.zeros_like(self.codes)
        self.second = torch.zeros_like(self.codes)
        self.numbers = torch.zeros(n, dtype=torch.long)
        self.done = torch.full((n,), recipe.descent_steps)
        self.mean = torch.zeros(rows, device=device)
        self.basis = torch.zeros(rows[1], rows[1], device=device)

    def measure_spread(self, generator: StyleGAN2, random: torch.Generator) -> None:
        """Take the mean of W, and its principal axes as units of a descent's steps."""
        spread = spread_of(generator, random)
        self.mean.copy_(spread.mean)
        self.basis.copy_(spread.basis)

    def pick(self, n: int, pictures: int, random: torch.Generator) -> Tensor:
        """Choose slots `[n]`; those whose descent is over get another picture, at the mean."""
        chosen = torch.randperm(len(self.codes), generator=random)[:n]
        numbers = torch.randint(pictures, (n,), generator=random)
        over = self.done[chosen] >= self._recipe.descent_steps
        fresh = chosen[over]
        self.numbers[fresh] = numbers[over]
        self.done[fresh] = 0
        self.codes[fresh] = self.mean
        self.first[fresh] = 0
        self.second[fresh] = 0
        return chosen

    @torch.no_grad()
    def move(self, chosen: Tensor, gradients: Tensor) -> None:
        """Move codes on by a step of Adam.

        Args:
            chosen: Slots `[n]`.
            gradients: `[n, num_layers, w_dim]`, in units of the spread of W.
        """
        self.done[chosen] += 1
        taken = self.done[chosen].to(gradients)[:, None, None]
        self.first[chosen] = self.first[chosen].lerp(gradients, 1 - BETAS[0])
        self.second[chosen] = self.second[chosen].lerp(gradients.square(), 1 - BETAS[1])
        mean = self.first[chosen] / (1 - BETAS[0] ** taken)
        size = (self.second[chosen] / (1 - BETAS[1] ** taken)).sqrt() + 1e-12
        rate = self._recipe.descent_rate * (1 - (1 - CALMED) * taken / self._recipe.descent_steps)
        self.codes[chosen] -= rate * mean / size @ self.basis

    def tensors(self) -> dict[str, Tensor]:
        """All that it holds."""
        names = ("codes", "first", "second", "numbers", "done", "mean", "basis")
        return {name: getattr(self, name) for name in names}

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave; without tensors every descent begins anew.

        A run with fewer descents goes on with the first ones; one with more begins the others.
        """
        for name, tensor in self.tensors().items():
            if tensors:
                kept = tensors[name][: len(tensor)]
                tensor[: len(kept)] = kept


class Reconstruction:
    """The generator's loss on real pictures.

    Args:
        recipe: How.
        rows: Shape of W+, `(num_layers, w_dim)`.
        perceptual: Frozen, on the device.
        critic: Its frozen features are compared as well.
        device: Where everything is.
    """

    def __init__(
        self,
        recipe: Recipe,
        rows: tuple[int, int],
        perceptual: Perceptual,
        critic: ProjectedCritic,
        device: torch.device,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.descents = Descents(recipe, rows, device)
        self._perceptual, self._critic = perceptual, critic

    def add_gradients(
        self, generator: StyleGAN2, pictures: Pictures, step: int, random: torch.Generator
    ) -> dict[str, Tensor]:
        """Add the loss's gradients to the generator's, and move the descents on.

        The loss is the logarithm of each picture's distance: a descent that has come far counts
        as much as one that has just begun.

        Args:
            generator: The one in training.
            pictures: Real ones.
            step: Number of the training's step.
            random: Of the choice.

        Returns:
            Means of the terms, detached.
        """
        descents = self.descents
        if step % SPREAD_STEPS == 0 or not descents.basis.any():
            descents.measure_spread(generator, random_of(self.recipe.seed, step, _SPREAD))
        chosen = descents.pick(self.recipe.reconstructed, len(pictures), random)
        targets = pictures.take(descents.numbers[chosen], self.device)
        offsets = torch.zeros_like(descents.codes[chosen], requires_grad=True)
        codes = descents.codes[chosen] + offsets @ descents.basis
        terms = self._measure(generator, codes, targets)
        distances = (
            terms["mse"]
            + LPIPS_COEFFICIENT * terms["lpips"]
            + FEATURES_COEFFICIENT * terms["features"]
        )
        (self.recipe.reconstruction_coefficient * distances.log().mean()).backward()
        assert offsets.grad is not None
        descents.move(chosen, offsets.grad)
        return {f"real_{name}": term.detach().mean() for name, term in terms.items()}

    def _measure(self, generator: StyleGAN2, codes: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each term `[n]`; networks run in mixed precision, everything else in float32."""
        with mixed_precision(self.device):
            images = generator.synthesize(codes, noise="none")
            found = self._features(images)
            with torch.no_grad():
                wanted = self._features(targets)
        errors = [_relative(a, b) for a, b in zip(found[1:], wanted[1:], strict=True)]
        return {
            "mse": mse(images.float(), targets),
            "lpips": embedded_distance(found[0].float(), wanted[0].float()),
            "features": torch.stack(errors).mean(dim=0),
        }

    def _features(self, images: Tensor) -> list[Tensor]:
        """What LPIPS compares, then the features of each level of the critic."""
        images = images.contiguous(memory_format=torch.channels_last)
        return [self._perceptual.features(images), *self._critic.taps(images)]


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared error of each of n feature maps, as a part of the wanted one's square."""
    found, wanted = found.float().flatten(1), wanted.float().flatten(1)
    error: Tensor = (found - wanted).square().sum(dim=1) / wanted.square().sum(dim=1)
    return error
