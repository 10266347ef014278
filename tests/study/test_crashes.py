"""No acknowledged answer is lost or doubled, whenever the server is killed; and answers are acknowledged in time.

The long form, 50 kills and 20 raters at once: PALETTE_BENCH_NIGHTLY=1 python -m pytest tests/study/test_crashes.py
"""

import os
import socket
import time
from pathlib import Path

import pytest

from palette_bench.common.progress import Silent
from palette_bench.study.simulate import Behaviour, simulate
from tests.study.crashes import crash
from tests.study.worlds import small_study

NIGHTLY = os.environ.get("PALETTE_BENCH_NIGHTLY") == "1"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_killed_servers_lose_no_acknowledged_answer(tmp_path: Path) -> None:
    kills = 50 if NIGHTLY else 2
    small_study(tmp_path, items=60, raters=60, practice=0, catch=0, sets=1, models=1)
    acknowledged, stored = crash(tmp_path, kills=kills, raters=12 if NIGHTLY else 4, port=free_port())
    assert acknowledged > 5
    assert stored >= acknowledged
    print(f"{kills} kills: {acknowledged} answers acknowledged, {stored} stored, none missing, none doubled")  # noqa: T201


@pytest.mark.skipif(not NIGHTLY, reason="measures times: needs an idle machine")
def test_twenty_raters_at_once_are_acknowledged_within_50_ms(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=40, raters=20, practice=0, catch=0, sets=1, side=256)
    done = simulate(
        tmp_path,
        study,
        raters=20,
        behaviour=Behaviour(fooled={"model-a": 0.4, "model-b": 0.4}),
        progress=Silent(),
        pause=lambda: time.sleep(1.0),
    )
    print(f"{len(done.acknowledged)} answers, 99 % within {1000 * done.percentile(0.99):.1f} ms")  # noqa: T201
    assert done.percentile(0.99) < 0.050
