"""The whole chain, small and real; killed on the way once."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ni_core.bundles import load_bundle
from ni_core.errors import InvalidOptionError
from ni_core.training import everything
from ni_core.training.steps import FIGURES, PARTS, STEPS

pytestmark = pytest.mark.timeout(900)


def tiny(out: Path, *more: str) -> list[str]:
    return ["--bundle", "portraits", "--size", "tiny", "--out", str(out), *more]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain whose process was killed while it trained the first trunk."""
    out = tmp_path_factory.mktemp("chain")
    process = subprocess.Popen([sys.executable, "-m", everything.__name__, *tiny(out)])
    while not (out / "logs" / "trunk-first.log").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return out


@pytest.fixture(scope="module")
def finished(killed: Path) -> Path:
    """The same, called again."""
    assert everything.main(tiny(killed)) == 0
    return killed


def plan(out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, str]:
    assert everything.main(tiny(out, "--dry-run", *more)) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_a_killed_chain_knows_what_is_done(
    killed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = plan(killed, capsys)
    assert list(states) == [step.name for step in STEPS]
    assert states["set"] == states["critic"] == "up to date"
    assert states["trunk-first"] == "was interrupted"
    assert states["generator"] == "has not run yet"


def test_called_again_it_ends_with_a_bundle(finished: Path) -> None:
    bundle = load_bundle(finished / "portraits")
    assert bundle.generator.resolution == 32
    document = json.loads((finished / "portraits" / "manifest.json").read_text())
    training = document["training"]
    assert (training["pictures_seen"], training["seed"]) == (64, 1)
    assert isinstance(training["minutes"], float)
    assert training["hardware"]["device"] == "cpu"
    networks = training["networks"]
    assert networks.keys() == {"critic", "reader", "trunk-first", "trunk", "judge"}
    assert (networks["judge"]["architecture"], networks["judge"]["seed"]) == ("Judge", 2)
    assert document["figures"].keys() == {*FIGURES, "r2"}
    assert training["parts"].keys() == {*PARTS, "features"}
    assert {*bundle.encoders, "landscape"} == set(PARTS)
    assert bundle.landscape is not None and bundle.features is not None
    assert bundle.features.config.network == "reader"
    assert document["judge"]["file"] == "judge.safetensors"


def test_a_second_call_skips_everything(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    assert everything.main(tiny(finished)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{step.name}: up to date" for step in STEPS]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_what_depends_on_a_change_is_to_be_made_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = finished / "networks" / "critic.safetensors"
    kept = network.read_bytes()
    network.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    states = plan(finished, capsys)
    network.write_bytes(kept)
    assert states["generator"] == "its input networks/critic.safetensors changed"
    assert states["figures-directions"] == "comes after draft"
    assert states["judge"] == states["trunk"] == "up to date"


def test_what_was_made_of_something_else_is_set_aside(
    killed: Path, finished: Path, tmp_path: Path
) -> None:
    chain = everything.make_chain(
        everything._parser().parse_args(tiny(tmp_path, "--data", str(killed / "data")))
    )
    (tmp_path / "generator").mkdir()
    chain._make_room(next(step for step in STEPS if step.name == "generator"))
    assert [path.name for path in tmp_path.iterdir()] == ["generator-before-1"]


def test_more_pictures_go_on_from_the_checkpoint(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = plan(finished, capsys, "--pictures", "96")
    stale = {name: why for name, why in states.items() if why != "up to date"}
    assert stale["generator"] == "has further to go"
    assert stale["draft"] == "comes after generator"
    assert stale["figures-generator"] == "comes after draft"
    assert "critic" not in stale and "judge" not in stale


def test_an_unknown_step_cannot_be_accepted(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="no step 'hat'"):
        everything.main(tiny(tmp_path, "--accept", "hat"))


def test_when_the_time_is_up_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert everything.main(tiny(tmp_path, "--seconds", "0")) == everything.UNFINISHED
    assert "the time is up" in capsys.readouterr().out


def test_an_accepted_step_counts_as_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made by hand, or on another machine."""
    (tmp_path / "networks").mkdir()
    for name in ("judge.safetensors", "judge.json", "judge_half.safetensors"):
        (tmp_path / "networks" / name).write_bytes(b"by hand")
    assert plan(tmp_path, capsys)["judge"] == "has not run yet"
    assert plan(tmp_path, capsys, "--accept", "judge")["judge"] == "up to date"
    (tmp_path / "networks" / "judge.json").unlink()
    assert plan(tmp_path, capsys)["judge"] == "its output networks/judge.json is missing"
