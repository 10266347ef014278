"""A run that is killed at any moment goes on, and ends with the same folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from palette_bench.common.home import HOME_VARIABLE
from tests.predict import small_set

KILLS = int(os.environ.get("PALETTE_BENCH_KILLS", "4"))
"""How often; more take minutes."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


def started(home: Path, out: Path) -> "subprocess.Popen[str]":
    """A run over 24 outputs, 20 ms a batch, by two processes."""
    arguments = ["predict", "--task", "uncrop", "--model", "tests.predict.adapters:Slow", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "palette_bench", *arguments, "--samples", "2", "--batch", "1", "--jobs", "2", "--json"],
        env={**os.environ, HOME_VARIABLE: str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def images(out: Path) -> int:
    return len(list(out.glob("*/*.png")))


def test_killed_at_random_moments(tmp_path: Path) -> None:
    small_set.prepare(tmp_path)
    home, whole, killed = tmp_path / "home", tmp_path / "whole", tmp_path / "killed"
    process = started(home, whole)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    tree = json.loads(stdout)["predictions"]["tree_sha256"]

    chance = np.random.default_rng(0)
    targets = sorted(int(target) for target in chance.integers(0, 20, KILLS))
    for number, target in enumerate(targets):
        process = started(home, killed)
        limit = time.monotonic() + 60
        while images(killed) < target and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        if number % 2:
            # The whole group at once, or only the program: its processes must see that it is gone.
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    kept = images(killed)
    assert 0 < kept < 24
    assert not list(killed.glob("*.tmp"))

    process = started(home, killed)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    done = json.loads(stdout)
    assert done["made"] + done["kept"] == 24
    assert done["kept"] >= kept - 2 - KILLS, "at most the batches under way are lost"
    assert done["predictions"]["tree_sha256"] == tree
    assert small_set.content(killed) == small_set.content(whole)
