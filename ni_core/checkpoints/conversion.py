"""From the tensors of a foreign state dict to those of our network, by rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ni_core.errors import CheckpointError

_SHOWN = 12
"""So many keys of each kind are named in an error; the others are counted."""


@dataclass(frozen=True)
class Rule:
    """How one of our tensors is made.

    Attributes:
        keys: Foreign tensors it is made from.
        function: Makes it, from those tensors in order.
    """

    keys: tuple[str, ...]
    function: Callable[..., Tensor]


def copy(key: str) -> Rule:
    """The foreign tensor as it is."""
    return Rule((key,), lambda tensor: tensor)


def scaled(key: str, factor: float) -> Rule:
    """The foreign tensor times a number: a gain that the other system applies at run time."""
    return Rule((key,), lambda tensor: tensor * factor)


def reshaped(key: str, *shape: int) -> Rule:
    """The foreign tensor in another shape."""
    return Rule((key,), lambda tensor: tensor.reshape(shape))


def given(value: Tensor) -> Rule:
    """A tensor that the file does not hold."""
    return Rule((), lambda: value)


NO_NOISE_NOTE = "the file has no noise maps: seeded ones stand in"
"""Says that pictures with noise cannot be those of the file's author."""


def seeded_noise(side: int, index: int) -> Tensor:
    """A noise map `[side, side]` for a file that stores none, the same at every import."""
    return torch.randn(side, side, generator=torch.Generator().manual_seed(1000 + index))


def convert(
    tensors: Mapping[str, Tensor],
    rules: Mapping[str, Rule],
    network: nn.Module,
    *,
    ignored: Collection[str] = (),
) -> dict[str, Tensor]:
    """Make our tensors and account for every foreign one.

    Args:
        tensors: The foreign state dict.
        rules: How each of our tensors is made, by our name.
        network: Our network, of which only the shapes are looked at.
        ignored: Foreign keys that are of no use, or their beginnings if they end with a dot.

    Returns:
        Our tensors, float32 where they are real, contiguous; some may share memory with foreign
        ones.

    Raises:
        CheckpointError: Keys are missing or left over, or a shape is wrong; all are named.
    """
    used = {key for rule in rules.values() for key in rule.keys}
    missing = sorted(used - tensors.keys())
    left_over = sorted(key for key in tensors.keys() - used if not _is_ignored(key, ignored))
    problems = _named("missing", missing) + _named("left over", left_over)
    made: dict[str, Tensor] = {}
    misfits: list[str] = []
    for name, rule in rules.items():
        if set(rule.keys) & set(missing):
            continue
        try:
            made[name] = _plain(rule.function(*(_precise(tensors[key]) for key in rule.keys)))
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
            # CheckpointError is none of these: what fails here is a shape no rule reckons with.
            misfits += [f"{key} ({list(tensors[key].shape)})" for key in rule.keys]
    problems += _named("of the wrong shape", misfits + _misfits(made, rules, network))
    if problems:
        raise CheckpointError(
            f"the file does not fit its format. {' '.join(problems)}", value=problems
        )
    return made


def owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in memory of their own: a mapped file may be written over while they are in use."""
    return {
        key: tensor if tensor.untyped_storage().resizable() else tensor.clone()
        for key, tensor in tensors.items()
    }


def _precise(tensor: Tensor) -> Tensor:
    """A tensor whose half precision, if it has that, no rule's arithmetic adds errors to."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _plain(tensor: Tensor) -> Tensor:
    plain = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
    return plain.contiguous()


def _misfits(
    made: Mapping[str, Tensor], rules: Mapping[str, Rule], network: nn.Module
) -> list[str]:
    misfits: list[str] = []
    ours = cast(Mapping[str, Tensor], network.state_dict())
    for name, wanted in ours.items():
        if name not in rules:
            misfits.append(f"{name} (no rule makes it)")
        elif name in made and made[name].shape != wanted.shape:
            sources = ", ".join(rules[name].keys) or name
            misfits.append(f"{sources} ({list(made[name].shape)} for {list(wanted.shape)})")
    return misfits + [
        f"{name} (the network has no such tensor)" for name in made if name not in ours
    ]


def _is_ignored(key: str, ignored: Collection[str]) -> bool:
    return any(key == one or (one.endswith(".") and key.startswith(one)) for one in ignored)


def _named(kind: str, keys: list[str]) -> list[str]:
    if not keys:
        return []
    rest = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return [f"{len(keys)} {kind}: {', '.join(keys[:_SHOWN])}{rest}."]
