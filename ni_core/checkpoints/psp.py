"""Files of pSp, e4e and ReStyle: an encoder, its StyleGAN2 as `decoder.*`, mean of W, options.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import EncoderCheckpoint, GeneratorCheckpoint, Reader
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.psp_encoder import encoder_config, encoder_tensors, whole_option
from ni_core.checkpoints.rosinality import rosinality_generator
from ni_core.checkpoints.state_dicts import tensor_of
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.errors import CheckpointError

_FORMAT = "psp"
_ENCODER, _DECODER = "encoder.", "decoder."
_MEAN = "latent_avg"
_SIZES = ("stylegan_size", "output_size")
_OLD_SIZE = 1024
"""Side of the picture where a file tells it in no way, as of the first pSp files."""


def matches(document: Document) -> bool:
    """Whether a document is a file of pSp, e4e or ReStyle."""
    tensors = _state_dict(document)
    return any(key.startswith(_ENCODER) for key in tensors)


def read_generator(document: Document) -> GeneratorCheckpoint:
    """Read the decoder.

    Raises:
        CheckpointError: The file holds none, or it is not a StyleGAN2.
    """
    tensors = _part(document, _DECODER)
    if not tensors:
        raise CheckpointError(f"{document.path.name} holds an encoder without its decoder")
    return rosinality_generator(tensors, latent_avg=_mean(document), format=_FORMAT)


def read_encoder(document: Document) -> EncoderCheckpoint:
    """Read the encoder, and the decoder if there is one.

    Raises:
        CheckpointError: It is no such encoder, or keys are missing or left over.
    """
    _check_keys(document)
    generator = read_generator(document) if _part(document, _DECODER) else None
    tensors, opts = _part(document, _ENCODER), _opts(document)
    config = encoder_config(tensors, opts, _rows(opts, generator))
    w_avg, note = _added(document, config, generator)
    return EncoderCheckpoint(
        family=Psp.family,
        config=config,
        tensors=encoder_tensors(tensors, config, w_avg),
        format=_FORMAT,
        notes=(note,) if note else (),
        generator=generator,
    )


READERS = (
    Reader(
        _FORMAT,
        "pSp, e4e and ReStyle files: state_dict with encoder.* and decoder.*, opts, latent_avg",
        matches,
        read_generator,
        read_encoder,
    ),
)


def _state_dict(document: Document) -> Mapping[str, Tensor]:
    root = document.root
    found = root.get("state_dict") if isinstance(root, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, Tensor)}


def _part(document: Document, prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in _state_dict(document).items()
        if key.startswith(prefix)
    }


def _opts(document: Document) -> Mapping[str, Any]:
    found = document.root.get("opts")
    return found if isinstance(found, Mapping) else {}


def _mean(document: Document) -> Tensor | None:
    return tensor_of(document.root.get(_MEAN))


def _check_keys(document: Document) -> None:
    others = [key for key in _state_dict(document) if not key.startswith((_ENCODER, _DECODER))]
    if others:
        raise CheckpointError(
            f"{document.path.name} holds tensors beside {_ENCODER}* and {_DECODER}*: "
            f"{', '.join(others[:12])}",
            value=others[:12],
        )


def _rows(opts: Mapping[str, Any], generator: GeneratorCheckpoint | None) -> int:
    """Rows of W+ of the generator: for encoders that give a single w."""
    if generator is not None:
        return generator.config.num_layers
    size = next((opts[name] for name in _SIZES if opts.get(name) is not None), _OLD_SIZE)
    return 2 * int(math.log2(whole_option("size", size, at_least=8))) - 2


def _added(
    document: Document, config: PspConfig, generator: GeneratorCheckpoint | None
) -> tuple[Tensor, str]:
    """What is added to the encoder's result, `[num_layers, w_dim]`, and a note if it was chosen.

    An encoder that refines always starts from the mean of W, others if they were trained so.
    """
    shape = (config.num_layers, config.w_dim)
    mean = _mean(document)
    told = _opts(document).get("start_from_latent_avg", mean is not None)
    if not (config.refines or told):
        return torch.zeros(shape), "the encoder was trained to give latents without a mean added"
    if mean is None:
        if generator is None:
            raise CheckpointError(
                f"{document.path.name} has neither {_MEAN} nor a decoder", value=_MEAN
            )
        return generator.tensors["w_avg"].expand(shape), f"no {_MEAN}: the decoder's mean of W"
    rows = mean.reshape(-1, *mean.shape[-1:]).float()
    if rows.shape[1:] != (config.w_dim,) or len(rows) not in (1, config.num_layers):
        raise CheckpointError(
            f"{_MEAN} of shape {list(mean.shape)} does not fit {list(shape)}",
            value=list(mean.shape),
            limit=list(shape),
        )
    return rows.expand(shape), ""
