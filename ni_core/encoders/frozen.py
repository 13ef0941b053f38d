"""Frozen feature networks: pictures to inner maps and to one vector, whoever trained the network.

Networks: `contrastive` and `reader` are this project's own, one architecture trained in two ways;
`torchvision:NAME`, `timm:NAME` and `open_clip:NAME` are of those packages, and their weights come
from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ni_core.encoders.foreign_features import Foreign
from ni_core.encoders.protocol import fit_input
from ni_core.encoders.residual import ResidualTrunk
from ni_core.errors import BrokenBundleError, InvalidOptionError
from ni_core.generators.unfilled import fields_of, unfilled

CONTRASTIVE, READER = "contrastive", "reader"
"""This project's own network, trained without labels, or to read factors."""


@dataclass(frozen=True)
class FeaturesConfig:
    """Configuration of a feature network.

    Attributes:
        network: `contrastive`, `reader` or `PACKAGE:NAME`.
        side: Pictures are brought to so many pixels.
        widths: Channels of the stem and of each stage; of our own networks alone.
        stages: Modules whose results are the inner maps; of other networks alone.
        stage_widths: Channels of these maps.
        output: Size of the vector of a network without maps.
        mean: Subtracted from each channel of a picture in [-1, 1].
        scale: Each channel is divided by it afterwards.
    """

    network: str = CONTRASTIVE
    side: int = 64
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    stages: tuple[str, ...] = ()
    stage_widths: tuple[int, ...] = ()
    output: int = 0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Check that our own network can halve the pictures in each of its stages."""
        step = 2 ** (len(self.widths) - 1) if self.own else 1
        if self.side < step or self.side % step:
            raise InvalidOptionError(
                f"side is {self.side}, but must be a multiple of {step}",
                option="side",
                value=self.side,
                limit=step,
            )

    @property
    def own(self) -> bool:
        """Whether it is this project's own network."""
        return self.network in (CONTRASTIVE, READER)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the inner maps, the finest first."""
        return self.widths[1:] if self.own else self.stage_widths

    @property
    def vector_dim(self) -> int:
        """Size of the vector."""
        return self.channels[-1] if self.channels else self.output


class FrozenFeatures(nn.Module):
    """A feature network behind one interface.

    Args:
        config: Which network.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.config = config
        self.network: ResidualTrunk | Foreign = (
            ResidualTrunk(3, config.widths)
            if config.own
            else Foreign(config.network, config.stages)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def freeze(self) -> Self:
        """Set up for inference, without gradients to the weights."""
        return self.eval().requires_grad_(False)

    def fold(self) -> Self:
        """Make it as cheap as can be: what is fixed is computed once. Weights lose their names."""
        if isinstance(self.network, ResidualTrunk):
            self.network.fold()
        return self

    def maps(self, images: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Inner feature maps `[n, c, h, w]`, the finest first; none of a network without maps.

        Args:
            images: RGB in [-1, 1] of any size; differentiable.
        """
        return self.network.maps(self._normalised(images))

    def vector(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """One vector for each picture: the last map averaged over positions, or the output.

        Args:
            images: RGB in [-1, 1] of any size; differentiable.
        """
        return self.maps_and_vector(images)[1]

    def maps_and_vector(self, images: Float[Tensor, "n 3 h w"]) -> tuple[list[Tensor], Tensor]:
        """Both in one pass: see `maps` and `vector`."""
        pictures = self._normalised(images)
        if isinstance(self.network, Foreign) and not self.config.channels:
            return [], self.network(pictures)
        maps = self.network.maps(pictures)
        return maps, maps[-1].mean(dim=(2, 3))

    def embedding(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """All inner maps side by side, or the vector of a network without maps.

        Each map has length 1, and so have all together: half the squared distance of two
        embeddings is 1 - cosine, averaged over the maps.

        Args:
            images: RGB in [-1, 1] of any size; differentiable.
        """
        maps, vector = self.maps_and_vector(images)
        parts = [part.float().flatten(1) for part in maps or [vector]]
        units = [nn.functional.normalize(part, dim=1) for part in parts]
        joined: Tensor = torch.cat(units, dim=1) / len(units) ** 0.5
        return joined

    def _normalised(self, images: Tensor) -> Tensor:
        images = fit_input(images.to(self.device), (self.config.side, self.config.side))
        mean, scale = images.new_tensor(self.config.mean), images.new_tensor(self.config.scale)
        return (images - mean.view(3, 1, 1)) / scale.view(3, 1, 1)


def read_features_config(network: str, fields: Mapping[str, Any]) -> FeaturesConfig:
    """Make a configuration from JSON values.

    Raises:
        BrokenBundleError: The fields do not fit, or are of another network.
    """
    try:
        config = FeaturesConfig(**fields_of(fields))
    except (TypeError, InvalidOptionError) as error:
        raise BrokenBundleError(
            f"configuration of the feature network {network} cannot be read: {error}"
        ) from error
    if config.network != network:
        raise BrokenBundleError(
            f"the feature network is called {network}, but its configuration is of "
            f"{config.network}",
            value=network,
            limit=config.network,
        )
    return config


def build_features(config: FeaturesConfig, tensors: Mapping[str, Tensor]) -> FrozenFeatures:
    """Build a frozen feature network around tensors.

    Args:
        config: Which network.
        tensors: Every parameter and buffer, by its name there; half precision is widened.

    Raises:
        BrokenBundleError: The tensors do not fit.
    """
    with unfilled():
        network = FrozenFeatures(config)
    wide = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    try:
        network.load_state_dict(wide, strict=True, assign=True)
    except RuntimeError as error:
        raise BrokenBundleError(
            f"the weights do not fit the feature network {config.network}: {error}"
        ) from error
    return network.freeze()
