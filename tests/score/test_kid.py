import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics import kid
from palette_bench.score.metrics.kid import kernel_distance, subset_kernel_distance

Features = NDArray[np.float32]


def normal(rng: np.random.Generator, count: int, width: int = 12) -> Features:
    return rng.normal(size=(count, width)).astype(np.float32)


def kernel(first: Features, second: Features) -> NDArray[np.float64]:
    products: NDArray[np.float64] = first.astype(np.float64) @ second.astype(np.float64).T
    return np.asarray((products / first.shape[1] + 1) ** 3)


def naive(predictions: Features, references: Features) -> float:
    """The definition with whole kernel matrices."""

    def within(side: Features) -> float:
        full = kernel(side, side)
        return float((full.sum() - np.trace(full)) / (len(side) * (len(side) - 1)))

    return within(predictions) + within(references) - 2 * float(kernel(predictions, references).mean())


@pytest.mark.parametrize("tile", [7, 16, 1024])
@pytest.mark.parametrize(("count", "total", "paired"), [(40, 40, True), (40, 40, False), (33, 51, False), (2, 2, True)])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, tile: int, count: int, total: int, paired: bool) -> None:
    monkeypatch.setattr(kid, "TILE_ROWS", tile)
    rng = np.random.default_rng(1)
    predictions, references = normal(rng, count) + np.float32(0.3), normal(rng, total)
    found = kernel_distance(predictions, references, paired=paired)
    assert found.value == pytest.approx(naive(predictions, references), rel=1e-11)
    assert found.influence.sum() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("paired", [True, False])
def test_the_influence_is_what_leaving_an_item_out_changes(paired: bool) -> None:
    rng = np.random.default_rng(2)
    predictions, references = normal(rng, 60) + np.float32(0.3), normal(rng, 60)
    found = kernel_distance(predictions, references, paired=paired)
    without = np.array(
        [
            naive(np.delete(predictions, i, 0), np.delete(references, i, 0) if paired else references)
            for i in range(len(predictions))
        ]
    )
    jackknife = (len(predictions) - 1) * (without.mean() - without)
    # For pairs the kernel itself depends on n a little.
    np.testing.assert_allclose(found.influence, jackknife, atol=(0.02 if paired else 1e-9) * found.influence.std())
    wrong = kernel_distance(predictions, references, paired=not paired).influence
    assert np.abs(wrong - jackknife).max() > 0.1 * found.influence.std()


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_error_has_both_orders_of_variance(shift: float) -> None:
    """Errors against the spread over many sets; at equal distributions the first order alone is far too narrow."""
    count, rng = 40, np.random.default_rng(3)
    pairs = [(normal(rng, count, 40) + np.float32(shift), normal(rng, count, 40)) for _ in range(400)]
    found = [kernel_distance(first, second, paired=True) for first, second in pairs]
    variance = np.var([f.value for f in found], ddof=1)
    squared = np.mean([(f.estimate.standard_error or 0.0) ** 2 for f in found])
    assert 0.8 < squared / variance < 1.5
    second_order = squared - np.mean([max(0.0, first_order(*pair)) for pair in pairs])
    assert (second_order > 0.5 * variance) == (shift == 0.0)


def first_order(predictions: Features, references: Features) -> float:
    """The first term of the variance, unbiased, from the kernel of pairs over three different items."""
    across = kernel(predictions, references)
    pairs = kernel(predictions, predictions) + kernel(references, references) - across - across.T
    np.fill_diagonal(pairs, 0.0)
    n, sums, squares = len(pairs), pairs.sum(axis=1), float(np.square(pairs).sum())
    joint = (float(np.square(sums).sum()) - squares) / (n * (n - 1) * (n - 2))
    apart = (float(sums.sum()) ** 2 - 4 * float(np.square(sums).sum()) + 2 * squares) / (
        n * (n - 1) * (n - 2) * (n - 3)
    )
    return 4 * (joint - apart) / n


def test_subsets_of_all_images_have_no_spread_and_still_an_error() -> None:
    rng = np.random.default_rng(4)
    predictions, references = normal(rng, 50) + np.float32(0.2), normal(rng, 50)
    found = subset_kernel_distance(predictions, references, paired=True, subsets=5, subset_size=50)
    assert found.deviation == pytest.approx(0.0, abs=1e-12)
    assert found.value == pytest.approx(found.all_items.value, rel=1e-11)
    assert found.estimate.standard_error == pytest.approx(found.all_items.estimate.standard_error, rel=1e-9)
    fewer = subset_kernel_distance(predictions, references, paired=True, subsets=5, subset_size=25)
    assert (fewer.estimate.standard_error or 0.0) > (fewer.all_items.estimate.standard_error or 0.0)
    assert fewer.subsets.mean() == fewer.value


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.booleans())
def test_order_does_not_matter(seed: int, count: int, paired: bool) -> None:
    rng = np.random.default_rng(seed)
    predictions, references = normal(rng, count) + np.float32(0.1), normal(rng, count)
    found = kernel_distance(predictions, references, paired=paired)
    order = rng.permutation(count)
    again = kernel_distance(predictions[order], references[order if paired else slice(None)], paired=paired)
    assert again.value == pytest.approx(found.value, rel=1e-9, abs=1e-12)
    assert again.estimate.standard_error == pytest.approx(found.estimate.standard_error, rel=1e-6)
    np.testing.assert_allclose(again.influence, found.influence[order], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 80))
def test_a_set_with_itself_is_not_above_zero_and_noise_moves_it_up(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    references, noise = normal(rng, count), normal(rng, count)
    levels = [kernel_distance(references + np.float32(s) * noise, references, paired=True).value for s in (0, 1, 2, 4)]
    assert levels[0] <= 1e-12
    assert levels == sorted(levels)
    assert levels[-1] > 1.0


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(5)
    side = normal(rng, 10)
    with pytest.raises(InputError, match="fewer images than a subset") as caught:
        subset_kernel_distance(side, side, paired=True)
    assert caught.value.expected == ">= 1000 on either side"
    assert caught.value.found == "10 predictions, 10 references"
    with pytest.raises(InputError, match="needs subsets"):
        subset_kernel_distance(side, side, paired=True, subsets=0, subset_size=5)
    with pytest.raises(InputError, match="two images"):
        kernel_distance(side[:1], side, paired=False)
    with pytest.raises(InputError, match="pairs need"):
        kernel_distance(side[:5], side, paired=True)
    with pytest.raises(InputError, match="different networks"):
        kernel_distance(side[:, :5], side, paired=True)
    with pytest.raises(InputError, match="no features"):
        kernel_distance(side[0], side, paired=True)
    with pytest.raises(InputError, match="not finite"):
        kernel_distance(side * np.float32(np.nan), side, paired=True)
    with pytest.raises(InputError, match="too large"):
        kernel_distance(side.astype(np.float64) * 1e60, side, paired=True)


def test_three_items_have_a_value_and_no_error() -> None:
    side = normal(np.random.default_rng(6), 3)
    found = kernel_distance(side, side + 1, paired=True)
    assert np.isfinite(found.value)
    assert found.estimate.standard_error is None
