"""The latent discriminator of e4e: is this row a code of W, or did an encoder make it up?

Source: arXiv:2102.02766, with the non-saturating loss and the R1 penalty of arXiv:1801.04406.
Differs: rows come in units of the spread of W.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ni_core.training.runs import joined, optimiser_tensors, part_of, restore_optimiser

WIDTH, LAYERS, SLOPE = 256, 4, 0.2
"""Of the network: plain layers with leaky ReLU."""

POOL_BATCHES = 50
"""So many of the last batches are remembered."""

PENALTY = 2.0
"""Coefficient of R1."""

RATE = 5e-4
"""Learning rate; constant."""


class LatentCritic(nn.Module):
    """A score for each row of W+; high = a code of W."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        widths = [w_dim, *[WIDTH] * (LAYERS - 1)]
        self.layers = nn.ModuleList(nn.Linear(width, WIDTH) for width in widths)
        self.last = nn.Linear(WIDTH, 1)

    def forward(self, rows: Float[Tensor, "n w_dim"]) -> Float[Tensor, " n"]:
        """Score rows in units of the spread of W."""
        for layer in self.layers:
            rows = F.leaky_relu(layer(rows), SLOPE)
        scores: Tensor = self.last(rows)[:, 0]
        return scores


class LatentPool:
    """Rows of the last batches: the discriminator does not forget what the encoder unlearnt.

    Args:
        batch: Rows of a batch.
        w_dim: Size of each.
        device: Where they are kept.
    """

    def __init__(self, batch: int, w_dim: int, device: torch.device) -> None:
        self.rows = torch.zeros(POOL_BATCHES, batch, w_dim, device=device)
        self.added = torch.zeros((), dtype=torch.long)

    def add(self, rows: Tensor) -> None:
        """Put a batch `[batch, w_dim]` in the place of the oldest one."""
        self.rows[int(self.added) % POOL_BATCHES] = rows
        self.added += 1

    def draw(self, n: int, random: torch.Generator) -> Tensor:
        """Rows `[n, w_dim]` at random of those remembered; some batch must have been added."""
        there = self.rows[: int(self.added)].flatten(0, 1)
        return there[torch.randint(len(there), (n,), generator=random).to(there.device)]


class LatentAdversary:
    """The discriminator with its optimiser and its pool.

    Args:
        batch: Rows of each side in a step.
        w_dim: Size of a row.
        device: Where to train.
    """

    def __init__(self, batch: int, w_dim: int, device: torch.device) -> None:
        self.batch = batch
        self.critic = LatentCritic(w_dim).to(device)
        self.pool = LatentPool(batch, w_dim, device)
        self._optimiser = torch.optim.Adam(self.critic.parameters(), lr=RATE, betas=(0.5, 0.99))

    def encoder_loss(self, rows: Float[Tensor, "n w_dim"]) -> Tensor:
        """How little the discriminator takes an encoder's rows for codes of W."""
        self.critic.requires_grad_(False)
        loss = F.softplus(-self.critic(rows)).mean()
        self.critic.requires_grad_(True)
        return loss

    def step(
        self,
        real: Float[Tensor, "n w_dim"],
        fake: Float[Tensor, "m w_dim"],
        random: torch.Generator,
    ) -> dict[str, Tensor]:
        """Train on `batch` codes, and as many rows: half of now, half of the pool.

        Args:
            real: Codes of W, `batch` of them.
            fake: The encoder's rows; some of them are taken.
            random: Decides which.

        Returns:
            Losses by name.
        """
        order = torch.randperm(len(fake), generator=random)
        taken = fake.detach()[order[torch.arange(self.batch) % len(fake)].to(fake.device)]
        self.pool.add(taken)
        half = self.batch // 2
        mixed = torch.cat([taken[half:], self.pool.draw(half, random)])
        loss = F.softplus(self.critic(mixed)).mean() + F.softplus(-self.critic(real)).mean()
        penalty = self._penalty(real)
        self._optimiser.zero_grad(set_to_none=True)
        (loss + PENALTY / 2 * penalty).backward()
        self._optimiser.step()
        return {"critic": loss.detach(), "penalty": penalty.detach()}

    def _penalty(self, real: Tensor) -> Tensor:
        real = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(real).sum(), real, create_graph=True)
        return gradient.square().sum(dim=1).mean()

    def tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, as `part.name`."""
        return joined(
            {
                "critic": self.critic.state_dict(),
                "optimiser": optimiser_tensors(self._optimiser),
                "pool": {"rows": self.pool.rows, "added": self.pool.added},
            }
        )

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.critic.load_state_dict(part_of(tensors, "critic"))
        restore_optimiser(self._optimiser, part_of(tensors, "optimiser"))
        self.pool.rows.copy_(tensors["pool.rows"])
        self.pool.added.copy_(tensors["pool.added"])
