from pathlib import Path

import pytest

from palette_bench.common.home import HOME_VARIABLE
from tests.score import random_weights


@pytest.fixture(scope="session")
def random_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with random weights of all three networks."""
    return random_weights.shared_home(tmp_path_factory)


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test alone, without weights."""
    folder = tmp_path / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(folder))
    return folder
