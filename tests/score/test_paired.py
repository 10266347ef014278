"""Differences of paired items: against oracles, brute force and simulation, with the wrong method beside each."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import QUANTILE, of_mean
from palette_bench.score.metrics.frechet import frechet_distance, frechet_influence, moments
from palette_bench.score.metrics.paired import (
    FEWEST_ITEMS,
    RESAMPLES,
    Difference,
    holm,
    mcnemar_p,
    of_influences,
    of_means,
    of_shares,
    unpaired,
)

Matrix = NDArray[np.float64]


def ends(found: Difference) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def error(found: Difference) -> float:
    assert found.standard_error is not None
    return found.standard_error


def p_of(found: Difference) -> float:
    assert found.p is not None
    return found.p


def two_models(repetitions: int, count: int, *, apart: float) -> tuple[Matrix, Matrix]:
    """Numbers [count, repetitions] of two models that find the same items hard, on many sets."""
    rng = np.random.default_rng(3)
    hard = rng.gamma(2.0, size=(count, repetitions))
    first, second = (hard + 0.3 * rng.normal(size=hard.shape) for _ in range(2))
    return first + apart, second


def test_the_bootstrap_is_the_normal_interval_where_that_holds() -> None:
    differences = np.subtract(*two_models(20, 400, apart=0.01))
    for column, found in enumerate(of_means(differences)):
        normal = of_mean(np.ascontiguousarray(differences[:, column]))
        assert normal.low is not None
        assert normal.high is not None
        assert found.value == normal.value
        assert found.standard_error == normal.standard_error
        np.testing.assert_allclose(ends(found), (normal.low, normal.high), rtol=0, atol=0.15 * error(found))
        assert p_of(found) == pytest.approx(math.erfc(abs(found.value) / error(found) / math.sqrt(2)), abs=0.03)


def test_the_bootstrap_is_right_as_often_as_it_says() -> None:
    first, second = two_models(600, 60, apart=0.0)
    found = of_means(first - second)
    covered = float(np.mean([low <= 0.0 <= high for low, high in map(ends, found)]))
    rejected = float(np.mean([p_of(one) < 0.05 for one in found]))
    # 600 repetitions know a share of 5 % to 0.9 %.
    assert covered == pytest.approx(0.95, abs=0.03)
    assert rejected == pytest.approx(0.05, abs=0.03)
    # As if of different items nobody would ever be found ahead, for what is hard does not cancel.
    alone = [
        unpaired(
            float(a.mean() - b.mean()),
            of_mean(np.ascontiguousarray(a)).standard_error,
            of_mean(np.ascontiguousarray(b)).standard_error,
        )
        for a, b in zip(first.T, second.T, strict=True)
    ]
    assert float(np.mean([p_of(one) < 0.05 for one in alone])) == 0.0
    assert float(np.mean([error(one) for one in alone])) > 3 * float(np.mean([error(one) for one in found]))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(FEWEST_ITEMS, 50))
def test_laws_of_the_bootstrap(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.normal(rng.normal(scale=0.2, size=5), 1.0, size=(count, 5))
    differences[:, 4] = 0.0
    found, swapped = of_means(differences), of_means(-differences)
    # No difference depends on what stands beside it, or on how its column lies in memory.
    assert of_means(differences[:, :2]) == found[:2]
    assert [of_means(differences[:, [column]])[0] for column in range(5)] == found
    assert of_means(np.asfortranarray(differences)) == found
    for one, other in zip(found, swapped, strict=True):
        assert other.value == -one.value
        assert other.p == one.p
        np.testing.assert_allclose(ends(other), [-ends(one)[1], -ends(one)[0]], rtol=0, atol=1e-12)
        low, high = ends(one)
        assert low <= one.value <= high
        # One resample at the edge may be on either side.
        if abs(p_of(one) - 0.05) > 4 / RESAMPLES:
            assert (p_of(one) < 0.05) == (not low <= 0.0 <= high)
    assert found[4] == Difference(0.0, 0.0, 0.0, 0.0, 1.0)


def test_the_resamples_are_frozen() -> None:
    (found,) = of_means(np.arange(40.0)[:, None] ** 2 % 17 - 6.5)
    assert p_of(found) == pytest.approx(0.1583841615838416, rel=1e-12)
    assert ends(found) == pytest.approx((-0.475, 3.025), rel=1e-12)


def test_a_sure_difference_is_not_surer_than_the_resamples() -> None:
    (found,) = of_means(np.linspace(1.0, 2.0, 50)[:, None])
    assert found.p == 2 / (RESAMPLES + 1)


def test_few_items_have_a_difference_and_no_error() -> None:
    values = np.linspace(1.0, 2.0, FEWEST_ITEMS - 1)
    assert of_means(values[:, None]) == [Difference(float(values.mean()), None, None, None, None)]
    assert of_influences(0.5, values, -values) == Difference(0.5, None, None, None, None)
    with pytest.raises(InputError, match="not finite"):
        of_means(np.full((40, 1), np.nan))


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (3, 9), (9, 3), (60, 31), (700, 610)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_p(b, c) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(b, c) == mcnemar_p(c, b)


def test_mcnemar_of_many_items_underflows_to_nothing_worse_than_0() -> None:
    assert mcnemar_p(6000, 100) == 0.0
    assert mcnemar_p(5000, 5000) == 1.0


def disagreeing(b: int, c: int, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    places = np.arange(n)
    return places < b, (places >= b) & (places < b + c)


@pytest.mark.parametrize(("b", "c", "n"), [(12, 9, 60), (5, 20, 100), (100, 80, 2000), (1, 9, 44), (3, 0, 50)])
def test_tangos_interval_solves_his_equations(b: int, c: int, n: int) -> None:
    def score(at: float) -> float:
        # By the likeliest cell probabilities themselves, found by their definition and not by his closed form.
        def slope(q: float) -> float:
            return b / (q + at) + c / q - (n - b - c) * 2 / (1 - 2 * q - at)

        least, most = max(0.0, -at), (1 - at) / 2
        q = 0.0 if slope(least + 1e-12) < 0 else brentq(slope, least + 1e-12, most - 1e-12, xtol=1e-15)
        return float((b - c - n * at) / math.sqrt(n * (2 * q + at * (1 - at))))

    low, high = ends(of_shares(*disagreeing(b, c, n)))
    assert score(low) == pytest.approx(QUANTILE, abs=1e-5)
    assert score(high) == pytest.approx(-QUANTILE, abs=1e-5)


def test_shares_at_their_limits() -> None:
    same = of_shares(*disagreeing(0, 0, 200))
    assert (same.value, same.standard_error, same.p) == (0.0, 0.0, 1.0)
    # Nobody disagreed among 200: that leaves some room, and not none.
    assert ends(same) == pytest.approx(
        (-(QUANTILE**2) / (200 + QUANTILE**2), QUANTILE**2 / (200 + QUANTILE**2)), rel=1e-2
    )
    assert ends(of_shares(*disagreeing(10, 0, 10), scale=100.0))[1] == 100.0
    for first, second in ((3, 4), (0, 0)):
        with pytest.raises(InputError, match="same items"):
            of_shares(np.zeros(first, np.bool_), np.zeros(second, np.bool_))


def test_the_exact_test_and_the_bootstrap_agree() -> None:
    rng = np.random.default_rng(8)
    hard = rng.uniform(size=(200, 300))
    first, second = (hard + 0.15 * rng.normal(size=hard.shape) > 0.4 for _ in range(2))
    exact = [of_shares(a, b) for a, b in zip(first.T, second.T, strict=True)]
    drawn = of_means(first.astype(float) - second.astype(float))
    for one, other in zip(exact, drawn, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-15)
        assert error(one) == pytest.approx(error(other), rel=1e-9)
        np.testing.assert_allclose(ends(one), ends(other), rtol=0, atol=0.01)
    # The exact test errs on the safe side; both are right about the truth, that nobody is ahead.
    assert float(np.mean([p_of(one) < 0.05 for one in exact])) <= 0.06
    assert float(np.mean([low <= 0 <= high for low, high in map(ends, exact)])) == pytest.approx(0.95, abs=0.03)
    # Shares of different items would say something else.
    shares = first.mean(axis=0), second.mean(axis=0)
    alone = np.sqrt(sum(share * (1 - share) for share in shares) / 200)
    assert float(np.mean(alone)) > 1.4 * float(np.mean([error(one) for one in exact]))


def test_the_error_of_a_fid_difference_is_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(9)
    count, width = 600, 4
    reference = moments(rng.normal(size=(3000, width)))
    made = 1.3 * rng.normal(size=(count, width)) + 0.8
    first, second = made + 0.3 * rng.normal(size=made.shape), made + 0.3 * rng.normal(size=made.shape) + 0.05
    sides = [frechet_influence(side, reference, paired=False) for side in (first, second)]
    value = sides[0].distance.value - sides[1].distance.value
    found = of_influences(value, sides[0].influence, sides[1].influence)
    drawn = []
    for _ in range(400):
        rows = rng.integers(0, count, count)
        drawn.append(frechet_distance(first[rows], reference).value - frechet_distance(second[rows], reference).value)
    # 400 resamples know a spread to 3.5 %.
    assert error(found) == pytest.approx(float(np.std(drawn)), rel=0.12)
    assert ends(found) == pytest.approx((value - QUANTILE * error(found), value + QUANTILE * error(found)))
    # Joint errors, or influences of other items, are those of models that share no luck.
    alone = unpaired(value, sides[0].estimate.standard_error, sides[1].estimate.standard_error)
    assert error(alone) > 2.5 * error(found)
    shuffled = of_influences(value, sides[0].influence, rng.permutation(sides[1].influence))
    assert error(shuffled) > 2.5 * error(found)


def test_a_fid_difference_covers_the_truth() -> None:
    rng = np.random.default_rng(10)
    reference = moments(rng.normal(size=(3000, 3)))
    found = []
    for _ in range(300):
        made = 1.2 * rng.normal(size=(300, 3)) + 0.5
        sides = [frechet_influence(made + 0.4 * rng.normal(size=made.shape), reference, paired=False) for _ in range(2)]
        value = sides[0].distance.value - sides[1].distance.value
        found.append(of_influences(value, sides[0].influence, sides[1].influence))
    covered = float(np.mean([low <= 0.0 <= high for low, high in map(ends, found)]))
    assert covered == pytest.approx(0.95, abs=0.035)
    assert [p_of(one) < 0.05 for one in found] == [not low <= 0.0 <= high for low, high in map(ends, found)]


def test_equal_influences_leave_nothing_open() -> None:
    influence = np.linspace(-1.0, 1.0, 50)
    assert of_influences(0.0, influence, influence) == Difference(0.0, 0.0, 0.0, 0.0, 1.0)
    assert of_influences(0.5, influence, influence).p == 0.0
    with pytest.raises(InputError, match="same items"):
        of_influences(0.5, influence, influence[1:])


def test_no_error_of_one_is_no_error_of_the_difference() -> None:
    assert unpaired(1.0, None, 0.2) == Difference(1.0, None, None, None, None)
    assert unpaired(1.0, 0.3, 0.4).standard_error == pytest.approx(0.5)


def test_holm() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, and never falling.
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([None]) == [None]
    assert holm([]) == []
