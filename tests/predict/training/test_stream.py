"""The stream of examples is a function of the seed and the global index alone."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from palette_bench.artifacts.seeds import generator_of
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.diffusion import gamma_quartile
from palette_bench.predict.training.examples import Batch, ExampleStream, TrainingSource
from palette_bench.predict.training.loop import _Microbatches, _prefetched
from palette_bench.predict.training.ranks import Rank
from palette_bench.predict.training.recipe import Recipe
from palette_bench.predict.training.sources import SceneStream
from tests.predict.training.runs import recipe

FIELDS = ("condition", "image", "hole", "noise", "gamma")
STEPS = 2


def stream_of(what: Recipe, source: TrainingSource | None = None) -> ExampleStream:
    return ExampleStream(
        source or SceneStream(), what.families, what.diffusion, what.seed, what.batch, what.rectangle_area
    )


def divided(what: Recipe, world: int, microbatch: int, source: TrainingSource | None = None) -> Iterator[Batch]:
    """What all ranks see in two steps, from the last rank to the first."""
    for number in reversed(range(world)):
        rank = Rank(number, world, torch.device("cpu"))
        parts = _Microbatches(stream_of(what, source), what, rank, microbatch)
        yield from _prefetched(parts, 0, STEPS * parts.per_step, 0)


def whole(batches: Iterator[Batch]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Batches as one, in the order of the indices."""
    every = list(batches)
    indices = np.concatenate([batch.indices for batch in every])
    assert sorted(indices.tolist()) == list(range(len(indices))), "each example once"
    order = np.argsort(indices)
    return {name: np.concatenate([getattr(batch, name) for batch in every])[order] for name in FIELDS}


class Counting:
    """A source that breaks the rule: its images depend on what was asked for before."""

    def __init__(self) -> None:
        self.asked = 0

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        self.asked += 1
        return [np.full((32, 32, 3), self.asked, dtype=np.uint8) for _ in indices]

    def identity(self) -> Mapping[str, object]:
        return {}


def equal(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return all(np.array_equal(np.asarray(one[name]), np.asarray(other[name])) for name in FIELDS)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("world", "microbatch"), [(1, 1), (2, 2), (4, 2), (8, 1)])
def test_ranks_and_microbatches_cannot_change_the_stream(world: int, microbatch: int, stratified: bool) -> None:
    what = recipe(batch=8, stratified=stratified, tasks={"inpaint": 1.0, "jpeg": 1.0, "uncrop": 1.0, "colorize": 1.0})
    assert equal(whole(divided(what, 1, 8)), whole(divided(what, world, microbatch)))


def test_a_source_with_a_memory_would_be_found_out() -> None:
    what = recipe(batch=8)
    assert not equal(whole(divided(what, 1, 8, Counting())), whole(divided(what, 2, 2, Counting())))


@pytest.mark.parametrize("name", FIELDS)
def test_another_seed_is_another_stream(name: str) -> None:
    one, other = (stream_of(recipe(seed=seed)).batch(range(8)) for seed in (0, 1))
    # Scenes are numbered, so the pictures are the same whatever is done to them.
    assert np.array_equal(getattr(one, name), getattr(other, name)) == (name == "image")


def test_no_two_examples_share_their_noise() -> None:
    batch = stream_of(recipe()).batch(range(16))
    flat = batch.noise.reshape(16, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(16)).max() < 0.1


def test_a_hole_is_filled_with_noise_that_does_not_tell_the_noise_to_be_found() -> None:
    batch = stream_of(recipe(tasks={"inpaint": 1.0})).batch(range(16))
    inside = np.broadcast_to(batch.hole > 0, batch.noise.shape)
    assert abs(np.corrcoef(batch.condition[inside], batch.noise[inside])[0, 1]) < 0.05
    assert batch.condition[inside].std() == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(batch.condition[~inside], batch.image[~inside])


def test_rectangles_cover_what_the_recipe_says() -> None:
    def parts(**changes: object) -> NDArray[np.float64]:
        holes = stream_of(recipe(tasks={"inpaint": 1.0}, **changes)).batch(range(200)).hole
        return np.array([hole.mean() for hole in holes])

    narrow, wide = parts(), parts(rectangle_area=[0.55, 0.6])
    within = (wide >= 0.55) & (wide <= 0.6)
    # Four masks in ten are rectangles.
    assert 0.25 < within.mean() < 0.55
    assert ((narrow >= 0.55) & (narrow <= 0.6)).mean() < 0.1


def test_tasks_are_drawn_at_their_rates() -> None:
    stream = stream_of(recipe(tasks={"colorize": 1.0, "jpeg": 3.0}))
    batch = stream.batch(range(400))
    grey = np.ptp(batch.condition, axis=1).reshape(400, -1).max(axis=1) == 0
    assert 0.18 < grey.mean() < 0.32


def test_the_noise_levels_of_a_stratified_batch_are_spread_evenly() -> None:
    for stratified in (True, False):
        gamma = stream_of(recipe(batch=64, stratified=stratified)).batch(range(64)).gamma
        assert (np.bincount(gamma_quartile(gamma), minlength=4).tolist() == [16] * 4) == stratified


def test_generators_of_neighbours_are_unrelated() -> None:
    draws = [generator_of(0, index).random(1000) for index in (0, 1)]
    assert abs(float(np.dot(draws[0] - 0.5, draws[1] - 0.5))) < 0.1 * 1000 / 12
