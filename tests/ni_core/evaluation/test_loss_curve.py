import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from ni_core.bundles import Bundle
from ni_core.errors import InvalidOptionError
from ni_core.evaluation.curve_plot import HEIGHT, WIDTH, plot
from ni_core.evaluation.loss_curve import default_starts, losses, main, read_start, run_curve
from ni_core.evaluation.picture_sets import own_samples, sample_latents
from ni_core.inversion import invert

SVG = "{http://www.w3.org/2000/svg}"


def test_the_command_writes_losses_and_seconds_for_every_number_of_steps(
    judged: Path, tmp_path: Path
) -> None:
    out, svg = tmp_path / "curve.json", tmp_path / "curve.svg"
    arguments = ["--bundle", str(judged), "--pictures", "2", "--steps", "1,20"]
    assert main([*arguments, "--out", str(out), "--plot", str(svg)]) == 0
    figures = json.loads(out.read_text())
    assert figures["set"] == "unseen_renders"
    assert list(figures["series"]) == ["cold", "mean"]
    for points in figures["series"].values():
        assert [point["steps"] for point in points] == [1, 20]
        assert points[1]["loss"] < points[0]["loss"]
        assert points[1]["seconds"] > points[0]["seconds"] > 0
    drawn = ElementTree.fromstring(svg.read_text("utf-8"))
    titles = [line.findtext(f"{SVG}title") for line in drawn.iter(f"{SVG}polyline")]
    assert titles == ["cold", "mean"] * 2
    texts = " ".join(text.text or "" for text in drawn.iter(f"{SVG}text"))
    for told in ("tiny", "32 px", "random-squeeze", "2 unseen renders", "1 thread"):
        assert told in texts


def test_a_cold_start_is_a_random_latent_of_each_picture(bundle: Bundle) -> None:
    pictures = own_samples(bundle, 3, seed=1)
    cold = run_curve(bundle, read_start("cold", bundle), pictures, steps=[1], seed=9)
    start = sample_latents(bundle, 3, seed=9)
    options = {"steps": 1, "starts": 1}
    found = invert(bundle, pictures.pictures, start=start, options=options)
    loss = losses(bundle, found.images, pictures.pictures).mean()
    assert cold[0]["loss"] == pytest.approx(float(loss), abs=1e-5)
    assert cold[0]["loss"] > 0


def test_the_loss_is_the_one_that_descent_reports(bundle: Bundle) -> None:
    targets = own_samples(bundle, 3, seed=1).pictures
    images = bundle.generator.synthesize(bundle.generator.broadcast(bundle.generator.w_avg[None]))
    reported = invert(bundle, targets, options={"steps": 1, "starts": 1}).history
    found = losses(bundle, images.expand_as(targets), targets)
    assert torch.allclose(found, torch.tensor(reported)[:, 0], atol=1e-5)


def test_a_start_that_the_bundle_has_not_is_refused(bundle: Bundle) -> None:
    assert default_starts(bundle) == ["cold", "mean"]
    with pytest.raises(InvalidOptionError, match="'e4e' is not one of those of tiny: cold, mean"):
        read_start("e4e", bundle)


def test_learnt_parts_are_starts(equipped: Bundle) -> None:
    assert default_starts(equipped) == ["cold", "mean", "e4e", "mapper", "landscape"]
    pictures = own_samples(equipped, 2, seed=1)

    def loss(name: str) -> float:
        start = read_start(name, equipped)
        return run_curve(equipped, start, pictures, steps=[3], seed=1)[0]["loss"]

    def loss_of(**keywords: object) -> float:
        found = invert(equipped, pictures.pictures, **keywords)  # type: ignore[arg-type]
        return float(losses(equipped, found.images, pictures.pictures).mean())

    encoded = equipped.encoders["mapper"].encode(pictures.pictures, equipped.generator)
    options = {"steps": 3, "starts": 1}
    assert loss("mapper") == pytest.approx(loss_of(start=encoded, options=options), abs=1e-5)
    theta = loss_of(method="landscape", options={"steps": 3})
    assert loss("landscape") == pytest.approx(theta, abs=1e-5)
    after = loss_of(options=options | {"start": "landscape"})
    assert loss("after landscape") == pytest.approx(after, abs=1e-5)


def test_both_axes_of_a_plot_are_logarithmic() -> None:
    points = [(1.0, 1.0), (10.0, 0.1), (100.0, 0.01)]
    drawn = ElementTree.fromstring(plot([("x", "y", {"a & b": points})], "title"))
    line = next(drawn.iter(f"{SVG}polyline"))
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x0 == 0
    assert y2 == HEIGHT
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert x2 <= WIDTH
    assert y0 >= 0
