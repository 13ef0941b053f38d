"""Inversion: photo -> latent. One method per file, one shared descent loop."""

from ni_core.inversion.encode import EncoderOptions
from ni_core.inversion.invert import invert
from ni_core.inversion.methods import (
    AUTO,
    METHODS,
    Method,
    available_methods,
    option_schema,
    parse_options,
    require_possible,
    resolve_method,
    single_pass_methods,
)
from ni_core.inversion.optimize import OptimizeOptions
from ni_core.inversion.options import MethodOptions, OptionSchema, StopOptions
from ni_core.inversion.report import InversionResult, OnStep, StepReport, Stopped

__all__ = [
    "AUTO",
    "METHODS",
    "EncoderOptions",
    "InversionResult",
    "Method",
    "MethodOptions",
    "OnStep",
    "OptimizeOptions",
    "OptionSchema",
    "StepReport",
    "StopOptions",
    "Stopped",
    "available_methods",
    "invert",
    "option_schema",
    "parse_options",
    "require_possible",
    "resolve_method",
    "single_pass_methods",
]
