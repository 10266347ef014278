"""A training that is interrupted, killed, or divided among processes ends with the weights of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.conftest import RunCommand
from tests.training_card import write_card

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

STEPS = 12
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of one thread are the same bits in every process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return write_card(tmp_path, steps=STEPS)


def arguments(card: Path, out: Path) -> list[str]:
    return ["train", str(card), "--out", str(out), "--log-every", "1", "--checkpoint-every", "3"]


def lines_in(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def signalled(card: Path, out: Path, number: signal.Signals, *, after: int, extra: tuple[str, ...] = ()) -> int:
    """Start a training, send it a signal once it has done some steps, and return its exit code."""
    # Steps so slow that the signal finds it at work.
    script = (
        "import sys, time\n"
        "from palette_bench.predict.training.loop import _Trainer\n"
        "update = _Trainer.update\n"
        "def slowly(trainer):\n"
        "    time.sleep(0.05)\n"
        "    return update(trainer)\n"
        "_Trainer.update = slowly\n"
        "from palette_bench.cli.main import main\n"
        "sys.argv[0] = 'palette-bench'\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments(card, out), *extra],
        env=ONE_THREAD,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 120
    while lines_in(out) < after and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert "error" not in err.lower(), err
    return process.returncode


def state(out: Path) -> dict[str, object]:
    """The state of the last checkpoint: its digests are equal only if all bits are."""
    folder = max((out / "checkpoints").glob("step-*"))
    value: dict[str, object] = json.loads((folder / "state.json").read_text())
    return value


def steps_logged(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_interrupted_and_killed(card: Path, tmp_path: Path, run: RunCommand) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, _, err = run(*arguments(card, whole))
    assert code == 0, err

    assert signalled(card, parts, signal.SIGTERM, after=2, extra=("--workers", "1")) == 130
    saved = int(str(state(parts)["step"]))
    assert 2 <= saved < STEPS, "told to stop, it saves where it is"
    assert steps_logged(parts) == list(range(1, saved + 1))

    assert signalled(card, parts, signal.SIGKILL, after=saved + 4) == -signal.SIGKILL
    killed = int(str(state(parts)["step"]))
    assert killed < STEPS

    code, _, err = run(*arguments(card, parts))
    assert code == 0, err
    assert state(parts)["files"] == state(whole)["files"]
    assert steps_logged(parts) == list(range(1, STEPS + 1)), "no step twice, none left out"


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


TOLERANCE = 2e-5
"""Two processes sum a gradient in another order; Adam's epsilon of 1e-4 keeps that from growing. A step is 1e-3."""


def test_two_ranks_are_one(card: Path, tmp_path: Path, run: RunCommand) -> None:
    write_card(tmp_path, steps=4)
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run(*arguments(card, alone))[0] == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launcher, "-m", "palette_bench", *arguments(card, together), "--microbatch", "1"],
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert steps_logged(together) == [1, 2, 3, 4]
    # The first loss is that of the first weights: equal only if the examples are.
    assert losses(together)[0] == pytest.approx(losses(alone)[0], rel=1e-6)
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    for name in ("model.safetensors", "ema.safetensors"):
        one, other, early = (
            safetensors.torch.load_file(out / "checkpoints" / f"step-{step:08d}" / name)
            for out, step in ((alone, 4), (together, 4), (alone, 3))
        )
        assert max(float((one[key] - other[key]).abs().max()) for key in one) < TOLERANCE
        assert max(float((one[key] - early[key]).abs().max()) for key in one) > 10 * TOLERANCE
