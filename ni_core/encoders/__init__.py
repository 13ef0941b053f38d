"""Encoders: pictures to latents. One family per file, all behind one protocol."""

from ni_core.encoders.families import (
    ENCODERS,
    EncoderConfig,
    build_encoder,
    empty_encoder,
    encoder_kind,
    read_encoder_config,
)
from ni_core.encoders.protocol import Encoder, OnPass, Pass, fit_input, require_fit

__all__ = [
    "ENCODERS",
    "Encoder",
    "EncoderConfig",
    "OnPass",
    "Pass",
    "build_encoder",
    "empty_encoder",
    "encoder_kind",
    "fit_input",
    "read_encoder_config",
    "require_fit",
]
