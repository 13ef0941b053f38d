import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ni_core.bundles import load_bundle
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2
from ni_core.training import export
from ni_core.training.checkpoint import Checkpoint, Stretch, write_checkpoint
from ni_core.training.features import export_trunk
from ni_core.training.judge import Judge, export_judge
from ni_core.training.recipes import SETTINGS
from ni_core.training.regressor import SqueezeNetRegressor

CONFIG = SETTINGS["tiny"].config
MACHINE = {"device": "cpu", "processor": "a small one", "threads": 1, "torch": "2"}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    average = {f"average.{k}": v for k, v in StyleGAN2(CONFIG).state_dict().items()}
    stretches = tuple(
        Stretch(start, start + 160, 90.0, {"batch": 16, "seed": 3, "settle": start}, MACHINE)
        for start in (0, 160)
    )
    write_checkpoint(Checkpoint(CONFIG, 320, 64, stretches, average), tmp_path / "run")
    networks = tmp_path / "networks"
    networks.mkdir()
    export_trunk(SqueezeNetRegressor(32), networks / "trunk_features.safetensors")
    for kind in ("critic", "trunk"):
        (networks / f"{kind}.json").write_text('{"yaw": 0.9}')
    (tmp_path / "generator.json").write_text('{"samples": 10}')
    (tmp_path / "networks.json").write_text('{"critic": {"seed": 1, "minutes": 3.5}}')
    return tmp_path


def run_export(folder: Path, *more: str) -> Path:
    arguments = ["--checkpoint", str(folder / "run"), "--features", str(folder / "networks")]
    arguments += ["--figures", str(folder / "generator.json"), "--note", "place=a laptop"]
    arguments += ["--networks", str(folder / "networks.json"), "--version", "2"]
    assert export.main([*arguments, "--out", str(folder / "bundle"), *more]) == 0
    return folder / "bundle"


@pytest.fixture
def exported(trained: Path) -> Path:
    return run_export(trained)


def test_an_exported_bundle_loads_and_synthesizes(exported: Path) -> None:
    bundle = load_bundle(exported)
    w_plus = bundle.generator.broadcast(bundle.generator.map(torch.randn(2, CONFIG.z_dim)))
    assert bundle.generator.synthesize(w_plus, noise="none").shape == (2, 3, 32, 32)
    assert bundle.perceptual.trunk == "portraits-squeeze"
    assert bundle.manifest.judge is None


def test_a_judge_among_the_networks_becomes_a_part(trained: Path) -> None:
    export_judge(Judge(32), trained / "networks" / "judge_half.safetensors")
    manifest = load_bundle(run_export(trained)).manifest
    assert manifest.judge is not None and manifest.judge.name == "portraits-judge"
    stored = load_file(manifest.path(manifest.judge.file))
    assert stored["stem.weight"].dtype == torch.float16


def test_weights_are_halves_and_the_average_w_is_that_of_the_mapping(exported: Path) -> None:
    stored = load_file(exported / "generator.safetensors")
    kinds = {name: value.dtype for name, value in stored.items()}
    assert kinds.pop("w_avg") == torch.float32
    assert set(kinds.values()) == {torch.float16}
    generator = load_bundle(exported).generator
    w = generator.map(torch.randn(20_000, CONFIG.z_dim))
    torch.testing.assert_close(stored["w_avg"], w.mean(dim=0), atol=0.05, rtol=0)


def test_the_manifest_says_in_numbers_how_it_was_trained(exported: Path) -> None:
    document = json.loads((exported / "manifest.json").read_text())
    assert document["version"] == 2
    training = document["training"]
    assert (training["pictures_seen"], training["pictures_in_set"]) == (320, 64)
    assert (training["seed"], training["minutes"]) == (3, 3.0)
    assert training["hardware"] == MACHINE
    assert [(s["start"], s["recipe"]["settle"]) for s in training["stretches"]] == [
        (0, 0),
        (160, 160),
    ]
    assert training["networks"]["critic"]["minutes"] == 3.5
    assert training["place"] == "a laptop"


def test_the_manifest_has_the_figures_by_the_name_of_their_file(exported: Path) -> None:
    figures = json.loads((exported / "manifest.json").read_text())["figures"]
    assert figures["generator"] == {"samples": 10}
    assert figures["r2"] == {"critic": {"yaw": 0.9}, "trunk": {"yaw": 0.9}}


def test_a_folder_without_checkpoints_is_an_error(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="neither"):
        run_export(trained, "--checkpoint", str(trained / "nowhere"))


def test_another_bundle_keeps_what_is_not_given_anew(trained: Path, exported: Path) -> None:
    (trained / "inversion.json").write_text('{"psnr": 30}')
    (trained / "read").mkdir()
    (trained / "read" / "critic.json").write_text('{"yaw": 0.95}')
    arguments = ["--bundle", str(exported), "--out", str(trained / "next")]
    arguments += ["--figures", str(trained / "inversion.json"), "--features", str(trained / "read")]
    assert export.main(arguments) == 0
    before, after = (
        json.loads((folder / "manifest.json").read_text())
        for folder in (exported, trained / "next")
    )
    assert after["version"] == 3
    assert after["figures"] == {
        "generator": {"samples": 10},
        "inversion": {"psnr": 30},
        "r2": {"critic": {"yaw": 0.95}, "trunk": {"yaw": 0.9}},
    }
    assert {**after, "version": 2, "figures": before["figures"]} == before
    assert load_bundle(trained / "next").manifest.version == 3


def test_a_bundle_comes_from_one_place_and_a_checkpoint_needs_networks(
    trained: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--checkpoint", "a", "--bundle", "b"], [], ["--checkpoint", "a"]):
        with pytest.raises(SystemExit):
            export.main([*arguments, "--out", str(trained / "next")])
    assert "--checkpoint needs --features" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main(["--bundle", str(exported), "--out", str(exported / ".." / "bundle")])
    assert "another folder" in capsys.readouterr().err
