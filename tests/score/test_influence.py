"""The influence of every item against numerical derivatives: the same metric with weights on its items."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import QUANTILE
from palette_bench.score.metrics.frechet import Route, frechet_distance, frechet_influence, moments
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score, log_softmax

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

STEP = 1e-5
"""Of the weights; central differences of float64 then keep nine digits or so."""


def derivatives(metric: Callable[[Vector], float], count: int) -> Vector:
    """n times the derivative by each weight, the others shrinking: towards the mixture (1 - t) P + t (item i)."""
    equal = np.full(count, 1.0 / count)
    found = np.empty(count)
    for item in range(count):
        towards = np.eye(count)[item] - equal
        found[item] = (metric(equal + STEP * towards) - metric(equal - STEP * towards)) / (2 * STEP)
    return found


def weighted_factor(features: Matrix, weights: Vector) -> tuple[Vector, Matrix]:
    """The weighted mean, and F with FᵀF = n/(n-1) times the weighted covariance."""
    mean = weights @ features
    count = len(features)
    factor: Matrix = np.sqrt(weights * count / (count - 1.0))[:, None] * (features - mean)
    return mean, factor


def weighted_distance(first: tuple[Vector, Matrix], second: tuple[Vector, Matrix]) -> float:
    difference = first[0] - second[0]
    traces = float(np.square(first[1]).sum() + np.square(second[1]).sum())
    cross = float(np.linalg.svd(first[1] @ second[1].T, compute_uv=False).sum())
    return float(difference @ difference) + traces - 2.0 * cross


def equal(features: Matrix) -> tuple[Vector, Matrix]:
    return weighted_factor(features, np.full(len(features), 1.0 / len(features)))


def sets(width: int, first_count: int, second_count: int, *, dead: bool = False) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng([width, first_count, second_count])
    mixing = rng.normal(size=(width, width))
    first: Matrix = rng.normal(size=(first_count, width)) @ mixing
    second: Matrix = 1.2 * rng.normal(size=(second_count, width)) @ mixing[::-1] + 0.3
    if dead:
        first[:, 1] = 0.5
        second[:, 1] = 0.5
    return first, second


SHAPES = {
    "regular": (6, 24, 31, False, Route.CHOLESKY),
    "fewer predictions than features": (20, 12, 60, False, Route.FACTORS),
    "fewer references than features": (20, 60, 12, False, Route.FACTORS),
    "few on both sides": (20, 9, 13, False, Route.FACTORS),
    "as many as features": (12, 12, 12, False, Route.FACTORS),
    "a dead feature": (6, 24, 31, True, Route.FACTORS),
    "one feature": (1, 8, 9, False, Route.CHOLESKY),
}


@pytest.mark.parametrize("name", SHAPES)
def test_with_a_fixed_reference(name: str) -> None:
    width, first_count, second_count, dead, route = SHAPES[name]
    first, second = sets(width, first_count, second_count, dead=dead)
    found = frechet_influence(first, second, paired=False)
    expected = derivatives(
        lambda weights: weighted_distance(weighted_factor(first, weights), equal(second)), first_count
    )
    assert found.distance.route is route
    np.testing.assert_allclose(found.influence, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert abs(found.influence.sum()) < 1e-12 * np.abs(found.influence).sum()
    assert found.distance.value == pytest.approx(frechet_distance(first, second).value, rel=1e-12)


@pytest.mark.parametrize(
    ("width", "count", "dead"), [(6, 24, False), (20, 12, False), (12, 12, False), (6, 24, True), (1, 8, False)]
)
def test_with_paired_items(width: int, count: int, dead: bool) -> None:
    first, second = sets(width, count, count, dead=dead)
    second += 0.5 * first
    expected = derivatives(
        lambda weights: weighted_distance(weighted_factor(first, weights), weighted_factor(second, weights)), count
    )
    found = frechet_influence(first, second, paired=True).influence
    tolerance = 1e-7 * float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    swapped = frechet_influence(second, first, paired=True).influence
    np.testing.assert_allclose(swapped, found, rtol=0, atol=1e-10 * np.abs(found).max())
    alone = frechet_influence(first, second, paired=False).influence
    assert np.abs(alone - expected).max() > 100 * tolerance


def test_wrong_formulas_are_seen() -> None:
    first, second = sets(6, 24, 31)
    found = frechet_influence(first, second, paired=False).influence
    centred = first - first.mean(axis=0)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = np.linalg.eig(covariances[0] @ covariances[1])
    # The optimal map by another road: Σ₁⁻¹ (Σ₁Σ₂)^½.
    root = (vectors * np.sqrt(values)) @ np.linalg.inv(vectors)
    mapped = np.linalg.solve(covariances[0], root).real
    backward = np.linalg.inv(mapped)
    linear = 2.0 * centred @ (first.mean(axis=0) - second.mean(axis=0))

    def influence(transport: Matrix, factor: float) -> Vector:
        quadratic = np.einsum("nd,de,ne->n", centred, np.eye(6) - transport, centred) * factor
        wanted: Vector = linear + quadratic - quadratic.mean()
        return wanted

    tolerance = 1e-9 * np.abs(found).max()
    np.testing.assert_allclose(influence(mapped, 24 / 23), found, rtol=0, atol=tolerance)
    for wrong in (influence(backward, 24 / 23), influence(mapped, 1.0), influence(0 * mapped, 24 / 23), linear):
        assert np.abs(wrong - found).max() > 1e6 * tolerance


def test_moments_for_a_reference_are_its_features() -> None:
    for shape in ((6, 24, 31), (40, 12, 90)):
        first, second = sets(*shape)
        by_features = frechet_influence(first, second, paired=False)
        by_moments = frechet_influence(first, moments(second), paired=False)
        np.testing.assert_allclose(by_moments.influence, by_features.influence, rtol=1e-9, atol=1e-9)
        assert by_moments.distance.value == pytest.approx(by_features.distance.value, rel=1e-11)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 20))
def test_laws(seed: int, count: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, count, width)) * 10.0 ** rng.uniform(-3, 3)
    order = rng.permutation(count)
    for paired in (False, True):
        found = frechet_influence(first, second, paired=paired)
        assert np.isfinite(found.influence).all()
        estimate = found.estimate
        assert estimate.standard_error is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high
        assert estimate.value == found.distance.value
        moved = frechet_influence(first[order], second[order], paired=paired)
        scale = float(np.abs(found.influence).max()) + found.distance.value
        np.testing.assert_allclose(moved.influence, found.influence[order], rtol=0, atol=1e-7 * scale)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for dead in (False, True):
        first, second = sets(8, 100, 70, dead=dead)
        whole = frechet_influence(first, second, paired=False)
        monkeypatch.setattr("palette_bench.score.metrics.frechet.BLOCK_ROWS", 7)
        parts = frechet_influence(first, second, paired=False)
        monkeypatch.undo()
        np.testing.assert_allclose(parts.influence, whole.influence, rtol=0, atol=1e-9)
        assert parts.distance.value == pytest.approx(whole.distance.value, rel=1e-11)


def test_the_error_is_the_spread_of_the_distance() -> None:
    rng = np.random.default_rng(11)
    reference = moments(rng.normal(size=(4000, 4)))
    draws = [frechet_influence(rng.normal(0.3, 1.1, size=(300, 4)), reference, paired=False) for _ in range(400)]
    spread = float(np.std([draw.distance.value for draw in draws]))
    errors = [draw.estimate.standard_error or math.inf for draw in draws]
    # 400 repetitions know a spread to 3.5 %.
    assert float(np.mean(errors)) == pytest.approx(spread, rel=0.12)


def test_paired_sets_must_be_pairs() -> None:
    first, second = sets(4, 10, 12)
    with pytest.raises(InputError, match="same items"):
        frechet_influence(first, second, paired=True)
    with pytest.raises(InputError, match="same items"):
        frechet_influence(first, moments(second), paired=True)
    with pytest.raises(InputError, match="two images"):
        frechet_influence(first[:1], second, paired=False)


def weighted_log_score(p: Matrix, weights: Vector) -> float:
    divergences = (p * (np.log(p) - np.log(weights @ p))).sum(axis=1)
    return float(weights @ divergences)


def test_influence_of_an_item_on_the_inception_score() -> None:
    logits = np.random.default_rng(12).normal(size=(30, 7)) * 2
    p = np.exp(log_softmax(logits))
    found = inception_score(logits)
    influence = found.divergences - found.divergences.mean()
    expected = derivatives(lambda weights: weighted_log_score(p, weights), 30)
    np.testing.assert_allclose(influence, expected, rtol=0, atol=1e-8)
    # Divergences from another distribution, here the uniform one, are something else.
    other = (p * (np.log(p) + np.log(7))).sum(axis=1)
    assert np.abs(other - other.mean() - expected).max() > 1e-3
    standard_error = found.value * float(influence.std(ddof=1)) / math.sqrt(30)
    assert found.estimate.standard_error == pytest.approx(standard_error, rel=1e-12)
    assert found.estimate.high == pytest.approx(found.value + QUANTILE * standard_error, rel=1e-12)


def test_ten_splits_are_ten_independent_scores() -> None:
    logits = np.random.default_rng(13).normal(size=(205, 7)) * 2
    found = inception_score(logits, splits=10, permutation_seed=PEER_SEED)
    order = np.random.RandomState(PEER_SEED).permutation(205)
    variance = 0.0
    for split in range(10):
        members = order[split * 205 // 10 : (split + 1) * 205 // 10]
        alone = inception_score(logits[members])
        np.testing.assert_allclose(found.divergences[members], alone.divergences, rtol=1e-12)
        variance += (alone.estimate.standard_error or math.inf) ** 2
    assert found.estimate.standard_error == pytest.approx(math.sqrt(variance) / 10, rel=1e-12)
    # The spread of the splits is a far noisier number, and not this one.
    assert found.deviation / math.sqrt(10) != pytest.approx(math.sqrt(variance) / 10, rel=1e-3)
    assert inception_score(logits[:15], splits=10).estimate.standard_error is None
