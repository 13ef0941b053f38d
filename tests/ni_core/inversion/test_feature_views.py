"""Features are compared in another view at each step, and the best latent is found all the same."""

import dataclasses

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.encoders.frozen import FrozenFeatures
from ni_core.evaluation.reading import render_all, unseen_factors
from ni_core.inversion import invert
from ni_core.inversion.distance import DistanceOptions, objective_of
from ni_core.inversion.report import StepReport
from ni_core.perceptual import embedded_distance
from ni_core.views import first_views
from tests.parts import FEATURES

OPTIONS = {"steps": 10, "starts": 1, "space": "w+"}


@pytest.fixture(scope="module")
def seeing(bundle: Bundle) -> Bundle:
    """The tiny bundle with a feature network of random weights."""
    torch.manual_seed(0)
    return dataclasses.replace(bundle, features=FrozenFeatures(FEATURES).freeze())


def found(bundle: Bundle, pictures: Tensor, **options: object) -> Tensor:
    result = invert(bundle, pictures, options={**OPTIONS, **options})
    return torch.stack([latent.tensor for latent in result.latents])


def test_one_view_is_the_default_and_each_count_descends_otherwise(
    seeing: Bundle, pictures: Tensor
) -> None:
    one, two, six = (found(seeing, pictures, feature_views=n) for n in (1, 2, 6))
    assert torch.equal(found(seeing, pictures), one)
    assert not torch.equal(one, two) and not torch.equal(two, six)


def test_views_change_nothing_where_no_features_are_compared(
    bundle: Bundle, seeing: Bundle, pictures: Tensor
) -> None:
    assert torch.equal(found(bundle, pictures, feature_views=6), found(bundle, pictures))
    without = {"features_coefficient": 0}
    six = found(seeing, pictures, feature_views=6, **without)
    assert torch.equal(six, found(seeing, pictures, **without))


def test_the_best_latent_is_the_best_of_those_seen_as_they_are(
    seeing: Bundle, pictures: Tensor
) -> None:
    """Losses in different views are different measures: an easy view is no better latent."""
    generator = seeing.generator
    after = [generator.w_avg.expand(4, generator.num_layers, -1)]

    def remember(report: StepReport) -> None:
        after.append(report.latents)

    options = {**OPTIONS, "feature_views": 3, "prior_coefficient": 0, "learning_rate": 1.0}
    result = invert(seeing, pictures, options=options, start=after[0], on_step=remember)
    objective = objective_of(seeing, pictures, DistanceOptions(), "w+")
    latents = torch.stack([latent.tensor for latent in result.latents])
    with torch.no_grad():
        reached = objective(generator.synthesize(latents))[0]
        candidates = [  # every third step looks at the pictures as they are, and so does the end
            objective(generator.synthesize(after[steps]))[0] for steps in (0, 3, 6, 9, 10)
        ]
    torch.testing.assert_close(reached, torch.stack(candidates).amin(dim=0))


def test_less_differs_in_views_that_the_descent_never_had() -> None:
    """What only fooled the feature network from one point of view is not found."""
    portraits = load_bundle("portraits")
    assert portraits.features is not None
    renders = render_all(unseen_factors(4, seed=5), portraits)
    options = {"steps": 60, "starts": 1, "metrics": "none"}
    others = first_views(12)[6:]
    differences = []
    for views in (1, 6):
        result = invert(portraits, renders, options={**options, "feature_views": views})
        with torch.no_grad():
            embedded = [
                portraits.features.embedding(torch.cat([view.of(renders), view.of(result.images)]))
                for view in others
            ]
        pairs = [embedded_distance(*both.chunk(2)).mean() for both in embedded]
        differences.append(torch.stack(pairs).mean())
    assert differences[1] < 0.95 * differences[0], differences
