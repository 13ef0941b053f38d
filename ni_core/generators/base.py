"""What the networks of all families share: what they tell of themselves, and what lacks W."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from ni_core.generators.protocol import Prior, Space, no_w


class GeneratorConfig(Protocol):
    """What a configuration tells of its generator before any weight is read."""

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        ...

    @property
    def z_dim(self) -> int:
        """Size of z."""
        ...

    @property
    def w_dim(self) -> int:
        """Size of w; 0 without W."""
        ...

    @property
    def num_layers(self) -> int:
        """Rows of W+; 0 without W."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes of a conditional generator; 0 for others."""
        ...

    @property
    def prior(self) -> Prior:
        """Law of every number of z."""
        ...

    @property
    def spaces(self) -> frozenset[Space]:
        """Latent spaces it has."""
        ...


class GeneratorNetwork(nn.Module):
    """A network behind the `Generator` protocol: its facts, taken from its configuration.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    normalises_z: bool = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.fingerprint = ""
        self.resolution = config.resolution
        self.z_dim = config.z_dim
        self.w_dim = config.w_dim
        self.num_layers = config.num_layers
        self.num_classes = config.num_classes
        self.prior: Prior = config.prior
        self.spaces: frozenset[Space] = config.spaces
        self.noise_shapes: tuple[tuple[int, int], ...] = ()


class ZOnlyNetwork(GeneratorNetwork):
    """A network that takes z: it has no W to map to."""

    family: str

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """There is no W.

        Raises:
            SpaceNotAvailableError: Always.
        """
        raise no_w(self.family)

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """There is no W.

        Raises:
            SpaceNotAvailableError: Always.
        """
        raise no_w(self.family)
