"""The metrics equal their definitions, computed another way."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ni_core.metrics import compare, mse, psnr, ssim
from ni_core.perceptual import Perceptual
from tests.ni_core.trunks import random_images


def test_mse_is_the_squared_error_by_the_volume() -> None:
    images = torch.zeros(2, 3, 4, 4)
    targets = torch.stack([torch.full((3, 4, 4), 0.5), torch.zeros(3, 4, 4)])
    assert mse(images, targets).tolist() == [0.25, 0]


def test_psnr_counts_from_a_peak_of_two_and_ends_at_100_db() -> None:
    values = psnr(torch.tensor([4.0, 0.04, 0.0]))
    torch.testing.assert_close(values, torch.tensor([0.0, 20.0, 100.0]))


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004 with scipy's filter, on one channel, away from the border."""

    def blur(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, sigma=1.5, radius=5)[5:-5, 5:-5]

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.02**2, 0.06**2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def test_ssim_equals_its_definition() -> None:
    images, noise = random_images(2, 24), random_images(2, 24, seed=1)
    targets = (images + 0.3 * noise).clamp(-1, 1)
    for index, value in enumerate(ssim(images, targets).tolist()):
        channels = zip(images[index].double().numpy(), targets[index].double().numpy(), strict=True)
        expected = np.mean([reference_ssim(x, y) for x, y in channels])
        assert value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("side", [1, 2, 10, 11, 32])
def test_equal_images_are_perfect_at_any_size(side: int, squeeze: Perceptual) -> None:
    images = random_images(2, side)
    for metrics in compare(images, images, squeeze):
        assert metrics == {
            "mse": 0,
            "psnr": pytest.approx(100),
            "ssim": pytest.approx(1, abs=1e-5),
            "lpips": 0,
            "trunk": "random",
        }


def test_each_pair_is_measured_alone_and_says_its_trunk(squeeze: Perceptual) -> None:
    images, targets = random_images(3, 32), random_images(3, 32, seed=1)
    together = compare(images, targets, squeeze)
    alone = [compare(images[i : i + 1], targets[i : i + 1], squeeze)[0] for i in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert one["trunk"] == "random"
        assert one["psnr"] == pytest.approx(10 * math.log10(4 / one["mse"]))
        for key in ("mse", "ssim", "lpips"):
            assert one[key] == pytest.approx(other[key], rel=1e-4)


def test_values_beyond_the_range_count_as_clipped(squeeze: Perceptual) -> None:
    white, beyond = torch.ones(1, 3, 32, 32), torch.full((1, 3, 32, 32), 5.0)
    assert compare(beyond, white, squeeze)[0]["mse"] == 0
