"""One good entry for all tests of a process, and copies of it to spoil."""

import shutil
from pathlib import Path

import pytest

from tests.publish.leaderboard.results import an_entry


@pytest.fixture(scope="session")
def good_entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an entry that holds together, in a folder of leaderboards."""
    return an_entry(tmp_path_factory.mktemp("good") / "leaderboards")


@pytest.fixture
def entry(good_entry: Path, tmp_path: Path) -> Path:
    """A copy of it in ``tmp_path / "leaderboards"``."""
    root = good_entry.parents[3]
    shutil.copytree(root, tmp_path / "leaderboards")
    return tmp_path / "leaderboards" / good_entry.relative_to(root)
