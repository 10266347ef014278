import math

import numpy as np
import pytest
from scipy import stats

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, from_influence, of_mean, of_share, with_error


def test_a_mean_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 500)
    found = of_mean(values, scale=10.0)
    assert found.value == pytest.approx(10 * values.mean())
    assert found.standard_error == pytest.approx(10 * stats.sem(values), rel=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.959963984540054 * 10 * stats.sem(values))


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (3, 10), (7605, 10_000)])
def test_a_share_has_wilsons_interval(count: int, total: int) -> None:
    found = of_share(count, total, scale=100.0)
    wilson = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert found.low == pytest.approx(100 * wilson.low, abs=1e-9)
    assert found.high == pytest.approx(100 * wilson.high, abs=1e-9)
    assert found.value == 100 * count / total


def test_one_item_has_no_error() -> None:
    assert of_mean(np.array([2.0])) == Estimate(2.0, None, None, None)
    assert from_influence(2.0, np.zeros(1)) == Estimate(2.0, None, None, None)


def test_an_interval_is_cut_to_the_range_and_holds_its_value() -> None:
    assert with_error(1.0, 1.0, least=0.0).low == 0.0
    clipped = with_error(5.0, 1.0, most=4.0)
    assert clipped.high == 5.0
    assert math.isclose(with_error(5.0, 1.0).high or 0.0, 6.959963984540054)


def test_no_items_and_no_numbers_are_refused() -> None:
    with pytest.raises(InputError):
        of_mean(np.zeros(0))
    with pytest.raises(InputError):
        of_mean(np.array([1.0, math.nan]))
    with pytest.raises(InputError):
        of_share(1, 0)
