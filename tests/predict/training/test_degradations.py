"""What is taken away follows the paper's distributions."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from palette_bench.images.holes import fixed_hole
from palette_bench.images.types import HoleMask
from palette_bench.predict.training import degradations
from palette_bench.predict.training.degradations import (
    QUALITIES,
    Family,
    degrade,
    draw_inpainting_hole,
    draw_quality,
    draw_rectangles,
    draw_uncropping_hole,
    quality_probabilities,
)
from palette_bench.protocol.tasks import Hole
from tests.conftest import picture


def fits(counts: Sequence[int] | NDArray[np.int64], probabilities: Sequence[float] | NDArray[np.float64]) -> bool:
    """Whether counts look drawn from probabilities; wrong once in 1,000 seeds."""
    expected = np.asarray(probabilities) * np.sum(counts)
    return bool(chisquare(counts, expected).pvalue > 1e-3)


@pytest.mark.parametrize(("quality", "probability"), [(5, 0.1028), (10, 0.0623), (20, 0.0229), (30, 0.0084)])
def test_the_probabilities_of_qualities_are_the_papers(quality: int, probability: float) -> None:
    assert round(float(quality_probabilities()[quality - QUALITIES[0]]), 4) == probability


def test_qualities_are_drawn_with_these_probabilities() -> None:
    generator = np.random.default_rng(1)
    drawn = [draw_quality(generator) for _ in range(20_000)]
    counts = np.bincount(drawn, minlength=31)[5:]
    assert len(counts) == len(QUALITIES)
    assert fits(counts, quality_probabilities())
    steeper = np.exp(-QUALITIES / 9.0)
    assert not fits(counts, steeper / steeper.sum())
    assert not fits(counts, np.full(len(QUALITIES), 1 / len(QUALITIES)))


def test_three_masks_in_five_are_free_form(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def note(words: NDArray[np.uint32], size: int, _: object) -> HoleMask:
        calls.append(len(words))
        return np.zeros((size, size), dtype=np.bool_)

    monkeypatch.setattr(degradations, "freeform_mask", note)
    generator = np.random.default_rng(2)
    total = 1500
    for _ in range(total):
        draw_inpainting_hole(generator, 16)
    assert fits([len(calls), total - len(calls)], [0.6, 0.4])
    assert not fits([len(calls), total - len(calls)], [0.5, 0.5])


def test_rectangles_cover_a_tenth_to_three_tenths_together() -> None:
    generator = np.random.default_rng(3)
    masks = [draw_rectangles(generator, 32) for _ in range(400)]
    areas = np.array([mask.mean() for mask in masks])
    assert areas.min() >= 0.1
    assert areas.max() <= 0.3
    assert areas.min() < 0.13
    assert areas.max() > 0.27
    alone = sum(is_rectangle(mask) for mask in masks) / len(masks)
    assert 0.15 < alone < 0.4, "one in five has a single rectangle, and some more have one inside another"


def is_rectangle(mask: HoleMask) -> bool:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return bool(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())


def test_uncropping_hides_all_sides_or_one_of_four() -> None:
    generator = np.random.default_rng(4)
    kinds = (Hole.BORDER, Hole.LEFT, Hole.RIGHT, Hole.TOP, Hole.BOTTOM)
    names = {fixed_hole(kind, 16).tobytes(): number for number, kind in enumerate(kinds)}
    counts = np.bincount([names[draw_uncropping_hole(generator, 16).tobytes()] for _ in range(2000)], minlength=5)
    assert fits(counts, [0.5, 0.125, 0.125, 0.125, 0.125])
    assert not fits(counts, [0.2] * 5)


@pytest.mark.parametrize("family", Family)
def test_a_degradation_is_a_function_of_its_generator(family: Family) -> None:
    image = picture(32, 32)
    (first, hole), (second, same), (_, other) = (degrade(family, image, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first, second)
    assert (hole is None) == (not family.masked)
    if hole is not None and same is not None and other is not None:
        assert np.array_equal(hole, same)
        assert not np.array_equal(hole, other)
        assert np.array_equal(first, image), "the hole is filled later"
