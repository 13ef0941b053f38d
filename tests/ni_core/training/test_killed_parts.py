"""Every part's training through its command line: killed with -9, called again, the same part."""

import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ni_core.bundles import write_tiny_bundle
from ni_core.bundles.parts import find_parts
from ni_core.training import contrastive
from ni_core.training.snapshots import list_snapshots, read_seen

SMALL = ["--batch", "8", "--fitted", "64"]
TRAININGS = {
    "features": ["contrastive", "--batch", "8"],
    "psp": ["encoders", "--kind", "psp", *SMALL],
    "restyle": ["encoders", "--kind", "restyle", *SMALL, "--iterations", "2"],
    "e4e": ["encoders", "--kind", "e4e", *SMALL],
    "mapper": ["mapper", "--batch", "8", "--samples", "64", "--features", "{features}"],
    "landscape": ["landscape"],
}
PICTURES = {"landscape": 256}
"""By kind; 64 for the others."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def features(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature network of a few steps."""
    folder = tmp_path_factory.mktemp("features")
    line = ["--bundle", str(tiny), "--data", "samples", "--batch", "8", "--pictures", "8"]
    assert contrastive.main([*line, "--out", str(folder)]) == 0
    return folder


def kill_after_a_checkpoint(module: str, arguments: list[str], out: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments])
    while not any(read_seen(path) for path in list_snapshots(out)):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_killed_and_resumed_ends_with_the_same_part(
    kind: str, tiny: Path, features: Path, tmp_path: Path
) -> None:
    name, *words = [word.format(features=features) for word in TRAININGS[kind]]
    module, pictures = f"ni_core.training.{name}", PICTURES.get(kind, 64)
    words += ["--bundle", str(tiny), "--data", "samples", "--pictures", str(pictures)]
    words += ["--checkpoint-s", "0", "--resume"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kill_after_a_checkpoint(module, [*words, "--out", str(cut)], cut)
    assert read_seen(list_snapshots(cut)[-1]) < pictures
    for out in (whole, cut):
        assert import_module(module).main([*words, "--out", str(out)]) == 0
    ones, others = (load_file(folder / f"{kind}.safetensors") for folder in (whole, cut))
    assert ones.keys() == others.keys()
    assert all(torch.equal(ones[name], others[name]) for name in ones)
    if kind != "features":
        assert [part.kind for part in find_parts(cut)] == [kind]
