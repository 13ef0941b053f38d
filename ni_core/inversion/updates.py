"""How the tensors of a descent are updated: the optimisers, and how their rate rises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ni_core.inversion.options import DescentOptions
from ni_core.inversion.soap import Soap

ADAM_BETAS = 0.9, 0.9
"""Of Adam. Nothing is drawn at random, so a gradient's size of ten steps ago says less about the
next step than the present one does. With 0.999 LPIPS ended 7 % higher at the same rate; see
`docs/decisions.md`."""

_WARM_UP = 0.05
"""Part of the run in which the rate rises once an optimiser begins: it knows no gradient then, and
its first step is as long as the rate says, however near the target is."""

_RESUMED_WARM_UP = 10
"""At least so many steps does the rate rise in a run that goes on with another's latents."""

_OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "soap": Soap,
    "adam": lambda parameters: torch.optim.Adam(parameters, betas=ADAM_BETAS, fused=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, fused=True),
}


class Updates:
    """A new optimiser of some tensors, from its first step on.

    Attributes:
        begun_at: Steps of the run that were done before; 0 for one that remembers no gradient, as
            nothing of it is lost when it begins anew.
    """

    def __init__(
        self, parameters: list[Tensor], name: str, options: DescentOptions, done: int
    ) -> None:
        """Begin with the optimiser of that name after so many steps of the run."""
        self.begun_at = 0 if name == "sgd" else done
        self._parameters = parameters
        self._optimizer = _OPTIMIZERS[name](parameters)
        self._warm_up_steps = _WARM_UP * options.steps if options.ramp else 0.0

    def go_on_from_another_run(self) -> None:
        """Let the rate rise slowly enough for latents that are near their target already."""
        if self.begun_at and self._warm_up_steps:
            self._warm_up_steps = max(self._warm_up_steps, _RESUMED_WARM_UP)

    def step(self, gradients: Sequence[Tensor], step: int, learning_rate: float) -> None:
        """Update every tensor once, at this step of the run."""
        if self._warm_up_steps:
            learning_rate *= min(1.0, (step - self.begun_at) / self._warm_up_steps)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient.contiguous()  # fused optimisers misread views
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
