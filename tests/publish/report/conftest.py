import pytest

from palette_bench.common.home import HOME_VARIABLE
from tests.publish.report.world import World, make_world


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that no test changes."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The shared world, its home in use."""
    monkeypatch.setenv(HOME_VARIABLE, str(shared_world.home))
    return shared_world
