"""Files of tensors: what safetensors reads back, in full or not at all."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ni_core.bundles.tensor_file import write_tensors
from ni_core.errors import InvalidInputError

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32]
DTYPES += [torch.int16, torch.int8, torch.uint8, torch.bool]


@given(
    shapes=st.lists(
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3).map(tuple)),
        max_size=6,
    )
)
def test_safetensors_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    shapes: list[tuple[torch.dtype, tuple[int, ...]]],
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "some.safetensors"
    random = torch.Generator().manual_seed(0)
    tensors = {
        f"{index}.größe": torch.randint(0, 2, shape, generator=random).to(dtype)
        for index, (dtype, shape) in enumerate(shapes)
    }
    written = write_tensors(path, tensors)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert found[key].dtype == tensor.dtype and torch.equal(found[key], tensor)
    content = path.read_bytes()
    assert (written.name, written.nbytes) == (path.name, len(content))
    assert written.sha256 == hashlib.sha256(content).hexdigest()


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    views = {"transposed": base.T, "expanded": base[:1].expand(5, 4), "part": base[:, 1:3]}
    write_tensors(tmp_path / "views.safetensors", views)
    found = load_file(tmp_path / "views.safetensors")
    assert all(torch.equal(found[key], view) for key, view in views.items())


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    with pytest.raises(InvalidInputError, match=r"4,000,000,\d{3},\d{3},\d{3} bytes.* free"):
        write_tensors(path, {"large": torch.zeros(1).expand(10**15)})
    assert not path.exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_text("something else")
    with pytest.raises(FileExistsError):
        write_tensors(path, {})
    assert path.read_text() == "something else"
