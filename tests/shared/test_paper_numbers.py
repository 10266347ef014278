"""The tables of the first version in the paper's text, line by line, against the data: no digit more, none less."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from palette_bench.publish.tables.printed import (
    PALETTE,
    PublishedRow,
    PublishedTable,
    all_published_rows,
    table,
    tables,
)

SHARED = Path(os.environ.get("PALETTE_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
pytestmark = pytest.mark.shared

NUMBERS = ["1", "2", "3", "4", "5", "6", "C.1", "C.2", "C.3", "C.4"]
CAPTION = re.compile(r"Table ([A-Z]?\.?[0-9]+): (.*)")


@dataclass(frozen=True)
class Line:
    """One printed row: its group, its label with the citation, and its cells."""

    group: str
    label: str
    cells: tuple[str, ...]


@pytest.fixture(scope="module")
def text() -> str:
    return (SHARED / "palette_v1.txt").read_text(encoding="utf-8")


def plain(cell: str) -> str:
    """A cell without the markup of italics and of subscripts."""
    return re.sub(r"</?i>|_(?=\d)", "", cell).strip()


def lines_before_captions(text: str) -> dict[str, tuple[str, list[list[str]]]]:
    """Caption and lines of cells of every table by its number: the tabulated lines that end above the caption."""
    lines = text.splitlines()
    found: dict[str, tuple[str, list[list[str]]]] = {}
    for index, line in enumerate(lines):
        caption = CAPTION.fullmatch(line)
        if caption is None:
            continue
        end = index
        while not lines[end - 1].strip():
            end -= 1
        start = end
        while "\t" in lines[start - 1]:
            start -= 1
        assert caption[1] not in found
        found[caption[1]] = (caption[2], [[plain(cell) for cell in row.split("\t")] for row in lines[start:end]])
    return found


def printed_heads(rows: list[list[str]], *, two: bool) -> list[str]:
    """The heads with an arrow; ``two`` lines of heads where sets stand above them."""
    return [cell for row in rows[: 1 + two] for cell in row if cell.endswith(("↓", "↑"))]


def printed_lines(rows: list[list[str]], *, two: bool, grouped: bool) -> list[Line]:
    """The rows below the heads. ``grouped``: groups have a column of their own, else lines of their own."""
    made: list[Line] = []
    group = ""
    for row in rows[1 + two :]:
        first, *rest = row
        if not any(row[:2]):
            # The text layer breaks the last line of Table C.2.
            made[-1] = replace(made[-1], cells=(*made[-1].cells, *filter(None, rest)))
        elif not any(rest):
            group = first
        elif not grouped:
            made.append(Line(group, first, tuple(rest)))
        elif rest[0]:
            group = first or group
            made.append(Line(group, rest[0], tuple(rest[1:])))
        else:
            made.append(Line("", first, tuple(rest[1:])))
    return made


def in_text(text: str, of: PublishedTable) -> list[Line]:
    """The lines of a table as the text has them."""
    _, rows = lines_before_captions(text)[of.number]
    return printed_lines(rows, two=bool(of.columns[0].over), grouped=bool(of.group_head))


def in_data(of: PublishedTable) -> list[Line]:
    """The lines of a table as the data have them, less what is not in the text."""
    return [line_of(row) for row in of.rows]


def line_of(row: PublishedRow) -> Line:
    return Line(row.group, row.printed_label, tuple(cell.text for cell in row.cells if not cell.transcribed))


def test_the_papers_tables_are_the_tables_of_the_data(text: str) -> None:
    assert sorted(lines_before_captions(text)) == sorted(NUMBERS)
    assert [found.number for found in tables() if found.paper.key == PALETTE] == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_every_line_of_a_table_is_in_the_data_and_nothing_else(text: str, number: str) -> None:
    of = table(number)
    assert in_text(text, of) == in_data(of)
    assert [row.order for row in of.rows] == list(range(len(of.rows)))


@pytest.mark.parametrize("number", NUMBERS)
def test_captions_and_heads_are_those_of_the_paper(text: str, number: str) -> None:
    of = table(number)
    caption, rows = lines_before_captions(text)[number]
    assert of.title == caption.replace("’", "'")
    heads = printed_heads(rows, two=bool(of.columns[0].over))
    # The text layer has one of the two heads over Places2 in Table C.2.
    expected = [column.head for column in of.columns if (number, column.name) != ("C.2", "places-fid")]
    assert heads == expected
    assert [cell for cell in rows[0] if cell in ("Mask Type", "QF", "Task", "Architecture")] == [
        head for head in [of.group_head] if head
    ]
    assert of.row_head in rows[0]
    assert [cell for cell in rows[0] if cell in ("ImageNet", "Places2")] == [
        over for over in dict.fromkeys(column.over for column in of.columns) if over
    ]


def test_what_is_not_in_the_text_is_one_column_of_one_table(text: str) -> None:
    of_paper = [row for row in all_published_rows() if row.paper.key == PALETTE]
    transcribed = [(row.table, cell.column.name) for row in of_paper for cell in row.cells if cell.transcribed]
    assert transcribed == [("C.2", "places-pd")] * 16
    digits = [cell.digits for row in of_paper for cell in row.cells if cell.digits]
    assert len(digits) == 276
    found = [cell for number in NUMBERS for line in in_text(text, table(number)) for cell in line.cells if cell != "-"]
    assert len(found) == 276 - 16


def test_table_2_prints_six_of_the_numbers_that_the_text_of_c2_lacks() -> None:
    repeated = [
        (row.model, row.tasks[0], cell.digits)
        for row in table("2").rows
        if not row.reference
        for cell in row.cells
        if cell.column.name == "places-pd"
    ]
    models = {"Palette": "Palette (I+P)"}
    there = {
        (row.model, row.tasks[0]): cell.digits
        for row in table("C.2").rows
        for cell in row.cells
        if cell.column.name == "places-pd"
    }
    assert [there[models.get(model, model), task] for model, task, _ in repeated] == [d for *_, d in repeated]
    assert len(repeated) == 6


def changed_digit(of: PublishedTable, row: int, cell: int, digits: str) -> PublishedTable:
    """The table with one cell changed."""
    old = of.rows[row]
    new = replace(
        old, cells=tuple(replace(c, digits=digits) if index == cell else c for index, c in enumerate(old.cells))
    )
    groups = tuple(replace(g, rows=tuple(new if r is old else r for r in g.rows)) for g in of.groups)
    return replace(of, groups=groups)


def test_a_changed_digit_a_lost_row_and_a_swap_are_found(text: str) -> None:
    of = table("4")
    lines = in_text(text, of)
    assert in_data(of) == lines
    # 117.2 stands in other tables and in another line of this one: only its own place counts.
    assert in_data(changed_digit(of, 1, 1, "117.2")) != lines
    assert in_data(changed_digit(of, 1, 0, "8.30")) != lines
    assert in_data(changed_digit(of, 1, 0, "")) != lines
    assert in_data(replace(of, groups=of.groups[:-1])) != lines
    assert in_data(replace(of, groups=(of.groups[1], of.groups[0], *of.groups[2:]))) != lines


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        ("4", "Palette (Ours)\t5.4\t180.5", "Palette (Ours)\t5.4\t180.6"),
        ("C.2", "\t\t\t\t\t\t0.0\n", ""),
        ("1", "cGAN [Isola et al., 2017b]\t24.41\t-\t-\t-\t-\n", ""),
        ("1", "\t29.90%", "\t29.90"),
        ("3", "Reference\t2.7", "Another\t1.0\t2.0\t3.0%\t4.0\t5.0\t6.0\t-\nReference\t2.7"),
    ],
)
def test_a_changed_line_of_the_text_is_found(text: str, number: str, old: str, new: str) -> None:
    changed = text.replace(old, new)
    assert changed != text
    assert in_text(changed, table(number)) != in_data(table(number))
