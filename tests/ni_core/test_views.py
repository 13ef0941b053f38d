"""Views show a picture moved as they say, and always the same ones."""

import pytest
import torch

from ni_core.views import View, first_views
from tests.ni_core.trunks import random_images


def test_the_default_shows_the_picture_as_it_is() -> None:
    pictures = random_images(2, 16)
    assert View().of(pictures) is pictures


def test_a_mirrored_view_swaps_left_and_right() -> None:
    pictures = random_images(2, 16)
    torch.testing.assert_close(View(mirrored=True).of(pictures), pictures.flip(3))


def test_a_shifted_view_goes_on_with_the_edge() -> None:
    pictures = random_images(2, 16)
    seen = View(right=1 / 8, down=-1 / 16).of(pictures)
    torch.testing.assert_close(seen[:, :, 1:, :-2], pictures[:, :, :-1, 2:])
    torch.testing.assert_close(seen[:, :, 1:, -2:], pictures[:, :, :-1, -1:].expand(-1, -1, -1, 2))
    torch.testing.assert_close(seen[:, :, 0], seen[:, :, 1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_view_is_turned_clockwise(quarters: int) -> None:
    """The picture is, so to speak, turned the other way."""
    pictures = random_images(2, 16)
    seen = View(degrees=90.0 * quarters).of(pictures)
    torch.testing.assert_close(seen, pictures.rot90(quarters, dims=(2, 3)))


def test_an_enlarged_view_shows_the_middle() -> None:
    ramp = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(View(zoom=2.0).of(ramp), ramp / 2)


def test_a_mirrored_view_is_the_same_view_of_the_mirrored_picture() -> None:
    pictures = random_images(2, 16)
    placed = {"right": 0.04, "down": -0.03, "degrees": 8.0, "zoom": 1.1}
    seen = View(mirrored=True, **placed).of(pictures)
    torch.testing.assert_close(seen, View(**placed).of(pictures.flip(3)))


def test_gradients_flow_through_every_view() -> None:
    for view in first_views(6):
        pictures = random_images(1, 16).requires_grad_()
        view.of(pictures).square().sum().backward()
        assert pictures.grad is not None and (pictures.grad != 0).float().mean() > 0.5


def test_the_sequence_is_fixed_and_begins_with_the_picture_itself() -> None:
    assert first_views(1) == [View()]
    assert first_views(16)[:5] == first_views(5)
    assert len(set(first_views(64))) == 64
    assert [view.mirrored for view in first_views(4)] == [False, True, False, True]
