"""Raters against a server that is killed: what was acknowledged must be there. Run by test_crashes.py."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from palette_bench.study import store
from palette_bench.study.definition import read_study
from palette_bench.study.keys import read_keys
from palette_bench.study.rater import Rater

SERVER = """
import sys, pathlib
from palette_bench.study.definition import read_study
from palette_bench.study.server import StudyServer
from palette_bench.study.serving import serve
folder = pathlib.Path(sys.argv[1])
server = StudyServer(folder, read_study(folder), limited=False)
serve(server, host="127.0.0.1", port=int(sys.argv[2]), ready=lambda address: print("ready", flush=True))
"""


def start(folder: Path, port: int) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), str(port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def sit(address: str, ticket: str, acknowledged: dict[tuple[str, str], str], stop: threading.Event) -> None:
    """Answer over and over, some answers twice; whatever the server acknowledged goes into ``acknowledged``."""
    rater = Rater(address)
    chance = random.Random(ticket)  # noqa: S311
    while not stop.is_set():
        try:
            if not rater.session:
                rater.enter(f"/seat/{ticket}")
            step = rater.next()
            if "trial" not in step:
                return
            choice = chance.choice(["left", "right"])
            for _ in range(chance.choice([1, 1, 2])):
                reply = rater.answer(step["trial"], choice, shown_ms=100.0, response_ms=500.0)
                if reply.status == 200 and json.loads(reply.body)["saved"]:
                    acknowledged.setdefault((rater.session, step["trial"]), choice)
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            time.sleep(0.01)


def crash(folder: Path, *, kills: int, raters: int, port: int, seed: int = 0) -> tuple[int, int]:
    """Kill the server ``kills`` times under load; returns acknowledged answers and stored ones.

    Raises AssertionError where an acknowledged answer is missing or another.
    """
    keys, study = read_keys(folder), read_study(folder)
    acknowledged: dict[tuple[str, str], str] = {}
    stop = threading.Event()
    chance = random.Random(seed)  # noqa: S311
    process = start(folder, port)
    threads = [
        threading.Thread(target=sit, args=(f"http://127.0.0.1:{port}", keys.ticket(n), acknowledged, stop))
        for n in range(1, raters + 1)
    ]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.02, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process = start(folder, port)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with store.reading(folder / store.DATABASE, fingerprint=study.fingerprint) as connection:
        rows = connection.execute("SELECT session, trial, count(*) FROM answers GROUP BY 1, 2").fetchall()
        assert all(row[2] == 1 for row in rows)
        stored = {}
        for answer in store.answers(connection):
            stored[keys.token("trial", answer.session, answer.trial, length=12)] = answer.choice
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    missing = [key for key, choice in acknowledged.items() if stored.get(key[1]) != choice]
    assert missing == []
    return len(acknowledged), len(rows)
