"""Folders of predictions: seeds, batches, parts, resumption, and everything that is refused."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts import predictions
from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.common.files import exclusive
from palette_bench.common.parts import Part, parse_part
from palette_bench.common.progress import Silent
from palette_bench.images.holes import composited
from palette_bench.predict.card import Card, find_card, load_card
from palette_bench.predict.run import STATE_LOCK, Options, Predicted, predict
from tests.predict.small_set import COUNT, content, write_card

PAINTER = "tests.predict.adapters:Painter"


class Listening(Silent):
    """Remembers notes and counts what is done."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def note(self, message: str) -> None:
        self.notes.append(message)

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Listening"]:
        yield self

    def advance(self, count: int = 1) -> None:
        self.done += count


def run(
    eval_set: EvalSet, out: Path, options: Options | None = None, *, model: str | Card = PAINTER, task: str = "uncrop"
) -> Predicted:
    card = model if isinstance(model, Card) else find_card(model)
    return predict(eval_set, task, card, out, options or Options(batch=4), progress=Silent())


def tree(folder: Path) -> object:
    return json.loads((folder / "predictions.json").read_text())["tree_sha256"]


def test_the_seed_of_an_output_is_pinned() -> None:
    """The value is that of another implementation of the rule: sha256sum of the JSON, shifted by one bit."""
    text = b'["prediction",0,"cats/photo-1",0]'
    assert seed_of(0, "cats/photo-1", 0) == int(hashlib.sha256(text).hexdigest()[:16], 16) >> 1 == 3020297850481994270
    assert seed_of(0, "\u00e9", 3) == int(hashlib.sha256(b'["prediction",0,"\\u00e9",3]').hexdigest()[:16], 16) >> 1
    seeds = [seed_of(run, item, k) for run in (0, 1, -1) for item in ("a", "b") for k in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_folder_says_what_it_is(small: EvalSet, here: Path) -> None:
    done = run(small, here / "preds", Options(batch=5, seed=3))
    assert (done.made, done.kept, done.missing, done.finisher) == (COUNT, 0, 0, True)
    described = json.loads((here / "preds" / "predictions.json").read_text())
    assert described == done.described
    assert {"status": "finished", "set": "tiny", "task": "uncrop", "seed": 3, "samples": 1, "count": COUNT}.items() <= (
        described.items()
    )
    assert described["task_fingerprint"] == small.task_fingerprint(small.task("uncrop"))
    assert described["model"]["fingerprint"] == find_card(PAINTER).fingerprint()
    assert described["post_processing"] == [{"step": "composite_known", "known_region_error": 0.0}]
    assert sorted(content(here / "preds")) == [*(f"a{k:03}.png" for k in range(COUNT)), "predictions.json"]

    lines = []
    for item in small.items:
        pixels = np.asarray(Image.open(here / "preds" / f"{item.id}.png"))
        condition = small.conditions(small.task("uncrop")).of(item)
        assert condition.hole is not None
        noise = np.random.default_rng(seed_of(3, item.id, 0)).integers(0, 256, pixels.shape, np.uint8)
        assert (pixels == np.where(condition.hole[..., None], noise, condition.image)).all()
        lines.append(f"{item.id}.png {pixel_digest(pixels)}\n")
    assert described["tree_sha256"] == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def test_batches_processes_and_parts_make_the_same_folder(small: EvalSet, here: Path) -> None:
    whole = Options(samples=2, batch=5)
    run(small, here / "whole", whole)
    assert sorted(content(here / "whole"))[:3] == ["a000/0.png", "a000/1.png", "a001/0.png"]
    run(small, here / "other", replace(whole, batch=24))
    run(small, here / "workers", replace(whole, batch=3, jobs=2))
    first = run(small, here / "parts", replace(whole, part=Part(2, 2)))
    assert (first.made, first.missing, first.described) == (10, 14, None)
    assert json.loads((here / "parts" / "predictions.json").read_text())["status"] == "running"
    last = run(small, here / "parts", replace(whole, part=Part(1, 2)))
    assert (last.made, last.missing, last.finisher) == (14, 0, True)
    assert tree(here / "whole") == tree(here / "other") == tree(here / "workers") == tree(here / "parts")
    assert not (here / "parts" / predictions.WORK_FOLDER).exists()

    run(small, here / "seed", replace(whole, seed=1))
    assert tree(here / "seed") != tree(here / "whole"), "the twin: what is called equal is not always equal"


def test_parts_cover_every_batch_once() -> None:
    batches = list(range(23))
    for count in (1, 2, 5, 30):
        shares = [batch for number in range(1, count + 1) for batch in Part(number, count).of(batches)]
        assert Counter(shares) == Counter(batches)
    assert parse_part("2/4") == Part(2, 4)
    for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="no part"):
            parse_part(text)


def test_what_is_finished_is_kept_when_the_model_fails(small: EvalSet, here: Path) -> None:
    """The model raises at item a005; once repaired, the same command goes on with the very folder."""
    model = find_card("tests.predict.adapters:RaisingOn")
    with pytest.raises(InputError, match="RaisingOn failed") as raised:
        run(small, here / "preds", Options(batch=2), model=model)
    assert "a004, a005" in str(raised.value)
    assert "ArithmeticError: I cannot divide" in str(raised.value)
    assert sorted(path.name for path in (here / "preds").glob("*.png")) == [f"a{k:03}.png" for k in range(4)]
    before = content(here / "preds")
    (here / "repaired").touch()
    listening = Listening()
    done = predict(small, "uncrop", model, here / "preds", Options(batch=2), progress=listening)
    assert (done.made, done.kept, listening.done) == (COUNT - 4, 4, COUNT - 4)
    assert listening.notes == ["continuing: 4 of 12 images are there"]
    after = content(here / "preds")
    assert all(after[f"a{k:03}.png"] == before[f"a{k:03}.png"] for k in range(4))
    run(small, here / "again", Options(batch=2), model=model)
    assert tree(here / "again") == tree(here / "preds")


def test_a_damaged_or_lost_image_is_made_again_before_the_end(small: EvalSet, here: Path) -> None:
    run(small, here / "whole")
    run(small, here / "preds", Options(batch=4, part=Part(1, 2)))
    (here / "preds" / "a000.png").write_bytes(b"half an im")
    (here / "preds" / "a009.png").unlink()
    journal = here / "preds" / predictions.WORK_FOLDER / "1-of-2.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    listening = Listening()
    done = predict(
        small, "uncrop", find_card(PAINTER), here / "preds", Options(batch=4, part=Part(1, 2)), progress=listening
    )
    assert (done.kept, done.made) == (5, 3)
    assert listening.notes[0] == "1 images were damaged and are made again"
    run(small, here / "preds", Options(batch=4, part=Part(2, 2)))
    assert tree(here / "preds") == tree(here / "whole")


def test_a_finished_folder_is_verified_and_left_alone(small: EvalSet, here: Path) -> None:
    run(small, here / "preds")
    before = content(here / "preds")
    done = run(small, here / "preds")
    assert (done.made, done.kept, done.described) == (0, COUNT, json.loads(before["predictions.json"]))
    assert content(here / "preds") == before
    Image.new("RGB", (32, 32)).save(here / "preds" / "a003.png")
    with pytest.raises(VerificationError, match="were changed"):
        run(small, here / "preds")
    (here / "preds" / "a003.png").unlink()
    with pytest.raises(VerificationError, match=r"a003\.png"):
        run(small, here / "preds")


def test_another_run_is_refused_with_the_differing_fields(small: EvalSet, here: Path) -> None:
    one = load_card(write_card(here / "one", f'kind = "python"\nentry = "{PAINTER}"', more="[config]\nsteps = 3"))
    run(small, here / "preds", Options(seed=1, part=Part(1, 2)), model=one)
    before = content(here / "preds")
    card = write_card(here / "one", f'kind = "python"\nentry = "{PAINTER}"', more="[config]\nsteps = 4\nclip = true")
    with pytest.raises(InputError, match="of another run") as raised:
        run(small, here / "preds", Options(seed=2, samples=3), model=load_card(card), task="colorize")
    assert {problem.where: problem.detail for problem in raised.value.problems}.keys() == {
        "model.config.clip",
        "model.config.steps",
        "model.fingerprint",
        "samples",
        "seed",
        "task",
        "task_fingerprint",
    }
    assert "the folder has 3, this command 4" in str(raised.value)
    assert content(here / "preds") == before


def test_foreign_files_are_refused_and_not_touched(small: EvalSet, here: Path) -> None:
    folder = here / "preds"
    folder.mkdir()
    (folder / "a000.png").write_bytes(b"somebody's")
    with pytest.raises(InputError, match="not theirs"):
        run(small, folder)
    assert content(folder) == {"a000.png": b"somebody's"}
    (folder / "a000.png").unlink()
    run(small, folder, Options(part=Part(1, 3)))
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        run(small, folder, Options(part=Part(2, 3)))
    with pytest.raises(InputError, match="need a folder"):
        run(small, folder / "notes.txt")


def test_two_at_once_on_one_part_are_refused_and_parts_are_not(small: EvalSet, here: Path) -> None:
    folder = here / "preds"
    with exclusive(folder / predictions.WORK_FOLDER / "1-of-2.lock", purpose="a test"):
        run(small, folder, Options(part=Part(2, 2)))
        for part in (Part(1, 2), Part(1, 1), Part(3, 3)):
            with pytest.raises(InputError, match="already busy"):
                run(small, folder, Options(part=part))
    assert run(small, folder, Options(part=Part(1, 2))).missing == 0


def test_the_last_part_may_end_while_another_one_is_about_to(
    small: EvalSet, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = here / "whole", here / "preds"
    run(small, whole)
    taken: list[str] = []
    others: list[Predicted] = []
    acquire = filelock.FileLock.acquire

    def acquired(lock: filelock.FileLock, timeout: float) -> object:
        taken.append(Path(lock.lock_file).name)
        # This part has made its images and opens the state: just then the other one starts, makes its own, finishes
        # the folder and removes the locks.
        if taken == ["1-of-2.lock", STATE_LOCK, STATE_LOCK]:
            others.append(run(small, folder, Options(part=Part(2, 2), batch=4)))
            raise FileNotFoundError(lock.lock_file)
        return acquire(lock, timeout)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquired)
    first = run(small, folder, Options(part=Part(1, 2), batch=4))
    assert [other.finisher for other in others] == [True]
    assert (first.missing, first.finisher) == (0, False)
    assert content(folder) == content(whole)


def test_what_a_model_cannot_do_is_refused_before_anything_is_written(small: EvalSet, here: Path) -> None:
    card = load_card(write_card(here / "one", f'kind = "python"\nentry = "{PAINTER}"', stochastic=False))
    with pytest.raises(UsageError, match="would be the same"):
        run(small, here / "preds", Options(samples=2), model=card)
    with pytest.raises(UsageError, match="cannot do this task"):
        run(small, here / "preds", model=card, task="inpaint-center")
    with pytest.raises(UsageError, match="cannot do images of this size"):
        run(small, here / "preds", model=replace(card, sizes=(256,)))
    outside = '[outside]\nhow = "Run it there."\nimport_from = "mat"\nexport_layout = "mat"'
    there = load_card(write_card(here / "there", 'kind = "outside"', more=outside))
    with pytest.raises(UsageError, match=r"Run it there\.(.|\n)*export --layout mat(.|\n)*import --from mat"):
        run(small, here / "preds", model=there)
    assert not (here / "preds").exists()


def test_the_reference_is_a_submission_and_no_adapter(small: EvalSet, here: Path) -> None:
    run(small, here / "preds", model="reference")
    for item in small.items:
        assert (np.asarray(Image.open(here / "preds" / f"{item.id}.png")) == small.reference(item)).all()
    write_card(here / "mine", 'kind = "reference"')
    with pytest.raises(InputError, match="shipped baseline"):
        load_card(here / "mine")


def test_the_known_region_is_put_back_and_the_change_reported(small: EvalSet, here: Path) -> None:
    """The input itself shifted by ten grey levels, and a hand-made example."""
    run(small, here / "preds", model="tests.predict.adapters:Shifted")
    described = json.loads((here / "preds" / "predictions.json").read_text())
    assert described["post_processing"] == [{"step": "composite_known", "known_region_error": pytest.approx(10.0)}]
    item = small.items[0]
    half = np.asarray(Image.open(here / "preds" / f"{item.id}.png"))[:, :16]
    assert (half == small.reference(item)[:, :16]).all()

    condition = np.full((2, 2, 3), 100, np.uint8)
    hole = np.array([[True, False], [False, False]])
    final, change = composited(condition + np.array([[[6], [3]], [[0], [0]]], np.uint8), condition, hole)
    assert final[..., 0].tolist() == [[106, 100], [100, 100]]
    assert change == 1.0
    assert composited(condition, condition, None)[1] is None
    assert composited(condition, condition, np.ones((2, 2), np.bool_))[1] is None


def test_what_does_to_its_inputs_is_a_models_own_affair(small: EvalSet, here: Path) -> None:
    run(small, here / "spy", model="tests.predict.adapters:Spy")
    run(small, here / "painter")
    assert tree(here / "spy") == tree(here / "painter")
