"""Programs of torch.export, run step by step by us.

torch.export.load is not used: on the way it unpickles, lets sympy evaluate texts and compiles
the file's guards as Python. The graph itself is a plain list of operators and arguments, so this
module reads only that: operators must be on a list, and sizes come from the tensors at hand, so
no symbolic expression is ever evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from ni_core.errors import BrokenBundleError
from ni_core.generators.program_memory import LiveMemory
from ni_core.generators.program_operators import is_check, operator_of

_MAX_STEPS = 20_000
_MAX_SIZE = 1 << 28
"""Largest number in an argument, and largest product of a list of sizes."""

DTYPES = {
    **{1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64},
    **{6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16},
}
"""Number types by their number in the schema."""

_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}
_STRIDED = 7
_WEIGHT_NAMES = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}
_PLAIN = frozenset(
    ["as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools"]
)
_KEYWORD = 2
_NUMBERS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


@dataclass(frozen=True)
class Reference:
    """A value that an earlier step made."""

    name: str


class Device:
    """Stands for the device that the program runs on, whichever it was exported for."""


@dataclass
class Step:
    """One operator with its arguments."""

    function: Callable[..., Any]
    arguments: list[Any]
    keywords: dict[str, Any]
    results: list[str] | str | None
    last_uses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A graph of operators from one tensor to one tensor.

    Attributes:
        input: Name of the tensor it takes.
        weights: Name in the graph of each weight, in order.
        weight_keys: Kind and name in the file of each weight, in the same order.
        steps: What is done, in order.
        output: Name of the tensor it makes.
    """

    input: str
    weights: tuple[str, ...]
    weight_keys: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    output: str

    def run(self, latents: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Run the steps; differentiable.

        Args:
            latents: The input.
            weights: As many as `self.weights`.

        Raises:
            BrokenBundleError: A step fails, or the values take too much memory.
        """
        values: dict[str, Any] = dict(zip(self.weights, weights, strict=True))
        values[self.input] = latents
        memory = LiveMemory(latents, weights)
        for index, step in enumerate(self.steps):
            try:
                made = step.function(
                    *(_resolved(argument, values, latents.device) for argument in step.arguments),
                    **{
                        key: _resolved(argument, values, latents.device)
                        for key, argument in step.keywords.items()
                    },
                )
            except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
                raise BrokenBundleError(
                    f"step {index} of the program, {step.function}, fails: {error!s:.300}",
                    value=index,
                ) from error
            _store(values, step.results, made)
            for name in step.last_uses:
                values.pop(name, None)
            memory.check(made, values.values())
        return cast(Tensor, values[self.output])


def read_program(content: bytes) -> Program:
    """Read the graph of a program, as JSON of the schema of torch.export.

    Raises:
        BrokenBundleError: It is damaged, or uses what is not run.
    """
    try:
        document = json.loads(content)
        return _program(document)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BrokenBundleError(
            f"the program cannot be read: {type(error).__name__}: {error!s:.200}"
        ) from error


def _program(document: Mapping[str, Any]) -> Program:
    signature, nodes = document["signature"], document["graph"]["nodes"]
    if len(nodes) > _MAX_STEPS:
        raise BrokenBundleError(
            f"the program has {len(nodes)} steps, more than {_MAX_STEPS}",
            value=len(nodes),
            limit=_MAX_STEPS,
        )
    inputs: list[str] = []
    weights: dict[str, tuple[str, str]] = {}
    for spec in signature["input_specs"]:
        kind, content = _only(spec)
        if kind == "user_input":
            inputs.append(content["arg"]["as_tensor"]["name"])
        elif kind in _WEIGHT_NAMES:
            weights[content["arg"]["name"]] = (kind, str(content[_WEIGHT_NAMES[kind]]))
        else:
            raise BrokenBundleError(f"the program has an input of the kind {kind}")
    outputs = [_only(spec) for spec in signature["output_specs"]]
    names = [
        content["arg"]["as_tensor"]["name"] for kind, content in outputs if kind == "user_output"
    ]
    if len(inputs) != 1 or len(names) != 1:
        raise BrokenBundleError(
            f"the program takes {len(inputs)} tensors and makes {len(names)}; only one of each "
            "is served",
            value=[len(inputs), len(names)],
        )
    steps = tuple(_step(node) for node in nodes if not is_check(node["target"]))
    _mark_last_uses(steps, names[0])
    return Program(inputs[0], tuple(weights), tuple(weights.values()), steps, names[0])


def _step(node: Mapping[str, Any]) -> Step:
    function = operator_of(str(node["target"]))
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    for one in node["inputs"]:
        if one.get("kind") == _KEYWORD:
            keywords[str(one["name"])] = _argument(one["arg"])
        else:
            arguments.append(_argument(one["arg"]))
    return Step(function, arguments, keywords, _results(node["outputs"]))


def _argument(document: Mapping[str, Any]) -> Any:
    kind, content = _only(document)
    if kind == "as_none":
        return None
    if kind in _PLAIN:
        return _bounded(content)
    if kind == "as_tensor" or "as_name" in document:
        return Reference(str(content["name"] if kind == "as_tensor" else content))
    if kind in ("as_tensors", "as_nested_tensors"):
        return [Reference(str(one["name"])) for one in content]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return _argument(content)
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        return [_argument(one) for one in content]
    if kind == "as_scalar_type":
        return DTYPES[content]
    if kind == "as_memory_format":
        return _MEMORY_FORMATS[content]
    if kind == "as_device":
        return Device()
    if kind == "as_layout" and content == _STRIDED:
        return torch.strided
    raise BrokenBundleError(f"the program has an argument of the kind {kind}")


def _bounded(content: Any) -> Any:
    if isinstance(content, str):
        return _NUMBERS.get(content, content)
    size = 1
    for number in content if isinstance(content, list) else [content]:
        if type(number) is int and number not in (2**63 - 1, -(2**63)):
            size *= max(abs(number), 1)
    if size > _MAX_SIZE:
        raise BrokenBundleError(
            f"the program has an argument of the size {size}, more than {_MAX_SIZE}",
            value=size,
            limit=_MAX_SIZE,
        )
    return content


def _results(outputs: Sequence[Mapping[str, Any]]) -> list[str] | str | None:
    """Name of the one result, names of several, or None if there is none."""
    names: list[str] = []
    for output in outputs:
        kind, content = _only(output)
        if kind == "as_tensors":
            return [str(one["name"]) for one in content]
        if kind == "as_tensor":
            names.append(str(content["name"]))
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            names.append(str(content["as_name"]))
        elif kind != "as_none":
            raise BrokenBundleError(f"the program has a result of the kind {kind}")
    return names if len(outputs) > 1 else names[0] if names else None


def _only(document: Mapping[str, Any]) -> tuple[str, Any]:
    """The one entry that says which kind of thing this is; empty ones do not count."""
    filled = [(key, value) for key, value in document.items() if value is not None]
    if len(filled) != 1:
        raise ValueError(f"{len(filled)} kinds in one place")
    return filled[0]


def _resolved(argument: Any, values: Mapping[str, Any], device: torch.device) -> Any:
    if isinstance(argument, Reference):
        return values[argument.name]
    if isinstance(argument, Device):
        return device
    if isinstance(argument, list):
        return [_resolved(one, values, device) for one in argument]
    return argument


def _store(values: dict[str, Any], results: list[str] | str | None, made: Any) -> None:
    if isinstance(results, str):
        values[results] = made
    elif results is not None:
        values.update(zip(results, made, strict=False))


def _mark_last_uses(steps: Sequence[Step], output: str) -> None:
    seen = {output}
    for step in reversed(steps):
        used = _names([*step.arguments, *step.keywords.values()])
        step.last_uses = sorted(used - seen)
        seen |= used


def _names(arguments: Sequence[Any]) -> set[str]:
    names: set[str] = set()
    for argument in arguments:
        if isinstance(argument, Reference):
            names.add(argument.name)
        elif isinstance(argument, list):
            names |= _names(argument)
    return names
