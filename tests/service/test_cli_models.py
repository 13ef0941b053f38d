"""`ni models` as its user meets it."""

import json
import re
from pathlib import Path

import pytest
import torch

from ni_core.bundles.manifest import TRUNKS
from ni_core.checkpoints import READERS
from ni_core.images import decode_image
from service.cli import main
from service.commands.model_import import TRUNKS as OFFERED
from tests.parts import write_parts
from worker.settings import Settings

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NI_MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("NI_DEVICE", "cpu")
    return tmp_path / "models"


@pytest.fixture
def tiny(model_directory: Path) -> str:
    return str(model_directory / "tiny")


def test_a_model_is_imported_listed_shown_verified_and_removed(
    models: Path, tiny: str, tmp_path: Path, capsys: Capture
) -> None:
    line = ["models", "import", "--generator", tiny, "--name", "cats", "--licence", "MIT"]
    line += ["--subject", "cats", "--alignment", "none", "--sheet", str(tmp_path / "cats.png")]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(models / "cats"), str(tmp_path / "cats.png")]
    assert "writing    generator.safetensors" in printed.err and " bytes" in printed.err
    assert "note: LPIPS is measured on portraits-squeeze" in printed.err
    assert decode_image((tmp_path / "cats.png").read_bytes()).shape == (3, 38, 74)

    assert main(["models", "list"]) == 0
    cats, portraits = capsys.readouterr().out.splitlines()[1:]
    assert cats.split()[:6] == ["cats", "stylegan2", "16", "z,w,w+", "optimize", "0"]
    assert cats.endswith("MIT") and portraits.startswith("portraits")

    assert main(["models", "show", "cats"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["domain"] == {"subject": "cats", "alignment": "none"}

    assert main(["models", "verify", "cats"]) == 0
    verified = capsys.readouterr().out
    assert "2 of 2 files" in verified and "colour_mean" in verified

    assert main(["models", "remove", "cats"]) == 0
    assert main(["models", "show", "cats"]) == 2


def test_the_embedded_model_can_be_verified(capsys: Capture) -> None:
    assert main(["models", "verify", "portraits"]) == 0
    printed = capsys.readouterr()
    assert "9 of 9 files" in printed.out and "warning" not in printed.err


def test_a_folder_that_is_no_model_is_named_beside_the_list(models: Path, capsys: Capture) -> None:
    (models / "half").mkdir(parents=True)
    assert main(["models", "list"]) == 0
    printed = capsys.readouterr()
    assert "half" not in printed.out and "half has no manifest.json" in printed.err


def test_a_changed_file_is_found(models: Path, tiny: str, capsys: Capture) -> None:
    assert main(["models", "import", "--generator", tiny, "--name", "cats"]) == 0
    with (models / "cats" / "generator.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\1")
    capsys.readouterr()
    assert main(["models", "verify", "cats"]) == 2
    assert "generator.safetensors" in capsys.readouterr().err


def test_parts_are_attached_to_a_model_and_its_methods_listed(
    models: Path, tiny: str, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["models", "import", "--generator", tiny, "--name", "cats"]) == 0
    work = tmp_path / "work"
    write_parts(models / "cats", work)
    capsys.readouterr()
    assert main(["models", "attach", "cats", str(work)]) == 0
    assert "cats now has e4e, restyle, psp, mapper, landscape" in capsys.readouterr().out
    assert main(["models", "show", "cats"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"e4e", "restyle", "psp", "mapper", "landscape"} <= set(shown["methods"])
    assert main(["models", "attach", "cats", str(tmp_path)]) == 2
    assert "holds none of e4e" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--generator", "missing.pt"], "missing.pt"),
        (["--generator", __file__], Path(__file__).name),
        (["--generator", "."], "no manifest.json"),
        ([], "neither a generator"),
        (["--generator", "{tiny}", "--trunk", __file__], Path(__file__).name),
        (["--generator", "{tiny}", "--directions", __file__], Path(__file__).name),
        (["--generator", "{tiny}", "--encoder", "{tiny}"], "0 encoders"),
        (["--generator", "{tiny}", "--trunk", "{pt}"], "odd.pt is no trunk"),
    ],
)
def test_what_cannot_be_imported_is_one_line_exit_code_2_and_nothing_left(
    models: Path, tiny: str, tmp_path: Path, options: list[str], reason: str, capsys: Capture
) -> None:
    torch.save({"weight": torch.zeros(5)}, tmp_path / "odd.pt")
    line = [text.format(tiny=tiny, pt=tmp_path / "odd.pt") for text in options]
    assert main(["models", "import", "--name", "cats", *line]) == 2
    mistakes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ni: ")]
    assert len(mistakes) == 1 and reason in mistakes[0]
    assert not models.exists() or [path.name for path in models.iterdir()] == [".lock"]


def test_a_name_is_needed(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["models", "import"])
    assert "--name" in capsys.readouterr().err


def test_the_offered_trunks_are_those_that_bundles_may_have() -> None:
    assert set(OFFERED) == set(TRUNKS)


def test_every_format_and_every_option_is_documented(capsys: Capture) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    with pytest.raises(SystemExit, match="0"):
        main(["models", "import", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    formats = {f"`{reader.format}`" for reader in READERS}
    assert {text for text in options | formats if text not in page} == set()


def test_without_a_setting_models_are_where_ni_up_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NI_MODEL_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().model_dir == tmp_path / "neural-inversion" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().model_dir.is_relative_to(tmp_path / ".local" / "share")
