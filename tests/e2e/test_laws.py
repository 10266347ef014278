"""What must hold of every metric, on real features of the embedded classifier."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import pixel_digest
from palette_bench.score import statistics
from palette_bench.score.backbones.loading import load
from palette_bench.score.features import PixelItem, extract
from palette_bench.score.metrics import similarity
from palette_bench.score.metrics.frechet import frechet_distance
from palette_bench.score.recipes.base import Direction, Inputs, Outputs, compute
from palette_bench.score.recipes.catalogue import for_protocol
from palette_bench.score.recipes.neighbours import NEIGHBOURS
from palette_bench.score.scoring import network_labels
from tests.e2e.conftest import NewHome, Quickstart

COUNT = 500
DEVIATIONS = (0.0, 8.0, 20.0, 40.0)
"""Of the noise, in grey levels."""

RECIPES = [recipe for recipe in for_protocol("scenes32") if not recipe.metric.of_samples]


def features_of(images: NDArray[np.uint8]) -> Outputs:
    items = [PixelItem(pixel_digest(image), partial(np.asarray, image)) for image in images]
    return extract(items, [load("scenes32")], None)


@pytest.fixture
def levels(quickstart: Quickstart, new_home: NewHome) -> list[Inputs]:
    """What the recipes take, for references under more and more noise."""
    new_home("laws")
    eval_set = EvalSet(quickstart.home / "sets" / "scenes32")
    images = np.stack([eval_set.reference(item) for item in eval_set.items[:COUNT]])
    references = features_of(images)
    backbone = load("scenes32")
    name = statistics.reference_name(eval_set, None)
    kept = statistics.load(eval_set, name, backbone.fingerprint, "features")
    assert kept is not None
    labels = network_labels(eval_set)
    assert not isinstance(labels, str)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=images.shape)
    found: list[Inputs] = []
    for deviation in DEVIATIONS:
        noisy = np.clip(np.rint(images + deviation * noise), 0, 255).astype(np.uint8)
        maps = [[similarity.ImageMaps.of(i, scales=1) for i in pair] for pair in zip(noisy, images, strict=True)]
        found.append(
            Inputs(
                predicted=features_of(noisy),
                references=references,
                labels=labels[:COUNT],
                statistics={"fid-scenes32": kept},
                pixels={
                    "psnr": np.array([similarity.psnr(a, b) for a, b in zip(noisy, images, strict=True)]),
                    "ssim": np.array([similarity.ssim(a, b) for a, b in maps]),
                },
                diversity={},
            )
        )
    return found


def test_identity_is_best_and_noise_makes_everything_worse(levels: list[Inputs]) -> None:
    numbers = [compute(RECIPES, inputs).values for inputs in levels]
    for recipe in RECIPES:
        values = [found[recipe.name].estimate.value for found in numbers]
        worse = np.diff(values) if recipe.direction is Direction.LOWER else -np.diff(values)
        if recipe.metric is not NEIGHBOURS:
            assert (worse > 0).all(), (recipe.name, values)
            continue
        # Shares stay at 1 under little noise, and density is no distance: beside its reference a prediction may lie in
        # more neighbourhoods than the reference itself.
        assert (worse[1:] > 0).all(), (recipe.name, values)
        assert recipe.name.startswith("density") or worse[0] >= 0, (recipe.name, values)
    identity = numbers[0]
    assert identity["fid-scenes32-evalset"].estimate.value == pytest.approx(0.0, abs=1e-6)
    assert identity["pd-scenes32"].estimate.value == 0.0
    assert identity["precision-scenes32-evalset-k3"].estimate.value == 1.0
    assert identity["kid-scenes32-evalset"].estimate.value <= 1e-12


def test_every_number_has_an_error_and_an_interval_around_it(levels: list[Inputs]) -> None:
    for name, number in compute(RECIPES, levels[2]).values.items():
        estimate = number.estimate
        assert estimate.standard_error is not None, name
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.standard_error > 0, name
        assert estimate.low <= estimate.value <= estimate.high


def test_fid_is_symmetric(levels: list[Inputs]) -> None:
    first, second = (levels[level].predicted["scenes32"]["features"] for level in (1, 2))
    there, back = frechet_distance(first, second).value, frechet_distance(second, first).value
    assert there == pytest.approx(back, rel=1e-9)
    assert there > 1.0


def test_the_order_of_items_moves_nothing(levels: list[Inputs]) -> None:
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    inputs = levels[2]
    shuffled = inputs.only(order)
    for recipe in RECIPES:
        there = compute([recipe], inputs).values[recipe.name].estimate
        again = compute([recipe], shuffled).values[recipe.name].estimate
        assert again.value == pytest.approx(there.value, rel=1e-9), recipe.name
        # Errors of the neighbour metrics are corrected on random blocks of items.
        tolerance = 0.2 if recipe.metric is NEIGHBOURS else 1e-6
        assert again.standard_error == pytest.approx(there.standard_error, rel=tolerance), recipe.name
    mixed = replace(shuffled, references=inputs.references)
    assert compute(RECIPES, mixed).values["pd-scenes32"].estimate.value > 1.1 * (
        compute(RECIPES, inputs).values["pd-scenes32"].estimate.value
    )
