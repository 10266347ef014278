"""Running the real command, and what every refusal must look like."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from palette_bench.cli import main
from palette_bench.common.errors import ExitCode
from palette_bench.common.home import HOME_VARIABLE

TINY = "tiny"
SIZE = 32
COUNT = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit code and all it printed."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        """Standard output as a JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def run(*arguments: object) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["palette-bench", *map(str, arguments)]
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        code = main._run()
    return Outcome(code, out.getvalue(), err.getvalue())


def start(home: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start the command as a process and group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "palette_bench", *map(str, arguments)],
        env={**os.environ, HOME_VARIABLE: str(home), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_interrupts,
    )


def _hear_interrupts() -> None:
    """A shell that runs the tests in its background hands down an ignored SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: "subprocess.Popen[str]") -> Outcome:
    """Wait for a started command."""
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def assert_accepted(outcome: Outcome) -> Outcome:
    """The command succeeded and nothing looks like a bug."""
    assert outcome.code == ExitCode.OK, outcome.err
    assert "Traceback" not in outcome.err
    return outcome


def assert_refused(outcome: Outcome, code: ExitCode, *says: str, next_step: bool = True) -> Outcome:
    """The command failed with this exit code, and its message says all of ``says`` and what to do next."""
    shown = outcome.out + outcome.err
    assert outcome.code == code, shown
    assert "Traceback" not in shown, shown
    assert "error: " in outcome.err or "Error: " in outcome.err, shown
    for words in says:
        assert words in outcome.err, f"{words!r} not in:\n{outcome.err}"
    if next_step:
        assert "  next: " in outcome.err, outcome.err
    return outcome


def complete_sets(home: Path) -> list[str]:
    """Names of everything in the sets folder that looks like a prepared set."""
    return sorted(path.parent.name for path in (home / "sets").glob("*/set.json") if path.parent.name[0] != ".")


def records(folder: Path) -> list[Path]:
    """Every file below ``folder`` that looks like a result."""
    return [*folder.rglob("result.json"), *folder.rglob("items.csv"), *folder.rglob("*.tmp")]


def prepare(source: Path, *options: object, name: str = TINY) -> Outcome:
    """Prepare a small folder set in one process."""
    return run("prepare", "folder", "--source", source, "--name", name, "--size", SIZE, "--jobs", 1, *options)


def data_digest(source: Path, *, name: str) -> object:
    """The data digest of a set newly prepared from ``source``."""
    return assert_accepted(prepare(source, "--json", name=name)).json()["data_digest"]
