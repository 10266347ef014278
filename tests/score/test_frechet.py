import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.frechet import (
    FrechetDistance,
    Moments,
    Route,
    SquareRoot,
    frechet_distance,
    merge,
    moments,
)

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


def spectra(width: int, *, smallest: float) -> Matrix:
    """Standard deviations of features like a network's: a few large ones, a long tail."""
    return np.asarray(np.geomspace(10.0, smallest, width) ** 0.5, dtype=np.float64)


def like_a_network(seed: int, count: int, width: int, *, smallest: float = 1e-3) -> Matrix:
    rng = np.random.default_rng(seed)
    values: Matrix = rng.normal(size=(count, width)) * spectra(width, smallest=smallest)
    return values + rng.uniform(0, 0.1, width)


@pytest.mark.parametrize(
    ("counts", "width", "smallest", "route"),
    [
        ((10_000, 10_000), 96, 1e-2, Route.CHOLESKY),
        ((512, 512), 2048, 1e-3, Route.FACTORS),
        ((300, 3000), 512, 1e-3, Route.FACTORS),
        # Regular, and yet squaring would cost digits.
        ((3000, 3000), 96, 1e-9, Route.FACTORS),
    ],
)
def test_exact_at_the_sizes_that_are_scored(counts: tuple[int, int], width: int, smallest: float, route: Route) -> None:
    first, second = (like_a_network(seed, count, width, smallest=smallest) for seed, count in enumerate(counts))
    found = frechet_distance(first, second)
    assert found.route is route
    assert found.value == pytest.approx(by_singular_values(first, second), rel=1e-11)
    assert found.residual == 0.0
    assert frechet_distance(second, first).value == pytest.approx(found.value, rel=1e-11)


def in_fifty_digits(first: Matrix, second: Matrix) -> float:
    """The definition, with the eigenvalues of Σ₁Σ₂ in 50-digit arithmetic."""
    with mpmath.workdps(50):
        means, covariances = [], []
        for features in (first, second):
            rows = mpmath.matrix(features.tolist())
            count, width = rows.rows, rows.cols
            mean = mpmath.matrix([sum(rows[i, j] for i in range(count)) / count for j in range(width)])
            for i in range(count):
                for j in range(width):
                    rows[i, j] -= mean[j]
            means.append(mean)
            covariances.append(rows.T * rows / (count - 1))
        difference = means[0] - means[1]
        eigenvalues, _ = mpmath.eig(covariances[0] * covariances[1])
        total = sum(d * d for d in difference)
        for covariance in covariances:
            total += sum(covariance[j, j] for j in range(covariance.rows))
        total -= 2 * sum(mpmath.re(mpmath.sqrt(value)) for value in eigenvalues)
        return float(total)


@pytest.mark.parametrize(("first_count", "second_count"), [(9, 12), (4, 12), (4, 3)])
def test_equals_the_definition_in_fifty_digits(first_count: int, second_count: int) -> None:
    rng = np.random.default_rng([first_count, second_count])
    mixing = rng.normal(size=(5, 5))
    first, second = rng.normal(size=(first_count, 5)) @ mixing, 2 * rng.normal(size=(second_count, 5)) + 1
    expected = in_fifty_digits(first, second)
    assert frechet_distance(first, second).value == pytest.approx(expected, rel=1e-13)
    assert frechet_distance(first[1:], second).value != pytest.approx(expected, rel=1e-4)


def by_torch_fidelity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (first, second)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def as_the_peer(first: NDArray[np.float32] | Moments, second: NDArray[np.float32]) -> FrechetDistance:
    return frechet_distance(first, second, square_root=SquareRoot.EIGENVALUES)


@pytest.mark.parametrize("count", [96, 1200])
def test_equals_torch_fidelitys_function_on_request(count: int) -> None:
    scene = like_a_network(1, count, 320)
    first = scene.astype(np.float32)
    # A prediction resembles its reference, so little is left of the traces.
    second = (scene + 0.2 * like_a_network(2, count, 320)).astype(np.float32)
    peer = by_torch_fidelity(first, second)
    found = as_the_peer(first, second)
    assert found.route is Route.EIGENVALUES
    assert found.value == pytest.approx(peer, rel=1e-9)
    exact = frechet_distance(first, second).value
    if count == 96:
        # What the peer's formula loses where a covariance is singular.
        assert 2e-7 < abs(exact - peer) / peer < 1e-4
    # The peer sums means in float32; from moments in float64 they are only rounded.
    assert as_the_peer(moments(first), second).value == pytest.approx(peer, rel=1e-5)


def test_the_peers_rounding_is_reported() -> None:
    same = like_a_network(3, 40, 128).astype(np.float32)
    found = as_the_peer(same, same)
    assert found.value + found.residual == pytest.approx(by_torch_fidelity(same, same), rel=1e-6, abs=1e-12)
    assert found.value >= 0.0 >= found.residual
    assert abs(found.value + found.residual) > 1e3 * frechet_distance(same, same).value


@st.composite
def shards(draw: st.DrawFn) -> list[Matrix]:
    width = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread, offset = 10.0 ** draw(st.floats(-2, 2)), draw(st.floats(-10, 10))
    counts = draw(st.lists(st.integers(2, 30), min_size=3, max_size=5))
    return [rng.normal(offset, 1 + i, size=(count, width)) * spread for i, count in enumerate(counts)]


def assert_same_moments(found: Moments, expected: Moments) -> None:
    size = float(np.abs(expected.mean).max())
    assert found.count == expected.count
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=1e-10 * size)
    largest = float(np.abs(expected.covariance).max())
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=0, atol=1e-10 * largest)


@settings(max_examples=100, deadline=None)
@given(shards())
def test_merged_moments_are_those_of_all_in_any_order(parts: list[Matrix]) -> None:
    whole = moments(np.concatenate(parts))
    kept = [moments(part) for part in parts]
    forward = kept[0]
    for part in kept[1:]:
        forward = merge(forward, part)
    backward = kept[-1]
    for part in kept[-2::-1]:
        backward = merge(part, backward)
    assert_same_moments(forward, whole)
    assert_same_moments(backward, whole)
    one, other = merge(kept[0], kept[1]), merge(kept[1], kept[0])
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.covariance, other.covariance)


def test_merging_without_the_distance_of_the_means_is_seen() -> None:
    first, second = np.random.default_rng(9).normal([[[0.0]], [[1.0]]], size=(2, 20, 3))
    found = merge(moments(first), moments(second)).covariance
    pooled = (np.cov(first, rowvar=False) + np.cov(second, rowvar=False)) * 19 / 39
    assert np.abs(found - pooled).max() > 0.1
    with pytest.raises(InputError, match="different networks"):
        merge(moments(first), moments(second[:, :2]))
    with pytest.raises(InputError, match="two images"):
        merge(moments(first), Moments(np.zeros(3), np.zeros((3, 3)), 1))


def test_what_has_no_square_is_refused() -> None:
    huge = np.random.default_rng(10).normal(size=(9, 3)) * 1e200
    with pytest.raises(InputError, match="too large"):
        frechet_distance(huge, huge)
    with pytest.raises(InputError, match="too large"):
        frechet_distance(Moments(np.zeros(3), np.eye(3) * 1e200, 9), huge * 1e-200)
    tiny = huge * 1e-290
    assert frechet_distance(tiny, 2 * tiny).value == pytest.approx(by_singular_values(tiny, 2 * tiny), rel=1e-11)
