from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from palette_bench.common.canonical import pixel_digest
from palette_bench.common.progress import Silent
from palette_bench.images.types import ImageU8
from palette_bench.score import diversity
from palette_bench.score.features import FeatureStore
from palette_bench.score.metrics import similarity
from palette_bench.score.recipes.base import PairNumbers
from tests.conftest import picture

ITEMS, SAMPLES, SIDE = 10, 4, 48


class Stored:
    """Samples in memory; counts what is asked for."""

    def __init__(self, images: Sequence[Sequence[ImageU8]]) -> None:
        self.images = images
        self.asked: list[tuple[int, int]] = []

    def __call__(self, item: int, sample: int, /) -> ImageU8:
        self.asked.append((item, sample))
        return self.images[item][sample]


def drawn() -> list[list[ImageU8]]:
    images = [[picture(SIDE, SIDE, f"{item} {sample}") for sample in range(SAMPLES)] for item in range(ITEMS)]
    images[3][2] = images[3][0]
    return images


def digests_of(images: Sequence[Sequence[ImageU8]]) -> list[tuple[str, ...]]:
    return [tuple(pixel_digest(sample) for sample in samples) for samples in images]


def ms_ssim(images: Sequence[Sequence[ImageU8]], stored: Stored, folder: Path, jobs: int = 1) -> PairNumbers:
    store = FeatureStore(folder)
    return diversity.ms_ssim(digests_of(images), stored, store, scales=3, jobs=jobs, progress=Silent())


def test_the_first_sample_with_each_of_the_rest(tmp_path: Path) -> None:
    images = drawn()
    found = ms_ssim(images, Stored(images), tmp_path)
    weights = similarity.weights_for(3)
    for item, samples in enumerate(images):
        maps = [similarity.ImageMaps.of(sample, scales=3) for sample in samples]
        for at, other in enumerate(maps[1:]):
            pair = similarity.ms_ssim(maps[0], other, weights=weights)
            assert found.values[item, at] == pytest.approx(pair.value, abs=1e-7)
            assert found.clamped[item, at] == pair.clamped
    assert found.values[3, 1] == pytest.approx(1.0)
    swapped = ms_ssim([samples[::-1] for samples in images], Stored([s[::-1] for s in images]), tmp_path / "other")
    assert np.abs(swapped.values - found.values).max() > 1e-3


def test_pairs_are_computed_once_whoever_computes_them(tmp_path: Path) -> None:
    images = drawn()
    first = ms_ssim(images, Stored(images), tmp_path / "one")
    stored = Stored(images)
    again = ms_ssim(images, stored, tmp_path / "one")
    assert stored.asked == []
    np.testing.assert_array_equal(again.values, first.values)
    spread = ms_ssim(images, Stored(images), tmp_path / "two", jobs=2)
    np.testing.assert_array_equal(spread.values, first.values)
    images[5][1] = picture(SIDE, SIDE, "changed")
    stored = Stored(images)
    changed = ms_ssim(images, stored, tmp_path / "one")
    assert {item for item, _ in stored.asked} == {5}
    different = np.argwhere(changed.values != first.values).tolist()
    assert different == [[5, 0]]


def test_the_number_of_scales_is_part_of_what_is_kept(tmp_path: Path) -> None:
    images = drawn()
    store = FeatureStore(tmp_path)
    three = diversity.ms_ssim(digests_of(images), Stored(images), store, scales=3, jobs=1, progress=Silent())
    two = diversity.ms_ssim(digests_of(images), Stored(images), store, scales=2, jobs=1, progress=Silent())
    assert np.abs(three.values - two.values).max() > 1e-3


def test_consecutive_pairs() -> None:
    assert diversity.consecutive(("a", "b", "c")) == [(0, 1), (1, 2)]
    assert diversity.first_with_rest(("a", "b", "c")) == [(0, 1), (0, 2)]
    assert diversity.pair_digest("a", "b") != diversity.pair_digest("b", "a")
