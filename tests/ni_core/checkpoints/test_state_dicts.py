"""Where state dicts are found, how they are counted, and what a gap in them is called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator, read_generator
from ni_core.checkpoints.state_dicts import count, find_state_dict
from ni_core.errors import CheckpointError
from tests.ni_core.checkpoints import test_genforce_pggan as pggan
from tests.ni_core.checkpoints import test_genforce_stylegan2 as genforce
from tests.ni_core.checkpoints import test_rosinality as rosinality
from tests.ni_core.checkpoints.cases import saved

Tensors = dict[str, Tensor]

FORMATS: dict[str, tuple[Callable[[], Tensors], str]] = {
    "rosinality": (lambda: rosinality.foreign_tensors(rosinality.SMALL), "g_ema"),
    "genforce": (genforce.foreign_tensors, "generator_smooth"),
    "pggan": (pggan.foreign_tensors, "generator"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_prefix_of_parallel_training_is_taken_off(name: str, tmp_path: Path) -> None:
    make, place = FORMATS[name]
    tensors = make()
    plain = read_generator(saved({place: tensors}, tmp_path / "plain"))
    parallel = {f"module.{key}": tensor for key, tensor in tensors.items()}
    for name, root in (("inside", {place: parallel}), ("bare", parallel)):
        read = read_generator(saved(root, tmp_path / name))
        assert read.config == plain.config
        for key in plain.tensors.keys() - {"w_avg"}:  # a bare file has none
            assert torch.equal(read.tensors[key], plain.tensors[key]), key


@pytest.mark.parametrize("name", FORMATS)
def test_a_loaded_generator_does_not_care_for_its_file(name: str, tmp_path: Path) -> None:
    make, place = FORMATS[name]
    path = saved({place: make()}, tmp_path)
    generator = load_generator(path)
    assert isinstance(generator, torch.nn.Module)
    before = {key: tensor.clone() for key, tensor in generator.state_dict().items()}
    path.write_bytes(bytes(path.stat().st_size))
    assert all(torch.equal(generator.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", FORMATS)
def test_arithmetic_adds_no_error_to_other_precisions(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    make, place = FORMATS[name]
    tensors = {key: tensor.to(dtype) for key, tensor in make().items()}
    single = {key: tensor.float() for key, tensor in tensors.items()}
    read = read_generator(saved({place: tensors}, tmp_path / "other"))
    wanted = read_generator(saved({place: single}, tmp_path / "single"))
    for key, tensor in wanted.tensors.items():
        torch.testing.assert_close(read.tensors[key], tensor, atol=1e-6, rtol=1e-5, msg=key)


@pytest.mark.parametrize(
    "key",
    [
        "style.1.bias",
        "convs.1.conv.weight",
        "convs.1.activate.bias",
        "to_rgbs.0.conv.weight",
        "noises.noise_1",
    ],
)
def test_a_missing_key_is_named_wherever_it_is(key: str, tmp_path: Path) -> None:
    tensors = rosinality.foreign_tensors(rosinality.SMALL)
    last = max(tensors, key=lambda one: one.startswith("convs.") and int(one.split(".")[1]))
    missing = {key, f"convs.{last.split('.')[1]}.conv.weight"}
    rest = {one: tensor for one, tensor in tensors.items() if one not in missing}
    with pytest.raises(CheckpointError, match=r"^file\.pt \(rosinality-stylegan2\): ") as caught:
        read_generator(saved({"g_ema": rest}, tmp_path))
    assert f"{len(missing)} missing: {', '.join(sorted(missing))}." in str(caught.value)
    assert "left over" not in str(caught.value)


def test_a_mean_of_w_may_be_an_array(tmp_path: Path) -> None:
    tensors = rosinality.foreign_tensors(rosinality.SMALL)
    mean = torch.linspace(-1, 1, rosinality.SMALL.w_dim)
    read = read_generator(saved({"g_ema": tensors, "latent_avg": mean.numpy()}, tmp_path))
    assert torch.equal(read.tensors["w_avg"], mean)


@pytest.mark.parametrize("mean", [torch.tensor(1.0), torch.zeros(3), torch.zeros(0, 8)])
def test_a_mean_of_w_of_another_shape_is_refused(mean: Tensor, tmp_path: Path) -> None:
    tensors = rosinality.foreign_tensors(rosinality.SMALL)
    with pytest.raises(CheckpointError, match="is not one mean of W"):
        read_generator(saved({"g_ema": tensors, "latent_avg": mean}, tmp_path))


def test_a_layout_for_a_format_that_needs_none_is_refused(tmp_path: Path) -> None:
    layout = tmp_path / "layout.json"
    layout.write_text("{}")
    path = saved({"g_ema": rosinality.foreign_tensors(rosinality.SMALL)}, tmp_path)
    with pytest.raises(CheckpointError, match=r"layout\.json is of no use"):
        read_generator(path, layout=layout)


def test_equal_widths_leave_a_doubt_that_is_noted(tmp_path: Path) -> None:
    tensors = {f"layer{index}.weight": torch.ones(4, 4, 3, 3) for index in range(1, 4)}
    tensors |= {f"layer{index}.bias": torch.zeros(4) for index in range(4)}
    tensors["layer0.weight"] = torch.ones(4, 6, 4, 4)
    for block in range(2):
        tensors |= {f"output{block}.weight": torch.ones(3, 4, 1, 1)}
        tensors |= {f"output{block}.bias": torch.zeros(3)}
    assert "equal widths" in " ".join(read_generator(saved(tensors, tmp_path)).notes)


def test_indexes_are_counted_up_to_the_highest_that_can_be() -> None:
    tensors = dict.fromkeys(["a.1.x", "a.3.x", "a.99999.x", "ba.7.x", "a.02.x"], torch.zeros(1))
    assert count(tensors, "a.{}.weight", start=1) == 3
    assert count(tensors, "b.{}.weight") == 0


@pytest.mark.parametrize("root", [None, [], {}, {"g": 3}, {"g": {1: torch.zeros(1)}}])
def test_what_is_no_state_dict_is_not_found(root: Any) -> None:
    assert find_state_dict(root, ["g"]) is None
