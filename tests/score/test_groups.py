from pathlib import Path

import pytest

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.progress import Silent
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.score import groups
from palette_bench.score.gate import Checked
from tests.conftest import make_photos


@pytest.fixture
def eval_set(home: Path, photo_folder: Path) -> EvalSet:
    choices = Choices(source=photo_folder, name="photos", size=32)
    return EvalSet(
        build(make_plan("folder", choices, progress=Silent()), jobs=1, replace=False, progress=Silent()).folder
    )


def checked(index: int, hole_share: float | None) -> Checked:
    return Checked(index, 0, "a", "b", 0.0, hole_share, {}, False, ())


def test_classes(eval_set: EvalSet) -> None:
    found = groups.by_class(eval_set)
    assert [group.name for group in found] == ["cats", "dogs"]
    assert sorted(row for group in found for row in group.rows) == list(range(eval_set.count))
    for label, group in enumerate(found):
        assert {eval_set.items[row].label for row in group.rows} == {label}


def test_bands_of_hole_size() -> None:
    found = groups.by_hole_size([checked(0, 0.12), checked(1, 0.19), checked(2, 0.1499), checked(3, 1.0)])
    assert [(group.name, group.rows) for group in found] == [("10-15 %", (0, 2)), ("15-20 %", (1,)), ("95-100 %", (3,))]
    assert groups.by_hole_size([checked(0, None)]) == []


def test_a_list_of_categories(eval_set: EvalSet, tmp_path: Path) -> None:
    path = tmp_path / "pets.txt"
    path.write_text("# those that bark\ndogs\n\n")
    group = groups.of_categories(eval_set, path)
    assert group.name == "pets"
    assert group.rows == groups.by_class(eval_set)[1].rows
    path.write_text("0  # cats\n1\n")
    assert groups.of_categories(eval_set, path).rows == tuple(range(eval_set.count))


@pytest.mark.parametrize(("text", "says"), [("dogs\nmice\nrats\n", "2 unknown"), ("", "no item")])
def test_a_list_that_does_not_fit_is_refused(eval_set: EvalSet, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        groups.of_categories(eval_set, path)
    assert says in str(raised.value)
    with pytest.raises(InputError, match="cannot be read"):
        groups.of_categories(eval_set, tmp_path / "nothing")


def test_a_set_without_labels_has_no_classes(home: Path, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "flat", 4, classes=(".",))
    choices = Choices(source=source, name="flat", size=32)
    plan = make_plan("folder", choices, progress=Silent())
    flat = EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)
    with pytest.raises(UsageError, match="no classes"):
        groups.by_class(flat)
    listed = tmp_path / "list.txt"
    listed.write_text("0\n")
    with pytest.raises(UsageError, match="no classes"):
        groups.of_categories(flat, listed)
