"""Our LPIPS gives the package's values, on any trunk, any image size."""

import warnings
from pathlib import Path

import lpips
import pytest
import torch
from safetensors.torch import save_file

from ni_core.errors import BrokenBundleError
from ni_core.images import decode_image
from ni_core.perceptual import Architecture, Perceptual, embedded_distance, load_perceptual
from tests.ni_core.trunks import random_images, random_trunk

ARCHITECTURES: list[Architecture] = ["squeeze", "alex", "vgg"]
GENUINE = Path(__file__).parents[3] / "shared" / "real" / "lpips_squeeze"


def package_distance(architecture: Architecture, calibrated: bool) -> torch.nn.Module:
    """The unmodified package with the random trunk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=architecture, pnet_rand=True, lpips=calibrated, verbose=False)
    trunk = random_trunk(architecture)
    network.net.load_state_dict(
        {key: trunk["features." + key.split(".", 1)[1]] for key in network.net.state_dict()}
    )
    return network


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_and_gradients_equal_the_packages(
    architecture: Architecture, calibrated: bool
) -> None:
    ours = load_perceptual(
        random_trunk(architecture), architecture=architecture, name="x", calibrated=calibrated
    )
    theirs = package_distance(architecture, calibrated)
    images, targets = random_images(3, 40), random_images(3, 40, seed=1)
    images.requires_grad_()
    distance, expected = ours(images, targets), theirs(images, targets).flatten()
    torch.testing.assert_close(distance, expected, rtol=1e-4, atol=1e-6)
    (gradient,) = torch.autograd.grad(distance.sum(), images)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), images)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(not GENUINE.is_dir(), reason=f"the genuine trunk is not at {GENUINE}")
@pytest.mark.parametrize(("name", "expected"), [("p0", 0.7110), ("p1", 0.1479)])
def test_the_genuine_trunk_gives_the_packages_documented_distances(
    name: str, expected: float
) -> None:
    path = GENUINE / "squeezenet1_1_features.pth"
    perceptual = load_perceptual(path, architecture="squeeze", name="imagenet", calibrated=True)
    reference, picture = (
        decode_image((GENUINE / f"ex_{which}.png").read_bytes())[None] for which in ("ref", name)
    )
    assert perceptual(reference, picture).item() == pytest.approx(expected, abs=1e-3)


def test_an_image_is_at_distance_zero_from_itself(squeeze: Perceptual) -> None:
    images = random_images(2, 32)
    assert squeeze(images, images).tolist() == [0, 0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("side", [1, 8, 16, 30])
def test_images_too_small_for_the_trunk_are_enlarged(architecture: Architecture, side: int) -> None:
    perceptual = load_perceptual(
        random_trunk(architecture), architecture=architecture, name="x", calibrated=False
    )
    distance = perceptual(random_images(2, side), random_images(2, side, seed=1))
    assert (distance > 0).all()


def test_an_image_the_trunk_does_not_respond_to_has_finite_gradients() -> None:
    trunk = random_trunk("squeeze")
    trunk["features.0.bias"] = torch.full((64,), -1e3)
    trunk["features.3.squeeze.bias"] = torch.zeros(16)
    dead = load_perceptual(trunk, architecture="squeeze", name="dead", calibrated=False)
    images = random_images(1, 32).requires_grad_()
    distance = dead(images, random_images(1, 32, seed=1))
    (gradient,) = torch.autograd.grad(distance.sum(), images)
    assert distance.isfinite().all()
    assert gradient.isfinite().all()


def test_only_images_get_gradients(squeeze: Perceptual) -> None:
    assert not squeeze.training
    assert not any(parameter.requires_grad for parameter in squeeze.parameters())


def test_features_computed_once_serve_every_distance(squeeze: Perceptual) -> None:
    images, targets = random_images(2, 32), random_images(2, 32, seed=1)
    cached = squeeze.features(targets)
    distance = embedded_distance(squeeze.features(images), cached)
    assert torch.equal(distance, squeeze(images, targets))


def test_building_neither_warns_nor_prints_nor_disturbs_the_random_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    trunk = random_trunk("alex")
    load_perceptual(trunk, architecture="alex", name="x", calibrated=True)
    assert torch.equal(torch.rand(1), expected)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_trunk_files_are_told_apart_by_content_and_widened(
    tmp_path: Path, format: str, squeeze: Perceptual
) -> None:
    tensors = {key: value.half() for key, value in random_trunk("squeeze").items()}
    path = tmp_path / "trunk.weights"
    save_file(tensors, path) if format == "safetensors" else torch.save(tensors, path)
    loaded = load_perceptual(path, architecture="squeeze", name="half", calibrated=False)
    images, targets = random_images(1, 32), random_images(1, 32, seed=1)
    assert loaded.trunk == "half"
    torch.testing.assert_close(
        loaded(images, targets), squeeze(images, targets), rtol=1e-2, atol=1e-4
    )


def test_the_wrong_architecture_names_the_first_wrong_tensor() -> None:
    with pytest.raises(BrokenBundleError, match=r"features\.0\.weight is of shape \[64, 3, 3, 3\]"):
        load_perceptual(random_trunk("squeeze"), architecture="alex", name="x", calibrated=False)


def test_a_file_that_is_no_weights_is_a_broken_bundle(tmp_path: Path) -> None:
    path = tmp_path / "trunk.safetensors"
    for content in (b"", b"garbage", b"12345678{garbage"):
        path.write_bytes(content)
        with pytest.raises(BrokenBundleError, match=r"trunk\.safetensors cannot be read"):
            load_perceptual(path, architecture="alex", name="x", calibrated=False)
    torch.save([1, 2], path)
    with pytest.raises(BrokenBundleError, match="holds list"):
        load_perceptual(path, architecture="alex", name="x", calibrated=False)
