"""Latents and their files."""

import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from ni_core.errors import GeneratorMismatchError, InvalidLatentError, SpaceNotAvailableError
from ni_core.generators import StyleGAN2, StyleGAN2Config, tiny_generator
from ni_core.latents import (
    MAX_BYTES,
    Latent,
    LatentFormat,
    checked_latent,
    decode_latent,
    encode_latent,
    latent_from_values,
)

GENERATOR = tiny_generator()
finite = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize("format", ["safetensors", "npy"])
@given(values=st.lists(finite, min_size=6 * 32, max_size=6 * 32))
@settings(max_examples=25, deadline=None)
def test_a_file_gives_the_numbers_back_bit_by_bit(
    format: LatentFormat, values: list[float]
) -> None:
    latent = Latent(torch.tensor(values).reshape(6, 32), "w+", GENERATOR.fingerprint)
    read = decode_latent(encode_latent(latent, format), GENERATOR)
    assert read.space == "w+"
    assert read.generator == GENERATOR.fingerprint
    assert read.tensor.numpy().tobytes() == latent.tensor.numpy().tobytes()


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_latent_or_an_invalid_latent(data: bytes) -> None:
    for start in (b"", b"\x93NUMPY\x01\x00", b"\x40\x00\x00\x00\x00\x00\x00\x00{"):
        with pytest.raises(InvalidLatentError):
            decode_latent(start + data, GENERATOR)


def test_a_pickle_in_an_npy_file_is_never_opened() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidLatentError, match="object"):
        decode_latent(buffer.getvalue(), GENERATOR)
    with pytest.raises(InvalidLatentError):
        decode_latent(pickle.dumps([0.0]), GENERATOR)


def test_an_npy_header_that_claims_terabytes_is_refused_before_memory_is_taken() -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with pytest.raises(InvalidLatentError, match="is not a latent"):
        decode_latent(buffer.getvalue(), GENERATOR)


def test_a_file_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidLatentError, match=f"{MAX_BYTES + 1} bytes exceeds {MAX_BYTES}"):
        decode_latent(b"x" * (MAX_BYTES + 1), GENERATOR)


def test_a_latent_of_another_generator_is_refused() -> None:
    data = encode_latent(Latent(torch.zeros(6, 32), "w+", "tiny-1"))
    with pytest.raises(GeneratorMismatchError, match="tiny-1"):
        decode_latent(data, GENERATOR)


def test_an_ambiguous_shape_needs_the_space() -> None:
    with pytest.raises(InvalidLatentError, match="fits the spaces z, w"):
        checked_latent(torch.zeros(32), GENERATOR, None)
    assert checked_latent(torch.zeros(1, 32), GENERATOR, "w").tensor.shape == (32,)


def test_the_shape_decides_where_only_one_space_fits() -> None:
    generator = StyleGAN2(StyleGAN2Config(8, 16, 32, 1, (8, 8)))
    assert checked_latent(torch.zeros(16), generator, None).space == "z"
    assert checked_latent(torch.zeros(4, 32), generator, None).space == "w+"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e4])
def test_numbers_beyond_the_limit_are_refused(value: float) -> None:
    with pytest.raises(InvalidLatentError, match="limit is 10000"):
        checked_latent(torch.full((6, 32), value), GENERATOR, "w+")


def test_a_wrong_shape_is_refused_with_the_right_one() -> None:
    with pytest.raises(InvalidLatentError, match=r"\[5, 32\] does not fit: w\+ \[6, 32\]"):
        latent_from_values([[0.0] * 32] * 5, GENERATOR, "w+")


@pytest.mark.parametrize("values", [["a"], [[1, 2], [3]], [None], [10**400]])
def test_values_that_are_no_grid_of_numbers_are_refused(values: list[object]) -> None:
    with pytest.raises(InvalidLatentError):
        latent_from_values(values, GENERATOR, "w")


def test_an_unknown_space_in_a_file_is_refused() -> None:
    with pytest.raises(SpaceNotAvailableError, match="'s'"):
        decode_latent(save({"latent": torch.zeros(32)}, metadata={"space": "s"}), GENERATOR)


def test_a_file_of_two_tensors_is_refused() -> None:
    data = save({"a": torch.zeros(6, 32), "b": torch.zeros(6, 32)})
    with pytest.raises(InvalidLatentError, match="2 tensors"):
        decode_latent(data, GENERATOR)
