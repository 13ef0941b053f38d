"""Small files that ask for much are refused before the memory is taken."""

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ni_core.checkpoints.document import open_document
from ni_core.errors import CheckpointError, UnsafeCheckpointError
from tests.ni_core.checkpoints import hostile
from tests.ni_core.checkpoints.test_unpickler import REPOSITORY, written

MEASURE = """
import resource, sys
from pathlib import Path
from ni_core.checkpoints.document import open_document
from ni_core.errors import CheckpointError

for path in sorted(Path(sys.argv[1]).iterdir()):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        open_document(path)
    except CheckpointError:
        pass
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    print(f"{path.name} {grown}")
"""

MIB = 1 << 20
FLOAT = hostile.storage("FloatStorage", "0", 4)


def views(*tensors: tuple[Any, Any, Any]) -> bytes:
    pushed = b"".join(hostile.tensor(FLOAT, *view) for view in tensors)
    return hostile.torch_zip(b"(" + pushed + b"l.", **{"0": bytes(16)})


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def array(shape: Any, content: bytes, code: str = "f4", state: str = "<") -> bytes:
    made = hostile.name("_reconstruct", "numpy.core.multiarray")
    made += hostile.name("ndarray", "numpy") + b"K\x00\x85C\x01b\x87R"
    dtype = hostile.name("dtype", "numpy") + hostile.text(code) + b"\x89\x88\x87R"
    dtype += b"(K\x03" + hostile.text(state) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = b"B" + struct.pack("<I", len(content)) + content
    return made + b"(K\x01" + pickle.dumps(shape, 2)[2:-1] + dtype + b"\x89" + raw + b"tb."


def npy_head(shape: str) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def doubling(join: bytes, levels: int) -> bytes:
    return b"N" + join * levels + b"."


def copies(made: bytes) -> bytes:
    """A list of 10,000 elements that is memoised, and copied 10,000 times."""
    elements = b"](" + b"N" * 10_000 + b"eq\x00"
    return elements + b"(" + (made + b"h\x00\x85R") * 10_000 + b"l."


REFUSED: dict[str, Callable[[], bytes]] = {
    "bytes of a claimed length": lambda: b"B" + struct.pack("<I", 2**32 - 1) + b".",
    "long bytes": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    "byte array": lambda: b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b".",
    "long text": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".",
    "text": lambda: b"X" + struct.pack("<I", 2**32 - 1) + b".",
    "old text": lambda: b"T" + struct.pack("<i", 2**31 - 1) + b".",
    "negative text": lambda: b"T" + struct.pack("<i", -1) + b".",
    "long number": lambda: b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "frame": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**62),
    "decimal number": lambda: b"I" + b"9" * 100_000 + b"\n.",
    "buffer": lambda: b"\x80\x05\x97.",
    "empty sets": lambda: b"\x80\x04(" + b"\x8f" * 600_000 + b"t.",
    "instructions": lambda: b"N" + b"20" * 1_050_000 + b".",
    "deep lists": lambda: b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": lambda: doubling(b"\x85", 100_000),
    "shared tuples": lambda: doubling(b"2\x86", 150),
    "shared keys": lambda: b"}" + b"N" + b"2\x86" * 150 + b"Ns.",
    "shared elements": lambda: b"\x80\x04\x8f(" + b"N" + b"2\x86" * 150 + b"\x90.",
    "list in itself": lambda: b"]q\x00h\x00a.",
    "dict in itself": lambda: b"}q\x00Nh\x00s.",
    "object in itself": lambda: hostile.name("A", "b") + b")Rq\x00h\x00b.",
    "colliding keys": lambda: b"}" + number((2**61 - 1) * 3) + b"Ns.",
    "copied lists": lambda: copies(hostile.name("list", "builtins")),
    "copied tuples": lambda: copies(hostile.name("Size", "torch")),
    "repeated calls": lambda: b"(" + b"N" * 10_000 + b"tq\x00("
    + (hostile.name("A", "b") + b"h\x00R") * 10_000 + b"l.",
    "repeated arrays": lambda: b"B" + struct.pack("<I", MIB) + bytes(MIB) + b"q\xc80"
    + b"(" + (array((MIB // 4,), b"")[:-8] + b"h\xc8tb") * 40 + b"l.",
    "zip bomb": lambda: hostile.zipped(
        {"a/data.pkl": FLOAT + b".", "a/data/0": bytes(200 * MIB)}, zipfile.ZIP_DEFLATED
    ),
    "array bomb": lambda: hostile.zipped(
        {"x.npy": npy_head(f"({50 * MIB},)") + bytes(200 * MIB)}, zipfile.ZIP_DEFLATED
    ),
    "tensor beyond its storage": lambda: views((1, (4,), (1,))),
    "strides beyond the storage": lambda: views((0, (2, 2), (3, 1))),
    "offset beyond the storage": lambda: views((2**40, (1,), (1,))),
    "negative stride": lambda: views((3, (4,), (-1,))),
    "negative size": lambda: views((0, (-1,), (1,))),
    "size and strides that differ": lambda: views((0, (2, 2), (1,))),
    "sizes that are no numbers": lambda: views((0, ("a",), (1,))),
    "expanded view": lambda: views((0, (2**40,), (0,))),
    "expanded view of many sides": lambda: views((0, (2**47, 2**47, 2**47), (0, 0, 0))),
    "many expanded views": lambda: views(*[(0, (MIB,), (0,))] * 20),
    "storage larger than its entry": lambda: hostile.torch_zip(
        hostile.storage("FloatStorage", "0", 2**40) + b".", **{"0": bytes(16)}
    ),
    "old storage larger than the file": lambda: hostile.legacy(
        hostile.storage("FloatStorage", "0", 2**40) + b"."
    ),
    "array larger than its content": lambda: array((2**40,), bytes(16)),
    "array of negative size": lambda: array((-1,), bytes(16)),
    "array smaller than its content": lambda: array((1,), bytes(16)),
    "array file larger than the file": lambda: npy_head(f"({2**50},)") + bytes(64),
    "array file of negative size": lambda: npy_head("(-1,)") + bytes(64),
    "array file with a long head": lambda: b"\x93NUMPY\x01\x00"
    + struct.pack("<H", 60_000) + b"(" * 60_000,
    "array file with code in its head": lambda: npy_head("(__import__('os').getpid(),)"),
}  # fmt: skip


REASONS = {
    "zip bomb": "unpacked bytes",
    "array bomb": "unpacked bytes",
    "many expanded views": "bytes of tensors",
    "empty sets": "containers",
    "instructions": "instructions",
    "copied lists": "copied elements",
    "repeated calls": "copied elements",
    "repeated arrays": "bytes of memory",
    "shared tuples": "objects",
    "list in itself": "contains itself",
    "tensor beyond its storage": "number 4 of a storage of 4",
}
"""What the error says of some of them."""


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_file_that_asks_for_too_much_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^file: ") as caught:
        open_document(written(tmp_path, REFUSED[name]()))
    assert REASONS.get(name, "") in str(caught.value)
    assert isinstance(caught.value, UnsafeCheckpointError) or name not in REASONS


def test_memory_stays_bounded(tmp_path: Path) -> None:
    weighed = {name: content for name, content in REFUSED.items() if name != "instructions"}
    for name, content in weighed.items():
        written(tmp_path, content(), name.replace(" ", "_"))
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    grown = {line.split()[0]: int(line.split()[1]) for line in result.stdout.splitlines()}
    assert len(grown) == len(weighed)
    assert max(grown.values()) < 200, grown
    assert max(mib for name, mib in grown.items() if name != "empty_sets") < 100, grown


def test_a_huge_memo_index_costs_nothing(tmp_path: Path) -> None:
    index = b"r" + struct.pack("<I", 2**32 - 1)
    path = written(tmp_path, b"]" + index + b"0j" + index[1:] + b".")
    assert open_document(path).root == []


def test_a_tensor_of_a_quantised_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="QInt8Storage"):
        open_document(
            written(tmp_path, hostile.torch_zip(hostile.storage("QInt8Storage", "0", 1) + b"."))
        )


@pytest.mark.parametrize("name", ["_rebuild_sparse_tensor", "_rebuild_qtensor"])
def test_sparse_and_quantised_tensors_are_refused(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, hostile.name(name, "torch._utils") + b")R.")
    with pytest.raises(CheckpointError, match="sparse"):
        open_document(path)


def test_an_array_of_objects_becomes_a_list(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}, "b"], dtype=object), allow_pickle=True)
    assert open_document(path).root == [{"a": 1}, "b"]
