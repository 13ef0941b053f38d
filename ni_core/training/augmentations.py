"""Random changes of pictures that leave what is in them: the views of contrastive learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentations:
    """How far pictures are changed.

    Attributes:
        side: Of a view in pixels.
        smallest: Least part of the picture's area that a view shows; the most is all of it.
        aspect: Largest ratio of the sides of what is shown.
        flip: Whether half of the views are mirrored. Off by default: whoever reads latents from
            the features must tell left from right.
        brightness: Largest amount added to all channels.
        tint: Largest amount added to each channel.
        contrast: Largest part by which contrast grows or falls.
        saturation: Largest part by which saturation grows or falls.
        blurred: Part of the views that are blurred.
        cut: Part of the views that get a grey square.
        cut_side: Side of the square as part of the view's.
    """

    side: int = 48
    smallest: float = 0.6
    aspect: float = 1.15
    flip: bool = False
    brightness: float = 0.15
    tint: float = 0.15
    contrast: float = 0.25
    saturation: float = 0.4
    blurred: float = 0.3
    cut: float = 0.5
    cut_side: float = 0.35


def augment(
    pictures: Float[Tensor, "n 3 h w"], how: Augmentations, random: torch.Generator
) -> Float[Tensor, "n 3 side side"]:
    """Change each picture in its own way.

    Args:
        pictures: RGB in [-1, 1].
        how: How far.
        random: On the CPU; the same one gives the same views.

    Returns:
        Views in [-1, 1], on the pictures' device.
    """
    views = crop(pictures, how, random)
    views = recolour(views, how, random)
    return cut_out(blur(views, how, random), how, random)


def crop(pictures: Tensor, how: Augmentations, random: torch.Generator) -> Tensor:
    """Cut a random rectangle out of each picture and bring it to the views' side."""
    n = len(pictures)
    area = _between(n, how.smallest, 1.0, random)
    aspect = _between(n, -1.0, 1.0, random).mul(torch.tensor(how.aspect).log() / 2).exp()
    half = torch.stack([(area.sqrt() * aspect).clamp(max=1), (area.sqrt() / aspect).clamp(max=1)])
    centre = (1 - half) * torch.empty(2, n).uniform_(-1, 1, generator=random)
    mirrored = torch.rand(n, generator=random) < 0.5
    sign = torch.where(mirrored & how.flip, -1.0, 1.0)
    zero = torch.zeros(n)
    rows = [half[0] * sign, zero, centre[0], zero, half[1], centre[1]]
    theta = torch.stack(rows, dim=1).view(n, 2, 3).to(pictures.device)
    grid = functional.affine_grid(theta, [n, 3, how.side, how.side], align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def recolour(pictures: Tensor, how: Augmentations, random: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each picture a little."""
    n = len(pictures)

    def amounts(most: float) -> Tensor:
        return _between(n, -most, most, random).view(n, 1, 1, 1).to(pictures.device)

    grey = pictures.mean(dim=1, keepdim=True)
    pictures = grey + (pictures - grey) * (1 + amounts(how.saturation))
    middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
    pictures = middle + (pictures - middle) * (1 + amounts(how.contrast))
    tint = _between(3 * n, -how.tint, how.tint, random).view(n, 3, 1, 1).to(pictures.device)
    return (pictures + amounts(how.brightness) + tint).clamp(-1, 1)


def blur(pictures: Tensor, how: Augmentations, random: torch.Generator) -> Tensor:
    """Blur some of the pictures with the 3x3 binomial kernel."""
    chosen = torch.rand(len(pictures), generator=random) < how.blurred
    line = pictures.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(pictures.shape[1], 1, 3, 3)
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    blurred = functional.conv2d(padded, kernel, groups=pictures.shape[1])
    return torch.where(chosen.view(-1, 1, 1, 1).to(pictures.device), blurred, pictures)


def cut_out(pictures: Tensor, how: Augmentations, random: torch.Generator) -> Tensor:
    """Put a grey square somewhere on some of the pictures."""
    n, side = len(pictures), pictures.shape[-1]
    size = round(side * how.cut_side)
    chosen = torch.rand(n, 1, generator=random) < how.cut
    corner = torch.randint(0, side - size + 1, (2, n, 1), generator=random)
    offset = torch.arange(side) - corner
    inside = (offset >= 0) & (offset < size)
    hidden = (inside[0] & chosen)[:, :, None] & inside[1][:, None, :]
    return pictures.masked_fill(hidden[:, None].to(pictures.device), 0.0)


def _between(n: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=random)
