"""The commands in the pages are run as they stand."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ni_core.bundles import write_tiny_bundle
from ni_core.images import decode_image
from service.welcome import SAMPLE
from tests.parts import equip
from tests.stack import Stack, environment

ROOT = Path(__file__).parents[2]
DEFAULT_ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle in the place of the embedded one, so that inversions are quick."""
    directory = tmp_path_factory.mktemp("models")
    equip(write_tiny_bundle(directory, name="portraits"), tmp_path_factory.mktemp("parts"))
    return directory


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("data")
    stack = Stack(data, "--port", "0", NI_MODEL_DIR=str(models), NI_DEVICE="cpu")
    try:
        yield stack.wait_ready()
    finally:
        stack.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sample picture where README.md and docs/http.md expect it."""
    studio = tmp_path / "service" / "studio"
    studio.mkdir(parents=True)
    shutil.copy(SAMPLE, studio)
    shutil.copy(SAMPLE, tmp_path)
    return tmp_path


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(script: str, folder: Path, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script.replace("curl -s", "curl -sS")],
        cwd=folder,
        env=environment(PATH=path, **variables),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_http_page_works_from_top_to_bottom(stack: Stack, folder: Path) -> None:
    *good, bad = blocks("docs/http.md", "sh")
    script = "".join(good).replace(DEFAULT_ADDRESS, stack.address)
    printed = run(script, folder)
    assert "/problems/" not in printed
    assert 'status":"succeeded"' in printed.replace(" ", "")
    assert "event: terminal" in printed
    for name in ("regenerated.webp", "edited.webp", "edited.png"):
        assert decode_image((folder / name).read_bytes()).shape == (3, 16, 16)
    problem = run(f"NI={stack.address}\n{bad}", folder)
    assert "/problems/invalid-layers" in problem and "0-99" in problem


def test_the_commands_of_the_readme_work(stack: Stack, folder: Path, models: Path) -> None:
    over_http, without_service = blocks("README.md", "sh")
    run(over_http.replace(DEFAULT_ADDRESS, stack.address), folder)
    assert decode_image((folder / "edited.png").read_bytes()).shape == (3, 16, 16)
    (folder / "edited.png").unlink()
    run(without_service, folder, NI_MODEL_DIR=str(models), NI_DEVICE="cpu")
    assert decode_image((folder / "edited.png").read_bytes()).shape == (3, 16, 16)
    assert decode_image((folder / "regenerated.png").read_bytes()).shape == (3, 20, 20)
