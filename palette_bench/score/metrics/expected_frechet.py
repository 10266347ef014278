"""What the Fréchet distance of perfect samples is expected to be: never 0, for there are finitely many of them.

n images of the very distribution that the reference set was drawn from have other sample moments than its N images. To
second order in that deviation, with E the difference of the covariances in the eigenbasis (values λ) of the true one,
d² = |Δμ|² + ½ Σ E(i,j)² / (λi + λj), and the expectation of both terms is proportional to the variance of a mean:

    expected d² = c x + b x² + ...,   x = 1/n + 1/N for disjoint sets, x = 1/n - 1/N for n of the N images themselves,

c = tr Σ + ½ Σ Var(ci cj) / (λi + λj), c = centred features. Neither c nor b is computed from fourth moments, which few
images do not give; they are measured: random disjoint halves of the same images have x = 4/n, random disjoint quarters
8/n, and the two mean distances determine c and b. docs/expected-fid.md has the derivation and how well it holds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.score.metrics.frechet import Features, frechet_distance

QUARTERS = 4
FEWEST_PER_FEATURE = 2
"""Images for each feature below which two terms of the series say too little: quarters have half as many images."""

SPLITS = 2
SPLITS_OF_NARROW = 16
NARROW = 256
"""Up to so many features a split costs nothing, and the mean over few features moves more."""

SEED = 2111_05826


class Relation(StrEnum):
    """How the images of the evaluation set stand to those of FID's reference set."""

    PART = "part"
    """They are some of them: only the images that are not shared differ."""
    DISJOINT = "disjoint"
    """No image is in both."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected distance of perfect samples in one relation to the reference set.

    ``error`` is how far it may be off: by the terms that are left out, judged by the last one taken, and by the splits.
    """

    relation: Relation
    value: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class FiniteSample:
    """Mean distances of disjoint halves and quarters, by split [S], and their x = 1/n₁ + 1/n₂."""

    count: int
    halves: NDArray[np.float64]
    quarters: NDArray[np.float64]
    halves_x: float
    quarters_x: float

    @classmethod
    def of(cls, count: int, halves: Sequence[float], quarters: Sequence[float]) -> "FiniteSample":
        """The same again from mean distances that were kept, by split."""
        size = count // QUARTERS
        return cls(count, np.array(halves, np.float64), np.array(quarters, np.float64), 1.0 / size, 2.0 / size)

    @property
    def slope(self) -> float:
        """c: the expected distance of n perfect images to their distribution is about c / n."""
        return self._terms(float(self.halves.mean()), float(self.quarters.mean()))[0]

    def expected(self, of: int, relation: Relation) -> Expectation | None:
        """The expected distance to a reference set of ``of`` images; None where that is beyond what was measured."""
        x = 1.0 / self.count + (1.0 / of if relation is Relation.DISJOINT else -1.0 / of)
        if x < 0.0 or x > self.quarters_x:
            return None
        by_split = np.array([self._at(x, h, q) for h, q in zip(self.halves, self.quarters, strict=True)])
        spread = float(by_split.std(ddof=1)) / math.sqrt(len(by_split))
        value = float(by_split.mean())
        first_order = float(self.halves.mean()) * x / self.halves_x
        return Expectation(relation, max(value, 0.0), math.hypot(value - first_order, spread))

    def _terms(self, halves: float, quarters: float) -> tuple[float, float]:
        """c and b of the two mean distances."""
        per_half, per_quarter = halves / self.halves_x, quarters / self.quarters_x
        quadratic = (per_quarter - per_half) / (self.quarters_x - self.halves_x)
        return per_half - quadratic * self.halves_x, quadratic

    def _at(self, x: float, halves: float, quarters: float) -> float:
        linear, quadratic = self._terms(halves, quarters)
        return linear * x + quadratic * x * x


def fewest(width: int) -> int:
    """How many images of ``width`` features are needed."""
    return max(FEWEST_PER_FEATURE * width, 2 * QUARTERS)


def finite_sample(features: Features) -> FiniteSample | None:
    """Measure what few images cost, on images [n, D] alone; None for fewer than ``fewest(D)``.

    Random splits with a fixed seed. On average within 8 % of simulated expectations for n >= 2 D (tests/score/
    test_expected_frechet.py). Raises InputError as ``frechet_distance`` does.
    """
    count, width = features.shape
    if count < fewest(width):
        return None
    splits = SPLITS_OF_NARROW if width <= NARROW else SPLITS
    random = np.random.RandomState(SEED % 2**32)
    size = count // QUARTERS
    halves, quarters = [], []
    for _ in range(splits):
        order = random.permutation(count)[: size * QUARTERS]
        a, b, c, d = (features[np.sort(part)] for part in np.split(order, QUARTERS))
        halves.append(frechet_distance(np.concatenate([a, b]), np.concatenate([c, d])).value)
        quarters.append((frechet_distance(a, b).value + frechet_distance(c, d).value) / 2.0)
    return FiniteSample.of(count, halves, quarters)
