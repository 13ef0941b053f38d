"""Files of pSp, e4e and ReStyle made here: every variant, every gap, every refusal."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.checkpoints import READERS, load_encoder, load_generator, read_encoder
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.psp import read_encoder as read_document
from ni_core.encoders import Encoder, build_encoder
from ni_core.encoders.psp import PspConfig
from ni_core.errors import CheckpointError
from tests.ni_core.checkpoints.cases import ABSENT, largest_difference, real_size
from tests.ni_core.checkpoints.psp_layouts import Layout, random_encoder, textbook
from tests.ni_core.checkpoints.test_rosinality import SMALL, foreign_tensors

PSP = {"encoder_type": "GradualStyleEncoder", "output_size": 32, "start_from_latent_avg": True}
E4E = {"encoder_type": "Encoder4Editing", "stylegan_size": 32, "start_from_latent_avg": True}
RESTYLE = {"encoder_type": "BackboneEncoder", "output_size": 32, "n_iters_per_batch": 3}
VARIANTS: dict[str, tuple[Layout, dict[str, Any]]] = {
    "psp": (Layout(), PSP),
    "e4e": (Layout(progressive=True), E4E),
    "w": (Layout(head="pooled", side=256), {**PSP, "encoder_type": "AnyW", "learn_in_w": True}),
    "flattened": (Layout(head="flattened", side=256), {**PSP, "encoder_type": "AnyWPlus"}),
    "last": (Layout(head="last"), {**PSP, "encoder_type": "BackboneEncoder"}),
    "resnet": (
        Layout(head="last", resnet=True),
        {**PSP, "encoder_type": "ResNetBackboneEncoder"},
    ),
    "progressive resnet": (
        Layout(head="last", resnet=True, progressive=True),
        {**PSP, "encoder_type": "ResNetProgressiveBackboneEncoder"},
    ),
}


def content(layout: Layout, opts: Any, mean: Tensor | None = None) -> dict[str, Any]:
    """A file's content: small encoder and decoder, options, and a mean if given."""
    parts = {"encoder": random_encoder(layout), "decoder": foreign_tensors(SMALL)}
    tensors = {f"{part}.{key}": t for part, found in parts.items() for key, t in found.items()}
    return {"state_dict": tensors, "opts": opts, **({} if mean is None else {"latent_avg": mean})}


def load(root: dict[str, Any]) -> Encoder:
    found = read_document(Document(Path("encoder.pt"), "torch", root))
    return build_encoder(found.family, found.config, found.tensors)


def mean_of_w() -> Tensor:
    return torch.linspace(-1, 1, 8).repeat(8, 1)


def pictures(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_what_the_textbook_gives(name: str) -> None:
    layout, opts = VARIANTS[name]
    root = content(layout, opts, mean_of_w()[: 1 if layout.head == "pooled" else 8])
    encoder = load(root)
    assert encoder.input_shape == (layout.side, layout.side)
    assert encoder.space == ("w" if layout.head == "pooled" else "w+")
    x = pictures(layout.side)
    expected = textbook(random_encoder(layout), layout, x) + mean_of_w()
    assert largest_difference(encoder.encode(x), expected) < 1e-5


@pytest.mark.parametrize("stage", range(8))
def test_rows_above_the_stage_of_e4e_equal_the_first(stage: int) -> None:
    layout, opts = VARIANTS["e4e"]
    encoder = load(content(layout, opts, mean_of_w()))
    x = pictures(64)
    whole, part = encoder.encode(x), encoder.encode(x, stage=stage)
    torch.testing.assert_close(part[:, : stage + 1], whole[:, : stage + 1])
    assert torch.equal(part[:, stage + 1 :], part[:, :1].expand(-1, 7 - stage, -1))


@pytest.mark.parametrize("own", [True, False], ids=["its own generator", "a given one"])
def test_restyle_refines_its_guess_as_the_textbook_does(own: bool, tmp_path: Path) -> None:
    layout = Layout(head="last", channels=6)
    torch.save(content(layout, RESTYLE, mean_of_w()), tmp_path / "restyle.pt")
    encoder, generator = (
        load_(tmp_path / "restyle.pt") for load_ in (load_encoder, load_generator)
    )
    assert encoder.iterations == 3
    x, guess = pictures(64), mean_of_w()[None].repeat(2, 1, 1)
    seen: list[Tensor] = []
    found = encoder.encode(x, None if own else generator, on_pass=lambda p: seen.append(p.latents))
    for latents in seen:
        shown = F.adaptive_avg_pool2d(generator.synthesize(guess), 64)
        inputs = torch.cat([x, shown], dim=1)
        guess = guess + textbook(random_encoder(layout), layout, inputs)
        assert largest_difference(latents, guess) < 1e-4
    assert len(seen) == 3
    assert torch.equal(found, seen[-1])


def test_a_refinement_can_be_taken_up_again(tmp_path: Path) -> None:
    torch.save(content(Layout(head="last", channels=6), RESTYLE, mean_of_w()), tmp_path / "r.pt")
    encoder = load_encoder(tmp_path / "r.pt")
    once = encoder.encode(pictures(64), steps=1)
    again = encoder.encode(pictures(64), steps=2, start=once)
    torch.testing.assert_close(again, encoder.encode(pictures(64)))


def test_the_mean_is_added_only_where_the_encoder_was_trained_so() -> None:
    layout, opts = VARIANTS["psp"]
    bare = load(content(layout, {**opts, "start_from_latent_avg": False}, mean_of_w()))
    with_mean = load(content(layout, opts, mean_of_w()))
    without_opts = load(content(layout, None, mean_of_w()))
    x = pictures(64)
    torch.testing.assert_close(bare.encode(x) + mean_of_w(), with_mean.encode(x))
    assert torch.equal(without_opts.encode(x), with_mean.encode(x))


def test_an_absent_mean_is_measured_on_the_decoder(tmp_path: Path) -> None:
    layout, opts = VARIANTS["psp"]
    torch.save(content(layout, argparse.Namespace(**opts)), tmp_path / "psp.pt")
    found = read_encoder(tmp_path / "psp.pt")
    assert found.generator is not None
    w_avg = found.generator.build().w_avg
    assert torch.equal(found.tensors["w_avg"], w_avg.expand(8, -1))
    assert any("latent_avg" in note for note in found.notes)


def test_files_of_a_training_run_are_read_and_their_kind_is_guessed() -> None:
    layout, opts = VARIANTS["e4e"]
    root = content(layout, {"stylegan_size": 32, "delta_norm": 2}, mean_of_w())
    extra = {"optimizer": {"state": {}}, "discriminator_state_dict": {}, "global_step": 1000}
    whole = load(content(layout, opts, mean_of_w()))
    assert torch.equal(load({**root, **extra}).encode(pictures(64)), whole.encode(pictures(64)))


def test_cars_are_cut_to_their_middle_rows() -> None:
    layout, opts = VARIANTS["e4e"]
    encoder = load(content(layout, {**opts, "dataset_type": "cars_encode"}, mean_of_w()))
    assert encoder.input_shape == (48, 64)
    x = pictures(64)
    assert torch.equal(encoder.encode(x), encoder.encode(x[:, :, 8:56]))


def test_missing_and_left_over_keys_are_named() -> None:
    layout, opts = VARIANTS["psp"]
    root = content(layout, opts, mean_of_w())
    del root["state_dict"]["encoder.body.2.res_layer.4.running_var"]
    root["state_dict"]["encoder.surprise.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"body\.2\.res_layer\.4\.running_var") as caught:
        load(root)
    assert "surprise.weight" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state_dict": {"teacher.weight": torch.zeros(1)}}, "beside encoder.* .* teacher.weight"),
        ({"latent_avg": torch.zeros(5, 8)}, r"latent_avg of shape \[5, 8\] does not fit \[8, 8\]"),
        ({"state_dict": {"encoder.input_layer.0.weight": torch.zeros(4, 19, 3, 3)}}, "19 channels"),
    ],
    ids=["other tensors", "another mean", "a label map"],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    change: dict[str, Any], reason: str
) -> None:
    layout, opts = VARIANTS["psp"]
    root = content(layout, opts, mean_of_w())
    root["state_dict"] |= change.pop("state_dict", {})
    with pytest.raises(CheckpointError, match=reason):
        load({**root, **change})


REAL = {
    "e4e_ffhq_1024": PspConfig(18, progressive=True),
    "psp_ffhq_1024": PspConfig(18),
    "restyle_e4e_ffhq_1024": PspConfig(
        18, head="last", progressive=True, refines=True, iterations=5
    ),
    "restyle_psp_church_256_resnet": PspConfig(
        14, body="resnet", units=(3, 4, 6, 3), reduction=1, head="last", refines=True, iterations=5
    ),
    "restyle_psp_ffhq_1024": PspConfig(18, head="last", refines=True, iterations=5),
}


@ABSENT
@pytest.mark.parametrize("name", REAL)
def test_the_keys_of_a_published_file_are_accepted(name: str) -> None:
    listing = real_size(name)
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    tensors = {
        key: torch.outer(taps, taps)
        if key.endswith(".kernel")
        else torch.empty(shape, device="meta")
        for key, shape in listing["tensors"].items()
    }
    opts = listing["minimal_opts"]
    root = {"state_dict": tensors, "opts": opts, "latent_avg": torch.zeros(1, 512)}
    document = Document(Path("model.pt"), "torch", root)
    assert next(reader.format for reader in READERS if reader.matches(document)) == "psp"
    found = read_document(document)
    assert found.config == REAL[name]
    assert found.generator is not None
    size = opts.get("stylegan_size", opts.get("output_size"))
    assert found.generator.config.resolution == size


def test_configurations_survive_json() -> None:
    from ni_core.encoders import read_encoder_config

    for config in REAL.values():
        fields = json.loads(json.dumps(dataclasses.asdict(config)))
        assert read_encoder_config("psp", fields) == config
