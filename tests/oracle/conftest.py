from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from palette_bench.common.home import HOME_VARIABLE
from tests.score import random_weights


@pytest.fixture(scope="session")
def random_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with random weights of all three networks."""
    return random_weights.shared_home(tmp_path_factory)


@pytest.fixture(autouse=True)
def _with_random_home(random_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(random_home))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
