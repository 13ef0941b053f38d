"""Checkpoints of other systems: one file format per module, all read without running code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ni_core.checkpoints import (
    dcgan,
    exported,
    genforce_pggan,
    genforce_stylegan1,
    genforce_stylegan2,
    hyperstyle,
    idinvert,
    idinvert_encoder,
    lernapparat,
    nvidia_stylegan2,
    nvidia_stylegan3,
    psp,
    rosinality,
    rosinality_stylegan1,
    tensorflow,
)
from ni_core.checkpoints.checkpoint import EncoderCheckpoint, GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import owned
from ni_core.checkpoints.document import Document, open_document
from ni_core.checkpoints.layout import read_json
from ni_core.encoders import Encoder, build_encoder
from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.generators.protocol import Generator

__all__ = [
    "READERS",
    "EncoderCheckpoint",
    "GeneratorCheckpoint",
    "Reader",
    "load_encoder",
    "load_generator",
    "read_encoder",
    "read_generator",
]

READERS: tuple[Reader, ...] = (
    *psp.READERS,
    *hyperstyle.READERS,
    *idinvert_encoder.READERS,
    *rosinality.READERS,
    *genforce_stylegan2.READERS,
    *genforce_stylegan1.READERS,
    *genforce_pggan.READERS,
    *idinvert.READERS,
    *lernapparat.READERS,
    *rosinality_stylegan1.READERS,
    *nvidia_stylegan2.READERS,
    *nvidia_stylegan3.READERS,
    *tensorflow.READERS,
    *exported.READERS,
    *dcgan.READERS,
)
"""All formats; the first one that matches reads the file."""


def load_generator(
    path: str | Path, *, resolution: int | None = None, layout: Path | None = None
) -> Generator:
    """Load a generator from a checkpoint of any known format.

    Args:
        path: The file; its format is recognised from the content, never from the name.
        resolution: Side of the images in pixels, for files that hold several resolutions and do
            not tell which were trained; None for the largest that seems so.
        layout: JSON file with what the file does not tell: see `layout` for plain stacks of
            layers and `exported` for programs.

    Returns:
        The frozen generator, on the CPU.

    Raises:
        CheckpointError: The file cannot be read, has no known format, or not this resolution.
        UnsafeCheckpointError: Reading it would run code or take unbounded memory.
    """
    checkpoint = read_generator(Path(path), resolution=resolution, layout=layout)
    return _built(checkpoint)


def load_encoder(path: str | Path) -> Encoder:
    """Load an encoder from a checkpoint of any known format.

    An encoder that looks at its reconstruction uses the generator of the same file, unless
    `encode` is given another.

    Args:
        path: The file; its format is recognised from the content, never from the name.

    Returns:
        The frozen encoder, on the CPU.

    Raises:
        CheckpointError: The file cannot be read, has no known format, or holds no encoder.
        UnsafeCheckpointError: Reading it would run code or take unbounded memory.
    """
    checkpoint = read_encoder(Path(path))
    encoder = build_encoder(checkpoint.family, checkpoint.config, owned(checkpoint.tensors))
    if encoder.needs_generator and checkpoint.generator is not None:
        encoder.generator = _built(checkpoint.generator)
    return encoder


def read_generator(
    path: Path, *, resolution: int | None = None, layout: Path | None = None
) -> GeneratorCheckpoint:
    """Read a generator from a checkpoint without building it; see `load_generator`.

    Raises:
        CheckpointError: The file cannot be read, has no known format, or not this resolution.
    """
    document = open_document(path)
    if layout is not None:
        document = replace(document, layout=read_json(layout))
    reader = _reader_of(document)
    if reader.generator is None:
        raise CheckpointError(
            f"{path.name} is of the format {reader.format}, which holds no generator",
            value=reader.format,
        )
    if layout is not None and not reader.takes_layout:
        raise CheckpointError(
            f"{path.name} is of the format {reader.format}, which tells everything: "
            f"{layout.name} is of no use",
            value=layout.name,
        )
    with _reading(path, reader):
        if reader.sized is not None and resolution is not None:
            return reader.sized(document, resolution)
        checkpoint = reader.generator(document)
    if resolution not in (None, checkpoint.config.resolution):
        raise CheckpointError(
            f"{path.name} makes images of {checkpoint.config.resolution} px, not {resolution}",
            value=resolution,
            limit=checkpoint.config.resolution,
        )
    return checkpoint


def read_encoder(path: Path) -> EncoderCheckpoint:
    """Read an encoder from a checkpoint without building it.

    Raises:
        CheckpointError: The file cannot be read, or has no known format.
    """
    document = open_document(path)
    reader = _reader_of(document)
    if reader.encoder is None:
        raise CheckpointError(
            f"{path.name} is of the format {reader.format}, which holds no encoder",
            value=reader.format,
        )
    with _reading(path, reader):
        return reader.encoder(document)


def _built(checkpoint: GeneratorCheckpoint) -> Generator:
    return replace(checkpoint, tensors=owned(checkpoint.tensors)).build()


@contextmanager
def _reading(path: Path, reader: Reader) -> Iterator[None]:
    """Turn every failure of a reader into an error that names the file."""
    try:
        yield
    except CheckpointError as error:
        if str(error).startswith(path.name):
            raise
        message = f"{path.name} ({reader.format}): {error}"
        raise type(error)(message, **error.details) from error
    except BrokenBundleError as error:
        raise CheckpointError(
            f"{path.name} holds a network that cannot be: {error}", **error.details
        ) from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} does not fit the format {reader.format}: "
            f"{type(error).__name__}: {error!s:.200}"
        ) from error


def _reader_of(document: Document) -> Reader:
    for reader in READERS:
        if reader.matches(document):
            return reader
    known = "; ".join(f"{reader.format}: {reader.meaning}" for reader in READERS)
    raise CheckpointError(
        f"{document.path.name} is of no known format: {document.summary()}. Known are {known}",
        value=document.path.name,
        limit=[reader.format for reader in READERS],
    )
