"""The board: what is ranked against what, and what is only shown."""

import shutil
from pathlib import Path

import pytest

from palette_bench.publish.leaderboard.board import Board, TaskBoard, boards
from palette_bench.publish.leaderboard.check import check_tree
from palette_bench.publish.leaderboard.entry import Tier
from palette_bench.publish.tables.ranking import Place
from palette_bench.publish.tables.table import TableRow
from tests.publish.leaderboard.results import an_entry, reseal_record


def board_of(root: Path, set_id: str = "scenes32") -> Board:
    tree = check_tree([root])
    tree.demand([root])
    return next(board for board in boards(tree) if board.set_id == set_id)


def table_of(root: Path, task: str = "uncrop") -> TaskBoard:
    return next(table for table in board_of(root).tables if table.task == task)


def rows(board: TaskBoard) -> list[TableRow]:
    return list(board.table.rows)


def named(board: TaskBoard, name: str) -> TableRow:
    return next(row for row in rows(board) if row.label == name)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models: the second and the third cannot be told apart by FID."""
    root = tmp_path_factory.mktemp("three") / "leaderboards"
    for seed, name in enumerate(("First", "Second", "Third")):
        an_entry(root, name, seed, fid=(10.0, 12.0, 12.2)[seed])
    return root


@pytest.fixture
def root(three: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    shutil.copytree(three, tmp_path / "leaderboards")
    return tmp_path / "leaderboards"


def test_rows_are_ranked_by_each_column(root: Path) -> None:
    table = table_of(root)
    assert [recipe.name for recipe in table.columns] == ["fid-scenes32", "is-scenes32", "ca-scenes32", "pd-scenes32"]
    assert [row.label for row in rows(table)] == ["First", "Second", "Third", "References, untouched"]
    assert [row.cells[0].rank for row in rows(table)] == [1, 2, 3, None]
    # The Inception Score is the other way round.
    assert [row.cells[1].rank for row in rows(table)] == [3, 2, 1, None]
    assert [row.cells[0].place for row in rows(table)] == [Place.BEST, Place.SECOND, Place.OTHER, Place.OTHER]
    assert not any(row.cells[0].undecided for row in rows(table))
    assert rows(table)[0].cells[0].text == "10.00 ± 0.27"


def test_what_the_error_bars_do_not_tell_from_the_best_is_marked(tmp_path: Path) -> None:
    root = tmp_path / "leaderboards"
    for seed, name in enumerate(("First", "Near")):
        an_entry(root, name, seed, fid=(10.0, 10.3)[seed])
    assert [bool(row.cells[0].undecided) for row in rows(table_of(root))] == [False, True, False]


def test_references_are_shown_and_never_ranked(root: Path) -> None:
    board = table_of(root)
    last = rows(board)[-1]
    assert last.reference
    assert board.tier(last) is None
    assert [cell.text for cell in last.cells] == ["0.21", "9.5", "96.0 %", "0.00"]


@pytest.mark.parametrize("difference", [{"reference_data": "f" * 64}, {"data": "f" * 64}])
def test_numbers_of_other_pixels_are_shown_and_not_ranked(root: Path, difference: dict[str, str]) -> None:
    an_entry(root, "Other pixels", 3, fid=1.0, **difference)
    table = table_of(root)
    other = named(table, "Other pixels")
    assert other.cells[0].rank is None
    assert other.cells[0].value == 1.0
    assert other.cells[0].place is Place.OTHER
    (mark,) = other.cells[0].marks
    assert "other pixels" in dict(table.table.notes)[mark]
    assert named(table, "First").cells[0].rank == 1
    # With FID's reference alone different, the numbers that do not use it compare.
    assert (other.cells[1].rank is None) is ("data" in difference)
    assert rows(table)[-2] is other


def test_several_samples_are_noted_and_ranked(root: Path) -> None:
    folder = root / "scenes32/entries/uncrop/first"
    reseal_record(folder, lambda content: content["predictions"].update(samples=4))
    row = named(table_of(root), "First")
    assert row.cells[0].rank == 1
    assert dict(table_of(root).table.notes)[row.marks[0]] == "the first of 4 samples per item"


def test_printed_rows_are_shown_and_never_ranked(root: Path) -> None:
    board = board_of(root, "imagenet-ctest10k")
    for table in board.tables:
        assert rows(table)
        for row in rows(table):
            assert table.tier(row) is Tier.PUBLISHED
            assert all(cell.rank is None and cell.place is Place.OTHER for cell in row.cells)
            assert any("is not ranked" in dict(table.table.notes)[mark] for mark in row.marks)
    uncrop = next(table for table in board.tables if table.task == "uncrop")
    assert [cell.text for cell in named(uncrop, "Palette (Ours)").cells] == ["5.8", "138.1", "63.4 %", "85.9"]
    assert rows(uncrop)[-1].reference


def test_the_projects_own_records_are_rows_that_were_rerun() -> None:
    shipped = Path(__file__).parents[3] / "leaderboards"
    table = next(
        t for b in boards(check_tree([shipped])) if b.set_id == "scenes32" for t in b.tables if t.task == "uncrop"
    )
    row = named(table, "Mirror (classical-mirror)")
    details = table.details[row.key]
    assert details.tier is Tier.RERUN
    assert details.model is not None
    assert details.model.training_data == "none: it is not trained"
    # The model that copies the true images is the references' row.
    assert [row.reference for row in rows(table)].count(True) == 1
    assert not any("(reference)" in row.label for row in rows(table))
