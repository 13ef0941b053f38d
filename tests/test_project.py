"""The files around the code say what the code does."""

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.settings_table import with_table
from service.app import VERSION
from service.cli import build_parser
from service.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NOT_SETTINGS = {"NI_KEY", "NI_PORT"}
"""A client's own key, and the port that compose publishes."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    pattern = re.compile(r"([a-z0-9-]+)==([0-9a-z.]+)(; .+)?")
    matches = [pattern.fullmatch(entry) for entry in entries]
    assert all(matches), "only name==version lines, without addresses or local versions"
    return {match[1]: match[2] for match in matches if match}


def version_tuple(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def requirements() -> list[str]:
    return [*project()["dependencies"], *project()["optional-dependencies"]["test"]]


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_is_locked_at_or_above_its_lower_bound(requirement: str) -> None:
    name, lower = re.match(r"([a-z0-9-]+)>=([0-9.]+)", requirement).groups()
    assert version_tuple(locked()[name]) >= version_tuple(lower)


def test_every_setting_is_documented_as_the_code_has_it() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert page == with_table(page), "run `python scripts/settings_table.py`"


@pytest.mark.parametrize(
    "page",
    [*PAGES, *ROOT.glob("docker-compose*.yml"), ROOT / "Dockerfile", ROOT / "Makefile"],
    ids=lambda page: page.name,
)
def test_no_page_names_a_setting_that_is_not_there(page: Path) -> None:
    known = {f"NI_{name.upper()}" for name in ServiceSettings.model_fields} | NOT_SETTINGS
    assert set(re.findall(r"\bNI_[A-Z_]+[A-Z]\b", page.read_text("utf-8"))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_are_understood(page: Path) -> None:
    text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
    commands = re.findall(r"^(?: {4}|\$ )?(?:NI_\w+=\S+ )*ni (.+)$", text, re.M)
    for command in commands:
        words = shlex.split(command, comments=True)
        if words[0] not in ("train", "evaluate"):
            build_parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_the_pages_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = re.findall(r"(?:^ {4}|`)make ([a-z -]+)", text, re.M)
    assert {target for words in named for target in words.split()} <= targets


def test_one_version_everywhere() -> None:
    assert project()["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_ci_runs_make_test_and_nothing_after_it() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").splitlines()[-1] == "make test"


def test_the_image_installs_with_make_and_holds_every_package() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert "make install" in text
    for package in ("ni_core", "worker", "service"):
        assert f"COPY {package} {package}" in text
    assert text.index("USER ni") < text.index("CMD")


def test_compose_keeps_redis_appended_and_checks_the_health_of_all() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    services = compose["services"]
    assert set(services) == {"redis", "service", "worker"}
    assert services["redis"]["command"][1:3] == ["--appendonly", "yes"]
    assert "healthcheck" in services["redis"] and "healthcheck" in services["worker"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8")
    assert services["service"]["environment"]["NI_API_KEYS"].startswith("${NI_API_KEYS:?")
    for name in ("service", "worker"):
        assert services[name]["volumes"] == ["models:/models"]
        assert services[name]["environment"]["NI_MODEL_DIR"] == "/models"
        build_parser().parse_args(services[name]["command"][1:])


def test_the_gpu_override_touches_workers_only() -> None:
    override = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text("utf-8"))
    assert set(override["services"]) == {"worker"}
    (device,) = override["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_studio_loads_nothing_from_elsewhere() -> None:
    for path in (ROOT / "service" / "studio").iterdir():
        if path.suffix in (".html", ".js", ".css"):
            assert not re.search(r"https?:|[\"'(]//", path.read_text("utf-8")), path.name
