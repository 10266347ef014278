"""One quickstart for all tests that need the embedded set."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest


@dataclass(frozen=True)
class Quickstart:
    """What the newcomer's first command left: a home with the prepared set, its output folder, and what it printed."""

    home: Path
    out: Path
    stdout: str
    stderr: str
    returncode: int

    def predictions(self, method: str) -> Path:
        """The folder of a classical method's predictions of `uncrop`: mirror or tile."""
        return self.out / "uncrop" / f"classical-{method}"


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    """``palette-bench quickstart``, run once from an empty home, whichever test process needs it first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quickstart"
    printed = folder / "printed.json"
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not printed.is_file():
            folder.mkdir()
            result = subprocess.run(
                [sys.executable, "-m", "palette_bench", "quickstart"],
                cwd=folder,
                env={**os.environ, "PALETTE_BENCH_HOME": str(folder / "home")},
                capture_output=True,
                text=True,
                check=False,
            )
            printed.write_text(json.dumps([result.stdout, result.stderr, result.returncode]))
    stdout, stderr, code = json.loads(printed.read_text())
    return Quickstart(folder / "home", folder / "palette-bench-quickstart", stdout, stderr, code)


NewHome = Callable[[str], Path]


@pytest.fixture
def new_home(quickstart: Quickstart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewHome:
    """Make a home that has the embedded set and its statistics and no features, and use it."""

    def make(name: str) -> Path:
        home = tmp_path / name
        home.mkdir()
        for part in ("sets", "statistics"):
            (home / part).symlink_to(quickstart.home / part)
        monkeypatch.setenv("PALETTE_BENCH_HOME", str(home))
        monkeypatch.chdir(tmp_path)
        return home

    return make
