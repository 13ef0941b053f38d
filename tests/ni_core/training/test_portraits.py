from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ni_core.training.portraits import (
    FACTOR_NAMES,
    FACTORS,
    Factor,
    column,
    factors_at,
    geometry,
    neutral_factors,
    render,
    sample_factors,
    surfaces,
)

SIDE = 32


def changed(name: str, low: float, high: float, **fixed: float) -> torch.Tensor:
    """How much each pixel `[r, r]` of a neutral portrait changes with one factor."""
    factors = neutral_factors(2)
    for other, value in fixed.items():
        factors[:, column(other)] = value
    factors[:, column(name)] = torch.tensor([low, high])
    first, second = render(factors, SIDE)
    return (first - second).abs().mean(dim=0)


def test_a_picture_has_the_same_factors_in_any_batch() -> None:
    together = sample_factors(3, 100, 50)
    assert torch.equal(together[20:30], sample_factors(3, 120, 10))
    assert torch.equal(together[[40, 7]], factors_at(3, torch.tensor([140, 107])))


def test_streams_of_different_seeds_differ() -> None:
    assert not torch.equal(sample_factors(1, 0, 4), sample_factors(2, 0, 4))


def test_factors_keep_to_their_ranges_and_fill_them() -> None:
    drawn = sample_factors(0, 0, 4000)
    for index, factor in enumerate(FACTORS):
        values = drawn[:, index]
        assert factor.low <= values.min() and values.max() <= factor.high
        assert values.max() - values.min() > 0.95 * (factor.high - factor.low)


def test_laws_have_their_shares() -> None:
    drawn = sample_factors(0, 0, 4000)
    assert (drawn[:, column("glasses")] == 1).float().mean() == pytest.approx(0.4, abs=0.03)
    assert (drawn[:, column("beard")] == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert drawn[:, column("yaw")].mean() == pytest.approx(0, abs=0.03)


def test_an_unknown_factor_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="'age'"):
        column("age")


def test_a_picture_does_not_depend_on_its_batch() -> None:
    factors = sample_factors(5, 0, 20)
    pictures = render(factors, SIDE)
    assert pictures.shape == (20, 3, SIDE, SIDE)
    assert pictures.min() >= -1 and pictures.max() <= 1
    torch.testing.assert_close(render(factors[13:14], SIDE), pictures[13:14], atol=2e-4, rtol=0)


@pytest.mark.parametrize("factor", FACTORS, ids=FACTOR_NAMES)
def test_every_factor_changes_the_picture(factor: Factor) -> None:
    fixed = {} if factor.name == "light_warmth" else {"light_contrast": 0.5}
    assert changed(factor.name, factor.low, factor.high, **fixed).max() > 0.05


def test_background_changes_the_corners_and_not_the_face() -> None:
    change = changed("background_light", 0, 1)
    assert change[:3, :3].mean() > 0.3
    assert change[14:20, 12:20].max() == 0


def test_glasses_change_the_eyes_and_not_the_clothes() -> None:
    change = changed("glasses", 0, 1)
    assert change[10:18, 8:24].mean() > 0.03
    assert change[-3:].max() < 1e-6


def test_an_open_mouth_changes_the_lower_face_and_not_the_background() -> None:
    change = changed("mouth_open", 0, 1)
    assert change[18:26, 11:21].mean() > 0.02
    assert change[:4, :4].max() == 0


def test_yaw_turns_the_mouth_to_its_side() -> None:
    factors = neutral_factors(2)
    factors[:, column("yaw")] = torch.tensor([-0.8, 0.8])
    open_mouth = factors.clone()
    open_mouth[:, column("mouth_open")] = 1
    change = (render(factors, SIDE) - render(open_mouth, SIDE)).square().mean(dim=1)
    columns = torch.arange(SIDE).float()
    left, right = (change.sum(dim=1) * columns).sum(dim=1) / change.sum(dim=(1, 2))
    assert left + 3 < right


def test_light_comes_from_the_side_its_azimuth_names() -> None:
    factors = neutral_factors(2)
    factors[:, column("light_azimuth")] = torch.tensor([-1.2, 1.2])
    from_left, from_right = render(factors, SIDE)
    half = SIDE // 2
    face = slice(12, 22)
    assert from_left[:, face, 9:half].mean() > from_left[:, face, half:23].mean() + 0.1
    assert from_right[:, face, half:23].mean() > from_right[:, face, 9:half].mean() + 0.1


def test_portraits_look_as_they_always_did() -> None:
    """Pictures of seed 7 as the first version of the renderer drew them: 2 rows of 6."""
    sheet = np.asarray(Image.open(Path(__file__).with_name("portraits_seed_7.png")))
    before = sheet.reshape(2, 64, 6, 64, 3).transpose(0, 2, 4, 1, 3).reshape(12, 3, 64, 64)
    now = render(sample_factors(7, 0, 12), 64).add(1).mul(127.5).round().numpy()
    assert np.abs(now - before).max() <= 2


def test_windows_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone a picture is drawn in small windows; without outlines, as on a GPU, in whole ones."""
    factors = sample_factors(11, 0, 24)
    alone = torch.cat([render(row[None], SIDE) for row in factors])
    for module in (geometry, surfaces):
        monkeypatch.setattr(module, "outlines", lambda rectangles: [])
    assert (render(factors, SIDE) - alone).abs().max() < 2 / 127.5


def test_factors_at_scattered_indices_are_those_of_the_stream() -> None:
    indices = torch.tensor([5, 0, (1 << 30) + 3, 1 << 40, 5])
    for seed in (0, 1, 2**40):
        rows = [sample_factors(seed, index, 1) for index in indices.tolist()]
        assert torch.equal(factors_at(seed, indices), torch.cat(rows))
