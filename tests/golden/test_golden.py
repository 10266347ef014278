"""Nothing published moves: outputs of commands are those of the golden files.

Where a change is meant, ``python -m tests.golden.write`` writes them again, and CHANGELOG says so under Scores.
"""

import pytest

from tests.golden.cases import World, named
from tests.golden.compare import differences
from tests.golden.write import FILES

CASES = named()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("name", CASES)
def test_nothing_published_moves(world: World, name: str) -> None:
    rounded, make = CASES[name]
    golden = (FILES / name).read_bytes().decode()
    moved = list(differences(golden, make(world), rounded=rounded))
    assert moved == [], f"{name}: {len(moved)} differences"


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()} == set(CASES)


@pytest.mark.parametrize(
    ("golden", "made", "moved"),
    [
        ('{"a": 1.0, "b": "x"}', '{"a": 1.000001, "b": "x"}', False),
        ('{"a": 1.0, "b": "x"}', '{"a": 1.0001, "b": "x"}', True),
        ('{"a": 1.0, "b": "x"}', '{"b": "x", "a": 1.0}', True),
        ('{"a": 1, "b": "x"}', '{"a": 2, "b": "x"}', True),
        ('{"a": 1.0}', '{"a": 1}', True),
        ('{"a": null}', '{"a": 0.0}', True),
        ("[1.0, 2.0]", "[1.0]", True),
        ("FID 13.12 of ab12", "FID 13.13 of ab12", False),
        ("FID 13.12 of ab12", "FID 13.14 of ab12", True),
        ("FID 13.12 of ab12", "FID 13.12 of ab13", True),
    ],
)
def test_the_comparison_sees_what_moved(golden: str, made: str, moved: bool) -> None:
    assert bool(list(differences(golden, made, rounded=True))) is moved
    assert list(differences(golden, made, rounded=False)) != []
