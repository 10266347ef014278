"""A score that is killed at any moment goes on, and ends with the same record."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import RunCommand
from tests.e2e.conftest import NewHome, Quickstart
from tests.score.test_features import rows_in

KILLS = int(os.environ.get("PALETTE_BENCH_KILLS", "6"))
"""How often; more take minutes."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

SLOW = """
import sys, time
from palette_bench.score.backbones.loading import LoadedBackbone
extract = LoadedBackbone.extract
def slowly(self, images):
    # SIGKILL must find it at work.
    with open(sys.argv.pop(1), "ab") as log:
        log.write(len(images).to_bytes(2, "big"))
    time.sleep(0.01)
    return extract(self, images)
LoadedBackbone.extract = slowly
from palette_bench.cli.main import main
sys.argv[0] = "palette-bench"
main()
"""


def arguments(preds: Path) -> list[str]:
    return ["score", "--task", "uncrop", "--preds", str(preds), "--name", "mirror", "--json", "--jobs", "2"]


def started(preds: Path, log: Path) -> "subprocess.Popen[str]":
    """A score whose batches are written to ``log`` as they begin."""
    script = SLOW.replace("sys.argv.pop(1)", repr(str(log)))
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments(preds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begun(log: Path) -> int:
    """Images that went into a network."""
    data = log.read_bytes() if log.exists() else b""
    return sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))


def test_killed_at_random_moments(quickstart: Quickstart, new_home: NewHome, run: RunCommand, tmp_path: Path) -> None:
    preds = quickstart.predictions("mirror")
    new_home("whole")
    code, out, err = run(*arguments(preds))
    assert code == 0, err
    whole = json.loads(out)

    home = new_home("killed")
    chance = np.random.default_rng(0)
    lost: list[int] = []
    for number in range(KILLS):
        log, kept_before = tmp_path / f"log-{number}", rows_in(home / "features")
        process = started(preds, log)
        target = int(chance.integers(0, 4000 // KILLS))
        limit = time.monotonic() + 60
        while begun(log) < target and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lost.append(begun(log) - (rows_in(home / "features") - kept_before))
    assert max(lost) <= 64
    assert rows_in(home / "features") > 0

    log, kept_before = tmp_path / "log", rows_in(home / "features")
    process = started(preds, log)
    out, err = process.communicate()
    assert process.returncode == 0, err
    resumed = json.loads(out)
    assert begun(log) == 4000 - kept_before
    assert {k: v for k, v in resumed.items() if k != "environment"} == {
        k: v for k, v in whole.items() if k != "environment"
    }


def test_two_at_once_do_not_disturb_each_other(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, tmp_path: Path
) -> None:
    preds = quickstart.predictions("mirror")
    home = new_home("both")
    processes = [started(preds, tmp_path / f"log-{number}") for number in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    records = [json.loads(out) for out, _ in outputs]
    assert records[0] == records[1]
    assert "damaged" not in outputs[0][1] + outputs[1][1]
    code, out, err = run(*arguments(preds))
    assert code == 0
    assert "damaged" not in err
    assert json.loads(out)["result_id"] == records[0]["result_id"]
    assert rows_in(home / "features") >= 4000
