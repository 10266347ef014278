"""The classical methods for holes: laws, the library called by hand, and what must not be the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from patchmatch import patch_match
from skimage.restoration import inpaint_biharmonic

from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.adapters.base import ModelInput
from palette_bench.predict.models import classical_holes as holes
from tests.predict.classical_inputs import INPAINTING, SIZES, UNCROPPING, blot, check_laws, given, reference, setting

FILLING = (
    holes.MeanOfKnown,
    holes.PushPull,
    holes.Telea,
    holes.NavierStokes,
    holes.Biharmonic,
    holes.PatchMatch,
)
EXTENDING = (holes.Edge, holes.Mirror, holes.Tile)
TASKS = ("inpaint-center", "inpaint-freeform-20-30", "uncrop", "uncrop-all")
CASES = [(method, task) for method in FILLING for task in TASKS] + [
    (method, task) for method in EXTENDING for task in UNCROPPING
]


def fill(
    method: type[holes.HoleFilling], image: ImageU8, hole: HoleMask, task: str = "uncrop", seed: int = 5
) -> ImageU8:
    """One output for an image and a hole, whatever the task's own hole is."""
    made: ImageU8 = method(setting(task, image.shape[0])).predict([ModelInput("item", image, hole, None, seed)])[0]
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("method", "task"), CASES)
def test_keeps_what_is_known_and_is_a_function_of_its_input(
    method: type[holes.HoleFilling], task: str, size: int
) -> None:
    adapter = method(setting(task, size))
    check_laws(adapter, task, size)
    one = given(task, size)
    assert one.hole is not None
    output = adapter.predict([one])[0]
    np.testing.assert_array_equal(output[~one.hole], reference(size)[~one.hole])
    assert (output[one.hole] != one.image[one.hole]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("method", [*FILLING, *EXTENDING])
def test_nothing_hidden_or_nothing_known_gives_the_image_back(method: type[holes.HoleFilling]) -> None:
    image = reference(32)
    for hole in (np.zeros((32, 32), dtype=np.bool_), np.ones((32, 32), dtype=np.bool_)):
        output = fill(method, image, hole)
        np.testing.assert_array_equal(output, image)
        assert output is not image


@pytest.mark.parametrize("method", FILLING)
def test_the_inverted_mask_is_another_question(method: type[holes.HoleFilling]) -> None:
    image, hole = reference(32), blot(32)
    task = "inpaint-freeform-20-30"
    right = fill(method, image * ~hole[..., None], hole, task)
    wrong = fill(method, image * ~hole[..., None], ~hole, task)
    assert (right[hole] != 0).any()
    np.testing.assert_array_equal(wrong[hole], 0)


@pytest.mark.parametrize(
    "method", [holes.MeanOfKnown, holes.PushPull, holes.Biharmonic, holes.PatchMatch, holes.Mirror]
)
def test_what_lies_under_the_hole_is_not_looked_at(method: type[holes.HoleFilling]) -> None:
    one = given("uncrop")
    assert one.hole is not None
    painted = one.image.copy()
    painted[one.hole] = (255, 0, 90)
    np.testing.assert_array_equal(fill(method, one.image, one.hole), fill(method, painted, one.hole))


def test_the_mean_is_that_of_the_known_pixels_alone() -> None:
    image, hole = reference(32), blot(32)
    output = fill(holes.MeanOfKnown, image * ~hole[..., None], hole)
    total = image.astype(np.int64)[~hole].sum(axis=0)
    expected = np.floor(total / np.count_nonzero(~hole) + 0.5)
    np.testing.assert_array_equal(output[hole], np.broadcast_to(expected, (int(hole.sum()), 3)))
    assert (expected != np.rint((image * ~hole[..., None]).mean(axis=(0, 1)))).any()


@settings(max_examples=60, deadline=None, database=None)
@drawn(
    size=st.integers(1, 21),
    values=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    mask=arrays.arrays(np.bool_, (21, 21)),
    seed=st.integers(0, 9),
)
def test_push_pull_stays_within_the_known_values(size: int, values: tuple[int, int], mask: HoleMask, seed: int) -> None:
    low, high = sorted(values)
    image = np.random.default_rng(seed).integers(low, high, (size, size, 3), dtype=np.uint8, endpoint=True)
    hole = mask[:size, :size]
    punched = np.where(hole[..., None], np.uint8(0), image)
    output = fill(holes.PushPull, punched, hole)
    if hole.all():
        return
    np.testing.assert_array_equal(output[~hole], image[~hole])
    known = image[~hole]
    assert (output >= known.min(axis=0)).all()
    assert (output <= known.max(axis=0)).all()


def test_push_pull_by_hand() -> None:
    # One known corner per row of blocks: 4 x 4 pixels, black and white; the coarse level is 2 x 2 and all known.
    values = np.zeros((4, 4, 1))
    weights = np.zeros((4, 4, 1))
    for row, column, value in ((0, 0, 0.0), (0, 3, 160.0), (3, 0, 0.0), (3, 3, 160.0)):
        values[row, column], weights[row, column] = value, 1.0
    output = holes.push_pull(values, weights)[..., 0]
    np.testing.assert_allclose(output, np.broadcast_to([0.0, 40.0, 120.0, 160.0], (4, 4)))


def test_a_hole_in_a_constant_image_is_filled_with_the_constant() -> None:
    image = np.full((33, 33, 3), (7, 130, 251), dtype=np.uint8)
    hole = blot(33)
    for method in (holes.MeanOfKnown, holes.PushPull, holes.NavierStokes, holes.Biharmonic):
        np.testing.assert_array_equal(fill(method, image * ~hole[..., None], hole, "inpaint-freeform-20-30"), image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("method", "flag"), [(holes.Telea, cv2.INPAINT_TELEA), (holes.NavierStokes, cv2.INPAINT_NS)])
@pytest.mark.parametrize("task", ["inpaint-center", "inpaint-freeform-20-30"])
def test_opencv_called_by_hand(method: type[holes.HoleFilling], flag: int, task: str, size: int) -> None:
    one = given(task, size)
    assert one.hole is not None
    output = method(setting(task, size)).predict([one])[0]
    np.testing.assert_array_equal(output, cv2.inpaint(one.image, one.hole.astype(np.uint8), 3, flag))
    assert (output != cv2.inpaint(one.image, (~one.hole).astype(np.uint8), 3, flag)).any()
    other_flag = cv2.INPAINT_NS if flag == cv2.INPAINT_TELEA else cv2.INPAINT_TELEA
    assert (output != cv2.inpaint(one.image, one.hole.astype(np.uint8), 3, other_flag)).any()
    wider = method(setting(task, size, config={"radius": 5.0})).predict([one])[0]
    np.testing.assert_array_equal(wider, cv2.inpaint(one.image, one.hole.astype(np.uint8), 5, flag))


def test_biharmonic_called_by_hand() -> None:
    one = given("inpaint-freeform-20-30")
    assert one.hole is not None
    output = holes.Biharmonic(setting("inpaint-freeform-20-30")).predict([one])[0]
    for channel in range(3):
        plane = inpaint_biharmonic(one.image[..., channel] / 255, one.hole)
        np.testing.assert_array_equal(output[..., channel], np.rint(255 * np.clip(plane, 0, 1)))


@pytest.mark.parametrize("task", ["inpaint-center", "uncrop", "inpaint-freeform-30-40"])
def test_patchmatch_called_by_hand_and_moved_by_its_seed(task: str) -> None:
    one = given(task, 64)
    assert one.hole is not None
    adapter = holes.PatchMatch(setting(task, 64))
    output = adapter.predict([one])[0]
    patch_match.set_random_seed(1)
    assert (patch_match.inpaint(one.image, one.hole, patch_size=3) != output).any()
    patch_match.set_random_seed(one.seed)
    np.testing.assert_array_equal(patch_match.inpaint(one.image, one.hole, patch_size=3), output)
    again, other, wide = adapter.predict([given(task, 64, seed=seed) for seed in (5, 6, 5 + 2**62)])
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(wide, output)
    assert (other != output).any()


def test_patchmatch_fills_a_hole_that_leaves_no_whole_patch() -> None:
    image = reference(32)
    hole = np.zeros((32, 32), dtype=np.bool_)
    hole[::4] = hole[:, ::4] = True
    output = fill(holes.PatchMatch, image * ~hole[..., None], hole, "inpaint-freeform-30-40")
    np.testing.assert_array_equal(output[~hole], image[~hole])
    assert (output[hole].astype(int).sum(axis=1) > 0).mean() > 0.99


@pytest.mark.parametrize(("method", "mode"), [(holes.Edge, "edge"), (holes.Mirror, "symmetric"), (holes.Tile, "wrap")])
def test_extensions_by_hand(method: type[holes.HoleFilling], mode: str) -> None:
    image = reference(32)
    left, right = image[:, :16], image[:, 16:]
    expected = {
        "edge": (np.repeat(left[:, -1:], 16, axis=1), np.repeat(right[:, :1], 16, axis=1)),
        "symmetric": (left[:, ::-1], right[:, ::-1]),
        "wrap": (left, right),
    }[mode]
    outputs = [method(setting(task)).predict([given(task)])[0] for task in ("uncrop", "uncrop-left")]
    np.testing.assert_array_equal(outputs[0], np.concatenate([left, expected[0]], axis=1))
    np.testing.assert_array_equal(outputs[1], np.concatenate([expected[1], right], axis=1))
    one = given("uncrop-all")
    assert one.hole is not None
    turned = ModelInput("turned", np.rot90(one.image, 2).copy(), np.rot90(one.hole, 2).copy(), None, 5)
    adapter = method(setting("uncrop-all"))
    np.testing.assert_array_equal(np.rot90(adapter.predict([turned])[0], 2), adapter.predict([one])[0])


@pytest.mark.parametrize("method", [*FILLING, *EXTENDING])
def test_other_tasks_are_refused(method: type[holes.HoleFilling]) -> None:
    for task in ("colorize", "jpeg-qf5"):
        with pytest.raises(UsageError, match="cannot do this task"):
            method(setting(task))


@pytest.mark.parametrize("method", EXTENDING)
def test_extensions_refuse_inpainting_and_other_shapes(method: type[holes.HoleFilling]) -> None:
    for task in INPAINTING:
        with pytest.raises(UsageError):
            method(setting(task))
    with pytest.raises(InputError, match="rectangle"):
        fill(method, reference(32), blot(32))


def test_bad_configurations_are_reported_together() -> None:
    with pytest.raises(InputError) as caught:
        holes.PatchMatch(setting("uncrop", config={"patch_size": 2.5, "radius": 1}))
    assert [(problem.kind, problem.where) for problem in caught.value.problems] == [
        ("wrong type", "patch_size"),
        ("unknown key", "radius"),
    ]
    for value in (0, -1, True, "3", None):
        with pytest.raises(InputError, match="in a classical method"):
            holes.PatchMatch(setting("uncrop", config={"patch_size": value}))
    for wide in (float("nan"), float("inf"), -1.0):
        with pytest.raises(InputError, match="in a classical method"):
            holes.Telea(setting("uncrop", config={"radius": wide}))
    with pytest.raises(UsageError, match="too large"):
        holes.PatchMatch(setting("uncrop", 32, config={"patch_size": 8}))
    holes.PatchMatch(setting("uncrop", 32, config={"patch_size": 7}))
