"""Runs: killed and called again, they go on as if nothing had happened."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ni_core.errors import InvalidOptionError
from ni_core.training.runs import (
    add_run_options,
    joined,
    optimiser_tensors,
    part_of,
    random_of,
    restore_optimiser,
    seconds_of,
    train_run,
)
from ni_core.training.snapshots import list_snapshots, read_seen, read_snapshot


@dataclass(frozen=True)
class Recipe:
    rate: float = 0.1
    sizes: tuple[int, ...] = (3, 2)


class Line:
    """Fits a line to noise; the smallest run there is."""

    kind, batch = "line", 4

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.seen = recipe, 0
        torch.manual_seed(0)
        self.network = nn.Linear(3, 2)
        self.optimiser = torch.optim.Adam(self.network.parameters(), recipe.rate)

    def step(self) -> dict[str, Tensor]:
        random = random_of(1, self.seen // self.batch)
        loss = self.network(torch.randn(4, 3, generator=random)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.seen += self.batch
        return {"loss": loss}

    def tensors(self) -> dict[str, Tensor]:
        return joined(
            {
                "network": self.network.state_dict(),
                "optimiser": optimiser_tensors(self.optimiser),
            }
        )

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        self.seen = seen
        self.network.load_state_dict(part_of(tensors, "network"))
        restore_optimiser(self.optimiser, part_of(tensors, "optimiser"))

    def sheet(self) -> Tensor:
        return torch.zeros(3, 8, 8)


def options(folder: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_options(parser, pictures=400)
    return parser.parse_args(["--out", str(folder), *words])


def last(folder: Path) -> dict[str, Tensor]:
    return read_snapshot(list_snapshots(folder)[-1])[1]


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_run_goes_on_bit_by_bit(tmp_path: Path) -> None:
    assert train_run(Line(Recipe()), options(tmp_path / "whole"))
    first = options(tmp_path / "halves", "--pictures", "200")
    assert train_run(Line(Recipe()), first)
    assert train_run(Line(Recipe()), options(tmp_path / "halves", "--resume"))
    assert_equal(last(tmp_path / "whole"), last(tmp_path / "halves"))
    assert seconds_of(tmp_path / "halves") >= 0


def test_a_run_stops_when_the_time_is_up_and_says_so(tmp_path: Path) -> None:
    assert not train_run(Line(Recipe()), options(tmp_path, "--seconds", "0"))
    assert read_seen(list_snapshots(tmp_path)[-1]) == 0


def test_a_line_of_the_log_holds_means(tmp_path: Path) -> None:
    train_run(Line(Recipe()), options(tmp_path))
    lines = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines] == [200, 400]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert list(tmp_path.glob("sheet-00000400.png"))


def test_a_folder_in_use_is_refused_without_resume(tmp_path: Path) -> None:
    train_run(Line(Recipe()), options(tmp_path, "--pictures", "8"))
    with pytest.raises(InvalidOptionError, match="already holds checkpoint-00000008"):
        train_run(Line(Recipe()), options(tmp_path))


def test_a_run_of_another_recipe_is_not_continued(tmp_path: Path) -> None:
    train_run(Line(Recipe()), options(tmp_path, "--pictures", "8"))
    with pytest.raises(InvalidOptionError, match="rate differs"):
        train_run(Line(Recipe(rate=0.2)), options(tmp_path, "--resume"))


def test_random_numbers_depend_on_seed_step_and_stream_alone() -> None:
    def draw(*place: int) -> list[float]:
        return torch.randn(4, generator=random_of(*place)).tolist()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    places = [(1, 2, 3), (2, 1, 3), (1, 3, 2), (1, 2, 0), (12, 3, 0)]
    assert len({tuple(draw(*place)) for place in places}) == len(places)
