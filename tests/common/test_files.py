import contextlib
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import filelock
import numpy as np
import pytest

from palette_bench.common.canonical import canonical_json, fingerprint, pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import atomic_writer, exclusive, write_bytes, write_json
from palette_bench.common.workers import map_unordered
from tests.processes import alive


def test_canonical_json_is_sorted_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == b'{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_fingerprint_changes_with_any_value() -> None:
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_pixel_digest_covers_the_shape() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    assert pixel_digest(pixels.reshape(3, 4)) != pixel_digest(pixels.reshape(4, 3))
    assert pixel_digest(pixels.reshape(3, 4)) == pixel_digest(np.asfortranarray(pixels.reshape(3, 4)))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(TypeError), atomic_writer(path) as stream:
        stream.writelines([b"half of the new", "not bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"value": float("inf")})
    assert not list(tmp_path.iterdir())


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with exclusive(path, purpose="a test"):
        ready.set()
        time.sleep(60)


def _holder(path: Path) -> BaseProcess:
    """A process that holds the lock until it is killed, or for a minute."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    assert ready.wait(30)
    return holder


def test_a_second_process_is_told_and_a_killed_one_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = _holder(path)
    with pytest.raises(InputError, match="already busy: a test"), exclusive(path, purpose="a test"):
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with exclusive(path, purpose="a test"):
        pass


class _Removes:
    """Takes the folder of a lock away just before the lock's file is opened, as often as told."""

    def __init__(self, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = times
        self._acquire = filelock.FileLock.acquire
        monkeypatch.setattr(filelock.FileLock, "acquire", lambda lock, timeout: self(lock, timeout))

    def __call__(self, lock: filelock.FileLock, timeout: float) -> object:
        if self.left:
            self.left -= 1
            shutil.rmtree(Path(lock.lock_file).parent)
            raise FileNotFoundError(lock.lock_file)
        return self._acquire(lock, timeout)


def test_a_lock_is_taken_though_its_folder_was_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "work" / "lock"
    removes = _Removes(2, monkeypatch)
    with exclusive(path, purpose="a test"):
        assert path.exists()
        assert removes.left == 0
    removes.left = 1000
    with pytest.raises(FileNotFoundError), exclusive(path, purpose="a test"):
        pass


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = _holder(path)
    threading.Timer(0.3, holder.kill).start()
    notes: list[str] = []
    with exclusive(path, purpose="a test", seconds=60, note=notes.append):
        holder.join()
    with exclusive(path, purpose="a test", seconds=60, note=notes.append):
        pass
    assert notes == ["waiting for another process: a test"]


def test_a_lock_can_be_waited_for_as_long_as_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = _holder(path)
    threading.Timer(0.3, holder.kill).start()
    with exclusive(path, purpose="a test", seconds=math.inf):
        holder.join()


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys, time
        from palette_bench.common.workers import map_unordered

        def job(number):
            with open(sys.argv[1] + f"/{os.getpid()}.pid", "w"):
                pass
            time.sleep(30)

        if __name__ == "__main__":
            list(map_unordered(job, range(4), processes=2))
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 30
    while len(workers := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    pids = [int(path.stem) for path in workers]
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)


def _stubborn(number: int) -> None:
    """The first job fails, the others do not end when they are asked to."""
    if number == 0:
        time.sleep(0.5)
        raise ValueError("the first")
    while True:
        with contextlib.suppress(SystemExit):
            time.sleep(600)


def test_workers_that_do_not_end_are_killed() -> None:
    with pytest.raises(ValueError, match="the first"):
        list(map_unordered(_stubborn, range(2), processes=2))


def _prepare_for_long(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def test_a_worker_that_is_ended_while_it_prepares_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def jobs() -> Iterator[int]:
        yield from range(2)
        while not any(tmp_path.iterdir()):
            time.sleep(0.02)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(map_unordered(abs, jobs(), processes=2, prepare=partial(_prepare_for_long, tmp_path)))
    assert capfd.readouterr().err == ""


def test_problems_are_counted_by_kind() -> None:
    problems = [Problem("missing", f"item-{i}", "") for i in range(20)] + [Problem("extra", "x.png", "unknown")]
    text = str(InputError("faults", where="here", expected="none", problems=problems, next_step="repair"))
    assert "missing: item-7" in text
    assert "missing: and 12 more" in text
    assert "extra: x.png: unknown" in text
    assert text.endswith("next:     repair")


def test_errors_survive_the_way_back_from_a_worker() -> None:
    import pickle

    error = UsageError("what", where="where", expected=1, found=2, problems=[Problem("kind", "here", "why")])
    back = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(back) is UsageError
    assert str(back) == str(error)
    assert back.as_json() == error.as_json()
