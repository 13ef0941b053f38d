"""`ni` as its user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ni_core.bundles import write_tiny_bundle
from ni_core.images import decode_image
from service.app import create_app
from service.cli import DELEGATED, main
from service.commands.serve import remove_studio
from service.security import check_key
from service.settings import ServiceSettings
from service.welcome import SAMPLE
from tests.bundles import Z_ONLY, add_directions, imported, unit, write_bundle


@pytest.fixture(autouse=True)
def tiny_models(model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NI_MODEL_DIR", str(model_directory))
    monkeypatch.setenv("NI_DEVICE", "cpu")


def test_help_comes_without_loading_torch() -> None:
    code = (
        "import sys\nfrom service.cli import DELEGATED, main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'fastapi', 'redis'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("up", "invert", "edit", "directions", "models", "train", "evaluate"):
        assert f"    {command}" in done.stdout


def test_invert_then_edit_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latent_file = tmp_path / "latent.npy"
    line = ["invert", str(SAMPLE), "--model", "tiny", "--steps", "2"]
    assert main([*line, "-o", str(latent_file)]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"picture", "mse", "psnr", "ssim", "lpips", "trunk"} <= metrics.keys()
    assert np.load(latent_file).ndim == 2
    edited, moved = tmp_path / "edited.webp", tmp_path / "moved.safetensors"
    line = ["edit", str(latent_file), "--model", "tiny", "--weight", "sefa.0-2.0=2.5"]
    assert main([*line, "-o", str(edited), "--save-latent", str(moved)]) == 0
    assert decode_image(edited.read_bytes()).shape == (3, 16, 16)
    assert moved.stat().st_size > 0
    elsewhere = tmp_path / "elsewhere.npy"
    assert main([*line, "-o", str(edited), "--layers", "4-5", "--save-latent", str(elsewhere)]) == 0
    changed = (np.load(elsewhere) != np.load(latent_file)).any(axis=1)
    assert changed.tolist() == [False] * 4 + [True] * 2
    assert main(["edit", str(moved), "--model", "tiny", "-o", str(tmp_path / "again.png")]) == 0


def test_several_pictures_become_files_named_after_them(tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    second.write_bytes(SAMPLE.read_bytes())
    line = ["invert", str(SAMPLE), str(second), "--model", "tiny", "--option", "steps=2"]
    assert (
        main([*line, "-o", str(tmp_path / "latents"), "--save-image", str(tmp_path / "r.png")]) == 0
    )
    names = sorted(path.name for path in (tmp_path / "latents").iterdir())
    assert names == ["sample.safetensors", "second.safetensors"]
    assert decode_image((tmp_path / "r.png").read_bytes()).shape == (3, 20, 38)


def test_one_latent_file_for_two_pictures_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invert", str(SAMPLE), str(SAMPLE), "--model", "tiny", "-o", "one.npy"]) == 2
    assert "there are 2 pictures" in capsys.readouterr().err


def test_two_pictures_of_one_name_are_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["invert", str(SAMPLE), str(SAMPLE), "--model", "tiny", "-o", str(tmp_path)]) == 2
    assert "sample.safetensors" in capsys.readouterr().err


def test_directions_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["directions", "--model", "tiny", "--layers", "0-2", "--k", "3"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["sefa.0-2.0", "sefa.0-2.1", "sefa.0-2.2"]
    assert main(["directions", "--model", "tiny", "--k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(direction["vector"]) for direction in found] == [32, 32]


def test_a_model_with_only_z_is_listed_edited_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path, "plain", "pggan", Z_ONLY)
    add_directions(folder, [imported("smile", unit(24, 3), space="z")])
    monkeypatch.setenv("NI_MODEL_DIR", str(tmp_path))
    assert main(["directions", "--model", "plain", "--method", "imported"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["imported.z.0", "-3.00", "..", "3.00", "smile"]
    latent, picture = tmp_path / "z.npy", tmp_path / "edited.png"
    np.save(latent, np.zeros(24, np.float32))
    line = ["edit", str(latent), "--model", "plain", "--weight", "imported.z.0=2"]
    assert main([*line, "-o", str(picture), "--save-latent", str(tmp_path / "moved.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "moved.npy"), 2 * unit(24, 3).numpy())
    line = ["strip", "--model", "plain", "--k", "2", "--columns", "3", "-o", str(picture)]
    assert main(line) == 0
    assert decode_image(picture.read_bytes()).shape == (3, 2 * 18 + 2, 3 * 18 + 2)


def test_a_film_strip_has_a_row_per_direction(tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "strip.png"
    line = ["strip", "--model", "tiny", "--k", "3", "--columns", "5", "--seed", "4"]
    assert main([*line, "-o", str(path)]) == 0
    assert decode_image(path.read_bytes()).shape == (3, 3 * 18 + 2, 5 * 18 + 2)


def test_models_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["models", "show", "tiny"]) == 0
    assert json.loads(capsys.readouterr().out)["resolution"] == 16


def test_a_model_can_be_named_by_its_folder(
    model_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["directions", "--model", str(model_directory / "tiny"), "--k", "1"]) == 0
    assert "sefa" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["directions", "--model", "nothing"], "nothing"),
        (["directions", "--model", "tiny", "--layers", "0-99"], "0-99"),
        (["invert", "missing.png", "--model", "tiny"], "missing.png"),
        (["invert", __file__, "--model", "tiny"], "image"),
        (["invert", str(SAMPLE), "--model", "tiny", "--steps", "0"], "steps"),
        (["models", "show", "nothing"], "nothing"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    line: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.startswith("ni: ") and message in error and error.count("\n") == 1


def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NI_QUEUE_LIMIT", "many")
    assert main(["models", "list"]) == 2
    assert "NI_QUEUE_LIMIT" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["sefa.0-5.0", "sefa.0-5.0=", "sefa.0-5.0=much"])
def test_a_weight_that_is_no_number_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["edit", "latent.npy", "--weight", text])
    assert text in capsys.readouterr().err


def test_a_new_key_fits_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key"]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines()[:2])
    check_key(printed["key:"], [printed["digest:"]])


def test_the_page_can_be_left_out() -> None:
    app = create_app(ServiceSettings(redis_url="redis://127.0.0.1:1"))
    remove_studio(app)
    paths = {getattr(route, "path", "") for route in app.routes}
    assert not {"/", "/studio"} & paths and "/openapi.yaml" in paths


def test_serve_lets_no_other_machine_in_without_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NI_API_KEYS", raising=False)
    assert main(["serve", "--host", "0.0.0.0"]) == 1
    assert "0.0.0.0" in capsys.readouterr().err


def test_worker_check_fails_where_no_worker_is(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NI_REDIS_URL", redis_url)
    assert main(["worker", "--check"]) == 1
    assert "no worker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, members in DELEGATED.items() for name in members]
)
def test_training_commands_read_their_own_options(
    group: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([group, name, "--help"])
    assert f"ni {group} {name}" in capsys.readouterr().out


def test_a_delegated_command_finds_models_of_the_model_directory_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_bundle(tmp_path / "models", "cats")
    monkeypatch.setenv("NI_MODEL_DIR", str(tmp_path / "models"))
    line = ["train", "contrastive", "--data", "samples", "--bundle", "cats", "--batch", "8"]
    assert main([*line, "--pictures", "8", "--out", str(tmp_path / "features")]) == 0
    assert (tmp_path / "features" / "features.safetensors").is_file()
    assert main([*line[:5], "dogs", "--out", str(tmp_path / "none")]) == 2
    assert "no bundle at dogs" in capsys.readouterr().err


def test_an_unknown_training_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "everything"])
    assert "generator" in capsys.readouterr().err
