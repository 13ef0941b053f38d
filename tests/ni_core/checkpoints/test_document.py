"""Files of every kind come back as they were saved, and damaged ones give one kind of error."""

import argparse
import collections
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ni_core.checkpoints.document import Document, open_document
from ni_core.errors import CheckpointError
from tests.ni_core.checkpoints import hostile
from tests.ni_core.checkpoints.test_unpickler import written

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.uint16, torch.float8_e4m3fn),
)

GARBAGE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether two documents are equal in types, shapes and values."""
    if isinstance(theirs, torch.Tensor):
        equal = torch.equal(*(one.reshape(-1).view(torch.uint8) for one in (ours, theirs)))
        return ours.dtype == theirs.dtype and ours.shape == theirs.shape and equal
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list | tuple):
        return type(ours) is type(theirs) and all(map(same, ours, theirs))
    return bool(type(ours) is type(theirs) and ours == theirs)


def tensors() -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    made = {str(dtype): (torch.rand(3, 4, generator=source) * 100).to(dtype) for dtype in DTYPES}
    return {**made, "none": torch.empty(0, 7), "scalar": torch.tensor(3.5)}


CHECKPOINT = {
    "g_ema": collections.OrderedDict(weight=torch.arange(12.0).reshape(3, 4)),
    "args": {"size": 64, "name": "ü", "rates": (1e-3, None, True, -(2**40)), "raw": b"\x00\xff"},
    "list": [1, [2.5, "x"], {3: {"four"}}, complex(1, 2)],
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("value", [CHECKPOINT, tensors(), torch.ones(2), [1]], ids=type)
def test_files_of_torch_save_come_back(value: Any, new: bool, tmp_path: Path) -> None:
    document = open_document(written(tmp_path, hostile.saved(value, new=new)))
    assert document.kind == "torch"
    assert same(document.root, value)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_come_back(protocol: int, tmp_path: Path) -> None:
    value = {**CHECKPOINT, "array": np.arange(6.0).reshape(2, 3), "number": np.float32(0.5)}
    document = open_document(written(tmp_path, pickle.dumps(value, protocol)))
    assert document.kind == "pickle"
    assert same(document.root, {**value, "number": 0.5})


@pytest.mark.parametrize("new", [True, False])
def test_views_of_one_storage_share_their_memory(new: bool, tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    value = {"whole": whole, "turned": whole.T, "part": whole[1:3, ::2], "row": whole[3]}
    root = open_document(written(tmp_path, hostile.saved(value, new=new))).root
    assert all(torch.equal(root[key], value[key]) for key in value)
    root["whole"][3, 5] = -1
    assert root["row"][5] == root["turned"][5, 3] == -1


def test_parameters_and_training_files_come_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    value = {"g": layer.state_dict(), "p": layer.weight, "g_optim": optimizer.state_dict()}
    value["args"] = argparse.Namespace(size=64, mixing=0.9)
    root = open_document(written(tmp_path, hostile.saved(value))).root
    assert root["args"] == {"size": 64, "mixing": 0.9}
    assert torch.equal(root["p"], layer.weight)
    assert not root["p"].requires_grad
    assert same(root["g_optim"]["state"][0], dict(optimizer.state_dict()["state"][0]))


def test_expanded_tensors_come_back(tmp_path: Path) -> None:
    value = torch.arange(4.0).expand(18, 4)
    assert torch.equal(open_document(written(tmp_path, hostile.saved(value))).root, value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype="<i2").reshape(3, 4),
        np.arange(12, dtype=">f8").reshape(3, 4),
        np.asfortranarray(np.random.default_rng(0).random((3, 4, 2))),
        np.array(["smile", "age"]),
        np.float32(2.5),
        np.zeros((0, 5)),
    ],
    ids=lambda value: str(value.dtype),
)
def test_arrays_come_back_in_the_byte_order_of_this_machine(value: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", value)
    np.savez_compressed(tmp_path / "x.npz", a=value, b=np.arange(3))
    array, archive = (open_document(tmp_path / name) for name in ("x.npy", "x.npz"))
    assert (array.kind, archive.kind) == ("npy", "npz")
    assert same(array.root, np.asarray(value).astype(value.dtype.newbyteorder("=")))
    assert same(archive.root["a"], array.root)
    pickled = open_document(written(tmp_path, pickle.dumps(np.asarray(value)))).root
    assert same(pickled, array.root)


def test_a_dict_in_an_array_file_comes_back(tmp_path: Path) -> None:
    value: Any = {"boundary": np.ones((1, 4)), "meta_data": "age"}
    np.save(tmp_path / "x.npy", value)
    assert same(open_document(tmp_path / "x.npy").root, value)


def test_safetensors_come_back(tmp_path: Path) -> None:
    value = {key: tensor for key, tensor in tensors().items() if tensor.dtype != torch.complex64}
    save_file(value, tmp_path / "x")
    document = open_document(tmp_path / "x")
    assert document.kind == "safetensors"
    assert same(dict(sorted(document.root.items())), dict(sorted(value.items())))


def test_a_storage_inside_a_byte_string_comes_back(tmp_path: Path) -> None:
    value = {"small": torch.arange(3.0), "large": torch.arange(5000.0, dtype=torch.float64)}
    document = open_document(written(tmp_path, pickle.dumps(value)))
    assert document.kind == "pickle"
    assert same(document.root, value)


def test_numpys_old_and_new_names_are_read(tmp_path: Path) -> None:
    raw = pickle.dumps(np.arange(3.0), 2)
    old = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    assert same(open_document(written(tmp_path, old)).root, np.arange(3.0))


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (hostile.zipped({"readme.txt": b"hello"}), "none of them of torch or NumPy"),
        (hostile.torch_zip(b"N.").replace(b"little", b"bigbig"), "big-endian"),
        (b"\x80\x09N.", "protocol 9"),
    ],
)
def test_what_is_no_checkpoint_is_said_plainly(
    content: bytes, meaning: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=meaning) as caught:
        open_document(written(tmp_path, content))
    assert str(caught.value).startswith("file: ")


def test_a_missing_file_and_a_folder_are_said_plainly(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match="is not a file"):
            open_document(path)


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ({f"key{n}": n for n in range(40)}, ["dict with the keys 'key0'", "'key9' and 30 more"]),
        ({}, ["empty dict"]),
        ([torch.ones(2, 3)], ["list of 1: Tensor of shape [2, 3]"]),
        (argparse, ["str"]),
    ],
)
def test_the_summary_is_short(root: Any, words: list[str]) -> None:
    summary = Document(Path("x"), "torch", "text" if root is argparse else root).summary()
    assert all(word in summary for word in words)
    assert len(summary) < 200


def kinds(folder: Path) -> dict[str, bytes]:
    """A small file of every kind."""
    state = {"a": torch.arange(3.0), "b": [1, "two"]}
    np.save(folder / "npy", np.arange(3.0))
    np.savez_compressed(folder / "npz", a=np.arange(3.0))
    save_file({"a": torch.arange(3.0)}, folder / "safetensors")
    return {
        "torch": hostile.saved(state),
        "legacy": hostile.saved(state, new=False),
        "pickle": pickle.dumps({**state, "c": np.arange(3.0)}),
        "npy": (folder / "npy.npy").read_bytes(),
        "npz": (folder / "npz.npz").read_bytes(),
        "safetensors": (folder / "safetensors").read_bytes(),
    }


KINDS = ("torch", "legacy", "pickle", "npy", "npz", "safetensors")


@pytest.mark.parametrize("kind", KINDS)
@GARBAGE
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_a_checkpoint_error(kind: str, part: float, tmp_path: Path) -> None:
    whole = kinds(tmp_path)[kind]
    with pytest.raises(CheckpointError):
        open_document(written(tmp_path, whole[: int(part * len(whole))]))


@pytest.mark.parametrize("kind", KINDS)
@GARBAGE
@given(part=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), length=st.integers(1, 9))
def test_a_damaged_file_is_a_document_or_a_checkpoint_error(
    kind: str, part: float, value: int, length: int, tmp_path: Path
) -> None:
    damaged = bytearray(kinds(tmp_path)[kind])
    start = int(part * len(damaged))
    damaged[start : start + length] = bytes([value] * length)
    document_or_error(written(tmp_path, bytes(damaged)))


@GARBAGE
@given(
    content=st.binary(max_size=300),
    head=st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x02}("]),
)
def test_random_bytes_are_a_document_or_a_checkpoint_error(
    content: bytes, head: bytes, tmp_path: Path
) -> None:
    document_or_error(written(tmp_path, head + content))


def document_or_error(path: Path) -> None:
    reading: Callable[[Path], Document] = open_document
    try:
        assert isinstance(reading(path), Document)
    except CheckpointError as error:
        assert str(error).startswith(("file: ", "file is "))
