"""Commands that are killed, interrupted, run twice at once, or run out of disk."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.common.files import exclusive
from palette_bench.common.home import HOME_VARIABLE
from tests.adversarial import files
from tests.adversarial.harness import (
    SIZE,
    TINY,
    Outcome,
    assert_accepted,
    assert_refused,
    complete_sets,
    finish,
    prepare,
    records,
    run,
    start,
)

MANY = 160
EDGE = 48

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of several chunks."""
    return files.images(tmp_path_factory.mktemp("many"), MANY, width=EDGE, height=EDGE)


@pytest.fixture(scope="module")
def whole(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the set of ``many``, prepared without an accident."""
    home = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home))
        assert_accepted(prepare(many))
    return _content(home / "sets" / TINY)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _start(home: Path, source: Path, jobs: int) -> "subprocess.Popen[str]":
    options = ("--name", TINY, "--size", SIZE, "--jobs", jobs)
    return start(home, "prepare", "folder", "--source", source, *options)


def _wait_for(pattern: str, folder: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.002)


def _signal_when_half_done(process: "subprocess.Popen[str]", home: Path, number: int) -> Outcome:
    _wait_for("sets/.building/*/journal/*.json", home, process)
    os.killpg(process.pid, number)
    return finish(process)


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_in_the_middle_the_same_command_makes_the_same_set(
    jobs: int, many: Path, whole: dict[str, bytes], home: Path
) -> None:
    outcome = _signal_when_half_done(_start(home, many, jobs), home, signal.SIGKILL)
    assert outcome.code == -signal.SIGKILL
    assert complete_sets(home) == []
    assert_refused(run("verify", TINY), ExitCode.INPUT, "is not prepared")
    again = assert_accepted(finish(_start(home, many, jobs)))
    assert "continuing: " in again.err
    assert _content(home / "sets" / TINY) == whole


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_in_the_middle_it_says_so_and_continues(
    jobs: int, many: Path, whole: dict[str, bytes], home: Path
) -> None:
    outcome = _signal_when_half_done(_start(home, many, jobs), home, signal.SIGINT)
    assert outcome.code == ExitCode.INTERRUPTED
    assert "interrupted: finished work is kept" in outcome.err
    assert "Traceback" not in outcome.err
    assert complete_sets(home) == []
    assert not list(home.rglob("*.tmp"))
    assert_accepted(prepare(many))
    assert _content(home / "sets" / TINY) == whole


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_interrupted_while_workers_start_there_is_no_traceback(delay: float, many: Path, home: Path) -> None:
    process = _start(home, many, 2)
    _wait_for("sets/.building/*/build.json", home, process)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == ExitCode.INTERRUPTED
    assert "Traceback" not in outcome.err
    assert complete_sets(home) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs to find the worker")
def test_a_worker_that_is_killed_is_told(many: Path, whole: dict[str, bytes], home: Path) -> None:
    process = _start(home, many, 2)
    _wait_for("sets/.building/*/journal/*.json", home, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    workers = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    outcome = finish(process)
    assert_refused(outcome, ExitCode.INPUT, "a worker process died", "fewer --jobs", "finished work is kept")
    assert complete_sets(home) == []
    assert_accepted(prepare(many))
    assert _content(home / "sets" / TINY) == whole


def test_of_two_at_once_one_works_and_the_other_says_so_or_agrees(
    many: Path, whole: dict[str, bytes], home: Path
) -> None:
    outcomes = [finish(process) for process in [_start(home, many, 1), _start(home, many, 1)]]
    assert ExitCode.OK in [outcome.code for outcome in outcomes]
    for outcome in outcomes:
        if outcome.code != ExitCode.OK:
            assert_refused(outcome, ExitCode.INPUT, "another process is already busy: preparing tiny", "wait until")
    assert _content(home / "sets" / TINY) == whole


def test_a_set_that_another_process_prepares_is_left_to_it(source: Path, home: Path) -> None:
    lock = home / "sets" / ".locks" / f"{TINY}.lock"
    with exclusive(lock, purpose="testing"):
        assert_refused(prepare(source), ExitCode.INPUT, "another process is already busy", str(lock), "wait until")
        assert complete_sets(home) == []
    assert_accepted(prepare(source))


@contextlib.contextmanager
def _files_of_at_most(limit: int) -> Iterator[None]:
    """No file can grow beyond ``limit`` bytes: what a full disk does, to one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [10, 1000, 5000, 40_000])
def test_on_a_full_disk_the_file_is_named_and_a_rerun_with_room_is_the_same(
    limit: int, many: Path, whole: dict[str, bytes], home: Path
) -> None:
    with _files_of_at_most(limit):
        outcome = prepare(many)
    assert_refused(outcome, ExitCode.INPUT, "the disk is full", f"where:    {home}", "File too large", "make room")
    assert complete_sets(home) == []
    assert not list(home.rglob("*.tmp"))
    assert_accepted(prepare(many))
    assert _content(home / "sets" / TINY) == whole


def test_on_a_full_disk_workers_say_the_same(many: Path, home: Path) -> None:
    with _files_of_at_most(1000):
        outcome = finish(_start(home, many, 2))
    assert_refused(outcome, ExitCode.INPUT, "the disk is full", f"where:    {home}", "make room")
    assert complete_sets(home) == []


def test_a_score_or_export_on_a_full_disk_leaves_nothing_that_looks_whole(tiny: Path, networks: Path) -> None:
    preds = shutil.copytree(tiny / "references", "preds")
    score = ("score", "--task", "uncrop", "--preds", preds, "--allow-other-weights", "--jobs", 1, "--out", "out")
    export = ("export", "--task", "uncrop", "--holes", "white", "--jobs", 1, "--out")
    with _files_of_at_most(500):
        assert_refused(run(*score), ExitCode.INPUT, "the disk is full", "where:    out", "make room")
        assert_refused(run(*export, "exported"), ExitCode.INPUT, "the disk is full", "where:    exported", "make room")
    assert records(Path.cwd()) == []
    assert not Path("exported/export.json").exists()
    assert_accepted(run(*score))
    assert_refused(run(*export, "exported"), ExitCode.INPUT, "exported")
    assert_accepted(run(*export, "exported-2"))


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A file system of its own on ``folder``, where that is permitted."""
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    made = mount and unmount and os.geteuid() == 0
    made = made and not subprocess.run([str(mount), "-t", "tmpfs", "-o", f"size={size}", "none", folder]).returncode
    try:
        yield bool(made)
    finally:
        if made:
            subprocess.run([str(unmount), folder], check=True)


def test_a_disk_that_is_really_full_is_told_and_continued_when_there_is_room(
    many: Path, whole: dict[str, bytes], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    with _small_disk(disk, "400k") as real:
        monkeypatch.setenv(HOME_VARIABLE, str(disk))
        with contextlib.nullcontext() if real else _files_of_at_most(20_000):
            outcome = prepare(many)
        assert_refused(outcome, ExitCode.INPUT, "the disk is full", str(disk), "make room")
        assert complete_sets(disk) == []
        if real:
            subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
        assert_accepted(prepare(many))
        assert _content(disk / "sets" / TINY) == whole
        assert_accepted(run("verify", TINY))


def _shell(command: str, home: Path, **environment: str) -> Outcome:
    program = f"{sys.executable} -m palette_bench"
    done = subprocess.run(
        ["bash", "-c", command.replace("palette-bench", program)],
        env={**os.environ, HOME_VARIABLE: str(home), **environment},
        capture_output=True,
        text=True,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_reader_that_leaves_early_is_no_error(home: Path) -> None:
    outcome = _shell("set -o pipefail; palette-bench sets --json | true", home)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_an_output_that_is_full_is_an_error(home: Path) -> None:
    outcome = _shell("palette-bench sets > /dev/full", home)
    assert_refused(outcome, ExitCode.INPUT, "the disk is full", "standard output")
    assert "Exception ignored" not in outcome.err


def test_a_terminal_that_knows_few_letters_is_no_error(tiny: Path, home: Path) -> None:
    outcome = _shell("palette-bench sets; palette-bench verify t\xfcny", home, PYTHONIOENCODING="ascii")
    assert_refused(outcome, ExitCode.INPUT, "is not prepared")


def test_what_is_not_started_with_a_home_folder_still_explains_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    outcome = _shell("palette-bench verify x", tmp_path / "file")
    assert_refused(outcome, ExitCode.INPUT, "set x is not prepared", str(tmp_path / "file"))
