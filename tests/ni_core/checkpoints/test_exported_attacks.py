"""Code hidden in a program of torch.export is never run, wherever it stands."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from ni_core.checkpoints import load_generator
from ni_core.errors import BrokenBundleError, CheckpointError, UnsafeCheckpointError
from ni_core.generators import program_memory, sample_z
from tests.ni_core.checkpoints import hostile
from tests.ni_core.checkpoints.test_exported import Plain, exported, saved
from tests.ni_core.checkpoints.test_unpickler import REPOSITORY


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(1)
    return exported(Plain(), 6)


Entries = dict[str, bytes]


def edited(path: Path, edit: Callable[[Entries], None]) -> Path:
    """Change a file's entries."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    edit(entries)
    path.write_bytes(hostile.zipped(entries))
    return path


def in_graph(change: Callable[[dict[str, Any]], None]) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        name = next(name for name in entries if name.endswith("models/model.json"))
        document = json.loads(entries[name])
        change(document)
        entries[name] = json.dumps(document).encode()

    return edit


def in_weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        name = next(name for name in entries if name.endswith("model_weights_config.json"))
        document = json.loads(entries[name])
        change(document["config"]["first.weight"])
        entries[name] = json.dumps(document).encode()

    return edit


def nodes(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["graph_module"]["graph"]["nodes"]
    return found


def target(name: str) -> Callable[[Entries], None]:
    return in_graph(lambda document: nodes(document)[0].update(target=name))


def argument(value: Any) -> Callable[[Entries], None]:
    def change(document: dict[str, Any]) -> None:
        nodes(document)[0]["inputs"][0]["arg"] = value

    return in_graph(change)


def set_expressions(document: dict[str, Any], text: str) -> None:
    for value in document["graph_module"]["graph"]["tensor_values"].values():
        for side in value["sizes"]:
            if "as_expr" in side:
                side["as_expr"]["expr_str"] = text


def pickled_samples(marker: str) -> Callable[[Entries], None]:
    def edit(entries: Entries) -> None:
        name = next(name for name in entries if "sample_inputs" in name)
        entries[name] = hostile.torch_zip(hostile.ROUTES["exec"](marker) + b".")

    return edit


IGNORED: dict[str, Callable[[str], Callable[[Entries], None]]] = {
    "expression": lambda code: in_graph(lambda document: set_expressions(document, code)),
    "guards": lambda code: in_graph(lambda document: document.update(guards_code=[code])),
    "sample inputs": pickled_samples,
}
"""Code in places that are never read: text of Python to an edit of the file."""

REFUSED: dict[str, Callable[[Entries], None]] = {
    "a Python function": target("os.system"),
    "a builtin": target("builtins.eval"),
    "a caller of methods": target("_operator.methodcaller"),
    "a file of the machine": target("torch.ops.aten.from_file.default"),
    "an unchecked index": target("torch.ops.aten._unsafe_index.Tensor"),
    "a dunder": target("torch.ops.aten.__class__.default"),
    "another namespace": target("torch.ops.profiler._record_function_enter_new.default"),
    "a longer name": target("torch.ops.aten.add.Tensor.__call__.__globals__"),
    "control flow": target("torch.ops.higher_order.cond"),
    "an unknown overload": target("torch.ops.aten.add.__init__"),
    "a graph as an argument": argument({"as_graph": {"name": "x", "graph": {}}}),
    "an object as an argument": argument({"as_custom_obj": {"name": "x", "class_fqn": "y"}}),
    "an operator as an argument": argument({"as_operator": "os.system"}),
    "a huge number": argument({"as_int": 2**40}),
    "huge sizes": argument({"as_ints": [2**20, 2**20]}),
    "two kinds": argument({"as_int": 1, "as_float": 2.0}),
    "a pickled weight": in_weights(lambda entry: entry.update(use_pickle=True)),
    "a weight of another file": in_weights(lambda entry: entry.update(path_name="../../x")),
    "a weight beyond its bytes": in_weights(
        lambda entry: entry["tensor_meta"].update(storage_offset={"as_int": 1})
    ),
    "a huge weight": in_weights(
        lambda entry: entry["tensor_meta"].update(
            sizes=[{"as_int": 2**40}], strides=[{"as_int": 0}]
        )
    ),
    "a symbolic weight": in_weights(
        lambda entry: entry["tensor_meta"].update(sizes=[{"as_expr": {"expr_str": "x"}}])
    ),
    "no graph": lambda entries: [
        entries.pop(name) for name in list(entries) if name.endswith("model.json")
    ] and None,
    "a graph that is no JSON": lambda entries: entries.update(
        {name: b"[" * 100_000 for name in entries if name.endswith("model.json")}
    ),
    "compiled code": lambda entries: entries.update(
        {f"{next(iter(entries)).split('/')[0]}/data/aotinductor/model/x.so": b"\x7fELF"}
    ),
}  # fmt: skip

AUDIT = """
import sys
import torch
from pathlib import Path
from ni_core.checkpoints import load_generator

path = Path(sys.argv[1])
load_generator(path).synthesize(torch.zeros(1, 6))
NEVER = ("os.system", "subprocess", "exec", "compile", "pickle", "import", "socket")

def watch(event, arguments):
    if event.startswith(NEVER):
        raise SystemExit(f"{event} {arguments!r:.200}")

sys.addaudithook(watch)
print(load_generator(path).synthesize(torch.zeros(1, 6)).shape)
"""


@pytest.mark.parametrize("place", sorted(IGNORED))
def test_code_in_a_program_is_never_read(
    place: str, program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    text = str(marker) if place == "sample inputs" else code
    path = edited(saved(program, tmp_path), IGNORED[place](text))
    generator = load_generator(path)
    assert generator.synthesize(sample_z(generator, 3, seed=0)).shape == (3, 3, 16, 16)
    assert not marker.exists()


@pytest.mark.parametrize("attack", sorted(REFUSED))
def test_attacks_are_refused(
    attack: str, program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = edited(saved(program, tmp_path), REFUSED[attack])
    with pytest.raises(CheckpointError, match=r"^g\.pt2\b"):
        load_generator(path)


def test_a_weight_beyond_its_bytes_is_unsafe(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = edited(saved(program, tmp_path), REFUSED["a weight beyond its bytes"])
    with pytest.raises(UnsafeCheckpointError, match="reaches number"):
        load_generator(path)


class Doubling(torch.nn.Module):
    """A picture cut out of something that twenty steps made a million times as large as z."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            z = torch.cat([z, z], dim=1)
        return z[:, : 3 * 64].reshape(-1, 3, 8, 8)


def test_a_short_program_cannot_take_any_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load_generator(saved(exported(Doubling(), 6), tmp_path))
    assert generator.synthesize(torch.zeros(1, 6)).shape == (1, 3, 8, 8)
    monkeypatch.setattr(program_memory, "_LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(program_memory, "_UNSEEN_BYTES", 1 << 10)
    with pytest.raises(BrokenBundleError, match="the values of the program take"):
        generator.synthesize(torch.zeros(1, 6))


def test_python_itself_sees_nothing_compiled_or_unpickled(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = saved(program, tmp_path)
    for place in IGNORED:
        edited(path, IGNORED[place](f"open({str(tmp_path / 'marker')!r}, 'w')"))
    result = subprocess.run(
        [sys.executable, "-c", AUDIT, str(path)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "[1, 3, 16, 16]" in result.stdout, result.stderr
