"""How much the samples of one item differ: MS-SSIM of the first with each of the rest, LPIPS of neighbours.

A pair's number is kept in the feature store under both images' digests, so that pairs, like features, are computed
once and never stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from palette_bench.common.canonical import fingerprint
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images.types import ImageU8
from palette_bench.score.features import Features, FeatureStore
from palette_bench.score.metrics import similarity
from palette_bench.score.recipes.base import PairNumbers, lpips_fingerprint

ITEMS_A_CHUNK = 8
PAIRS_A_BATCH = 16
VALUE, CLAMPED = "value", "clamped"


@dataclass(frozen=True, slots=True)
class PairMeasure:
    """A number of two images as the feature store knows it: what a backbone is for one."""

    fingerprint: str
    outputs: Mapping[str, int]


def ms_ssim_measure(scales: int) -> PairMeasure:
    """MS-SSIM with so many scales, as it is kept."""
    weights = similarity.weights_for(scales)
    return PairMeasure(fingerprint(["ms-ssim", 1, list(weights.weights)]), {VALUE: 1, CLAMPED: 1})


@dataclass(frozen=True, slots=True)
class Lpips:
    """The weights of LPIPS' network; ``canonical`` is False if they are not the published ones."""

    path: Path
    sha256: str
    canonical: bool

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that can move a distance."""
        return lpips_fingerprint(self.sha256)


class Samples(Protocol):
    """The samples of items as they are scored; picklable."""

    def __call__(self, item: int, sample: int, /) -> ImageU8:
        """One sample."""


def first_with_rest(digests: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of sample numbers: the first with each of the rest."""
    return [(0, sample) for sample in range(1, len(digests))]


def consecutive(digests: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of sample numbers: each with the next."""
    return [(sample - 1, sample) for sample in range(1, len(digests))]


def pair_digest(first: str, second: str) -> str:
    """The key of a pair: sha256 over the digests of both images, in order."""
    return fingerprint(["pair", first, second])


_Item = tuple[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _MsSsim:
    """MS-SSIM of the first sample with the rest, for items whose samples have these digests; equal ones once."""

    samples: Samples
    scales: int

    def __call__(self, chunk: Sequence[_Item]) -> tuple[int, list[tuple[str, float, bool]]]:
        weights = similarity.weights_for(self.scales)
        rows: list[tuple[str, float, bool]] = []
        for item, digests in chunk:
            maps: dict[str, similarity.ImageMaps] = {}
            for sample, digest in enumerate(digests):
                if digest not in maps:
                    maps[digest] = similarity.ImageMaps.of(self.samples(item, sample), scales=self.scales)
            for a, b in first_with_rest(digests):
                result = similarity.ms_ssim(maps[digests[a]], maps[digests[b]], weights=weights)
                rows.append((pair_digest(digests[a], digests[b]), result.value, result.clamped))
        return len(chunk), rows


def ms_ssim(
    digests: Sequence[tuple[str, ...]],
    samples: Samples,
    store: FeatureStore,
    *,
    scales: int,
    jobs: int,
    progress: Progress,
) -> PairNumbers:
    """MS-SSIM of the first sample with each of the rest, for items whose samples have ``digests``.

    Maps of an image are computed once for all of its pairs. Items of which a pair is missing are computed as a whole.
    """
    measure = ms_ssim_measure(scales)
    keys = [[pair_digest(of[a], of[b]) for a, b in first_with_rest(of)] for of in digests]
    values, found = store.load(measure, [key for row in keys for key in row], progress=progress)
    kept = {key: (values[VALUE][at, 0], values[CLAMPED][at, 0]) for at, key in enumerate(_flat(keys)) if found[at]}
    todo = [(item, of) for item, of in enumerate(digests) if any(key not in kept for key in keys[item])]
    if todo:
        with progress.task("MS-SSIM of samples", len(todo), "items") as shown:
            work = partial(_MsSsim, samples, scales)
            for count, rows in run_chunks(work, todo, size=ITEMS_A_CHUNK, processes=jobs):
                fresh = {key: (np.float32(value), np.float32(clamped)) for key, value, clamped in rows}
                _keep(measure, {VALUE: 0, CLAMPED: 1}, fresh, store, progress)
                kept |= fresh
                shown.advance(count)
    return _numbers(keys, kept)


def lpips(
    digests: Sequence[tuple[str, ...]],
    samples: Samples,
    store: FeatureStore,
    *,
    network: Lpips,
    device: str,
    progress: Progress,
) -> PairNumbers:
    """LPIPS of consecutive samples. The network is built only if a pair is missing."""
    measure = PairMeasure(network.fingerprint, {VALUE: 1})
    keys = [[pair_digest(of[a], of[b]) for a, b in consecutive(of)] for of in digests]
    values, found = store.load(measure, _flat(keys), progress=progress)
    kept = {key: (values[VALUE][at, 0], np.float32(0)) for at, key in enumerate(_flat(keys)) if found[at]}
    todo = {
        keys[item][at]: (item, a, b)
        for item, of in enumerate(digests)
        for at, (a, b) in enumerate(consecutive(of))
        if keys[item][at] not in kept
    }
    pairs = list(todo.items())
    if pairs:
        from palette_bench.score.backbones import lpips_alexnet

        loaded = lpips_alexnet.load(network.path, device=device)
        with progress.task("LPIPS of samples", len(pairs), "pairs") as shown:
            for start in range(0, len(pairs), PAIRS_A_BATCH):
                batch = pairs[start : start + PAIRS_A_BATCH]
                first = np.stack([samples(item, a) for _, (item, a, _) in batch])
                second = np.stack([samples(item, b) for _, (item, _, b) in batch])
                found_distances = loaded.distance(first, second)
                fresh = {
                    key: (np.float32(value), np.float32(0))
                    for (key, _), value in zip(batch, found_distances, strict=True)
                }
                _keep(measure, {VALUE: 0}, fresh, store, progress)
                kept |= fresh
                shown.advance(len(batch))
    return _numbers(keys, kept)


_Kept = Mapping[str, tuple[np.float32, np.float32]]


def _flat(keys: Sequence[Sequence[str]]) -> list[str]:
    return [key for row in keys for key in row]


def _keep(
    measure: PairMeasure, columns: Mapping[str, int], fresh: _Kept, store: FeatureStore, progress: Progress
) -> None:
    arrays: dict[str, Features] = {
        output: np.array([[pair[column]] for pair in fresh.values()], np.float32) for output, column in columns.items()
    }
    store.write(measure, list(fresh), arrays, progress=progress)


def _numbers(keys: Sequence[Sequence[str]], kept: _Kept) -> PairNumbers:
    values = np.array([[kept[key][0] for key in row] for row in keys], np.float64)
    clamped = np.array([[bool(kept[key][1]) for key in row] for row in keys], np.bool_)
    return PairNumbers(values, clamped)
