"""Whether the 95 % intervals cover: many sets of n items are drawn, and the intervals that hold the truth are counted.

python -m benchmarks.coverage gaussian
python -m benchmarks.coverage scenes32
python -m benchmarks.coverage wide --width 512 --count 500 --repetitions 400
python -m benchmarks.coverage bootstrap
python -m benchmarks.coverage fool-rate --repetitions 1000

The truth is the mean of the metric over all repetitions: the metric's expectation at this n. The Monte Carlo error of a
coverage c over R repetitions is sqrt(c (1 - c) / R). KID takes a quarter of the repetitions and the neighbour metrics,
at a second each, a sixth.

gaussian: 64 features; a prediction is correlated with its reference. It is off by a tenth of a standard deviation, so
that FID is mostly noise, and for the neighbour metrics by more, so that they are not all 1. scenes32: features of the
embedded classifier for scenes whose right half is the mirrored left, resampled from a pool of the world's train split;
the neighbour metrics, for which an image drawn twice is its own neighbour, draw without replacement, which narrows
their spread by the root of 1 - n / pool. wide: Gaussian, features of a falling spectrum, few images for them.
bootstrap: what a percentile bootstrap of the FID makes of one set of each of them.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks import coverage_study  # noqa: E402
from benchmarks.scenes32_facts import HALF  # noqa: E402
from palette_bench.prepare.sources.scenes32 import CLASSES, Split, render, render_split  # noqa: E402
from palette_bench.score.backbones.scenes32 import load  # noqa: E402
from palette_bench.score.metrics.accuracy import accuracy  # noqa: E402
from palette_bench.score.metrics.estimate import Estimate  # noqa: E402
from palette_bench.score.metrics.frechet import (  # noqa: E402
    Moments,
    frechet_distance,
    frechet_influence,
    moments,
)
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score  # noqa: E402
from palette_bench.score.metrics.kid import kernel_distance  # noqa: E402
from palette_bench.score.metrics.perceptual import Power, perceptual_distance  # noqa: E402
from palette_bench.score.metrics.prdc import neighbour_metrics  # noqa: E402

Float32 = NDArray[np.float32]
POOL = 40_000


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """n items: features [n, D] and logits [n, classes] of predictions, features of references, true classes [n]."""

    predictions: Float32
    references: Float32
    logits: Float32
    labels: NDArray[np.int64]


class World(Protocol):
    """Where items come from, and the fixed reference of the FID."""

    reference: Moments

    def draw(self, count: int, rng: np.random.Generator, *, again: bool) -> Items:
        """``count`` independent items; ``again`` allows an item to be drawn twice."""


class Gaussian:
    """Features of ``width`` with standard deviations from 1 down to ``smallest``; classes by a fixed linear map.

    Predictions are off by ``shift`` standard deviations.
    """

    def __init__(self, width: int, smallest: float, reference: int, *, shift: float = 0.1) -> None:
        fixed = np.random.default_rng(0)
        self._deviations = np.geomspace(1.0, smallest, width)
        self._shift = shift
        self._stretch = 1.0 + 0.2 * np.cos(np.arange(width))
        self._classes = fixed.normal(size=(width, len(CLASSES)))
        self.reference = moments(fixed.normal(size=(reference, width)) * self._deviations)

    def draw(self, count: int, rng: np.random.Generator, *, again: bool) -> Items:
        first, second = rng.standard_normal(size=(2, count, len(self._deviations)))
        references = first * self._deviations
        predictions = 0.8 * references + (0.6 * second * self._stretch + self._shift) * self._deviations
        return Items(
            predictions.astype(np.float32),
            references.astype(np.float32),
            (predictions @ self._classes).astype(np.float32),
            (references @ self._classes).argmax(axis=1).astype(np.int64),
        )


class Scenes:
    """Scenes with their left half mirrored, seen by the embedded classifier."""

    def __init__(self, pool: int) -> None:
        torch.set_num_threads(1)
        backbone = load()
        self.reference = moments(backbone.extract(render_split(Split.REFERENCE)[0])["features"])
        parts = []
        for start in range(0, pool, 4000):
            images, labels = render(Split.TRAIN, np.arange(start, min(start + 4000, pool)))
            left = images[:, :, :HALF]
            filled = backbone.extract(np.concatenate([left, left[:, :, ::-1]], axis=2))
            parts.append((filled["features"], backbone.extract(images)["features"], filled["logits"], labels))
        self._predictions, self._references, self._logits = (
            np.concatenate([part[column] for part in parts]) for column in range(3)
        )
        self._labels = np.concatenate([part[3] for part in parts])

    def draw(self, count: int, rng: np.random.Generator, *, again: bool) -> Items:
        chosen = rng.choice(len(self._labels), count, replace=again)
        return Items(self._predictions[chosen], self._references[chosen], self._logits[chosen], self._labels[chosen])


Metrics = Callable[[Items, Moments], dict[str, Estimate]]


def distances(items: Items, reference: Moments) -> dict[str, Estimate]:
    """FID only."""
    sides = items.predictions, items.references
    return {
        "FID, fixed reference": frechet_influence(items.predictions, reference, paired=False).estimate,
        "FID, evaluation set": frechet_influence(*sides, paired=True).estimate,
    }


def cheap(items: Items, reference: Moments) -> dict[str, Estimate]:
    """What takes milliseconds."""
    sides = items.predictions, items.references
    return distances(items, reference) | {
        "IS, 1 split": inception_score(items.logits).estimate,
        "IS, 10 splits": inception_score(items.logits, splits=10, permutation_seed=PEER_SEED).estimate,
        "CA": accuracy(items.logits, items.labels).estimate,
        "PD, L2": perceptual_distance(*sides, power=Power.L2).estimate,
        "PD, L2 squared": perceptual_distance(*sides, power=Power.L2_SQUARED).estimate,
    }


def kernel(items: Items, reference: Moments) -> dict[str, Estimate]:
    """KID over all items."""
    return {"KID": kernel_distance(items.predictions, items.references, paired=True).estimate}


def neighbours(items: Items, reference: Moments) -> dict[str, Estimate]:
    """The four numbers from nearest neighbours."""
    found = neighbour_metrics(items.predictions, items.references, paired=True)
    return {
        "precision": found.precision.estimate,
        "recall": found.recall.estimate,
        "density": found.density.estimate,
        "coverage": found.coverage.estimate,
    }


def cover(title: str, world: World, metrics: Metrics, count: int, repetitions: int, *, again: bool = True) -> None:
    """Draws, and prints one line a metric."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for repetition in range(repetitions):
        items = world.draw(count, np.random.default_rng([1, repetition]), again=again)
        for name, one in metrics(items, world.reference).items():
            if one.standard_error is None or one.low is None or one.high is None:
                raise ValueError(f"{name} has no error at n = {count}")
            found.setdefault(name, []).append((one.value, one.standard_error, one.low, one.high))
    for name, rows in found.items():
        values, errors, lows, highs = np.array(rows).T
        truth, spread = values.mean(), max(float(values.std(ddof=1)), 1e-300)
        share = float(((lows <= truth) & (truth <= highs)).mean())
        print(
            f"{title:<10} {count:>6} {name:<22} {repetitions:>6} {truth:>11.5g} {spread:>10.3g}"
            f" {np.sqrt(np.square(errors).mean()) / spread:>9.2f}"
            f" {100 * share:>7.1f} +- {100 * np.sqrt(share * (1 - share) / repetitions):.1f}",
            flush=True,
        )


def bootstrap(title: str, world: World, count: int, resamples: int) -> None:
    """The 95 % percentile interval of a bootstrap of one set's FID beside its own value and the interval we give."""
    items = world.draw(count, np.random.default_rng([1, 0]), again=True)
    own = distances(items, world.reference)["FID, fixed reference"]
    rng = np.random.default_rng(2)
    values = [
        frechet_distance(items.predictions[rng.integers(0, count, count)], world.reference).value
        for _ in range(resamples)
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    print(
        f"{title:<10} {count:>6} FID {own.value:.4f}, influence [{own.low:.4f}, {own.high:.4f}],"
        f" percentile bootstrap [{low:.4f}, {high:.4f}] of {resamples}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=("gaussian", "scenes32", "wide", "bootstrap", "fool-rate"))
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--count", type=int, default=2000, help="images a set")
    parser.add_argument("--metrics", choices=("all", "cheap", "kernel", "neighbours"), default="all")
    parser.add_argument("--width", type=int, default=2048, help="features of the wide world")
    parser.add_argument("--pool", type=int, default=POOL, help="scenes of the pool")
    arguments = parser.parse_args()
    count, repetitions = arguments.count, arguments.repetitions
    if arguments.world == "fool-rate":
        coverage_study.show(repetitions)
        return
    if arguments.world == "bootstrap":
        bootstrap("gaussian", Gaussian(64, 0.1, 10_000), count, 500)
        bootstrap("scenes32", Scenes(arguments.pool), count, 500)
        bootstrap("wide", Gaussian(2048, 0.01, 10_000), count, 20)
        return
    print(
        f"{'world':<10} {'n':>6} {'metric':<22} {'sets':>6} {'mean':>11} {'spread':>10} {'error/it':>9} {'cover %':>7}"
    )
    if arguments.world == "wide":
        cover("wide", Gaussian(arguments.width, 0.01, 10_000), distances, count, repetitions)
        return
    world: World = Gaussian(64, 0.1, 10_000) if arguments.world == "gaussian" else Scenes(arguments.pool)
    for metrics, part in ((cheap, 1), (kernel, 4), (neighbours, 6)):
        if arguments.metrics in ("all", metrics.__name__):
            if metrics is neighbours and arguments.world == "gaussian":
                world = Gaussian(64, 0.1, 10_000, shift=0.6)
            again = metrics is not neighbours
            cover(arguments.world, world, metrics, count, max(repetitions // part, 2), again=again)


if __name__ == "__main__":
    main()
