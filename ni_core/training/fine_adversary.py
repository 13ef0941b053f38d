"""A second projected discriminator, on features that read expressions.

The first one's features hardly tell a smile: what they cannot tell they cannot ask for. This one
can join a training that is under way: its heads are its own, and so is their optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ni_core.training.adversary import ProjectedCritic, hinge
from ni_core.training.optimiser import make_adam, moments, parameters_of, remember, set_rate
from ni_core.training.precision import mixed_precision, working_type
from ni_core.training.regressor import Regressor
from ni_core.training.residual_regressor import ResidualRegressor


class FineAdversary:
    """The discriminator and what trains it.

    Args:
        regressor: Frozen features; moved to the device.
        device: Where to train.
    """

    def __init__(self, regressor: ResidualRegressor, device: torch.device) -> None:
        self.critic = projected_critic(regressor, device)
        self.optimiser = make_adam([self.critic], {})

    def step(self, real: Tensor, fake: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Train the heads, then let them judge for the generator.

        Args:
            real: Pictures `[n, 3, r, r]`, augmented.
            fake: Likewise, with the generator's graph behind them.
            rate: Learning rate.

        Returns:
            The generator's loss, and the heads' own, detached.
        """
        trained = parameters_of(self.optimiser)
        with mixed_precision(real.device):
            features = self.critic.project(fake)
            with torch.no_grad():
                wanted = self.critic.project(real)
            own = hinge(
                self.critic.judge(wanted), self.critic.judge([x.detach() for x in features])
            )
        set_rate(self.optimiser, rate)
        self.optimiser.zero_grad(set_to_none=True)
        own.backward()
        self.optimiser.step()
        for parameter in trained:
            parameter.requires_grad_(False)
        with mixed_precision(real.device):
            loss = -torch.stack([s.mean() for s in self.critic.judge(features)]).mean()
        for parameter in trained:
            parameter.requires_grad_(True)
        return loss, own.detach()

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Parts of a checkpoint, by name."""
        return {
            "fine_critic": self.critic.state_dict(),
            "fine_optimiser": moments(self.optimiser),
        }

    def resume(self, critic: Mapping[str, Tensor], optimiser: Mapping[str, Tensor]) -> None:
        """Go on from the parts of a checkpoint; without them, with fresh heads."""
        if critic:
            self.critic.load_state_dict(critic)
            remember(self.optimiser, optimiser)


def projected_critic(
    regressor: Regressor | ResidualRegressor, device: torch.device
) -> ProjectedCritic:
    """Heads of random weights on a frozen regressor, moved to the device in its working type."""
    layout = torch.channels_last
    regressor.to(device, working_type(device), memory_format=layout)  # type: ignore[call-overload]
    critic = ProjectedCritic(regressor)
    return critic.to(device, memory_format=layout)  # type: ignore[call-overload, no-any-return]
