"""LPIPS (arXiv:1801.03924) on a feature network that is already here: nothing is downloaded.

The definition is that of the `lpips` package, and so are the network and the calibrated channel
weights. What differs is the way it is computed: a picture's features are one vector, so that the
features of a target that does not change are computed once.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ni_core.errors import BrokenBundleError

Architecture = Literal["squeeze", "alex", "vgg"]
"""Trunks by the package's names: torchvision's squeezenet1_1, alexnet and vgg16."""

_MINIMUM_SIDE_PX = {"squeeze": 17, "alex": 31, "vgg": 16}
"""Smaller images leave the deepest layer of the trunk without a pixel."""


_TOGETHER_PX = 2**15
"""Up to so many pixels two batches go through the trunk as one: 1.25 times faster at 64 px."""


class Perceptual(nn.Module):
    """Frozen perceptual distance.

    Attributes:
        trunk: Name of the feature network; reported beside every distance.
        network: The `lpips.LPIPS` whose values these are.
    """

    def __init__(self, network: nn.Module, *, trunk: str, minimum_side: int) -> None:
        """Wrap a frozen `lpips.LPIPS`; see `load_perceptual`."""
        super().__init__()
        self.trunk = trunk
        self.network: Any = network
        self._minimum_side = minimum_side

    def features(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Compute the vectors whose `embedded_distance` is LPIPS.

        Each position's features have length 1, weighted by the square root of the channel weights
        and of 1 / positions. Images too small for the trunk are enlarged first.
        """
        scaled = self.network.scaling_layer(self._enlarge(images))
        layers = []
        for index, raw in enumerate(self.network.net(scaled)):
            length = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
            scale = 1 / ((length + 1e-10) * math.sqrt(raw.shape[2] * raw.shape[3]))
            layers.append((raw * scale * self._channel_weights(index)).flatten(1))
        return torch.cat(layers, dim=1)

    def forward(
        self, images: Float[Tensor, "n 3 h w"], targets: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, " n"]:
        """LPIPS of each pair of images, RGB in [-1, 1]."""
        if images[:, 0].numel() <= _TOGETHER_PX:
            return embedded_distance(*self.features(torch.cat([images, targets])).chunk(2))
        return embedded_distance(self.features(images), self.features(targets))

    def _enlarge(self, images: Tensor) -> Tensor:
        factor = math.ceil(self._minimum_side / min(images.shape[2:]))
        if factor == 1:
            return images
        return interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False)

    def _channel_weights(self, layer: int) -> Tensor | float:
        if not self.network.lpips:
            return 1.0
        weights: Tensor = self.network.lins[layer].model[-1].weight
        return weights.sqrt()


def embedded_distance(
    found: Float[Tensor, "n d"], wanted: Float[Tensor, "n d"]
) -> Float[Tensor, " n"]:
    """Squared Euclidean distance of each pair: LPIPS, if these are `Perceptual.features`."""
    return (found - wanted).square().sum(dim=1)


def load_perceptual(
    source: Path | Mapping[str, Tensor],
    *,
    architecture: Architecture,
    name: str,
    calibrated: bool,
) -> Perceptual:
    """Build LPIPS on given trunk weights.

    Args:
        source: Weights under torchvision's keys, `features.N...`: a safetensors file, a file of
            `torch.save` (read with `weights_only`), or the tensors. Half precision is widened;
            other keys, such as a classifier's, are ignored.
        architecture: Which network the weights are of.
        name: Reported as `trunk` with every distance.
        calibrated: Weight the channels as the package does. Those weights were fitted to human
            judgements on torchvision's ImageNet trunks, so they mean nothing for a trunk trained
            otherwise: its channels then all count 1.

    Returns:
        A frozen distance on the CPU; gradients flow to the images only.

    Raises:
        BrokenBundleError: The file cannot be read or does not hold this architecture.
    """
    tensors = _read(source) if isinstance(source, Path) else source
    network = _build(architecture, calibrated)
    _load_trunk(network.net, tensors, architecture)
    perceptual = Perceptual(network, trunk=name, minimum_side=_MINIMUM_SIDE_PX[architecture])
    return perceptual.eval().requires_grad_(False)


def _build(architecture: Architecture, calibrated: bool) -> Any:
    """An `lpips.LPIPS` without trunk weights.

    It is built without storage: torchvision would fill a whole classifier with random numbers.
    """
    lpips = importlib.import_module("lpips")  # takes seconds, so only who needs it pays
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # it uses torchvision's deprecated arguments
        network = lpips.LPIPS(
            net=architecture, pretrained=False, pnet_rand=True, lpips=calibrated, verbose=False
        )
    network.scaling_layer = lpips.lpips.ScalingLayer()
    if calibrated:
        path = Path(lpips.__path__[0]) / "weights" / "v0.1" / f"{architecture}.pth"
        weights = torch.load(path, map_location="cpu", weights_only=True)
        _, unexpected = network.load_state_dict(weights, strict=False, assign=True)
        assert not unexpected
    return network


def _load_trunk(net: nn.Module, tensors: Mapping[str, Tensor], architecture: str) -> None:
    """Load torchvision's `features.N.rest`, which is `sliceK.N.rest` in the package's trunk."""
    state = {}
    for key, parameter in net.state_dict().items():
        source = "features." + key.split(".", 1)[1]
        found = tensors.get(source)
        if found is None or found.shape != parameter.shape:
            shape = "missing" if found is None else f"of shape {list(found.shape)}"
            raise BrokenBundleError(
                f"the trunk is not {architecture!r}: {source} is {shape}, "
                f"should be {list(parameter.shape)}",
                key=source,
                limit=list(parameter.shape),
            )
        state[key] = found.detach().float()
    net.load_state_dict(state, assign=True)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        with path.open("rb") as file:
            if file.read(9)[8:] == b"{":
                return load_file(path)
            file.seek(0)
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # readers of damaged files raise nearly every class
        raise BrokenBundleError(f"the trunk weights in {path.name} cannot be read") from error
    if not isinstance(tensors, Mapping):
        raise BrokenBundleError(f"{path.name} holds {type(tensors).__name__}, not named tensors")
    return tensors
