"""Philox 4x64-10, a counter-based random generator, at many counters at once.

The same numbers as `numpy.random.Philox`, which walks along one stream; here every row may be
anywhere in it. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
MASK = (1 << 64) - 1
LOW_HALF, HALF_BITS = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(key: int, counters: np.ndarray) -> np.ndarray:
    """Random bits at counters.

    Args:
        key: Of the stream, from 0 to 2**128 - 1.
        counters: Lowest 64 bits of each counter, uint64 of any shape; the others are 0.

    Returns:
        Four numbers for each counter: uint64, one more dimension.
    """
    zero = np.zeros_like(counters)
    a, b, c, d = counters, zero, zero, zero
    first, second = key & MASK, key >> 64
    for _ in range(ROUNDS):
        high_a, low_a = _multiply(a, MULTIPLIERS[0])
        high_c, low_c = _multiply(c, MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ np.uint64(first), low_c, high_a ^ d ^ np.uint64(second), low_a
        first, second = (first + KEY_STEPS[0]) & MASK, (second + KEY_STEPS[1]) & MASK
    return np.stack([a, b, c, d], axis=-1)


def _multiply(values: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower 64 bits of products, by halves."""
    high, low = values >> HALF_BITS, values & LOW_HALF
    factor_high, factor_low = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    cross = high * factor_low + (low * factor_low >> HALF_BITS)
    middle = low * factor_high + (cross & LOW_HALF)
    upper = high * factor_high + (cross >> HALF_BITS) + (middle >> HALF_BITS)
    return upper, values * np.uint64(factor)
