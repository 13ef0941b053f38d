"""Pictures are brought to an encoder's input by the documented rule."""

import pytest
import torch
import torch.nn.functional as F

from ni_core.encoders import fit_input
from ni_core.encoders.protocol import fit_rendering


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    image = picture(16, 16)
    assert torch.equal(fit_input(image, (16, 16)), image)


@pytest.mark.parametrize("side", [32, 24, 17])
def test_pixels_that_shrink_are_averaged_by_area(side: int) -> None:
    image = picture(side, side)
    assert torch.equal(fit_input(image, (16, 16)), F.interpolate(image, (16, 16), mode="area"))
    assert torch.equal(fit_rendering(image, (16, 16)), fit_input(image, (16, 16)))


def test_pixels_that_grow_are_interpolated_but_those_of_a_rendering_repeated() -> None:
    image = picture(8, 8)
    grown = F.interpolate(image, (16, 16), mode="bilinear", align_corners=False)
    assert torch.equal(fit_input(image, (16, 16)), grown)
    repeated = image.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(fit_rendering(image, (16, 16)), repeated)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 32), (24, 40)])
def test_the_middle_is_cut_where_the_ratio_differs(height: int, width: int) -> None:
    image = picture(height, width)
    top, left = (height - 24) // 2, (width - 32) // 2
    cut = image[:, :, top : top + 24, left : left + 32]
    assert torch.equal(fit_input(image, (12, 16)), F.interpolate(cut, (12, 16), mode="area"))
