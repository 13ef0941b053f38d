"""Programs of torch.export: the same pictures as torch makes, and nothing in the file runs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ni_core.checkpoints import load_generator, read_generator
from ni_core.errors import CheckpointError, SpaceNotAvailableError
from ni_core.generators import StyleGAN2, sample_z, tiny_generator
from ni_core.generators.families import build_generator
from tests.ni_core.checkpoints import hostile


class Plain(nn.Module):
    """A generator with many kinds of layers."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8 * 16)
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.instance = nn.InstanceNorm2d(8, affine=True)
        self.last = nn.Conv2d(8, channels, 3, padding=1)
        self.register_buffer("gain", torch.tensor([1.5]))

    def forward(self, z: Tensor) -> Tensor:
        z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        x = torch.nn.functional.leaky_relu(self.first(z).view(-1, 8, 4, 4), 0.2)
        x = torch.relu(self.norm(self.up(x)))
        x = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        first, second = self.instance(x).chunk(2, dim=1)
        x = torch.cat([first, second.flip(3)], dim=1) * self.gain
        return torch.tanh(self.last(x))


class Rows(nn.Module):
    """The synthesis of a StyleGAN2 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = tiny_generator()

    def forward(self, w_plus: Tensor) -> Tensor:
        return self.generator.synthesize(w_plus)


def exported(module: nn.Module, *shape: int, dynamic: bool = True) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("n", min=1, max=64)
    torch.manual_seed(0)
    example = torch.randn(2 if dynamic else 1, *shape)
    sizes: Any = ({0: batch},) if dynamic else None
    with torch.no_grad():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=sizes)


def saved(program: torch.export.ExportedProgram, folder: Path, **description: Any) -> Path:
    path = folder / "g.pt2"
    torch.export.save(program, path)
    fields = {"space": "z", "range": "signed", **description}
    (folder / "g.pt2.json").write_text(json.dumps(fields))
    return path


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    torch.manual_seed(1)
    return exported(Plain(), 6)


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("decomposed", [True, False])
def test_the_pictures_are_those_of_torch(dynamic: bool, decomposed: bool, tmp_path: Path) -> None:
    module = Plain()
    program = exported(module, 6, dynamic=dynamic)
    path = saved(program.run_decompositions() if decomposed else program, tmp_path)
    generator = load_generator(path)
    z = sample_z(generator, 5, seed=3)
    with torch.no_grad():
        torch.testing.assert_close(generator.synthesize(z), module(z), atol=1e-5, rtol=0)
    assert (generator.resolution, generator.z_dim, generator.spaces) == (16, 6, {"z"})


def test_a_program_that_takes_rows_of_w_has_w_and_w_plus(tmp_path: Path) -> None:
    module = Rows()
    rows = (module.generator.num_layers, module.generator.w_dim)
    generator = load_generator(saved(exported(module, *rows), tmp_path, space="w+"))
    assert (generator.num_layers, generator.w_dim) == rows
    assert generator.spaces == {"w", "w+"}
    w = torch.randn(3, rows[1])
    ours = generator.synthesize(generator.broadcast(w))
    theirs = module.generator.synthesize(module.generator.broadcast(w))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert isinstance(module.generator, StyleGAN2)
    with pytest.raises(SpaceNotAvailableError):
        generator.map(torch.randn(1, 4))


def test_grey_images_of_the_unit_range_become_rgb(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    path = saved(exported(module, 4), tmp_path, range="unit", prior="uniform", resolution=8)
    generator = load_generator(path)
    z = sample_z(generator, 2, seed=0)
    expected = module(z).expand(-1, 3, -1, -1) * 2 - 1
    torch.testing.assert_close(generator.synthesize(z), expected)
    assert generator.prior == "uniform"


def test_gradients_reach_z(program: torch.export.ExportedProgram, tmp_path: Path) -> None:
    generator = load_generator(saved(program, tmp_path))
    z = sample_z(generator, 2, seed=0).requires_grad_()
    generator.synthesize(z).square().mean().backward()
    assert z.grad is not None
    assert float(z.grad.abs().sum()) > 0


def test_a_checkpoint_survives_json_and_its_tensors_alone(
    program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    checkpoint = read_generator(saved(program, tmp_path))
    (tmp_path / "g.pt2").unlink()
    generator = build_generator("exported", checkpoint.config, dict(checkpoint.tensors))
    z = sample_z(generator, 1, seed=0)
    assert torch.equal(generator.synthesize(z), checkpoint.build().synthesize(z))
    assert b"stack_trace" not in bytes(checkpoint.tensors["program"].numpy())


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        (None, "a JSON file must tell its space and range"),
        ({"space": "z"}, "space and range are needed"),
        ({"space": "z", "range": "signed", "size": 3}, "space and range are needed"),
        ({"space": "w+", "range": "signed"}, "does not take the space 'w\\+'"),
        ({"space": "q", "range": "signed"}, "does not take the space 'q'"),
        ({"space": "z", "range": "bytes"}, "range 'bytes' is not signed or unit"),
        ({"space": "z", "range": "unit", "resolution": 32}, "makes images of 16 px, not 32"),
    ],
)
def test_a_wrong_description_is_refused(
    program: torch.export.ExportedProgram,
    fields: dict[str, Any] | None,
    meaning: str,
    tmp_path: Path,
) -> None:
    path = saved(program, tmp_path)
    beside = tmp_path / "g.pt2.json"
    beside.unlink() if fields is None else beside.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=meaning):
        load_generator(path)


@pytest.mark.parametrize(
    ("module", "shape", "meaning"),
    [
        (nn.Linear(4, 8), (4,), "not a square image"),
        (nn.Sequential(nn.Linear(4, 64).half(), nn.Unflatten(1, (1, 8, 8))), (4,), "float32"),
    ],
)
def test_programs_that_cannot_be_served_say_why(
    module: nn.Module, shape: tuple[int, ...], meaning: str, tmp_path: Path
) -> None:
    example = torch.randn(1, *shape, dtype=next(module.parameters()).dtype)
    path = saved(torch.export.export(module, (example,)), tmp_path)
    with pytest.raises(CheckpointError, match=meaning):
        load_generator(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_program_is_a_checkpoint_error(
    part: float, program: torch.export.ExportedProgram, tmp_path: Path
) -> None:
    path = saved(program, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CheckpointError):
        load_generator(path)


def test_a_program_of_an_older_torch_is_said_plainly(tmp_path: Path) -> None:
    memory = io.BytesIO(hostile.zipped({"serialized_exported_program.json": b"{}"}))
    (tmp_path / "g.pt2").write_bytes(memory.getvalue())
    (tmp_path / "g.pt2.json").write_text('{"space": "z", "range": "unit"}')
    with pytest.raises(CheckpointError, match="export it again"):
        load_generator(tmp_path / "g.pt2")
