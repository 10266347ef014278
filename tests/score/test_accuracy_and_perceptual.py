import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.perceptual import Power, perceptual_distance


def test_accuracy_of_known_logits() -> None:
    logits = np.array([[0, 1, 0], [2, 0, 0], [0, 0, 3], [1, 1, 0]], np.float32)
    found = accuracy(logits, np.array([1, 1, 2, 0]))
    assert found.named.tolist() == [1, 0, 2, 0]
    assert found.correct.tolist() == [True, False, True, True]
    assert found.percent == 75.0
    assert found.confidence[1] == pytest.approx(np.exp(2) / (np.exp(2) + 2))


def test_accuracy_refuses_what_it_cannot_mean() -> None:
    logits = np.zeros((2, 3), np.float32)
    with pytest.raises(InputError, match="one label an item"):
        accuracy(logits, np.array([0]))
    with pytest.raises(InputError, match="not classes"):
        accuracy(logits, np.array([0, 3]))
    with pytest.raises(InputError, match="not classes"):
        accuracy(logits, np.array([-1, 0]))
    with pytest.raises(InputError, match="no logits"):
        accuracy(logits[:0], np.zeros(0, np.int64))
    with pytest.raises(InputError, match="not finite"):
        accuracy(logits * np.nan, np.array([0, 1]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40))
def test_perceptual_laws(seed: int, count: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(count, width)).astype(np.float32)
    b = rng.normal(size=(count, width)).astype(np.float32)
    found = perceptual_distance(a, b, power=Power.L2)
    squared = perceptual_distance(a, b, power=Power.L2_SQUARED)
    np.testing.assert_allclose(found.items, np.linalg.norm(a.astype(np.float64) - b, axis=1), rtol=1e-12)
    np.testing.assert_allclose(squared.items, found.items**2, rtol=1e-12)
    np.testing.assert_array_equal(perceptual_distance(b, a, power=Power.L2).items, found.items)
    assert perceptual_distance(a, a, power=Power.L2).mean == 0.0
    order = rng.permutation(count)
    np.testing.assert_array_equal(perceptual_distance(a[order], b[order], power=Power.L2).items, found.items[order])


def test_perceptual_sees_wrong_pairs_and_refuses_unequal_ones() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(6, 5)).astype(np.float32)
    b = a + 0.1
    exact = perceptual_distance(a, b, power=Power.L2).mean
    assert perceptual_distance(np.roll(a, 1, axis=0), b, power=Power.L2).mean != pytest.approx(exact, rel=1e-3)
    with pytest.raises(InputError, match="same number"):
        perceptual_distance(a, b[:5], power=Power.L2)
    with pytest.raises(InputError, match="not finite"):
        perceptual_distance(a, b * np.float32(np.inf), power=Power.L2)


@given(st.integers(1, 400), st.data())
def test_the_error_of_an_accuracy_is_wilsons(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    logits = np.tile(np.array([[1, 0]], np.float32), (total, 1))
    found = accuracy(logits, (np.arange(total) >= count).astype(np.int64))
    wilson = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert found.estimate.value == found.percent
    assert found.estimate.low == pytest.approx(100 * wilson.low, abs=1e-9)
    assert found.estimate.high == pytest.approx(100 * wilson.high, abs=1e-9)


def test_the_error_of_a_perceptual_distance_is_that_of_a_mean() -> None:
    a, b = np.random.default_rng(4).normal(size=(2, 50, 6)).astype(np.float32)
    found = perceptual_distance(a, b, power=Power.L2)
    assert found.estimate.value == found.mean
    assert found.estimate.standard_error == pytest.approx(stats.sem(found.items), rel=1e-12)
    one = perceptual_distance(a[:1], b[:1], power=Power.L2)
    assert one.estimate.standard_error is None
