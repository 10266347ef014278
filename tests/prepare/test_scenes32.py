"""scenes32: every machine draws the same scenes, and they are what the protocol needs them to be."""

import dataclasses
import math
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.prepare.sources import scenes32
from palette_bench.prepare.sources.scenes32 import (
    CLASSES,
    COMPANY_RATE,
    DIGESTS,
    HOSTS,
    SATELLITES,
    SIZE,
    SPLIT_COUNTS,
    Split,
    describe,
    draw,
    render,
    render_split,
    split_digest,
)

BOUNDED = [Split.EVAL, Split.REFERENCE]
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])


@cache
def all_scenes(split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return render_split(split)


@pytest.mark.parametrize("split", BOUNDED)
def test_the_pixels_and_labels_have_their_pinned_digest(split: Split) -> None:
    assert split_digest(*all_scenes(split)) == DIGESTS[split]


def test_the_digest_covers_pixels_labels_and_order() -> None:
    images, labels = render(Split.EVAL, range(40))
    touched = images.copy()
    touched[7, 5, 5, 0] ^= 1
    relabelled = labels.copy()
    relabelled[3] += 1
    digests = {
        split_digest(images, labels),
        split_digest(touched, labels),
        split_digest(images, relabelled),
        split_digest(images[::-1], labels),
    }
    assert len(digests) == 4


@settings(deadline=None, max_examples=20)
@given(
    split=st.sampled_from(Split),
    indices=st.lists(st.integers(0, 1_999), min_size=1, max_size=100),
)
def test_a_scene_does_not_depend_on_its_batch(split: Split, indices: list[int]) -> None:
    images, labels = render(split, indices)
    position = len(indices) // 2
    alone, label = render(split, [indices[position]])
    assert np.array_equal(images[position], alone[0])
    assert labels[position] == label[0]


def test_far_indices_of_the_train_split_are_scenes_of_their_own() -> None:
    # Indices that agree in their low or in their high 32 bits.
    images, _ = render(Split.TRAIN, [0, 20, 1 << 32, 20 << 32, (20 << 32) + 20])
    assert len({image.tobytes() for image in images}) == 5


def test_no_two_scenes_are_equal_across_the_splits() -> None:
    seen: set[bytes] = set()
    for images in (all_scenes(Split.EVAL)[0], all_scenes(Split.REFERENCE)[0], render(Split.TRAIN, range(2_000))[0]):
        seen.update(image.tobytes() for image in images)
    assert len(seen) == sum(SPLIT_COUNTS.values()) + 2_000


@pytest.mark.parametrize("split", BOUNDED)
def test_images_and_labels_have_their_shape_and_classes_are_balanced(split: Split) -> None:
    images, labels = all_scenes(split)
    assert images.shape == (SPLIT_COUNTS[split], SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels, minlength=len(CLASSES)).tolist() == [SPLIT_COUNTS[split] // 20] * 20


def test_a_label_names_host_and_satellite() -> None:
    facts = describe(Split.EVAL, range(200))
    named = [f"{HOSTS[h]}+{SATELLITES[s]}" for h, s in zip(facts.host, facts.satellite, strict=True)]
    assert [CLASSES[label] for label in facts.label] == named
    assert set(named) == set(CLASSES)


def test_another_shape_changes_pixels_around_the_object_only() -> None:
    facts = describe(Split.EVAL, range(60))
    other = dataclasses.replace(facts, satellite=(facts.satellite + 1) % len(SATELLITES))
    changed = (draw(Split.EVAL, range(60), facts) != draw(Split.EVAL, range(60), other)).any(axis=3)
    assert changed.any(axis=(1, 2)).all()
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    far = np.hypot(x - facts.satellite_x[:, None, None], y - facts.satellite_y[:, None, None]) > 12
    assert not (changed & far).any()


def test_draw_with_the_facts_of_a_scene_is_the_scene() -> None:
    assert np.array_equal(
        draw(Split.REFERENCE, [5, 17], describe(Split.REFERENCE, [5, 17])), render(Split.REFERENCE, [5, 17])[0]
    )


def test_company_is_right_four_times_in_five_and_else_any_other_kind() -> None:
    facts = describe(Split.TRAIN, range(40_000))
    for kind, company, kinds in (
        (facts.host, facts.host_company, len(HOSTS)),
        (facts.satellite, facts.satellite_company, len(SATELLITES)),
    ):
        offset = np.bincount((company - kind) % kinds, minlength=kinds) / len(kind)
        assert offset[0] == pytest.approx(COMPANY_RATE, abs=0.01)
        assert offset[1:] == pytest.approx((1 - COMPANY_RATE) / (kinds - 1), abs=0.01)


def test_the_right_half_hides_exactly_one_object_in_most_scenes() -> None:
    facts = describe(Split.TRAIN, range(20_000))
    host_hidden, satellite_hidden = facts.host_x > SIZE / 2, facts.satellite_x > SIZE / 2
    assert (host_hidden & ~satellite_hidden).mean() == pytest.approx(0.44, abs=0.02)
    assert (satellite_hidden & ~host_hidden).mean() == pytest.approx(0.44, abs=0.02)
    assert (host_hidden & satellite_hidden).mean() == pytest.approx(0.06, abs=0.02)


def test_a_grey_image_does_not_tell_its_hues() -> None:
    """The same scene in opposite hues, which its company makes equally likely, is the same grey image."""
    facts = describe(Split.EVAL, range(400))
    opposite = dataclasses.replace(
        facts,
        ground_hue=facts.ground_hue + math.pi,
        ground_second_hue=facts.ground_second_hue + math.pi,
        host_hue=facts.host_hue + math.pi,
        satellite_hue=facts.satellite_hue + math.pi,
    )
    first = draw(Split.EVAL, range(400), facts).astype(np.float64)
    second = draw(Split.EVAL, range(400), opposite).astype(np.float64)
    unclipped = ((first > 0) & (first < 255) & (second > 0) & (second < 255)).all(axis=3)
    assert unclipped.mean() > 0.9
    grey_difference = np.abs((first - second) @ LUMA_WEIGHTS)
    assert grey_difference[unclipped].max() <= 1.0
    assert np.abs(first - second).mean() > 30


def test_a_hue_family_has_two_opposite_hues_equally_often() -> None:
    facts = describe(Split.TRAIN, range(40_000))
    for hue, family in (
        (facts.ground_hue, facts.host_company),
        (facts.satellite_hue, facts.host_company),
        (facts.host_hue, facts.satellite_company),
    ):
        for kind in np.unique(family):
            angles = hue[family == kind]
            once, twice = np.exp(1j * angles).mean(), np.exp(2j * angles).mean()
            assert abs(once) < 0.04
            assert abs(twice) > 0.9


@pytest.mark.parametrize("luma", ["ground_luma", "host_luma", "satellite_luma"])
def test_luma_tells_nothing_about_hue(luma: str) -> None:
    facts = describe(Split.TRAIN, range(40_000))
    brightness = getattr(facts, luma)
    bright = brightness > np.median(brightness)
    hue = getattr(facts, luma.replace("luma", "hue"))
    for harmonic in (1, 2):
        vectors = np.exp(1j * harmonic * hue)
        assert abs(vectors[bright].mean() - vectors[~bright].mean()) < 0.04


@pytest.mark.parametrize(("split", "index"), [(Split.EVAL, 2_000), (Split.REFERENCE, 10_000), (Split.TRAIN, -1)])
def test_an_index_outside_the_split_is_an_error(split: Split, index: int) -> None:
    with pytest.raises(InputError, match="no such scene"):
        render(split, [0, index])


def test_the_train_split_has_no_whole() -> None:
    with pytest.raises(InputError, match="no end"):
        render_split(Split.TRAIN)


def test_no_scenes_are_no_scenes() -> None:
    images, labels = render(Split.EVAL, [])
    assert images.shape == (0, SIZE, SIZE, 3)
    assert labels.shape == (0,)


def test_drawing_needs_no_torch() -> None:
    code = f"import sys, {scenes32.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
