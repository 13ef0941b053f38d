import pytest
import torch
from torchvision.models import squeezenet1_1

from ni_core.encoders.squeeze import MEAN, SCALE, SqueezeTrunk, vector_size
from ni_core.perceptual import Perceptual


@pytest.mark.parametrize("side", [17, 32, 63, 64, 128])
def test_it_gives_what_torchvisions_network_gives(side: int) -> None:
    torch.manual_seed(0)
    theirs, ours = squeezenet1_1(weights=None).features.eval(), SqueezeTrunk()
    assert ours.begin_from(theirs.state_dict())
    pictures = torch.rand(2, 3, side, side) * 2 - 1
    normalised = (pictures - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1)
    last = ours.maps(pictures)[-1]
    torch.testing.assert_close(last, theirs(normalised))
    vector = ours.vector(pictures)
    assert vector.shape == (2, vector_size(side))
    assert torch.equal(vector[:, : last[0].numel()], last.flatten(1))


def test_it_begins_as_the_trunk_of_a_perceptual_distance(squeeze: Perceptual) -> None:
    slices = squeeze.network.net.state_dict()
    trunk = SqueezeTrunk()
    assert trunk.begin_from({key.split(".", 1)[1]: value for key, value in slices.items()})
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    raw = squeeze.network.net(squeeze.network.scaling_layer(pictures))
    torch.testing.assert_close(trunk.maps(pictures)[-1], raw[-1])


def test_weights_of_another_network_are_left_alone() -> None:
    trunk = SqueezeTrunk()
    before = trunk.stem.weight.clone()
    assert not trunk.begin_from({"0.weight": torch.zeros(8, 3, 3, 3)})
    assert not trunk.begin_from({})
    assert torch.equal(trunk.stem.weight, before)
