from pathlib import Path

import numpy as np
import pytest
import torch

from ni_core.training import picture_set
from ni_core.training.picture_set import (
    FreshPictures,
    RenderedPictures,
    main,
    open_pictures,
    render_set,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_set, "CHUNK_PICTURES", 8)


def test_stored_pictures_are_the_rendered_ones_to_one_level(tmp_path: Path) -> None:
    render_set(tmp_path, seed=1, start=0, pictures=16, resolution=16)
    indices = torch.tensor([11, 2, 9])
    stored = open_pictures(str(tmp_path), seed=1, resolution=16).take(indices, CPU)
    fresh = FreshPictures(seed=1, resolution=16).take(indices, CPU)
    torch.testing.assert_close(stored, fresh, atol=1.01 / 127.5, rtol=0)


def test_chunks_rendered_apart_are_one_set(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--start", "8", "--pictures", "8", "--resolution", "16"])
    with pytest.raises(ValueError, match="holds 0 pictures"):
        RenderedPictures(tmp_path, seed=1, resolution=16)
    main(["--out", str(tmp_path), "--pictures", "8", "--resolution", "16"])
    assert len(RenderedPictures(tmp_path, seed=1, resolution=16)) == 16


def test_a_chunk_that_exists_is_left_alone(tmp_path: Path) -> None:
    render_set(tmp_path, seed=1, start=0, pictures=8, resolution=16)
    (path,) = tmp_path.iterdir()
    np.save(path, np.zeros((8, 3, 16, 16), np.uint8))
    render_set(tmp_path, seed=1, start=0, pictures=8, resolution=16)
    assert RenderedPictures(tmp_path, seed=1, resolution=16).take(torch.arange(8), CPU).max() == -1


def test_more_pictures_than_there_are_is_an_error(tmp_path: Path) -> None:
    render_set(tmp_path, seed=1, start=0, pictures=8, resolution=16)
    assert len(RenderedPictures(tmp_path, seed=1, resolution=16, limit=5)) == 5
    with pytest.raises(ValueError, match="holds 8 pictures"):
        RenderedPictures(tmp_path, seed=1, resolution=16, limit=9)


def test_a_start_inside_a_chunk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a multiple of 8"):
        render_set(tmp_path, seed=1, start=4, pictures=8, resolution=16)
