"""The fast convolution against the plain one."""

import pytest
import torch
import torch.nn.functional as F

from ni_core.generators import winograd


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 5, 12, 16), (2, 300, 32, 32)])
def test_pictures_and_gradients_equal_those_of_a_plain_convolution(
    shape: tuple[int, int, int, int],
) -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=source).requires_grad_()
    weight = torch.randn(6, shape[1], 3, 3, generator=source) / (3 * shape[1] ** 0.5)
    plain = F.conv2d(x, weight, padding=1)
    fast = winograd.convolve(x, winograd.transform(weight))
    torch.testing.assert_close(fast, plain, atol=6e-5, rtol=0)
    towards = torch.randn(plain.shape, generator=source)
    (expected,) = torch.autograd.grad(plain, x, towards)
    (found,) = torch.autograd.grad(fast, x, towards)
    torch.testing.assert_close(found, expected, atol=6e-5, rtol=0)
