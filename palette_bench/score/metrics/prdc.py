"""Improved precision and recall, density and coverage: four numbers from the nearest neighbours of two sets.

Kynkäänniemi et al. 2019 (arXiv 1904.06991) for precision and recall, Naeem et al. 2020 (arXiv 2002.09797) for density
and coverage. The ball of an image ends at its k-th nearest neighbour in its own set, itself not counted.

Errors: a bootstrap cannot be used, an image drawn twice is its own neighbour. The delete-one jackknife can, but it
counts the part of the variance that is due to c images together c times (Efron and Stein 1981), and a ball is made by
k + 1 images: it overstates the variance of recall and coverage by 2 to 6, the standard error by 1.4 to 2.4. That factor
depends little on the number of images, while the variance itself does not go as 1/n in many dimensions. So it is
measured in the data: disjoint blocks of up to ``BLOCK_IMAGES`` images are independent, the variance between them is
unbiased, and the share it is of the jackknife inside them says how much the jackknife over all overstates. The factor
of the whole set is nearer to 1 than that of its blocks, so that only the power ``TAKEN_OUT`` of it is taken out; the
power is empirical, and docs/uncertainty.md says how often the intervals hold the expectation with it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, from_influence, of_share
from palette_bench.score.metrics.sides import Features, check_sides

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5

BLOCK_ROWS = 512
TILE_ROWS = 1024

ROUNDING = 1e-13
"""A squared distance below this share of the squared norms is rounding: the images count as equal."""

TIE = 1e-12
"""Squared distance and squared radius count as equal within this, relative: an image on the rim of a ball."""

BLOCK_IMAGES = 256
LARGEST_BLOCK = 1024
"""Images of a block: predictions, and at most so many references where those are held fixed and are many more."""

BLOCK_FREEDOM = 120
"""Degrees of freedom of the variance between blocks: 6 % of a standard error."""

BLOCK_SEED = 2020

MOST = (1.0, 1.0, math.inf, 1.0)
"""The greatest precision, recall, density and coverage there can be."""

TAKEN_OUT = 2 / 3
"""The power of the blocks' factor that is taken out."""

LEAST_KEPT = 0.1
"""The jackknife overstates no variance by more than this, inverted; guards against blocks that are all equal."""


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourMetric:
    """One of the four numbers with its error.

    ``influence`` [n] float64 is that of the delete-one jackknife, sums to 0, and is None where a ball would lose its
    last possible rim. Of the jackknife's variance, ``kept`` in (0, 1] is the share that the error is made of.
    """

    estimate: Estimate
    influence: NDArray[np.float64] | None
    kept: float

    @property
    def value(self) -> float:
        """The number itself."""
        return self.estimate.value


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourMetrics:
    """Precision, recall and coverage in [0, 1], density >= 0."""

    precision: NeighbourMetric
    recall: NeighbourMetric
    density: NeighbourMetric
    coverage: NeighbourMetric


@dataclass(frozen=True, slots=True, eq=False)
class _Cloud:
    """Features with the point they are measured from [D] and their squared distances to it [n]."""

    features: Features
    origin: NDArray[np.float64]
    squares: NDArray[np.float64]

    def rows(self, start: int, stop: int) -> Matrix:
        values: Matrix = self.features[start:stop] - self.origin
        return values

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, slots=True, eq=False)
class _LeaveOneOut:
    """A number, and what it is without each item [n]; None where a ball would lose its last possible rim."""

    value: float
    without: NDArray[np.float64] | None

    def influence(self) -> NDArray[np.float64] | None:
        if self.without is None:
            return None
        influence: NDArray[np.float64] = (len(self.without) - 1.0) * (self.without.mean() - self.without)
        return influence

    def variance(self) -> float:
        influence = self.influence()
        if influence is None:
            return 0.0
        return float(np.square(influence).sum()) / (len(influence) * (len(influence) - 1.0))


_Four = tuple[_LeaveOneOut, _LeaveOneOut, _LeaveOneOut, _LeaveOneOut]


@dataclass(frozen=True, slots=True, eq=False)
class _Balls:
    """Squared radii [n] of the balls of a set, and what they become without one of their ``neighbours`` [n, k]."""

    radius: NDArray[np.float64]
    wider: NDArray[np.float64]
    neighbours: Index


def neighbour_metrics(
    predictions: Features,
    references: Features,
    *,
    precision_neighbours: int = PRECISION_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
    paired: bool,
) -> NeighbourMetrics:
    """The four numbers of features [n, D] and [m, D], in float64, with their errors.

    Precision is the share of predictions on or inside the ball of any reference, recall the share of references on or
    inside the ball of any prediction; density the mean number of balls of references that a prediction is strictly
    inside of, over k; coverage the share of references whose ball has a prediction strictly inside. Equal to
    torch-fidelity 0.4 (precision, recall) and prdc 0.2 (density, coverage) in every count, images on the rim of a ball
    excepted (tests/oracle/test_kid_and_prdc.py).

    ``paired``: row i of both sides is one item, and both are drawn anew together. Otherwise the references are held
    fixed. Errors are those of the delete-one jackknife, its overstatement taken out (module docstring) except where a
    side has fewer than 4 (k + 1) images; that of a mean over predictions, the references fixed, has none. Rows in
    another order draw other blocks and move an error by some percent, never a value. A share of 0 or 1 has Wilson's
    interval of as many independent images.

    Raises InputError for k < 1, fewer than k + 1 images on a side, features of other widths or not finite, and sides
    of different length where they are paired.
    """
    ks = precision_neighbours, density_neighbours
    _check(predictions, references, ks, paired)
    origin = _mean(references)
    found = _leave_one_out(_cloud(predictions, origin), _cloud(references, origin), ks, paired=paired)
    kept = _kept(predictions, references, origin, ks, paired=paired)
    counts = len(predictions), len(references), len(predictions), len(references)
    precision, recall, density, coverage = (
        _metric(one, share, count, most) for one, share, count, most in zip(found, kept, counts, MOST, strict=True)
    )
    return NeighbourMetrics(precision=precision, recall=recall, density=density, coverage=coverage)


def _metric(found: _LeaveOneOut, kept: float, count: int, most: float) -> NeighbourMetric:
    influence = found.influence()
    if influence is None:
        return NeighbourMetric(Estimate(found.value, None, None, None), None, 1.0)
    estimate = from_influence(found.value, influence * math.sqrt(kept), least=0.0, most=most)
    if found.value in (0.0, most):
        # At a density of 0 this takes the predictions that were missed to have a density of 1.
        share = of_share(count if found.value == most else 0, count)
        lows = [bound for bound in (estimate.low, share.low) if bound is not None]
        highs = [bound for bound in (estimate.high, share.high) if bound is not None]
        estimate = Estimate(found.value, estimate.standard_error, min(lows), max(highs))
    return NeighbourMetric(estimate, influence, kept)


def _kept(
    predictions: Features, references: Features, origin: NDArray[np.float64], ks: tuple[int, int], *, paired: bool
) -> tuple[float, float, float, float]:
    """What share of the jackknife's variance is real, for each of the four numbers.

    Blocks of one partition have no image in common but the references, where these are held fixed.
    """
    count = len(predictions)
    size = max(min(BLOCK_IMAGES, count // 4), 2 * (max(ks) + 1))
    blocks = count // size
    thinned = min(round(size * len(references) / count), LARGEST_BLOCK)
    if blocks < 2 or thinned < max(ks) + 2:
        return 1.0, 1.0, 1.0, 1.0
    partitions = math.ceil(BLOCK_FREEDOM / (blocks - 1))
    rng = np.random.RandomState(BLOCK_SEED)
    between, inside = np.zeros(4), np.zeros(4)
    for _ in range(partitions):
        rows = rng.permutation(count)[: blocks * size].reshape(blocks, size)
        thinner = None if paired else rng.permutation(len(references))[:thinned]
        found = []
        for row in rows:
            sides = predictions[row], references[row if thinner is None else thinner]
            found.append(_leave_one_out(_cloud(sides[0], origin), _cloud(sides[1], origin), ks, paired=paired))
        between += np.var([[one.value for one in four] for four in found], axis=0, ddof=1)
        inside += np.mean([[one.variance() for one in four] for four in found], axis=0)
    shares = np.clip(np.divide(between, inside, out=np.ones(4), where=inside > 0), LEAST_KEPT, 1.0) ** TAKEN_OUT
    if not paired:
        shares[[0, 2]] = 1.0
    return float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3])


def _leave_one_out(predictions: _Cloud, references: _Cloud, ks: tuple[int, int], *, paired: bool) -> _Four:
    """Precision, recall, density and coverage, each without every item."""
    precision_neighbours, density_neighbours = ks
    squared, index = _nearest(references, max(ks) + 1)
    balls = _balls(squared, index, precision_neighbours)
    precision = _covered(predictions, references, balls, delete_points=True, delete_centres=paired)
    balls_of_predictions = _balls(*_nearest(predictions, precision_neighbours + 1), precision_neighbours)
    recall = _covered(references, predictions, balls_of_predictions, delete_points=paired, delete_centres=True)
    balls = _balls(squared, index, density_neighbours)
    return precision, recall, *_density_and_coverage(predictions, references, balls, paired=paired)


def _covered(
    points: _Cloud, centres: _Cloud, balls: _Balls, *, delete_points: bool, delete_centres: bool
) -> _LeaveOneOut:
    """The share of points in any ball, and what it is without each item.

    Without centre l, a point that was in its ball alone is lost, and the balls of which l was a neighbour widen.
    """
    covered = np.zeros(len(points), dtype=np.bool_)
    change = np.zeros(len(centres), dtype=np.int64)
    for start, stop in _blocks(len(points)):
        squared = _distances(points, centres, start, stop)
        inside = squared <= balls.radius * (1 + TIE)
        count = inside.sum(axis=1)
        covered[start:stop] = count > 0
        if delete_centres:
            at_stake = np.flatnonzero(count <= 1)
            inside, sole = inside[at_stake], count[at_stake] == 1
            rescued = _rescued(squared[at_stake], inside, balls)
            own = np.arange(len(at_stake)), at_stake + start
            if delete_points:
                rescued[own] = False
            change += rescued[~sole].sum(axis=0)
            lost = inside & ~rescued & sole[:, None]
            if delete_points:
                lost[own] = False
            change -= lost.sum(axis=0)
    total = int(covered.sum())
    if delete_points and delete_centres:
        without = (total - covered + change) / (len(points) - 1.0)
    elif delete_points:
        without = (total - covered) / (len(points) - 1.0)
    else:
        without = (total + change) / len(points)
    return _LeaveOneOut(total / len(points), without if _possible(balls, delete_centres) else None)


def _rescued(squared: Matrix, inside: NDArray[np.bool_], balls: _Balls) -> NDArray[np.bool_]:
    """[b, n]: whether leaving out centre l widens another ball just enough to take the point in."""
    rows, centres = np.nonzero((squared <= balls.wider * (1 + TIE)) & ~inside)
    rescued = np.zeros(squared.shape, dtype=np.bool_)
    for neighbour in balls.neighbours.T:
        rescued[rows, neighbour[centres]] = True
    return rescued


def _density_and_coverage(
    predictions: _Cloud, references: _Cloud, balls: _Balls, *, paired: bool
) -> tuple[_LeaveOneOut, _LeaveOneOut]:
    """Both numbers from one pass over the balls of the references, and what they are without each item."""
    count, total = len(predictions), len(references)
    neighbours = balls.neighbours.shape[1]
    held = np.zeros(total, dtype=np.int64)
    balls_of = np.zeros(count, dtype=np.int64)
    own = np.zeros(count, dtype=np.int64)
    density_change = np.zeros(count, dtype=np.int64)
    coverage_change = np.zeros(count, dtype=np.int64)
    for start, stop in _blocks(total):
        squared = _distances(references, predictions, start, stop)
        # SCORE: strictly inside, where precision and recall take the rim too; so do the papers' own programs.
        inside = squared < (balls.radius[start:stop] * (1 - TIE))[:, None]
        here = inside.sum(axis=1)
        held[start:stop] = here
        balls_of += inside.sum(axis=0)
        sole = inside & (here == 1)[:, None]
        if paired:
            wide = squared < (balls.wider[start:stop] * (1 - TIE))[:, None]
            near = balls.neighbours[start:stop]
            inside_wide = wide.sum(axis=1)[:, None] - np.take_along_axis(wide, near, axis=1)
            inside_now = here[:, None] - np.take_along_axis(inside, near, axis=1)
            np.add.at(density_change, near, inside_wide - inside_now)
            np.add.at(coverage_change, near, (inside_wide > 0).astype(np.int64) - (here > 0)[:, None])
            np.put_along_axis(sole, near, False, axis=1)
            diagonal = np.arange(stop - start), np.arange(start, stop)
            own[start:stop] = inside[diagonal]
            sole[diagonal] = False
        coverage_change -= sole.sum(axis=0)
    hits, covered = int(held.sum()), held > 0
    if paired:
        hits_without = hits - held - balls_of + own + density_change
        coverage_without = (int(covered.sum()) - covered + coverage_change) / (total - 1.0)
    else:
        hits_without = hits - balls_of
        coverage_without = (int(covered.sum()) + coverage_change) / total
    density_without = hits_without / (neighbours * (count - 1.0))
    possible = _possible(balls, paired)
    return (
        _LeaveOneOut(hits / (neighbours * count), density_without if possible else None),
        _LeaveOneOut(float(covered.mean()), coverage_without if possible else None),
    )


def _possible(balls: _Balls, widened: bool) -> bool:
    """Whether a ball keeps k neighbours when one of them is left out."""
    return not widened or bool(np.isfinite(balls.wider).all())


def _balls(squared: Matrix, index: Index, neighbours: int) -> _Balls:
    return _Balls(squared[:, neighbours - 1], squared[:, neighbours], index[:, :neighbours])


def _nearest(cloud: _Cloud, count: int) -> tuple[Matrix, Index]:
    """Squared distances and rows of the ``count`` nearest others [n, count], nearest first.

    Infinity and row 0 where there are fewer.
    """
    squared_all = np.full((len(cloud), count), np.inf)
    index_all = np.zeros((len(cloud), count), dtype=np.int64)
    kept = min(count, len(cloud) - 1)
    for start, stop in _blocks(len(cloud)):
        squared = _distances(cloud, cloud, start, stop)
        squared[np.arange(stop - start), np.arange(start, stop)] = np.inf
        index = np.argpartition(squared, kept - 1, axis=1)[:, :kept]
        near = np.take_along_axis(squared, index, axis=1)
        order = np.lexsort((index, near), axis=1)
        squared_all[start:stop, :kept] = np.take_along_axis(near, order, axis=1)
        index_all[start:stop, :kept] = np.take_along_axis(index, order, axis=1)
    return squared_all, index_all


def _distances(first: _Cloud, second: _Cloud, start: int, stop: int) -> Matrix:
    """Squared Euclidean distances [stop - start, m] of some rows to all rows of another set."""
    rows = first.rows(start, stop)
    squared = np.empty((stop - start, len(second)))
    for left in range(0, len(second), TILE_ROWS):
        right = min(left + TILE_ROWS, len(second))
        norms = first.squares[start:stop, None] + second.squares[left:right]
        tile = rows @ second.rows(left, right).T
        tile *= -2.0
        tile += norms
        norms *= ROUNDING
        tile[tile < norms] = 0.0
        squared[:, left:right] = tile
    return squared


def _cloud(features: Features, origin: NDArray[np.float64]) -> _Cloud:
    squares = np.empty(len(features))
    for start, stop in _blocks(len(features)):
        block = features[start:stop] - origin
        squares[start:stop] = np.einsum("nd,nd->n", block, block)
    return _Cloud(features, origin, squares)


def _mean(features: Features) -> NDArray[np.float64]:
    total = np.zeros(features.shape[1])
    for start, stop in _blocks(len(features)):
        total += features[start:stop].sum(axis=0, dtype=np.float64)
    return total / len(features)


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, BLOCK_ROWS):
        yield start, min(start + BLOCK_ROWS, count)


def _check(predictions: Features, references: Features, ks: tuple[int, int], paired: bool) -> None:
    if min(ks) < 1:
        raise InputError("a ball needs a neighbour to end at", expected="k >= 1", found=min(ks))
    needs = f"a ball that ends at neighbour {max(ks)} needs more images"
    check_sides(predictions, references, fewest=max(ks) + 1, needs=needs, paired=paired)
