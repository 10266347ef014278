"""The Fréchet distance against the peers' scipy.linalg.sqrtm: paired runs, CPU seconds on one thread, median ratios.

python -m benchmarks.frechet_speed [--rounds 5]

Features are D = 2048 float32 with a spectrum that falls over five decades, as pooled features do. A run starts from
the features of the predictions and those of the reference, or the reference's moments, as each tool does: means and
covariances count. Variants run in turn; every round gives one ratio to the sqrtm formula of the same round. The errors
are relative to singular values of triangles of QR decompositions, where nothing is squared. Takes about half an hour.
"""

import argparse
import os
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import scipy.linalg  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from palette_bench.score.metrics.frechet import (  # noqa: E402
    Features,
    Moments,
    SquareRoot,
    frechet_distance,
    frechet_influence,
    moments,
)

WIDTH = 2048
REFERENCE = 10_000
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to compute the distance of predictions from a reference."""

    name: str
    run: Callable[[Float32, Features | Moments], float]


def sqrtm_formula(predictions: Float32, reference: Features | Moments) -> float:
    """What pytorch-fid, clean-fid and ADM's evaluator compute, without their additions to a singular diagonal."""
    means, covariances = [], []
    for side in (predictions, reference):
        if isinstance(side, Moments):
            means.append(side.mean)
            covariances.append(side.covariance)
        else:
            means.append(side.mean(axis=0, dtype=np.float64))
            covariances.append(np.cov(side, rowvar=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    difference = means[0] - means[1]
    traces = np.trace(covariances[0]) + np.trace(covariances[1])
    return float(difference @ difference + traces - 2.0 * np.trace(root).real)


VARIANTS = (
    Variant("sqrtm", sqrtm_formula),
    Variant("value", lambda p, r: frechet_distance(p, r).value),
    Variant("value + influence", lambda p, r: frechet_influence(p, r, paired=False).distance.value),
    Variant("torch-fidelity's", lambda p, r: frechet_distance(p, r, square_root=SquareRoot.EIGENVALUES).value),
)


def features(seed: int, count: int) -> Float32:
    """[count, 2048]: correlated, with standard deviations over two and a half decades, of unequal shape by seed."""
    rng = np.random.default_rng([seed, count])
    deviations = np.geomspace(3.0, 0.01, WIDTH) * np.random.default_rng(seed).uniform(0.9, 1.1, WIDTH)
    mixing = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
    values = rng.normal(size=(count, WIDTH)) * deviations @ mixing + np.random.default_rng(seed).uniform(0, 0.5, WIDTH)
    features: Float32 = values.astype(np.float32)
    return features


def by_triangles(first: Float32, second: Float32) -> float:
    """The distance by QR and singular values."""
    sides = []
    for side in (first, second):
        exact = side.astype(np.float64)
        mean = exact.mean(axis=0)
        triangle = np.asarray(np.linalg.qr((exact - mean) / np.sqrt(len(exact) - 1.0), mode="r"), dtype=np.float64)
        sides.append((mean, triangle))
    difference = sides[0][0] - sides[1][0]
    traces = sum(float(np.square(triangle).sum()) for _, triangle in sides)
    cross = float(np.linalg.svd(sides[0][1] @ sides[1][1].T, compute_uv=False).sum())
    return float(difference @ difference) + traces - 2.0 * cross


def compare(title: str, predictions: Float32, reference: Features | Moments, exact: float, rounds: int) -> None:
    """One case: ``rounds`` rounds of all variants, and a table of their medians."""
    seconds: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    values = {}
    for _ in range(rounds):
        for variant in VARIANTS:
            start = time.process_time()
            values[variant.name] = variant.run(predictions, reference)
            seconds[variant.name].append(time.process_time() - start)
    print(f"\n{title}; distance {exact:.10g}")
    print(f"{'':<20} {'CPU s':>8} {'times sqrtm':>12} {'lowest':>8} {'highest':>8} {'rel. error':>11}")
    for variant in VARIANTS:
        ratios = [a / b for a, b in zip(seconds["sqrtm"], seconds[variant.name], strict=True)]
        print(
            f"{variant.name:<20} {statistics.median(seconds[variant.name]):8.2f} {statistics.median(ratios):12.1f}"
            f" {min(ratios):8.1f} {max(ratios):8.1f} {values[variant.name] / exact - 1:11.1e}",
            flush=True,
        )


def memory(count: int) -> None:
    """Most memory that a distance with its influences takes besides the features."""
    predictions, reference = features(1, count), moments(features(2, 4096))
    for side in (predictions, predictions * (np.arange(WIDTH) > 0)):
        tracemalloc.start()
        found = frechet_influence(side, reference, paired=False)
        peak = tracemalloc.get_traced_memory()[1] / 1e9
        tracemalloc.stop()
        print(f"n = {count}, {found.distance.route.value}: {peak:.2f} GB beside the features", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="measure memory at n = 50,000 instead of time")
    arguments = parser.parse_args()
    if arguments.memory:
        memory(50_000)
        return
    for count, reference_count in ((10_000, REFERENCE), (512, 512), (512, REFERENCE)):
        predictions, reference = features(1, count), features(2, reference_count)
        exact = by_triangles(predictions, reference)
        if count == reference_count:
            compare(f"n = {count}, features against features", predictions, reference, exact, arguments.rounds)
        if reference_count == REFERENCE:
            title = f"n = {count} against moments of {reference_count}"
            compare(title, predictions, moments(reference), exact, arguments.rounds)


if __name__ == "__main__":
    main()
