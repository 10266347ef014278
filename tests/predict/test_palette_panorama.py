"""Panoramas: what each step is given, that nothing is touched twice, and the command."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.decode import decode
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models import unet
from palette_bench.predict.models.classical_holes import Mirror
from palette_bench.predict.models.palette import Palette, save_network
from palette_bench.predict.models.panorama import Plan, Side, extend, seed_of_step
from tests.conftest import RunCommand, picture
from tests.predict.small_set import write_card
from tests.predict.tiny_network import network_of, tiny

SIZE = 16


class Noted:
    """An adapter that notes what it is given and draws noise everywhere, over known pixels too."""

    def __init__(self) -> None:
        self.inputs: list[ModelInput] = []

    def predict(self, inputs: Sequence[ModelInput]) -> list[ImageU8]:
        self.inputs += inputs
        return [
            np.random.default_rng(given.seed).integers(0, 256, given.image.shape, dtype=np.uint8) for given in inputs
        ]


def images(*names: str) -> dict[str, ImageU8]:
    return {name: picture(SIZE, SIZE, name) for name in names}


@pytest.mark.parametrize("side", list(Side))
def test_a_step_sees_the_outer_half_and_appends_what_it_is_given_beside_it(side: Side) -> None:
    adapter, start = Noted(), images("one")
    wide = extend(adapter, start, side=side, steps=3, seed=9)["one"]
    assert wide.shape == (SIZE, SIZE + 3 * SIZE // 2, 3)
    kept, flipped = (wide, False) if side is Side.RIGHT else (wide[:, ::-1], True)
    first = start["one"][:, ::-1] if flipped else start["one"]
    np.testing.assert_array_equal(kept[:, :SIZE], first)
    for step, given in enumerate(adapter.inputs, start=1):
        at = SIZE + (step - 1) * SIZE // 2
        image = given.image[:, ::-1] if flipped else given.image
        hole = given.hole
        assert hole is not None
        np.testing.assert_array_equal(image[:, : SIZE // 2], kept[:, at - SIZE // 2 : at])
        assert not image[:, SIZE // 2 :].any()
        np.testing.assert_array_equal(hole, np.tile(np.arange(SIZE) >= SIZE // 2, (SIZE, 1)) ^ flipped)
        drawn = Noted().predict([given])[0]
        np.testing.assert_array_equal(
            kept[:, at : at + SIZE // 2], (drawn[:, ::-1] if flipped else drawn)[:, SIZE // 2 :]
        )
        assert given.seed == seed_of_step(9, "one", side, step)


def test_pixels_of_earlier_steps_never_change() -> None:
    made = [extend(Noted(), images("one"), side=Side.RIGHT, steps=steps)["one"] for steps in range(5)]
    for short, longer in itertools.pairwise(made):
        np.testing.assert_array_equal(longer[:, : short.shape[1]], short)
        assert longer.shape[1] == short.shape[1] + SIZE // 2
    np.testing.assert_array_equal(made[0], images("one")["one"])


def test_a_panorama_can_be_continued_at_the_other_side() -> None:
    right = extend(Noted(), images("one"), side=Side.RIGHT, steps=4)
    both = extend(Noted(), right, side=Side.LEFT, steps=4)["one"]
    assert both.shape == (SIZE, 5 * SIZE, 3)
    np.testing.assert_array_equal(both[:, 2 * SIZE :], right["one"])
    left_first = extend(Noted(), extend(Noted(), images("one"), side=Side.LEFT, steps=4), side=Side.RIGHT, steps=4)
    np.testing.assert_array_equal(left_first["one"], both)


def test_every_step_side_item_and_run_has_a_seed_of_its_own() -> None:
    seeds = {
        seed_of_step(run, item, side, step) for run in (0, 1) for item in "ab" for side in Side for step in range(1, 5)
    }
    assert len(seeds) == 32
    assert all(0 <= seed < 2**63 for seed in seeds)
    # A seed that was written down yesterday has to be this one.
    assert seed_of_step(0, "one", Side.RIGHT, 1) == 1169230758472560627


def test_images_side_by_side_are_those_one_by_one() -> None:
    together = extend(Noted(), images("one", "two"), side=Side.RIGHT, steps=2)
    for name in ("one", "two"):
        alone = extend(Noted(), images(name), side=Side.RIGHT, steps=2)
        np.testing.assert_array_equal(together[name], alone[name])
    assert (together["one"][:, SIZE:] != together["two"][:, SIZE:]).any()


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"odd": np.zeros((5, 5, 3), dtype=np.uint8)},
        {"narrow": np.zeros((16, 7, 3), dtype=np.uint8)},
        {"one": np.zeros((16, 16, 3), dtype=np.uint8), "other": np.zeros((8, 8, 3), dtype=np.uint8)},
    ],
)
def test_images_that_cannot_be_extended_are_refused(start: dict[str, ImageU8]) -> None:
    with pytest.raises(UsageError, match="cannot be extended"):
        extend(Noted(), start, side=Side.RIGHT, steps=1)


def test_a_model_that_gives_no_images_is_refused() -> None:
    class Half(Noted):
        def predict(self, inputs: Sequence[ModelInput]) -> list[ImageU8]:
            return [given.image[:, :8] for given in inputs]

    with pytest.raises(InputError, match="shape"):
        extend(Half(), images("one"), side=Side.RIGHT, steps=1)


def mirrored(image: ImageU8) -> NDArray[np.uint8]:
    """What mirroring half an image again and again comes to: two halves in turns."""
    left, right = image[:, : SIZE // 2], image[:, SIZE // 2 :]
    grown_right = np.concatenate([right[:, ::-1], right] * 2, axis=1)
    grown_left = np.concatenate([left, left[:, ::-1]] * 2, axis=1)
    return np.concatenate([grown_left, image, grown_right], axis=1)


def test_a_mirror_makes_a_panorama_of_mirrors() -> None:
    wide = images("one")
    for side in Side:
        wide = extend(Mirror(Setting(task=side.task, size=SIZE)), wide, side=side, steps=4)
    np.testing.assert_array_equal(wide["one"], mirrored(images("one")["one"]))


def test_a_random_palette_makes_the_same_panorama_again_and_another_for_another_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(unet.PRESETS, "tiny", tiny())
    (tmp_path / "weights").write_bytes(save_network(network_of(tiny()).state_dict(), half=False))
    config = {"network": "tiny", "batch": 2, "sampler": {"kind": "ddim", "steps": 2, "spacing": "logsnr"}}
    setting = Setting(task=Side.RIGHT.task, size=SIZE, config=config, weights=tmp_path / "weights")
    first, again, other = (
        extend(Palette(setting), images("one"), side=Side.RIGHT, steps=2, seed=seed)["one"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:, :SIZE], images("one")["one"])
    for at in (SIZE, SIZE + SIZE // 2):
        assert (first[:, at : at + SIZE // 2] != other[:, at : at + SIZE // 2]).any()


# The command.


@pytest.fixture
def prepared(small: EvalSet, monkeypatch: pytest.MonkeyPatch, here: Path) -> EvalSet:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(small.folder.parent.parent))
    return small


def test_the_command_writes_the_panorama_and_what_it_is(prepared: EvalSet, run: RunCommand) -> None:
    items = [prepared.items[3], prepared.items[0]]
    code, out, err = run(
        "panorama", "--model", "classical-mirror", "--item", items[0].id, "--item", items[1].id, "--out", "p.png"
    )
    assert code == 0, err
    assert "160x64 pixels" in out
    rows = decode(Path("p.png").read_bytes()).pixels
    described = json.loads(Path("p.json").read_text())
    assert [row["id"] for row in described["items"]] == [item.id for item in items]
    for number, item in enumerate(items):
        image = rows[32 * number : 32 * (number + 1)]
        np.testing.assert_array_equal(image[:, 64:96], prepared.reference(item))
        row = described["items"][number]
        assert row["sha256"] == pixel_digest(image)
        assert row["seeds"]["left"] == [seed_of_step(0, item.id, Side.LEFT, step) for step in (1, 2, 3, 4)]
    assert described["model"]["name"] == "classical-mirror"
    assert len(described["model"]["fingerprint"]) == 64
    assert described["data_digest"] == prepared.data_digest


def test_one_side_and_another_width(prepared: EvalSet, run: RunCommand) -> None:
    item = prepared.items[0]
    code, out, err = run(
        *("panorama", "--model", "classical-tile", "--item", item.id, "--out", "p.png"),
        *("--side", "right", "--width", 3, "--seed", 4, "--json"),
    )
    assert code == 0, err
    assert decode(Path("p.png").read_bytes()).pixels.shape == (32, 96, 3)
    expected = {"right": [seed_of_step(4, item.id, Side.RIGHT, step) for step in (1, 2, 3, 4)]}
    assert json.loads(out)["items"][0]["seeds"] == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--model", "classical-mirror", "--item", "nobody", "--out", "p.png"), "nobody"),
        (("--model", "classical-mirror", "--item", "nobody", "--out", "p.jpg"), "PNG"),
        (("--model", "reference", "--item", "ITEM", "--out", "p.png"), "found:    reference"),
        (("--model", "classical-mean-chroma", "--item", "ITEM", "--out", "p.png"), "cannot do this task"),
        (("--model", "no-such-model", "--item", "ITEM", "--out", "p.png"), "no-such-model"),
        (("--model", "right-only", "--item", "ITEM", "--out", "p.png"), "uncrop-left"),
    ],
)
def test_what_cannot_be_is_a_usage_error_and_writes_nothing(
    prepared: EvalSet, run: RunCommand, here: Path, arguments: tuple[str, ...], text: str
) -> None:
    card = write_card(
        here / "right-only", 'kind = "python"\nentry = "palette_bench.predict.models.classical_holes:Mirror"'
    )
    words = {"ITEM": prepared.items[0].id, "right-only": str(card)}
    code, _, err = run("panorama", *(words.get(word, word) for word in arguments))
    assert code == 2, err
    assert text in err
    assert "Traceback" not in err
    assert not [*here.glob("p.*")]


def test_a_model_that_can_do_one_side_does_that(prepared: EvalSet, run: RunCommand, here: Path) -> None:
    card = write_card(
        here / "right-only", 'kind = "python"\nentry = "palette_bench.predict.models.classical_holes:Mirror"'
    )
    code, _, err = run("panorama", "--model", card, "--item", prepared.items[0].id, "--out", "p.png", "--side", "right")
    assert code == 0, err


PAINT = """
import json, sys
from PIL import Image

for line in sys.stdin:
    request = json.loads(line)
    for item in request["items"]:
        Image.new("RGB", (32, 32), (request["task"] == "uncrop", item["seed"] % 256, 200)).save(item["output"])
    print(json.dumps({"done": request["batch"]}), flush=True)
"""


def test_a_program_in_another_language_makes_one_too(prepared: EvalSet, run: RunCommand, here: Path) -> None:
    card = write_card(
        here / "program", f'kind = "subprocess"\ncommand = ["{sys.executable}", "run.py"]', more="[config]\nx = 1\n"
    )
    card.write_text(card.read_text().replace('tasks = ["uncrop",', 'tasks = ["uncrop", "uncrop-left",'))
    (here / "program" / "run.py").write_text(PAINT)
    item = prepared.items[0].id
    code, _, err = run("panorama", "--model", card, "--item", item, "--out", "p.png", "--width", 2)
    assert code == 0, err
    pixels = decode(Path("p.png").read_bytes()).pixels
    assert pixels[5, 2].tolist() == [0, seed_of_step(0, item, Side.LEFT, 1) % 256, 200]
    assert pixels[5, 61].tolist() == [1, seed_of_step(0, item, Side.RIGHT, 1) % 256, 200]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Raising", "ArithmeticError: I cannot divide"),
        ("WrongShape", "shape [31, 32, 3] instead of"),
        ("Leaving", "exit code 7"),
        ("Hanging", "hangs"),
        ("CannotBeBuilt", "no such device"),
    ],
)
def test_a_model_that_misbehaves_leaves_no_panorama(
    prepared: EvalSet, run: RunCommand, here: Path, name: str, says: str
) -> None:
    card = write_card(here / "bad", f'kind = "python"\nentry = "tests.predict.adapters:{name}"')
    arguments = (
        "--item",
        prepared.items[0].id,
        "--out",
        "p.png",
        "--side",
        "right",
        "--timeout",
        0.5 if name == "Hanging" else 60,
    )
    code, _, err = run("panorama", "--model", card, *arguments)
    assert code == 3, err
    assert says in err
    assert "Traceback" not in err
    assert not [*here.glob("p.*")]


def test_how_many_steps_a_width_takes() -> None:
    both = Plan(items=["a"])
    assert (both.width, both.steps) == (5, 4)
    assert replace(both, sides=(Side.RIGHT,)).steps == 8
    assert replace(both, width=2).steps == 1
