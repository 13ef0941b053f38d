"""HyperStyle: a network that tunes a StyleGAN2 to a photo, in a few passes.

It looks at a photo and its reconstruction, and predicts for some of the generator's convolutions
by what part of itself each weight is to change. The latents stay as another encoder found them.

The result is one generator for each photo, where a model of the service has one for all: this is
no method of inversion there, and used from Python alone.

Source: arXiv:2111.15666.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ni_core.encoders.bodies import Body
from ni_core.encoders.deltas import Head, SharedLayer
from ni_core.encoders.protocol import fit_input, fit_rendering
from ni_core.errors import GeneratorMismatchError, InvalidLatentError, InvalidOptionError
from ni_core.generators import Generator, StyleGAN2, to_synthesis_input
from ni_core.generators.tuned import modulated_conv, tuned

_SHRINKING = 16
"""The body's last map has so many times fewer pixels a side than the picture."""


@dataclass(frozen=True)
class Target:
    """A convolution of the generator that is tuned.

    Attributes:
        name: Of the module in the generator, as `layers.0.conv`.
        shape: Of its weight: outputs, inputs, and the kernel's height and width.
        shared: Whether the layer shared by several convolutions of this shape makes its deltas;
            else they are the same all over a kernel.
        hidden: Channels inside its head.
    """

    name: str
    shape: tuple[int, ...]
    shared: bool
    hidden: int


@dataclass(frozen=True)
class HyperStyleConfig:
    """Configuration of HyperStyle.

    Attributes:
        targets: What it tunes.
        code_dim: Numbers that each head first makes of a picture.
        widths: Channels of the body's four groups.
        units: Residual units of each group.
        input_shape: Height and width of the picture in pixels.
        iterations: Passes it was trained for.
    """

    targets: tuple[Target, ...]
    code_dim: int = 512
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 6, 3)
    input_shape: tuple[int, int] = (256, 256)
    iterations: int = 5

    def strides(self, target: Target) -> tuple[int, ...]:
        """Strides of the convolutions of a head: down to one pixel, or about two if averaged."""
        halvings = (max(self.input_shape) // _SHRINKING - 1).bit_length()
        if target.shared:
            return (1,) + (2,) * halvings
        return (2,) * (halvings - 1 if target.shape[-1] > 1 else halvings)


@dataclass(frozen=True)
class Tuning:
    """What HyperStyle found for some photos.

    Attributes:
        generator: The generator that is tuned, as it was.
        deltas: By the name of a convolution, `[n, outputs, inputs, k, k]`, relative to its weight.
        images: Pictures `[n, 3, r, r]`, first those before any pass, then those after each.
    """

    generator: StyleGAN2
    deltas: Mapping[str, Float[Tensor, "n outputs inputs k k"]]
    images: tuple[Float[Tensor, "n 3 r r"], ...]

    def tuned(self, photo: int) -> StyleGAN2:
        """Make the generator of one photo, which shares what is not tuned."""
        return tuned(self.generator, {name: delta[photo] for name, delta in self.deltas.items()})


class HyperStyle(nn.Module):
    """HyperStyle with a ResNet as its body, the network `SharedWeightsHyperNetResNet`."""

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__()
        self.config = config
        self.body = Body("resnet", 6, config.widths, config.units, reduction=1)
        self.heads = nn.ModuleList(_head(config, target) for target in config.targets)
        shared = [target.shape for target in config.targets if target.shared]
        self.shared = SharedLayer(config.code_dim, shared[0]) if shared else None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.body.slope.device

    def freeze(self) -> Self:
        """Set up for inference, without gradients."""
        return self.eval().requires_grad_(False)

    @torch.no_grad()
    def refine(
        self,
        images: Float[Tensor, "n 3 h w"],
        latents: Float[Tensor, "n num_layers w_dim"],
        generator: Generator,
        *,
        steps: int | None = None,
    ) -> Tuning:
        """Find how to tune a generator so that it renders the photos better.

        Args:
            images: RGB in [-1, 1] of any size; see `fit_input`.
            latents: The photos' latents in W+, found by another encoder; those it was trained
                with are in W, and the same in each row.
            generator: The StyleGAN2 it was trained with; stays as it is.
            steps: Passes; None for as many as it was trained for.

        Returns:
            The deltas, summed over all passes, and the pictures.

        Raises:
            GeneratorMismatchError: The generator lacks the convolutions that are tuned.
            InvalidLatentError: The latents do not fit the generator, or the photos in number.
            InvalidOptionError: `steps` is below 1.
        """
        steps = self._steps(steps)
        base = self._fitting(generator)
        latents = to_synthesis_input(base, latents.to(base.device), "w+")
        if len(latents) != len(images):
            raise InvalidLatentError(f"{len(latents)} latents for {len(images)} photos")
        photos = fit_input(images.to(self.device), self.config.input_shape)
        tuning = Tuning(base, {}, (base.synthesize(latents),))
        for _ in range(steps):
            tuning = replace(tuning, deltas=self._refined(photos, tuning))
            tuning = replace(tuning, images=(*tuning.images, _render(tuning, latents)))
        return tuning

    def deltas(self, inputs: Float[Tensor, "n 6 h w"]) -> dict[str, Tensor]:
        """Run the network once.

        Args:
            inputs: Photos and their reconstructions, `input_shape` pixels.

        Returns:
            By the name of a convolution, what is to be added to its deltas.
        """
        last = self.body(inputs)[-1]
        return {
            target.name: self._delta(target, head(last))
            for target, head in zip(self.config.targets, self.heads, strict=True)
        }

    def _delta(self, target: Target, numbers: Tensor) -> Tensor:
        if target.shared and self.shared is not None:
            delta: Tensor = self.shared(numbers)
            return delta
        outputs, inputs, height, width = target.shape
        return numbers.reshape(-1, outputs, inputs, 1, 1).expand(-1, -1, -1, height, width)

    def _refined(self, photos: Tensor, tuning: Tuning) -> dict[str, Tensor]:
        shown = fit_rendering(tuning.images[-1].to(photos), self.config.input_shape)
        found = self.deltas(torch.cat([photos, shown], dim=1))
        if not tuning.deltas:
            return found
        return {name: tuning.deltas[name] + delta for name, delta in found.items()}

    def _steps(self, steps: int | None) -> int:
        if steps is None:
            return self.config.iterations
        if steps < 1:
            raise InvalidOptionError(
                f"steps is {steps}, but must be at least 1", option="steps", value=steps
            )
        return steps

    def _fitting(self, generator: Generator) -> StyleGAN2:
        if not isinstance(generator, StyleGAN2):
            raise GeneratorMismatchError(
                f"HyperStyle tunes a stylegan2, not a {generator.family}", value=generator.family
            )
        for target in self.config.targets:
            modulated_conv(generator, target.name, target.shape)
        return generator


def _head(config: HyperStyleConfig, target: Target) -> Head:
    outputs = config.code_dim if target.shared else target.shape[0] * target.shape[1]
    strides = config.strides(target)
    return Head(config.widths[-1], target.hidden, config.code_dim, outputs, strides)


def _render(tuning: Tuning, latents: Tensor) -> Tensor:
    """Pictures of a batch: each has its own weights, so one is rendered after the other."""
    pairs = enumerate(latents.split(1))
    return torch.cat([tuning.tuned(photo).synthesize(latent) for photo, latent in pairs])
