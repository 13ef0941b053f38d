"""Random masks and random views: shapes, ranges, and the same again for the same numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ni_core.training.augmentations import Augmentations, augment, blur, crop, cut_out, recolour
from ni_core.training.masks import blobs, halves, hide, random_masks, rectangles, right_half
from ni_core.training.runs import random_of

STILL = Augmentations(
    side=16, smallest=1.0, aspect=1.0, brightness=0, tint=0, contrast=0, saturation=0,
    blurred=0, cut=0,
)  # fmt: skip


def pictures(n: int = 32, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=random_of(9, 9)) * 2 - 1


@pytest.mark.parametrize(
    ("draw", "least", "most"),
    [(rectangles, 0.03, 0.5), (halves, 0.35, 0.65), (blobs, 0.15, 0.65)],
)
def test_each_kind_of_mask_hides_a_part_of_every_picture(
    draw: Callable[[int, int, torch.Generator], Tensor], least: float, most: float
) -> None:
    known = draw(64, 32, random_of(1, 0))
    assert (known.shape, known.dtype) == ((64, 1, 32, 32), torch.bool)
    hidden = 1 - known.float().mean(dim=(1, 2, 3))
    assert least <= hidden.min() and hidden.max() <= most
    assert hidden.std() > 0.01


def test_halves_are_cut_from_all_four_sides() -> None:
    corners = halves(64, 16, random_of(1, 0))[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert len({tuple(row) for row in corners.tolist()}) == 4


def test_masks_are_the_same_for_the_same_numbers() -> None:
    one, same, other = (random_masks(16, 24, random_of(1, step)) for step in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_what_is_unknown_becomes_grey() -> None:
    hidden = hide(pictures(2, 6), right_half(6))
    assert torch.equal(hidden[..., :3], pictures(2, 6)[..., :3])
    assert not hidden[..., 3:].any()


def test_views_have_their_side_and_stay_in_range() -> None:
    views = augment(pictures(), Augmentations(side=12), random_of(1, 0))
    assert views.shape == (32, 3, 12, 12)
    assert views.abs().max() <= 1
    assert torch.equal(views, augment(pictures(), Augmentations(side=12), random_of(1, 0)))
    assert not torch.equal(views, augment(pictures(), Augmentations(side=12), random_of(1, 1)))


def test_without_changes_a_view_is_the_picture() -> None:
    torch.testing.assert_close(augment(pictures(), STILL, random_of(1, 0)), pictures())


def test_only_flipping_mirrors() -> None:
    mirrored = Augmentations(side=16, smallest=1.0, aspect=1.0, flip=True)
    views = crop(pictures(), mirrored, random_of(1, 0))
    same = (views - pictures()).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 4 < same.sum() < 28
    torch.testing.assert_close(views[~same], pictures()[~same].flip(-1))


def test_colours_change_by_at_most_what_was_asked_for() -> None:
    tinted = Augmentations(brightness=0.1, tint=0.2, contrast=0, saturation=0)
    change = recolour(pictures() * 0.5, tinted, random_of(1, 0)) - pictures() * 0.5
    assert change.std(dim=(2, 3)).max() < 1e-5
    assert 0.15 < change.abs().max() <= 0.3
    grey = pictures().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    paler = Augmentations(brightness=0, tint=0, contrast=0, saturation=0.9)
    torch.testing.assert_close(recolour(grey, paler, random_of(1, 0)), grey)


def test_some_views_are_blurred_and_some_are_cut() -> None:
    blurred = blur(pictures(), Augmentations(blurred=0.5), random_of(1, 0))
    untouched = (blurred == pictures()).flatten(1).all(dim=1)
    assert 4 < untouched.sum() < 28
    assert blurred[~untouched].std() < pictures().std()
    cut = cut_out(pictures(), Augmentations(cut=0.5, cut_side=0.25), random_of(1, 0))
    grey = (cut == 0).all(dim=1).sum(dim=(1, 2))
    assert set(grey.tolist()) == {0, 16}
