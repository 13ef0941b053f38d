"""Files of directions: every format made here, and reference files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from ni_core.checkpoints.directions import (
    ImportedDirection,
    fit_directions,
    pack_directions,
    read_directions,
)
from ni_core.errors import CheckpointError, GeneratorMismatchError, UnsafeCheckpointError
from ni_core.generators.stylegan2 import StyleGAN2Config
from tests.bundles import Z_ONLY, imported

RANDOM = np.random.default_rng(0)
WIDE = StyleGAN2Config(16, 8, 8, 2, (8, 8, 8))


def unit(*shape: int) -> np.ndarray[Any, Any]:
    """Random vectors of length 1 along the last axis, float32."""
    vectors = RANDOM.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def write_npy(path: Path, content: Any) -> Path:
    np.save(path, content, allow_pickle=True)
    return path


def write_torch(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def boundary(*, rows: list[int]) -> Any:
    notes = {"manipulate_layers": rows}
    return np.array({"boundary": unit(1, 6, 8), "meta_data": notes}, dtype=object)


def ganspace(path: Path, deviations: np.ndarray[Any, Any]) -> Path:
    with path.open("wb") as file:
        np.savez(
            file,
            act_comp=unit(3, 1, 8),
            act_mean=unit(1, 8),
            act_stdev=np.ones(3, np.float32),
            lat_comp=unit(3, 1, 8),
            lat_mean=unit(1, 8),
            lat_stdev=deviations.astype(np.float32),
            var_ratio=np.ones(3, np.float32),
            random_stdevs=np.ones(3, np.float32),
        )
    return path


def test_a_boundary_of_interfacegan_is_one_direction_in_w(tmp_path: Path) -> None:
    vector = unit(1, 8).astype(np.float64)
    (found,) = read_directions(write_npy(tmp_path / "smile_boundary.npy", vector))
    assert (found.name, found.space, found.layers) == ("smile boundary", "w", None)
    assert found.deviation is None
    assert found.source == "vector: smile_boundary.npy"
    torch.testing.assert_close(found.vector, torch.from_numpy(vector[0]).float())


def test_the_space_can_be_told_where_the_file_does_not(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "a.npy", unit(1, 8))
    assert read_directions(path, space="z")[0].space == "z"


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1, 1, 8)])
def test_tensors_of_pt_files_are_read_in_every_shape(tmp_path: Path, shape: Any) -> None:
    vector = torch.from_numpy(unit(*shape))
    (found,) = read_directions(write_torch(tmp_path / "age.pt", vector))
    torch.testing.assert_close(found.vector, vector.reshape(8))


def test_a_vector_for_each_row_keeps_the_relative_lengths(tmp_path: Path) -> None:
    vector = torch.from_numpy(unit(1, 6, 8))
    vector[0, 2] *= 4
    vector[0, 3] = 0
    (found,) = read_directions(write_torch(tmp_path / "pose.pt", vector))
    lengths = torch.tensor([0.25, 0.25, 1.0, 0.0, 0.25, 0.25])
    torch.testing.assert_close(found.vector.norm(dim=1), lengths)
    torch.testing.assert_close(found.vector * 4, vector[0])
    assert found.source == "vector: pose.pt, of length 4"


def test_idinvert_says_which_rows_are_meant(tmp_path: Path) -> None:
    (found,) = read_directions(write_npy(tmp_path / "age.npy", boundary(rows=[4, 0, 2])))
    assert (found.name, found.layers, found.space) == ("age", (0, 2, 4), "w")
    assert found.vector.shape == (6, 8)


def test_principal_components_come_by_rank_with_their_deviation(tmp_path: Path) -> None:
    comp = torch.from_numpy(unit(3, 1, 8))
    content = {"comp": comp, "mean": torch.zeros(1, 8), "std": torch.tensor([3.0, 2.0, 1.0])}
    found = read_directions(write_torch(tmp_path / "pca.pt", content))
    assert [direction.name for direction in found] == ["pca 0", "pca 1", "pca 2"]
    assert [direction.deviation for direction in found] == pytest.approx([3, 2, 1])
    torch.testing.assert_close(found[1].vector, comp[1, 0])


def test_a_deviation_is_in_units_of_weight_whatever_the_length_was(tmp_path: Path) -> None:
    content = {"comp": 2 * torch.from_numpy(unit(1, 1, 8)), "std": torch.tensor([3.0])}
    (found,) = read_directions(write_torch(tmp_path / "pca.pt", content))
    assert found.deviation == pytest.approx(6)


def test_closed_form_factors_are_the_columns(tmp_path: Path) -> None:
    columns = torch.linalg.qr(torch.from_numpy(unit(8, 8))).Q
    found = read_directions(write_torch(tmp_path / "f.pt", {"ckpt": "a.pt", "eigvec": columns}))
    assert len(found) == 8
    torch.testing.assert_close(found[3].vector, columns[:, 3])
    assert found[3].name == "factor 3"


@pytest.mark.parametrize(("deviations", "space"), [((1, 1, 1), "z"), ((2.5, 1, 0.5), "w")])
def test_ganspace_deviations_tell_z_from_w(
    tmp_path: Path, deviations: tuple[float, ...], space: str
) -> None:
    found = read_directions(ganspace(tmp_path / "components.npz", np.array(deviations)))
    assert [direction.space for direction in found] == [space] * 3
    assert [direction.deviation for direction in found] == pytest.approx(deviations)
    assert found[2].name == "component 2"


def test_vectors_by_name_keep_their_names(tmp_path: Path) -> None:
    smile, age = torch.from_numpy(unit(2, 8))
    save_file({"smile": smile.clone(), "age": age.clone()}, tmp_path / "d.safetensors")
    found = {direction.name: direction for direction in read_directions(tmp_path / "d.safetensors")}
    torch.testing.assert_close(found["smile"].vector, smile)
    torch.testing.assert_close(found["age"].vector, age)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((1, 8)), "zero or not finite"),
        (np.full((1, 8), np.nan), "zero or not finite"),
        (10 * unit(4, 8), r"4 vectors of lengths 10 to 10.*latent codes"),
        (unit(1, 2, 3, 8), r"shape \[1, 2, 3, 8\]"),
        (np.zeros((0, 8)), r"shape \[0, 8\]"),
        (np.arange(8), "no known format"),
        (np.array({"boundary": "left"}, dtype=object), "boundary of a.npy is str"),
        (np.array({"comp": unit(3, 8), "std": np.ones(2)}, dtype=object), "2 numbers for 3"),
        (np.array({"comp": unit(1, 8), "std": -np.ones(1)}, dtype=object), "not positive"),
        (np.array({"eigvec": unit(8)}, dtype=object), r"shape \[8\], not \[d, n\]"),
        (np.array({"a": unit(8), "b": unit(1, 6, 8)}, dtype=object), r"one shape: a \[8\]"),
        (np.array({"weight": unit(2, 3, 4, 5)}, dtype=object), "no known format"),
        (np.array({}, dtype=object), "no known format"),
    ],
)
def test_a_file_that_holds_no_directions_is_refused_with_the_reason(
    tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_directions(write_npy(tmp_path / "a.npy", content))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'trap')!r}, 'w').close()",))

    path = write_npy(tmp_path / "a.npy", np.array({"boundary": Trap()}, dtype=object))
    with pytest.raises((CheckpointError, UnsafeCheckpointError)):
        read_directions(path)
    assert not (tmp_path / "trap").exists()


@given(length=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_the_length_in_the_file_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, length: float, seed: int
) -> None:
    vector = torch.randn(5, generator=torch.Generator().manual_seed(seed))
    folder = tmp_path_factory.mktemp("length")
    (found,) = read_directions(write_torch(folder / "a.pt", length * vector))
    torch.testing.assert_close(found.vector, vector / vector.norm())


def test_directions_that_fit_are_packed_in_order() -> None:
    found = [
        imported("a", torch.eye(8)[0], deviation=2.0),
        imported("b", torch.eye(8)[:6], layers=(1, 5)),
        imported("c", torch.eye(8)[1], space="z"),
    ]
    assert fit_directions(found, WIDE) == found
    tensors, entries = pack_directions(found)
    assert [(e.name, e.space, e.layers, e.deviation) for e in entries] == [
        ("a", "w", None, 2.0),
        ("b", "w", (1, 5), None),
        ("c", "z", None, None),
    ]
    assert all(
        tensors[entry.key].equal(one.vector) for entry, one in zip(entries, found, strict=True)
    )


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        (imported("a", torch.ones(512)), "'a' has 512 dimensions, w of the generator has 8"),
        (imported("a", torch.ones(512), space="z"), "512 dimensions, z of the generator has 8"),
        (imported("a", torch.ones(18, 8)), "has 18 rows, W\\+ of the generator has 6"),
        (imported("a", torch.ones(4, 8)), "has 4 rows, W\\+ of the generator has 6"),
        (imported("a", torch.ones(8), layers=(9,)), "has 10 rows, W\\+ of the generator has 6"),
    ],
)
def test_a_direction_of_another_generator_is_refused_with_both_numbers(
    direction: ImportedDirection, message: str
) -> None:
    with pytest.raises(GeneratorMismatchError, match=message):
        fit_directions([direction], WIDE)


def test_a_generator_with_only_z_takes_no_direction_in_w() -> None:
    assert fit_directions([imported("a", torch.ones(24), space="z")], Z_ONLY)
    with pytest.raises(GeneratorMismatchError, match="has no w; if it is in z, name that space"):
        fit_directions([imported("a", torch.ones(24))], Z_ONLY)
    with pytest.raises(GeneratorMismatchError, match="2 rows"):
        fit_directions([imported("a", torch.ones(2, 24), space="z")], Z_ONLY)
