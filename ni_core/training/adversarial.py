"""Adversarial training of a StyleGAN2 as one object that can be saved and resumed exactly."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.perceptual import Perceptual
from ni_core.training.adversary import (
    MIXED_WIDTH,
    PixelCritic,
    augment,
    gradient_penalty,
    hinge,
)
from ni_core.training.checkpoint import Checkpoint
from ni_core.training.fine_adversary import FineAdversary, projected_critic
from ni_core.training.optimiser import make_adam, moments, parameters_of, remember, set_rate
from ni_core.training.picture_set import Pictures
from ni_core.training.precision import mixed_precision, working_type
from ni_core.training.recipes import Recipe
from ni_core.training.reconstruction import Reconstruction
from ni_core.training.regressor import Regressor
from ni_core.training.residual_regressor import ResidualRegressor

CALIBRATION_PICTURES = 256
"""Pictures that set the scales of the critic's taps and the generator's mean colour."""


@dataclass(frozen=True)
class Guides:
    """Frozen networks that look at the pictures.

    Attributes:
        regressor: Features of the projected critic.
        fine: Features of a second one, which read expressions; None without it.
        perceptual: Distance of reconstructions, for a recipe that has some.
    """

    regressor: Regressor
    fine: ResidualRegressor | None = None
    perceptual: Perceptual | None = None


class AdversarialRun:
    """Networks, optimisers and counter of one run.

    The random numbers of a step depend on the seed and the step alone, so a resumed run
    repeats an uninterrupted one bit by bit on the same machine and thread count.

    Args:
        config: The generator's architecture.
        recipe: How to train.
        pictures: Real pictures.
        guides: Frozen networks; they are moved to the device.
        device: Where to train.
    """

    def __init__(
        self,
        config: StyleGAN2Config,
        recipe: Recipe,
        pictures: Pictures,
        guides: Guides,
        device: torch.device,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.pictures, self.device, self.seen = recipe, pictures, device, 0
        self.generator = StyleGAN2(config)
        self.critic = projected_critic(guides.regressor, device)
        self.pixel_critic = PixelCritic(config.resolution, recipe.pixel_widths)
        self.reader = nn.Linear(MIXED_WIDTH * (config.resolution // 16) ** 2, config.z_dim)
        self.fine = FineAdversary(guides.fine, device) if guides.fine else None
        for network in self._networks().values():
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._start_from_data()
        self.reconstruction = self._make_reconstruction(guides.perceptual)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator_optimiser = make_adam(
            [self.generator, self.reader], self.generator.parameter_gains()
        )
        self.critic_optimiser = make_adam(
            [self.critic, self.pixel_critic], self.pixel_critic.parameter_gains()
        )

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "critic": self.critic,
            "pixel_critic": self.pixel_critic,
            "reader": self.reader,
        }

    def _make_reconstruction(self, perceptual: Perceptual | None) -> Reconstruction | None:
        if self.recipe.reconstruct_from is None:
            return None
        if perceptual is None:
            raise ValueError("a recipe that reconstructs needs a perceptual distance")
        rows = (self.generator.num_layers, self.generator.w_dim)
        perceptual.to(self.device)
        critic = self.fine.critic if self.fine else self.critic
        return Reconstruction(self.recipe, rows, perceptual, critic, self.device)

    @torch.no_grad()
    def _start_from_data(self) -> None:
        """Calibrate the critics; start RGB outputs faint and in the data's mean colour."""
        n = min(CALIBRATION_PICTURES, len(self.pictures))
        real = self.pictures.take(torch.arange(n), self.device)
        for critic in (self.critic, *([self.fine.critic] if self.fine else [])):
            critic.calibrate(real.to(working_type(self.device)))
        for to_rgb in self.generator.to_rgbs:
            to_rgb.conv.weight.mul_(0.1)  # type: ignore[union-attr, operator]
        self.generator.to_rgbs[0].bias.copy_(real.mean(dim=(0, 2, 3)))  # type: ignore[operator]

    @property
    def settled(self) -> bool:
        """Whether the last, calmer part of the training has begun."""
        return self.seen >= self.recipe.settle

    def step(self) -> dict[str, Tensor]:
        """Train both sides on one batch.

        Returns:
            Losses by name, detached scalars.
        """
        number = self.seen // self.recipe.batch
        random = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        self._set_rates()
        indices = torch.randint(len(self.pictures), (self.recipe.batch,), generator=random)
        real = _channels_last(self.pictures.take(indices, self.device))
        z = torch.randn(self.recipe.batch, self.generator.z_dim, generator=random).to(self.device)
        with mixed_precision(self.device):
            fake = _channels_last(self.generator.synthesize(self._styles(z, random), noise="none"))
            shown = [_channels_last(augment(pictures, random)) for pictures in (fake, real)]
            features = self.critic.project(shown[0])
            with torch.no_grad():
                real_features = self.critic.project(shown[1])
        losses = self._step_critics(
            real, fake.detach(), real_features, [x.detach() for x in features]
        )
        asked, fine = self._step_fine(shown[1], shown[0])
        losses |= fine | self._step_generator(fake, features, z, asked, random)
        self.seen += self.recipe.batch
        self._average_weights()
        return losses

    @property
    def _calm(self) -> float:
        """Factor of the learning rates."""
        return 0.5 if self.settled else 1.0

    def _set_rates(self) -> None:
        set_rate(self.generator_optimiser, self._calm * self.recipe.generator_rate)
        set_rate(self.critic_optimiser, self._calm * self.recipe.critic_rate)

    def _styles(self, z: Tensor, random: torch.Generator) -> Tensor:
        """Styles of the batch; after settling, some with the fine rows of another picture."""
        w_plus = self.generator.broadcast(self.generator.map(z))
        if not self.settled:
            return w_plus
        n, rows, _ = w_plus.shape
        crossover = torch.randint(1, rows, (n, 1, 1), generator=random)
        mixed = torch.rand(n, 1, 1, generator=random) < self.recipe.mixing
        swap = mixed & (torch.arange(rows)[None, :, None] >= crossover)
        return torch.where(swap.to(self.device), w_plus.roll(1, dims=0), w_plus)

    def _step_critics(
        self, real: Tensor, fake: Tensor, real_features: list[Tensor], fake_features: list[Tensor]
    ) -> dict[str, Tensor]:
        n, number = len(real), self.seen // self.recipe.batch
        with mixed_precision(self.device):
            judged = self.critic.judge(
                [torch.cat(pair) for pair in zip(real_features, fake_features, strict=True)]
            )
            scores = self.pixel_critic(torch.cat([real, fake]))
        projected = hinge([s[:n] for s in judged], [s[n:] for s in judged])
        pixel = functional.softplus(-scores[:n]).mean() + functional.softplus(scores[n:]).mean()
        loss = projected + pixel
        if number % self.recipe.penalty_interval == 0:
            gamma = self.recipe.penalty_coefficient * self.recipe.penalty_interval / 2
            loss = loss + gamma * gradient_penalty(self.pixel_critic, real)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        return {"critic": projected.detach(), "pixel_critic": pixel.detach()}

    def _step_fine(self, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the second projected critic asks of the generator, and its losses."""
        if self.fine is None:
            return fake.new_zeros(()), {}
        asked, own = self.fine.step(real, fake, self._calm * self.recipe.critic_rate)
        return asked, {"fine_critic": own, "fine_generator": asked.detach()}

    def _step_generator(
        self,
        fake: Tensor,
        features: list[Tensor],
        z: Tensor,
        asked: Tensor,
        random: torch.Generator,
    ) -> dict[str, Tensor]:
        trained = parameters_of(self.critic_optimiser)
        for parameter in trained:
            parameter.requires_grad_(False)
        with mixed_precision(self.device):
            projected = -torch.stack([s.mean() for s in self.critic.judge(features)]).mean()
            pixel = functional.softplus(-self.pixel_critic(fake)).mean()
            read = self.reader(features[-1].flatten(1))
        target = z * z.square().mean(dim=1, keepdim=True).rsqrt()
        information = functional.mse_loss(read.float(), target)
        loss = (
            projected
            + self.recipe.fine_coefficient * asked
            + self.recipe.pixel_coefficient * pixel
            + self.recipe.information_coefficient * information
        )
        self.generator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        reconstruction = self._reconstruct(random)
        self.generator_optimiser.step()
        for parameter in trained:
            parameter.requires_grad_(True)
        return {
            "generator": projected.detach(),
            "pixel_generator": pixel.detach(),
            "information": information.detach(),
            **reconstruction,
        }

    def _reconstruct(self, random: torch.Generator) -> dict[str, Tensor]:
        """Gradients of the loss on real pictures, once the recipe asks for it."""
        if self.reconstruction is None or self.seen < (self.recipe.reconstruct_from or 0):
            return {}
        step = self.seen // self.recipe.batch
        return self.reconstruction.add_gradients(self.generator, self.pictures, step, random)

    @torch.no_grad()
    def _average_weights(self) -> None:
        half_life = max(min(self.recipe.average, self.seen / 20), 500.0)
        kept = 0.5 ** (self.recipe.batch / half_life)
        pairs = zip(self.average.parameters(), self.generator.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current, 1 - kept)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Pictures `[n, 3, r, r]` of the averaged weights; the same latents every time."""
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(n, self.average.z_dim, generator=random).to(self.device)
        w_plus = self.average.broadcast(self.average.map(z))
        return torch.cat([self.average.synthesize(part, noise="none") for part in w_plus.split(32)])

    def tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs besides `seen`, as `part.name`."""
        parts: dict[str, Mapping[str, Tensor]] = {
            name: network.state_dict() for name, network in self._kept_networks().items()
        }
        parts |= {name: moments(optimiser) for name, optimiser in self._optimisers().items()}
        if self.fine:
            parts |= self.fine.tensors()
        if self.reconstruction:
            parts["descents"] = self.reconstruction.descents.tensors()
        return {f"{part}.{name}": value for part in parts for name, value in parts[part].items()}

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of a run with the same architectures, on any device."""
        self.seen = checkpoint.seen
        for name, network in self._kept_networks().items():
            network.load_state_dict(checkpoint.part(name))
        for name, optimiser in self._optimisers().items():
            remember(optimiser, checkpoint.part(name))
        if self.fine:
            self.fine.resume(checkpoint.part("fine_critic"), checkpoint.part("fine_optimiser"))
        if self.reconstruction:
            self.reconstruction.descents.resume(checkpoint.part("descents"))

    def _kept_networks(self) -> dict[str, nn.Module]:
        return {**self._networks(), "average": self.average}

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        return {
            "generator_optimiser": self.generator_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }


def _channels_last(pictures: Tensor) -> Tensor:
    return pictures.contiguous(memory_format=torch.channels_last)
