"""The encoders of pSp, e4e, ReStyle and idinvert give what their own code gave."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_encoder
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.psp import READERS
from ni_core.encoders import Encoder, Pass, build_encoder
from ni_core.generators import Generator
from tests.ni_core.checkpoints.cases import Case, cases, largest_difference

SINGLE, REFINING = cases("e4e") + cases("psp"), cases("restyle")


@dataclass(frozen=True)
class Loaded:
    """A case with its networks; the files would have up to 700 MB, so they are never written."""

    case: Case
    encoder: Encoder
    generator: Generator

    @property
    def pictures(self) -> Tensor:
        return (self.case.io["x_uint8"].float() / 255 - 0.5) / 0.5


@pytest.fixture(scope="module", params=SINGLE + REFINING)
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    case: Case = request.param
    root = {"state_dict": case.tensors(), "opts": case.meta["opts"]}
    document = Document(Path("encoder.pt"), "torch", {**root, "latent_avg": case.io["latent_avg"]})
    (reader,) = READERS
    assert reader.matches(document)
    assert reader.encoder is not None
    found = reader.encoder(document)
    assert found.generator is not None
    encoder = build_encoder(found.family, found.config, found.tensors)
    yield Loaded(case, encoder, found.generator.build())


def test_reference_latents_and_pictures_are_reproduced(loaded: Loaded) -> None:
    io, encoder, generator = loaded.case.io, loaded.encoder, loaded.generator
    assert encoder.num_layers == loaded.case.meta["n_styles"]
    if encoder.needs_generator:
        return refine(loaded)
    codes = encoder.encode(loaded.pictures)
    assert largest_difference(codes, io["codes"]) < 1e-5
    assert largest_difference(codes - io["latent_avg"], io["encoder_raw"]) < 1e-5
    assert largest_difference(generator.synthesize(codes), io["img_const"]) < 1e-4
    for stage in (int(key[17:]) for key in io if key.startswith("encoder_raw_stage")):
        part = encoder.encode(loaded.pictures, stage=stage) - io["latent_avg"]
        assert largest_difference(part, io[f"encoder_raw_stage{stage}"]) < 1e-5, stage
    if "mask" in io:
        mixed, rows = codes.clone(), io["mask"]
        mixed[:, rows] = mixed[:, rows].lerp(io["inject_latent"][:, rows], 0.25)
        assert largest_difference(mixed, io["codes_masked_alpha0.25"]) < 1e-5
        picture = generator.synthesize(mixed)
        assert largest_difference(picture, io["img_masked_alpha0.25"]) < 1e-4


def refine(loaded: Loaded) -> None:
    io, seen = loaded.case.io, list[Pass]()
    steps = loaded.case.meta["restyle_iters"]
    loaded.encoder.encode(loaded.pictures, loaded.generator, steps=steps, on_pass=seen.append)
    assert len(seen) == steps
    for index, done in enumerate(seen):
        assert largest_difference(done.latents, io[f"codes_iter{index}"]) < 1e-5, index
        assert largest_difference(done.images(), io[f"img_iter{index}"]) < 1e-4, index


@pytest.mark.parametrize("case", cases("idinvert"))
def test_reference_latents_of_idinvert_are_reproduced(case: Case) -> None:
    encoder = load_encoder(case.folder / "styleganinv_encoder.pth")
    codes = case.io["encoder_codes"]
    assert (encoder.num_layers, encoder.w_dim) == tuple(codes.shape[1:])
    with torch.no_grad():
        assert largest_difference(encoder.encode(case.io["img"]), codes) < 1e-5
