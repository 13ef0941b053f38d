"""Files of HyperStyle: the reference case, and small ones made here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.checkpoints import READERS, load_generator, read_encoder, read_generator
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.hyperstyle import load_hyperstyle, read_hyperstyle
from ni_core.encoders.hyperstyle import HyperStyle, Tuning
from ni_core.errors import (
    CheckpointError,
    GeneratorMismatchError,
    InvalidLatentError,
    InvalidOptionError,
)
from ni_core.generators import Generator, tiny_generator
from ni_core.generators.pggan import PGGAN, PGGANConfig
from tests.ni_core.checkpoints.cases import Case, cases, largest_difference
from tests.ni_core.checkpoints.hyperstyle_layouts import Hypernetwork, random_hypernetwork
from tests.ni_core.checkpoints.test_rosinality import SMALL, foreign_tensors, textbook

MODULES = {
    0: "layers.0.conv",
    1: "to_rgbs.0.conv",
    2: "layers.1.conv",
    3: "layers.2.conv",
    5: "layers.3.conv",
    9: "layers.6.conv",
    10: "to_rgbs.3.conv",
}
"""What the small hypernetwork tunes, by its number in the file."""


@dataclass(frozen=True)
class Loaded:
    """The reference case with its networks; a file would have 1.5 GB, so none is written."""

    case: Case
    network: HyperStyle
    tuning: Tuning
    photos: Tensor


@pytest.fixture(scope="module", params=cases("hyperstyle"))
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    case: Case = request.param
    network, checkpoint = read_hyperstyle(document(case))
    generator = checkpoint.build()
    photos = (case.io["x_uint8"].float() / 255 - 0.5) / 0.5
    latents = generator.broadcast(case.io["codes"])
    yield Loaded(case, network, network.refine(photos, latents, generator, steps=2), photos)


def document(case: Case) -> Document:
    root = {"state_dict": case.tensors(), "opts": case.meta["opts"], "latent_avg": torch.zeros(512)}
    return Document(Path("hyperstyle.pt"), "torch", root)


def test_reference_pictures_of_each_pass_are_reproduced(loaded: Loaded) -> None:
    names = ("img0", "img_iter1", "img_iter2")
    for name, images in zip(names, loaded.tuning.images, strict=True):
        assert largest_difference(images, loaded.case.io[name]) < 1e-4, name


def test_reference_deltas_of_the_first_pass_are_reproduced(loaded: Loaded) -> None:
    io = loaded.case.io
    numbers = [int(number) for number in loaded.case.meta["opts"]["layers_to_tune"].split(",")]
    found = loaded.network.deltas(torch.cat([loaded.photos, io["img0"]], dim=1))
    for number, delta in zip(numbers, found.values(), strict=True):
        assert list(delta.shape) == io[f"delta{number}_shape"].tolist(), number
        assert largest_difference(delta[:, :4, :4], io[f"delta{number}_corner"]) < 1e-5, number
        assert abs(float(delta.std()) - float(io[f"delta{number}_std"])) < 1e-5, number


def reference() -> Hypernetwork:
    tensors = textbook(SMALL, foreign_tensors(SMALL)).tensors
    shapes = {number: tuple(tensors[f"{name}.weight"].shape) for number, name in MODULES.items()}
    return random_hypernetwork(shapes)


def content(**opts: Any) -> dict[str, Any]:
    """A file's content, with an encoder as files of a training run have it."""
    parts = {
        "hypernet": reference().state_dict(),
        "decoder": foreign_tensors(SMALL),
        "w_encoder": {"linear.weight": torch.zeros(1)},
    }
    tensors = {f"{part}.{key}": t for part, found in parts.items() for key, t in found.items()}
    return {"state_dict": tensors, "opts": opts, "latent_avg": torch.zeros(8, 8)}


def small(**opts: Any) -> tuple[HyperStyle, Generator]:
    network, checkpoint = read_hyperstyle(Document(Path("file.pt"), "torch", content(**opts)))
    return network, checkpoint.build()


def photos_and_latents() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    return torch.rand(2, 3, 256, 256, generator=source) * 2 - 1, torch.randn(
        2, 8, 8, generator=source
    )


def test_a_small_file_is_refined_as_the_textbook_does(tmp_path: Path) -> None:
    torch.save(content(n_iters_per_batch=3), tmp_path / "any.name")
    network, generator = load_hyperstyle(tmp_path / "any.name")
    photos, latents = photos_and_latents()
    tuning, deltas = network.refine(photos, latents, generator), dict[int, Tensor]()
    for index, images in enumerate(tuning.images):
        shown = torch.cat([picture(deltas, photo, latents) for photo in range(2)])
        assert largest_difference(images, shown) < 1e-4, index
        if index == 3:
            break
        found = reference()(torch.cat([photos, F.interpolate(shown, scale_factor=8)], dim=1))
        deltas = {number: delta + deltas.get(number, 0) for number, delta in found.items()}
    assert len(tuning.images) == 4
    assert tuning.deltas.keys() == {MODULES[number] for number in deltas}
    for number, delta in deltas.items():
        assert float(delta.std()) > 0.01
        torch.testing.assert_close(tuning.deltas[MODULES[number]], delta, atol=1e-5, rtol=1e-4)


def picture(deltas: dict[int, Tensor], photo: int, latents: Tensor) -> Tensor:
    """The picture of one photo by the textbook's StyleGAN2."""
    book = textbook(SMALL, foreign_tensors(SMALL))
    tensors = dict(book.tensors)
    for number, delta in deltas.items():
        key = f"{MODULES[number]}.weight"
        tensors[key] = tensors[key] * (1 + delta[photo])
    return type(book)(SMALL, tensors).synthesize(latents[photo : photo + 1])


def test_a_photo_is_refined_alike_alone_and_among_others() -> None:
    network, generator = small()
    photos, latents = photos_and_latents()
    together = network.refine(photos, latents, generator, steps=1)
    alone = network.refine(photos[1:], latents[1:], generator, steps=1)
    torch.testing.assert_close(together.images[1][1:], alone.images[1], atol=1e-5, rtol=1e-4)
    assert torch.equal(alone.tuned(0).synthesize(latents[1:]), alone.images[1])


def test_cars_are_cut_to_their_middle_rows() -> None:
    network, generator = small(dataset_type="cars_hypernet")
    photos, latents = photos_and_latents()
    whole = network.refine(photos, latents, generator, steps=1)
    cut = network.refine(photos[:, :, 32:224], latents, generator, steps=1)
    assert torch.equal(whole.images[1], cut.images[1])


def test_the_format_is_recognised_and_its_decoder_is_a_generator(tmp_path: Path) -> None:
    root = content()
    torch.save(root, tmp_path / "file.pt")
    file = Document(tmp_path / "file.pt", "torch", root)
    assert next(one.format for one in READERS if one.matches(file)) == "hyperstyle"
    found = read_generator(tmp_path / "file.pt")
    assert found.format == "hyperstyle"
    assert "hypernetwork" in found.notes[-1]
    _, latents = photos_and_latents()
    rendered = load_generator(tmp_path / "file.pt").synthesize(latents[:1])
    assert largest_difference(rendered, picture({}, 0, latents)) < 1e-4
    with pytest.raises(CheckpointError, match="hyperstyle, which holds no encoder"):
        read_encoder(tmp_path / "file.pt")


def test_another_file_is_not_taken_for_one(tmp_path: Path) -> None:
    torch.save({"state_dict": {"hypernet.conv1.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt is no file of HyperStyle"):
        load_hyperstyle(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("key", "tensor", "reason"),
    [
        ("surprise.weight", torch.zeros(1), r"left over: .*surprise\.weight"),
        ("refinement_blocks.9.output.1.weight", None, r"missing: .*9\.output\.1\.weight"),
        ("refinement_blocks.12.convs.0.weight", torch.zeros(3, 8, 3, 3), "convolution 12"),
        ("conv1.weight", torch.zeros(4, 3, 7, 7), r"conv1\.weight.* \(\[4, 3, 7, 7\] for \[4, 6"),
        ("body.0.conv2.weight", None, r"body\.0\.conv2\.weight"),
        ("shared_weight_hypernet.w1", torch.zeros(7, 5), r"w1 \(\[7, 5\] for \[7, 54\]\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(
    key: str, tensor: Tensor | None, reason: str
) -> None:
    root = content()
    root["state_dict"][f"hypernet.{key}"] = tensor
    with pytest.raises(CheckpointError, match=reason):
        read_hyperstyle(Document(Path("file.pt"), "torch", root))


def test_what_cannot_be_refined_is_refused_with_the_reason() -> None:
    network, generator = small()
    photos, latents = photos_and_latents()
    with pytest.raises(InvalidOptionError, match="steps is 0"):
        network.refine(photos, latents, generator, steps=0)
    with pytest.raises(InvalidLatentError, match="2 latents for 1 photos"):
        network.refine(photos[:1], latents, generator)
    with pytest.raises(InvalidLatentError, match=r"\[7, 8\]"):
        network.refine(photos, latents[:, :7], generator)
    with pytest.raises(GeneratorMismatchError, match=r"layers\.0\.conv of shape \[6, 6, 3, 3\]"):
        network.refine(photos, latents, tiny_generator())
    with pytest.raises(GeneratorMismatchError, match="not a pggan"):
        network.refine(photos, latents, PGGAN(PGGANConfig(8, channels=(4, 4))).freeze())
