"""Feature networks of other packages, by name: torchvision, timm and open_clip.

Only the architecture comes from the package, and only when it is asked for; weights come from a
file. Layers that classify are left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ni_core.errors import BrokenBundleError

CLASSIFIERS = ("fc", "classifier", "heads", "head")
"""Names of last layers that say which class a picture is of; these are left out."""


class Foreign(nn.Module):
    """A network of another package whose inner results can be seen.

    Args:
        name: `PACKAGE:NAME`.
        stages: Modules whose results are the inner maps.

    Raises:
        BrokenBundleError: The package is not there, or has no such network.
    """

    def __init__(self, name: str, stages: Sequence[str] = ()) -> None:
        super().__init__()
        self.body = architecture(name)
        self.stages = tuple(stages)

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalised pictures `[n, 3, h, w]` to the network's output, `[n, d]`."""
        output: Tensor = self.body(pictures)
        return output.flatten(1)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Results `[n, c, h, w]` of the stages for normalised pictures `[n, 3, h, w]`."""
        seen: dict[str, Tensor] = {}
        hooks = [
            self.body.get_submodule(stage).register_forward_hook(_keep(seen, stage))
            for stage in self.stages
        ]
        try:
            self.body(pictures)
        finally:
            for hook in hooks:
                hook.remove()
        return [seen[stage] for stage in self.stages]


def architecture(name: str) -> nn.Module:
    """Build a network without its classifier, with random weights.

    Args:
        name: `torchvision:NAME`, `timm:NAME` or `open_clip:NAME`.

    Raises:
        BrokenBundleError: The package is not there, or has no such network.
    """
    package, _, model = name.partition(":")
    if package not in PACKAGES or not model:
        raise BrokenBundleError(
            f"feature network {name!r} is not contrastive or PACKAGE:NAME with a package of "
            f"{', '.join(PACKAGES)}",
            value=name,
            limit=list(PACKAGES),
        )
    module, build = PACKAGES[package]
    try:
        network = build(importlib.import_module(module), model)
    except ImportError as error:
        raise BrokenBundleError(
            f"feature network {name} needs the package {package}, which is not installed",
            value=package,
        ) from error
    except Exception as error:  # each package has errors of its own for a name it does not know
        raise BrokenBundleError(f"{package} cannot build {model}: {error}", value=name) from error
    for layer in CLASSIFIERS:
        if isinstance(getattr(network, layer, None), nn.Module):
            setattr(network, layer, nn.Identity())
    return network


def _torchvision(package: Any, model: str) -> nn.Module:
    extra = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    network: nn.Module = package.get_model(model, weights=None, **extra)
    return network


def _timm(package: Any, model: str) -> nn.Module:
    network: nn.Module = package.create_model(model, pretrained=False, num_classes=0)
    return network


def _open_clip(package: Any, model: str) -> nn.Module:
    network: nn.Module = package.create_model(model, pretrained=None).visual
    return network


PACKAGES: dict[str, tuple[str, Callable[[Any, str], nn.Module]]] = {
    "torchvision": ("torchvision.models", _torchvision),
    "timm": ("timm", _timm),
    "open_clip": ("open_clip", _open_clip),
}
"""Module to import and function that builds, by package."""


def _keep(seen: dict[str, Tensor], stage: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[stage] = output

    return hook
