"""Two-way intervals: laws, known cases, and coverage where the binomial fails."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage_study import coverage
from palette_bench.study.estimates import (
    detection,
    difference,
    holm,
    planned_half_width,
    rate,
    two_way_variance,
    wilson,
)


def world(seed: int, raters: int = 12, items: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    who, what = (grid.ravel() for grid in np.meshgrid(np.arange(raters), np.arange(items), indexing="ij"))
    share = 0.4 + rng.normal(0, 0.1, raters)[who] + rng.normal(0, 0.15, items)[what]
    return (rng.uniform(size=len(who)) < share).astype(np.float64), who, what


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_raters_and_items_may_change_places_and_order_does_not_matter(seed: int) -> None:
    fooled, who, what = world(seed)
    one, other = rate(fooled, who, what), rate(fooled, what, who)
    assert one.value == other.value
    assert math.isclose(one.standard_error or 0, other.standard_error or 0, rel_tol=1e-12)
    order = np.random.default_rng(seed).permutation(len(fooled))
    again = rate(fooled[order], who[order] + 1000, what[order] * 7)
    assert math.isclose(again.low or 0, one.low or 0, rel_tol=1e-9)
    assert (one.low or 0) <= one.value <= (one.high or 1)
    assert (one.low or 0) >= 0
    assert (one.high or 1) <= 1


def test_without_shared_raters_and_items_it_is_the_binomial_error() -> None:
    fooled = np.array([1.0, 0, 0, 1, 0, 1, 0, 0, 0, 1] * 20)
    places = np.arange(len(fooled))
    found = rate(fooled, places, places)
    expected = math.sqrt(0.4 * 0.6 / (len(fooled) - 1))
    assert math.isclose(found.standard_error or 0, expected, rel_tol=1e-9)


def test_the_variance_is_that_of_a_crossed_design() -> None:
    """Of whole rows and columns that agree, only the number of rows and columns counts."""
    who, what = (g.ravel() for g in np.meshgrid(np.arange(10), np.arange(40), indexing="ij"))
    fooled = (what % 2).astype(np.float64)
    variance, _ = two_way_variance((fooled - 0.5) / len(fooled), who, what)
    assert math.isclose(variance, 0.25 / 39, rel_tol=0.05), "40 items, whatever the number of raters"


def test_a_rate_of_nothing_and_of_everything_have_intervals() -> None:
    zero = rate(np.zeros(40), np.arange(40) % 8, np.arange(40) // 8)
    assert (zero.low, zero.value) == (0.0, 0.0)
    assert zero.high is not None
    assert 0.3 < zero.high < 0.6
    one = rate(np.ones(40), np.arange(40) % 8, np.arange(40) // 8)
    assert one.high == 1.0
    assert math.isclose((one.low or 0) + zero.high, 1.0)


def test_a_single_rater_has_no_error() -> None:
    found = rate(np.array([0.0, 1.0]), np.array([3, 3]), np.array([0, 1]))
    assert found.standard_error is None
    assert found.low is None


def test_weights_are_by_trial_and_means_by_rater_and_item_stand_beside() -> None:
    fooled = np.array([1.0, 1, 1, 0, 0, 0])
    found = rate(fooled, np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 0, 1]))
    assert found.value == 0.5
    assert found.rater_mean == pytest.approx(0.375)
    assert found.item_mean == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)


def test_differences_use_common_items_and_change_sign() -> None:
    fooled, who, what = world(5)
    other, _, _ = world(6)
    first, second = (fooled, who, what), (other[what < 10], who[what < 10], what[what < 10])
    one, two = difference(first, second), difference(second, first)
    assert one is not None
    assert two is not None
    assert one.items == 10
    assert one.value == pytest.approx(-two.value)
    assert one.p == pytest.approx(two.p)
    assert difference(first, (other, who, what + 100)) is None


def test_what_models_share_cancels() -> None:
    rng = np.random.default_rng(0)
    fooled, who, what = world(1, 20, 40)
    other = np.where(rng.uniform(size=len(fooled)) < 0.05, 1 - fooled, fooled)
    paired = difference((fooled, who, what), (other, who, what))
    apart = difference((fooled, who, what), (other, who + 100, what))
    assert paired is not None
    assert apart is not None
    assert (paired.standard_error or 1) < 0.7 * (apart.standard_error or 0)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06), None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_detection_knows_sides_from_sensitivity() -> None:
    real_left = np.arange(200) % 2 == 0
    raters, items = np.arange(200) % 10, np.arange(200) // 10
    always = detection(real_left, np.ones(200, dtype=np.bool_), raters, items)
    assert always.d_prime == pytest.approx(0.0, abs=1e-9)
    assert always.bias < -2
    sure = detection(real_left, real_left, raters, items)
    assert sure.d_prime > 3
    assert sure.bias == pytest.approx(0.0, abs=1e-9)


def test_wilson_against_known_values() -> None:
    low, high = wilson(0.4, 10)
    assert (round(low, 4), round(high, 4)) == (0.1682, 0.6873)


def test_the_planner_gives_the_widths_of_the_facts() -> None:
    width = planned_half_width(100, 100, 10**9, rater_sd=0.10, item_sd=0.18)
    assert width == pytest.approx(0.0404, abs=2e-4)
    assert planned_half_width(400, 200, 10**9, rater_sd=0.10, item_sd=0.18) == pytest.approx(0.0224, abs=2e-4)


def test_two_way_intervals_cover_where_the_binomial_does_not() -> None:
    """A short form of ``python -m benchmarks.coverage fool-rate``: the paper's design, 100 items and 50 raters."""
    found = coverage(items=100, raters=50, sets=1, repetitions=250, seed=0)
    assert 0.91 <= found.two_way <= 0.99
    assert found.binomial <= 0.70
