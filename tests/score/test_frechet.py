import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.frechet import Moments, Route, frechet_distance, moments

Matrix = NDArray[np.float64]

TOLERANCE = 1e-8
"""Relative to the traces: the precision that is promised."""


def by_singular_values(first: Matrix, second: Matrix) -> float:
    """The distance by QR and singular values of centred features: nothing is squared."""
    triangles = []
    for features in (first, second):
        centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
        triangles.append(np.asarray(np.linalg.qr(centred, mode="r"), dtype=np.float64))
    difference = first.mean(axis=0) - second.mean(axis=0)
    traces = sum(float(np.square(t).sum()) for t in triangles)
    cross = float(np.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False).sum())
    return float(difference @ difference) + traces - 2 * cross


def scale(*sides: Matrix) -> float:
    return sum(float(f.var(axis=0, ddof=1).sum()) for f in sides) + 1e-300


@st.composite
def features(draw: st.DrawFn, width: int) -> Matrix:
    """Features of any rank: some columns may be constant, repeated or tiny, some rows repeated."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 60))
    rank = draw(st.integers(1, width))
    spread = 10.0 ** draw(st.floats(-3, 3))
    values: Matrix = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, width)) * spread
    values += rng.normal(size=width)
    if draw(st.booleans()):
        values[:, rng.integers(width)] = 1.0
    if draw(st.booleans()):
        values[rng.integers(count)] = values[rng.integers(count)]
    return values


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    width = draw(st.integers(1, 24))
    return draw(features(width)), draw(features(width))


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_equals_the_singular_value_reference_at_any_rank(pair: tuple[Matrix, Matrix]) -> None:
    found = frechet_distance(*pair)
    assert found.value == pytest.approx(
        max(by_singular_values(*pair), 0.0), abs=TOLERANCE * scale(*pair), rel=TOLERANCE
    )
    assert np.isfinite(found.value)
    assert found.value >= 0.0 >= found.residual
    assert found.value + found.residual == pytest.approx(found.mean_term + found.covariance_term, abs=1e-300)


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_is_symmetric(pair: tuple[Matrix, Matrix]) -> None:
    forward, backward = frechet_distance(*pair), frechet_distance(*pair[::-1])
    assert forward.value == pytest.approx(backward.value, abs=TOLERANCE * scale(*pair), rel=TOLERANCE)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 24).flatmap(features))
def test_of_a_set_with_itself_is_zero(side: Matrix) -> None:
    found = frechet_distance(side, side.copy())
    assert found.value <= TOLERANCE * scale(side)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(0, 2**32 - 1))
def test_does_not_depend_on_the_order_of_images(pair: tuple[Matrix, Matrix], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(pair[0])
    found, again = frechet_distance(*pair), frechet_distance(shuffled, pair[1])
    assert again.value == pytest.approx(found.value, abs=TOLERANCE * scale(*pair), rel=TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.floats(-10, 10))
def test_a_common_shift_changes_nothing_and_a_shift_of_one_side_adds_its_square(
    pair: tuple[Matrix, Matrix], shift: float
) -> None:
    first, second = pair
    base = frechet_distance(first, second)
    both = frechet_distance(first + shift, second + shift)
    tolerance = 1e-7 * (scale(*pair) + shift**2 * first.shape[1] + 1)
    assert both.value == pytest.approx(base.value, abs=tolerance)
    one = frechet_distance(first, first + shift)
    assert one.value == pytest.approx(shift**2 * first.shape[1], abs=tolerance)


@pytest.mark.parametrize(("first_count", "second_count"), [(30, 40), (30, 400), (400, 30), (400, 500)])
def test_moments_on_either_side_give_the_same(first_count: int, second_count: int) -> None:
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(64, 64))
    first, second = rng.normal(size=(first_count, 64)) @ mixing, 1.1 * rng.normal(size=(second_count, 64)) @ mixing
    expected = by_singular_values(first, second)
    # Eigenvectors of a singular covariance keep half the digits; the features themselves keep all.
    tolerance = 1e-11 if min(first_count, second_count) > 64 else 1e-6
    assert frechet_distance(first, second).value == pytest.approx(expected, rel=1e-12)
    for sides in ((moments(first), second), (first, moments(second)), (moments(first), moments(second))):
        assert frechet_distance(*sides).value == pytest.approx(expected, rel=tolerance)


def test_the_route_follows_the_rank() -> None:
    rng = np.random.default_rng(4)
    few, many = rng.normal(size=(10, 16)), rng.normal(size=(100, 16))
    dead = many.copy()
    dead[:, 3] = 0.25
    assert frechet_distance(many, many + 1).route is Route.CHOLESKY
    assert frechet_distance(few, many).route is Route.FACTORS
    assert frechet_distance(many, few).route is Route.FACTORS
    assert frechet_distance(dead, many).route is Route.FACTORS
    assert frechet_distance(moments(dead), moments(many)).value == pytest.approx(
        by_singular_values(dead, many), rel=1e-6
    )


def test_moments_are_numpys() -> None:
    features = np.random.default_rng(5).normal(3, 2, size=(9001, 7)).astype(np.float32)
    found = moments(features)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(exact, rowvar=False), rtol=1e-11, atol=1e-13)
    assert found.count == 9001


def test_a_dropped_image_and_a_wrong_divisor_are_seen() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(50, 8)), rng.normal(size=(50, 8))
    exact = frechet_distance(first, second).value
    assert frechet_distance(first[1:], second).value != pytest.approx(exact, rel=1e-4)
    biased = Moments(first.mean(axis=0), np.cov(first, rowvar=False, ddof=0), 50)
    assert frechet_distance(biased, second).value != pytest.approx(exact, rel=1e-4)


def test_one_image_is_refused_on_either_side() -> None:
    many = np.ones((5, 3))
    for sides in ((many[:1], many), (many, many[:1]), (many[:0], many)):
        with pytest.raises(InputError, match="two images"):
            frechet_distance(*sides)
    with pytest.raises(InputError, match="two images"):
        frechet_distance(many, Moments(np.zeros(3), np.eye(3), 1))


def test_what_is_no_number_is_refused() -> None:
    many = np.random.default_rng(7).normal(size=(5, 3))
    broken = many.copy()
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(many, broken)
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(Moments(np.zeros(3), np.full((3, 3), np.inf), 9), many)
    with pytest.raises(InputError, match="different networks"):
        frechet_distance(many, many[:, :2])
    with pytest.raises(InputError, match="no moments"):
        frechet_distance(Moments(np.zeros(3), np.eye(2), 9), many)


def test_exact_where_the_peers_formula_is_complex() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(20, 64)), rng.normal(size=(20, 64))
    product = np.cov(first, rowvar=False) @ np.cov(second, rowvar=False)
    assert np.linalg.eigvals(product).real.min() < 0
    assert frechet_distance(first, second).value == pytest.approx(by_singular_values(first, second), rel=1e-12)
