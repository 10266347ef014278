"""The expectation of FID of perfect samples against simulations where it is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.score.metrics.expected_frechet import Relation, fewest, finite_sample
from palette_bench.score.metrics.frechet import frechet_distance, moments

WIDTH = 16
WORLDS = 40


def world(random: np.random.Generator, count: int, *, heavy: bool) -> NDArray[np.float64]:
    """Images' features [count, 16] of a falling spectrum; with ``heavy`` tails, as features of networks have."""
    features = random.normal(size=(count, WIDTH))
    if heavy:
        features *= np.sqrt(random.gamma(4.0, 0.25, size=(count, 1)))
    scaled: NDArray[np.float64] = features / np.sqrt(np.arange(1, WIDTH + 1)) + 3.0
    return scaled


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("count", [2 * WIDTH, 6 * WIDTH])
@pytest.mark.parametrize("relation", list(Relation))
def test_expectation_of_perfect_samples(count: int, relation: Relation, *, heavy: bool) -> None:
    """One set's estimate against the mean of what perfect sets score, in both relations to a reference of five times
    the images."""
    random = np.random.default_rng([count, heavy])
    scored, expected, errors, wrong = [], [], [], []
    for _ in range(WORLDS):
        population = world(random, 6 * count, heavy=heavy)
        reference = population[: 5 * count]
        images = population[:count] if relation is Relation.PART else population[5 * count :]
        scored.append(frechet_distance(images, moments(reference)).value)
        found = finite_sample(images)
        assert found is not None
        expectation = found.expected(5 * count, relation)
        assert expectation is not None
        expected.append(expectation.value)
        errors.append(expectation.error)
        other = found.expected(5 * count, Relation.PART if relation is Relation.DISJOINT else Relation.DISJOINT)
        assert other is not None
        wrong.append(other.value)
    truth = np.mean(scored)
    assert np.mean(expected) == pytest.approx(truth, rel=0.08)
    # The wrong relation is no small mistake, and a set's own estimate knows how far it may be off.
    assert abs(np.mean(wrong) - truth) > 0.2 * truth
    assert np.mean(np.abs(np.array(expected) - truth) < 3 * np.array(errors)) > 0.8


def test_a_set_that_is_not_perfect_scores_above_it() -> None:
    random = np.random.default_rng(1)
    images = world(random, 320, heavy=True)
    reference = moments(world(random, 1600, heavy=True) * 1.2)
    found = finite_sample(images)
    assert found is not None
    expectation = found.expected(1600, Relation.DISJOINT)
    assert expectation is not None
    assert frechet_distance(images, reference).value > expectation.value + 5 * expectation.error


def test_what_was_not_measured_is_not_extrapolated() -> None:
    images = world(np.random.default_rng(2), 320, heavy=False)
    assert fewest(WIDTH) == 32
    assert finite_sample(images[:31]) is None
    found = finite_sample(images)
    assert found is not None
    assert found.expected(20, Relation.DISJOINT) is None
    assert found.expected(100, Relation.PART) is None
    whole = found.expected(320, Relation.PART)
    assert whole is not None
    assert whole.value == 0.0


def test_it_is_the_same_every_time() -> None:
    images = world(np.random.default_rng(3), 160, heavy=False)
    first, second = finite_sample(images), finite_sample(images)
    assert first is not None
    assert second is not None
    assert first.expected(800, Relation.PART) == second.expected(800, Relation.PART)
    assert first.slope == second.slope
