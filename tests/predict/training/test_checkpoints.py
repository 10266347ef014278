"""A checkpoint is whole or refused by name; the ones to keep are kept."""

import json
from pathlib import Path

import pytest
import torch

from palette_bench.common.errors import InputError
from palette_bench.predict.training import checkpoints
from palette_bench.predict.training.checkpoints import (
    EMA,
    MODEL,
    OPTIMIZER,
    STATE_FILE,
    Checkpoint,
    folder_of,
)


def checkpoint(step: int) -> Checkpoint:
    tensors = {"a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) + step, "b": torch.tensor(0.5)}
    return Checkpoint(step, {"seed": 0}, tensors, {name: value * 2 for name, value in tensors.items()}, tensors)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    loaded = checkpoints.load(checkpoints.save(tmp_path, checkpoint(7), keep=1))
    assert (loaded.step, loaded.recipe) == (7, {"seed": 0})
    for name in ("model", "ema", "optimizer"):
        saved, found = getattr(checkpoint(7), name), getattr(loaded, name)
        assert found.keys() == saved.keys()
        assert all(torch.equal(found[key], saved[key]) for key in saved)


def test_the_last_ones_and_the_marked_ones_are_kept(tmp_path: Path) -> None:
    for step in range(1, 10):
        checkpoints.save(tmp_path, checkpoint(step), keep=2, keep_every=4)
    assert checkpoints.steps_of(tmp_path) == [4, 8, 9]
    checkpoints.save(tmp_path, checkpoint(10), keep=1)
    assert checkpoints.steps_of(tmp_path) == [10]


def test_what_a_kill_leaves_behind_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint(3), keep=2)
    half = folder_of(tmp_path, 6).with_name(".step-00000006.tmp")
    half.mkdir()
    (half / MODEL).write_bytes(b"half")
    (tmp_path / "checkpoints" / "notes").mkdir()
    assert checkpoints.steps_of(tmp_path) == [3]
    checkpoints.save(tmp_path, checkpoint(6), keep=2)
    assert checkpoints.load(folder_of(tmp_path, 6)).step == 6
    assert not half.exists()


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    assert checkpoints.steps_of(tmp_path) == []


@pytest.mark.parametrize("name", [MODEL, EMA, OPTIMIZER])
@pytest.mark.parametrize("damage", ["cut short", "one byte changed", "missing", "empty"])
def test_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    folder = checkpoints.save(tmp_path, checkpoint(3), keep=1)
    path = folder / name
    data = path.read_bytes()
    match damage:
        case "cut short":
            path.write_bytes(data[:-1])
        case "one byte changed":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "missing":
            path.unlink()
        case _:
            path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        checkpoints.load(folder)
    assert [problem.where for problem in caught.value.problems] == [name]
    assert folder.name in str(caught.value)
    assert caught.value.next_step is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1, "step": 3}'])
def test_a_damaged_state_is_refused(tmp_path: Path, text: str) -> None:
    folder = checkpoints.save(tmp_path, checkpoint(3), keep=1)
    (folder / STATE_FILE).write_text(text)
    with pytest.raises(InputError, match=STATE_FILE):
        checkpoints.load(folder)
    (folder / STATE_FILE).unlink()
    with pytest.raises(InputError, match=STATE_FILE):
        checkpoints.load(folder)


def test_the_state_says_what_wrote_it(tmp_path: Path) -> None:
    folder = checkpoints.save(tmp_path, checkpoint(3), keep=1)
    state = json.loads((folder / STATE_FILE).read_text())
    assert set(state["files"]) == {MODEL, EMA, OPTIMIZER}
    assert state["software"]["torch"] == torch.__version__
