"""Latents, and their two file formats: safetensors (with space and generator) and npy (bare)."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from ni_core.errors import GeneratorMismatchError, InvalidLatentError
from ni_core.generators.protocol import SPACES, Generator, Space, latent_shape, require_space

LatentFormat = Literal["safetensors", "npy"]

MAX_BYTES = 1 << 20
"""Largest latent file that is read, in bytes; w+ of an 18-row generator takes 36 KiB."""

MAX_MAGNITUDE = 1e4
"""Largest absolute number a latent may hold; W of real generators stays below 100."""

_NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Latent:
    """One latent code.

    Attributes:
        tensor: `[z_dim]`, `[w_dim]` or `[num_layers, w_dim]`, float32, on the CPU.
        space: Which of these it is.
        generator: Fingerprint of the generator it belongs to.
    """

    tensor: Tensor
    space: Space
    generator: str


def encode_latent(latent: Latent, format: LatentFormat = "safetensors") -> bytes:
    """Write a latent as a file's bytes.

    Args:
        latent: What to write.
        format: `safetensors` keeps space and generator in the header; `npy` holds the numbers only.

    Returns:
        The file; reading it back gives the numbers bit by bit.
    """
    tensor = latent.tensor.contiguous()
    if format == "npy":
        buffer = io.BytesIO()
        np.save(buffer, tensor.numpy(), allow_pickle=False)
        return buffer.getvalue()
    metadata = {"space": latent.space, "generator": latent.generator}
    return save_safetensors({"latent": tensor}, metadata=metadata)


def decode_latent(data: bytes, generator: Generator, space: Space | None = None) -> Latent:
    """Read a latent from a file's bytes; the format is recognised from the content.

    A leading batch dimension of 1 is dropped. The space is taken from the file, else from
    `space`, else from the shape.

    Args:
        data: A safetensors or npy file of at most `MAX_BYTES`; pickles are never read.
        generator: The generator the latent must fit.
        space: The space of the numbers.

    Returns:
        The latent.

    Raises:
        InvalidLatentError: The bytes, the shape or the numbers are not a latent of this generator.
        GeneratorMismatchError: The file says it belongs to another generator.
    """
    if len(data) > MAX_BYTES:
        raise InvalidLatentError(
            f"latent file of {len(data)} bytes exceeds {MAX_BYTES}",
            value=len(data),
            limit=MAX_BYTES,
        )
    if data.startswith(_NPY_MAGIC):
        return checked_latent(_read_npy(data), generator, space)
    tensor, metadata = _read_safetensors(data)
    owner = metadata.get("generator")
    if owner not in (None, "", generator.fingerprint):
        raise GeneratorMismatchError(
            f"the latent belongs to generator {owner}, not to {generator.fingerprint}",
            value=owner,
            limit=generator.fingerprint,
        )
    written = metadata.get("space")
    if written:
        space = require_space(generator, written)
    return checked_latent(tensor, generator, space)


def latent_from_values(values: Sequence[object], generator: Generator, space: Space) -> Latent:
    """Make a latent from nested lists of numbers, as they come in JSON.

    Raises:
        InvalidLatentError: They are not numbers, or not in the shape of the space.
    """
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidLatentError(f"latent values are not a grid of numbers: {error}") from error
    return checked_latent(torch.from_numpy(array), generator, space)


def checked_latent(tensor: Tensor, generator: Generator, space: Space | None) -> Latent:
    """Return numbers as a latent once they fit the generator.

    Args:
        tensor: Numbers of any real type, with or without a batch dimension of 1.
        generator: The generator they must fit.
        space: Their space; None to tell it from the shape.

    Raises:
        InvalidLatentError: Shape or numbers are not those of a latent.
    """
    shape = tuple(tensor.shape)
    fitting = _fitting_spaces(shape, generator)
    if space is None and len(fitting) == 1:
        space = fitting[0]
    if space is None and fitting:
        raise InvalidLatentError(
            f"shape {list(shape)} fits the spaces {', '.join(fitting)}: name one",
            value=list(shape),
            limit=[str(name) for name in fitting],
        )
    if space is None or space not in fitting:
        wanted = [space] if space else [known for known in SPACES if known in generator.spaces]
        shapes = ", ".join(f"{name} {list(latent_shape(generator, name))}" for name in wanted)
        raise InvalidLatentError(f"shape {list(shape)} does not fit: {shapes}", value=list(shape))
    numbers = tensor.detach().to("cpu", torch.float32).reshape(latent_shape(generator, space))
    largest = float(numbers.abs().max())
    if not largest <= MAX_MAGNITUDE:
        raise InvalidLatentError(
            f"latent holds a number of magnitude {largest}; the limit is {MAX_MAGNITUDE:g}",
            value=str(largest),
            limit=MAX_MAGNITUDE,
        )
    return Latent(numbers.contiguous(), space, generator.fingerprint)


def _fitting_spaces(shape: tuple[int, ...], generator: Generator) -> list[Space]:
    def fits(space: Space) -> bool:
        expected = latent_shape(generator, space)
        return shape in (expected, (1, *expected))

    return [space for space in SPACES if space in generator.spaces and fits(space)]


def _read_npy(data: bytes) -> Tensor:
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = reader(stream)
        numbers = int(np.prod(shape, dtype=object))
        if dtype.kind not in "fiu" or numbers * dtype.itemsize > MAX_BYTES:
            raise InvalidLatentError(
                f"npy array of type {dtype} and shape {list(shape)} is not a latent",
                value=str(dtype),
            )
        stream.seek(0)
        array = np.load(stream, allow_pickle=False)
        return torch.from_numpy(array.astype(np.float32))
    except InvalidLatentError:
        raise
    except Exception as error:  # numpy's reader raises many types on hostile headers
        raise InvalidLatentError("the npy file cannot be read") from error


def _read_safetensors(data: bytes) -> tuple[Tensor, dict[str, str]]:
    try:
        tensors = load_safetensors(data)
        header = _safetensors_metadata(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InvalidLatentError("the file is neither npy nor safetensors") from error
    if len(tensors) != 1:
        raise InvalidLatentError(
            f"the safetensors file holds {len(tensors)} tensors, one is needed",
            value=len(tensors),
            limit=1,
        )
    (tensor,) = tensors.values()
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise InvalidLatentError(f"latent numbers of type {tensor.dtype} are not real numbers")
    return tensor, header


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__") or {})
