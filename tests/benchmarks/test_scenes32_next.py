"""Version 2 of the embedded world, before it takes version 1's place: what its company, marks and colours are."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.scenes32_next import world
from benchmarks.scenes32_next.train import Stream, recipe_of
from palette_bench.common.canonical import pixel_digest
from palette_bench.prepare.sources.scenes32 import Split

MANY = np.arange(20_000)
PIXELS = "666c80e2d4d4ed9ba60787b3cb39c82d9418a5d7744dd4649a8d5faad5745fe9"


def test_the_first_scenes_have_the_pixels_that_networks_are_trained_on() -> None:
    images, labels = world.render(Split.EVAL, range(40))
    assert pixel_digest(images) == PIXELS
    assert labels.tolist() == [*range(20), *range(20)]
    assert np.array_equal(world.render(Split.EVAL, [7])[0][0], images[7]), "whatever is drawn beside it"


def test_company_is_right_nine_times_in_ten_and_told_by_two_things_each() -> None:
    facts = world.describe(Split.TRAIN, MANY)
    for told, kind in ((facts.host, facts.hue_family), (facts.satellite, facts.marks)):
        assert abs((told == kind).mean() - 0.9) < 0.01
    assert np.array_equal(facts.texture, facts.host)
    quadrant = np.floor(facts.light / (np.pi / 2)).astype(np.int64)
    assert np.array_equal(quadrant, facts.satellite)


def test_grey_does_not_tell_the_hue_nor_its_sign() -> None:
    index = np.arange(40)
    facts = world.describe(Split.EVAL, index)
    weights = np.array([0.299, 0.587, 0.114])
    own = world.draw(Split.EVAL, index, facts) @ weights
    for turn in (np.pi, 0.7):
        other = world.draw(Split.EVAL, index, replace(facts, host_hue=facts.host_hue + turn))
        assert np.abs(other @ weights - own).mean() < 0.5, "rounding and clipping"
        assert np.abs(other - world.draw(Split.EVAL, index, facts).astype(float)).mean() > 2


def test_marks_are_dashes_of_one_pixel_by_four_whose_mean_is_nothing() -> None:
    facts = world.describe(Split.TRAIN, MANY[:2000])
    marks = world.dashes(facts, world.words(Split.TRAIN, MANY[:2000], 3, blocks=8))
    across = marks[facts.marks % 2 == 0]
    assert set(np.unique(marks)) == {-1.0, 1.0}
    assert abs(marks.mean()) < 0.01
    assert np.abs(marks.mean(axis=0)).max() < 0.15
    beside = (across[:, :, 1:] * across[:, :, :-1]).mean()
    below = (across[:, 1:] * across[:, :-1]).mean()
    assert abs(beside - 0.75) < 0.01
    assert abs(below) < 0.01
    contrast = facts.marks_contrast
    assert contrast[facts.marks < 2].min() >= 0.13 >= contrast[facts.marks >= 2].max()


def test_scenes_are_drawn_once_and_recipes_differ_in_what_a_regression_has_not(tmp_path: Path) -> None:
    stream = Stream(tmp_path)
    first = stream.images([3, 4])
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    assert np.array_equal(Stream(tmp_path).images([3, 4]), first)
    assert path.stat().st_mtime_ns == written
    assert np.array_equal(first, world.render(Split.TRAIN, [3, 4])[0])
    one, other = (recipe_of(f"{kind}-jpeg").canonical() for kind in ("palette", "regression"))
    different = {name for name in one if one[name] != other[name]}
    assert different == {"kind", "output", "noisy_input", "loss_target", "gamma_distribution", "stratified"}
