"""Operators that an exported program may use: tensor arithmetic, and nothing that touches files."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch

from ni_core.errors import BrokenBundleError

_ATEN = re.compile(r"torch\.ops\.(aten|prims)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)")

_ARITHMETIC = """
abs add addcdiv addcmul addmm all amax amin any argmax argmin argsort atan2 baddbmm bitwise_and
bitwise_not bitwise_or bmm ceil clamp clamp_max clamp_min clip cos cosh cumsum div divide einsum eq
erf exp expm1 fill floor floor_divide fmod frac ge gt index_select isfinite isinf isnan le lerp
linalg_norm linalg_vector_norm log log10 log1p log2 logical_and logical_not logical_or logsumexp lt
masked_fill matmul max maximum mean mean_dim min minimum mm mul multiply mv ne neg negative norm
outer pow prod reciprocal remainder round rsqrt rsub scalar_tensor sign sin sinh sort sqrt square
std std_mean sub subtract sum tan topk tril triu true_divide trunc var var_mean where
"""
_LAYERS = """
_adaptive_avg_pool2d _convolution _log_softmax _native_batch_norm_legit
_native_batch_norm_legit_no_training _softmax
_to_copy _unsafe_view _upsample_bilinear2d_aa adaptive_avg_pool2d alpha_dropout avg_pool2d
batch_norm celu constant_pad_nd conv1d conv2d conv_transpose1d conv_transpose2d convolution dropout
elu embedding feature_dropout gelu glu group_norm hardsigmoid hardswish hardtanh index
instance_norm layer_norm leaky_relu linear log_sigmoid log_softmax max_pool2d mish
native_batch_norm native_dropout native_group_norm native_layer_norm pad pixel_shuffle
pixel_unshuffle prelu reflection_pad2d relu relu6 replication_pad2d rms_norm
scaled_dot_product_attention selu sigmoid silu softmax softplus softsign tanh upsample_bicubic2d
upsample_bilinear2d upsample_nearest2d _upsample_nearest_exact2d
"""
_SHAPES = """
alias arange broadcast_to cat chunk clone concat concatenate contiguous copy detach diagonal
empty_like expand expand_as eye flatten flip full full_like gather lift_fresh lift_fresh_copy
linspace meshgrid movedim moveaxis narrow new_full new_ones new_zeros numpy_T ones ones_like permute
rand rand_like randn randn_like repeat repeat_interleave reshape roll select slice split
split_with_sizes squeeze stack sym_numel sym_size swapaxes t tile to transpose type_as unbind
unflatten unfold unsqueeze view view_as zeros zeros_like
"""
_ALLOWED = frozenset(f"{_ARITHMETIC} {_LAYERS} {_SHAPES}".split())

_PYTHON: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "truediv", "getitem")
    },
    **{f"math.{name}": getattr(math, name) for name in ("floor", "ceil", "trunc")},
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_int": int,
    "torch.sym_float": float,
}
"""Arithmetic on sizes."""

_CHECKS = re.compile(
    r"torch\.ops\.aten\.(_assert_\w+|sym_constrain_range\w*)\.\w+|_operator\.(eq|ne|lt|le|gt|ge)"
)
"""Steps that only check a size; a wrong size is met by the operators themselves."""


def is_check(target: str) -> bool:
    """Tell whether a step only checks sizes."""
    return _CHECKS.fullmatch(target) is not None


def operator_of(target: str) -> Callable[..., Any]:
    """Find an operator by the name that a program gives.

    Raises:
        BrokenBundleError: It is not one of the operators that programs may use.
    """
    if target in _PYTHON:
        return _PYTHON[target]
    match = _ATEN.fullmatch(target)
    name = match[2] if match else ""
    # `add_` is `add` in place.
    if match is None or name.rstrip("_") not in _ALLOWED:
        raise BrokenBundleError(
            f"the program uses the operator {target[:120]}, which is not among the operators of "
            "tensor arithmetic that are run",
            value=target[:120],
        )
    packet = getattr(getattr(torch.ops, match[1]), name, None)
    found = getattr(packet, match[3], None)
    if not isinstance(found, torch._ops.OpOverload):
        raise BrokenBundleError(f"this version of torch has no operator {target[:120]}")
    return found
