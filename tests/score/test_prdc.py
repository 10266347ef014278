from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics import prdc
from palette_bench.score.metrics.prdc import NeighbourMetric, NeighbourMetrics, neighbour_metrics

Features = NDArray[np.float32]
Numbers = NDArray[np.float64]


@pytest.fixture(autouse=True, scope="module")
def _few_blocks() -> Iterator[None]:
    """Errors that are noisier and twenty times faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prdc, "BLOCK_FREEDOM", 6)
        yield


def normal(rng: np.random.Generator, count: int, width: int = 4) -> Features:
    return rng.normal(size=(count, width)).astype(np.float32)


def four(found: NeighbourMetrics) -> list[NeighbourMetric]:
    return [found.precision, found.recall, found.density, found.coverage]


def values(found: NeighbourMetrics) -> list[float]:
    return [one.value for one in four(found)]


def distances(first: Features, second: Features) -> Numbers:
    difference = first[:, None].astype(np.float64) - second[None].astype(np.float64)
    return np.asarray(np.sqrt(np.square(difference).sum(axis=-1)))


def naive(predictions: Features, references: Features, precision_k: int, density_k: int) -> Numbers:
    """The definitions with whole matrices; column k of sorted distances to one's own set, 0 being oneself."""
    own = np.sort(distances(references, references), axis=1)
    of_predictions = np.sort(distances(predictions, predictions), axis=1)[:, precision_k]
    across = distances(predictions, references)
    return np.array(
        [
            (across <= own[:, precision_k]).any(axis=1).mean(),
            (across <= of_predictions[:, None]).any(axis=0).mean(),
            (across < own[:, density_k]).sum(axis=1).mean() / density_k,
            (across.min(axis=0) < own[:, density_k]).mean(),
        ]
    )


@pytest.mark.parametrize("block", [9, 512])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("ks", [(3, 5), (5, 3), (1, 8)])
def test_values_and_jackknife_equal_brute_force(
    monkeypatch: pytest.MonkeyPatch, ks: tuple[int, int], paired: bool, block: int
) -> None:
    monkeypatch.setattr(prdc, "BLOCK_ROWS", block)
    monkeypatch.setattr(prdc, "TILE_ROWS", block + 2)
    for seed, width, scale, tied in ((0, 2, 1.0, 0.0), (1, 5, 1.4, 0.0), (2, 3, 0.4, 1.0), (3, 1, 0.7, 0.0)):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(40, 60))
        references = normal(rng, count + (0 if paired else 7), width)
        predictions = np.float32(scale) * normal(rng, count, width) + np.float32(tied) * references[:count]
        found = four(
            neighbour_metrics(
                predictions, references, precision_neighbours=ks[0], density_neighbours=ks[1], paired=paired
            )
        )
        np.testing.assert_allclose([f.value for f in found], naive(predictions, references, *ks), rtol=0, atol=1e-12)
        without = np.array(
            [
                naive(np.delete(predictions, i, 0), np.delete(references, i, 0) if paired else references, *ks)
                for i in range(count)
            ]
        )
        influence = (count - 1) * (without.mean(axis=0) - without)
        for number, expected in zip(found, influence.T, strict=True):
            assert number.influence is not None
            np.testing.assert_allclose(number.influence, expected, rtol=0, atol=1e-10)
            variance = number.kept * np.square(expected).sum() / (count * (count - 1))
            assert number.estimate.standard_error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_jackknife_overstates_what_nearest_neighbours_vary() -> None:
    """Errors against the spread over many sets; those of the jackknife alone are twice as large and must not pass."""
    rng = np.random.default_rng(7)
    found = [four(neighbour_metrics(normal(rng, 100, 8), normal(rng, 100, 8), paired=True)) for _ in range(60)]
    spread = np.array([[one.value for one in f] for f in found]).var(axis=0, ddof=1)
    error = np.array([[one.estimate.standard_error or 0.0 for one in f] for f in found]) ** 2
    raw = np.array([[(one.estimate.standard_error or 0.0) ** 2 / one.kept for one in f] for f in found])
    ratio, raw_ratio = error.mean(axis=0) / spread, raw.mean(axis=0) / spread
    assert ((ratio > 0.55) & (ratio < 1.8)).all()
    assert (raw_ratio[[0, 1, 3]] > 1.8).all()


def test_means_over_predictions_keep_the_whole_jackknife() -> None:
    rng = np.random.default_rng(8)
    found = neighbour_metrics(normal(rng, 100), normal(rng, 90), paired=False)
    assert found.precision.kept == found.density.kept == 1.0
    assert found.recall.kept < 0.8
    share = found.precision.value
    assert found.precision.estimate.standard_error == pytest.approx(np.sqrt(share * (1 - share) / 99), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_order_does_not_matter(seed: int, paired: bool) -> None:
    rng = np.random.default_rng(seed)
    predictions, references = normal(rng, 30), normal(rng, 30)
    order = rng.permutation(30)
    found = neighbour_metrics(predictions, references, paired=paired)
    again = neighbour_metrics(predictions[order], references[order if paired else slice(None)], paired=paired)
    assert values(again) == pytest.approx(values(found), abs=1e-12)
    for one, other in zip(four(found), four(again), strict=True):
        assert one.influence is not None
        assert other.influence is not None
        np.testing.assert_allclose(other.influence, one.influence[order], atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.integers(1, 3))
def test_a_set_with_itself_is_perfect(seed: int, count: int, copies: int) -> None:
    """Also where images occur several times, and far from the origin."""
    rng = np.random.default_rng(seed)
    side = np.tile(normal(rng, count) + np.float32(1000), (copies, 1))
    found = neighbour_metrics(side, side.copy(), paired=True)
    assert (found.precision.value, found.recall.value, found.coverage.value) == (1.0, 1.0, 1.0)
    estimate = found.precision.estimate
    assert estimate.low is not None
    assert estimate.low < 1.0 == estimate.high
    if copies == 1:
        assert found.density.value == pytest.approx(1.0, abs=1e-12), "oneself and k - 1 others are strictly inside"


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_noise_lowers_precision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    references, noise = normal(rng, 80, 16), normal(rng, 80, 16)
    levels = [
        neighbour_metrics(references + np.float32(s) * noise, references, paired=True).precision.value
        for s in (0.0, 0.9, 1.6, 6.0)
    ]
    assert levels[0] == 1.0
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < 0.1


def test_far_predictions_have_none_of_it_and_an_interval() -> None:
    rng = np.random.default_rng(9)
    found = neighbour_metrics(normal(rng, 40) + np.float32(100), normal(rng, 40), paired=True)
    assert values(found) == [0.0, 0.0, 0.0, 0.0]
    for one in four(found):
        assert one.estimate.high is not None
        assert one.estimate.low == 0.0 < one.estimate.high < 0.1


def test_a_repeated_run_gives_the_same_bits() -> None:
    rng = np.random.default_rng(10)
    predictions, references = normal(rng, 64), normal(rng, 64)
    first, second = (four(neighbour_metrics(predictions, references, paired=True)) for _ in range(2))
    assert [one.estimate for one in first] == [one.estimate for one in second]


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(11)
    side = normal(rng, 10)
    with pytest.raises(InputError, match="more images") as caught:
        neighbour_metrics(side[:5], side, paired=False)
    assert (caught.value.where, caught.value.expected, caught.value.found) == ("predictions", ">= 6", "5")
    with pytest.raises(InputError, match="a neighbour to end at"):
        neighbour_metrics(side, side, precision_neighbours=0, paired=True)
    with pytest.raises(InputError, match="pairs need"):
        neighbour_metrics(side[:8], side, paired=True)
    with pytest.raises(InputError, match="different networks"):
        neighbour_metrics(side[:, :2], side, paired=True)
    with pytest.raises(InputError, match="no features"):
        neighbour_metrics(side[0], side, paired=True)
    with pytest.raises(InputError, match="not finite"):
        neighbour_metrics(side * np.float32(np.inf), side, paired=True)


def test_k_plus_one_images_have_values_and_no_error() -> None:
    rng = np.random.default_rng(12)
    found = neighbour_metrics(normal(rng, 6), normal(rng, 6), paired=True)
    assert found.density.influence is None
    assert found.density.estimate.standard_error is None
    assert found.precision.estimate.standard_error is not None
