from pathlib import Path

import pytest

from palette_bench.artifacts.evalset import EvalSet
from tests.predict import small_set


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """A prepared set of twelve items."""
    return small_set.prepare(tmp_path_factory.mktemp("small"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of this test alone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
