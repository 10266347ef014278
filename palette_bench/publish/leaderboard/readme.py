"""``README.md`` of a set's leaderboard, from the same boards as the pages."""

from collections.abc import Iterator
from pathlib import Path

from palette_bench.publish.leaderboard.board import Board, BoardRow, Cell, TaskTable
from palette_bench.publish.leaderboard.entry import Tier
from palette_bench.publish.leaderboard.site import MEANING
from palette_bench.publish.tables import markup as markdown
from palette_bench.publish.tables import miniature
from palette_bench.publish.tables.ranking import Place
from palette_bench.score.recipes.base import Direction

MINIATURE = "scenes32"


def readme(board: Board) -> str:
    """The tables of a set as Markdown; equal boards give equal text."""
    return "\n".join([f"# {markdown.escape(board.title)}", "", *_introduction(board), *_tables(board)]).rstrip() + "\n"


def miniature_readme(folder: Path, board: Board | None) -> str:
    """The miniature's page, which has its own tables, and below it the entries of others where there are any.

    Raises InputError when a record of the miniature cannot be used.
    """
    text = miniature.render_readme(folder)
    if board is None or not any(row.anchor.startswith("entry-") for table in board.tables for row in table.rows):
        return text
    return text + "\n".join(["", "## Leaderboard", "", *_introduction(board), *_tables(board)]).rstrip() + "\n"


def missing_of_miniature(folder: Path) -> list[Path]:
    """Records of the miniature that are not made yet; without them there is no page of it."""
    paths = [miniature.record_path(folder, task, model) for task, model, _ in miniature.wanted(miniature.layouts())]
    return [path for path in paths if not path.is_file()]


def _introduction(board: Board) -> Iterator[str]:
    yield f"{markdown.escape(board.description)} {board.count:,} images a task."
    yield ""
    yield (
        "± is the standard error. The best ranked number is bold, the second underlined; ≈ is not told from the best "
        "by the error bars. Rows without a rank compare with no other. This page is built by "
        "`palette-bench leaderboard build`; [docs/submitting.md](../../docs/submitting.md) says how to add a row."
    )
    yield ""
    yield "; ".join(f"*{tier.value}*: {meaning}" for tier, meaning in MEANING.items()) + "."
    yield ""


def _tables(board: Board) -> Iterator[str]:
    for table in board.tables:
        yield f"## {markdown.escape(table.title)}"
        yield ""
        heads = [f"{recipe.title} {'↓' if recipe.direction is Direction.LOWER else '↑'}" for recipe in table.columns]
        yield from markdown.head_lines(["rank", "model", "tier"], heads)
        for row in table.rows:
            rank = row.cells[0].rank
            name = markdown.escape(row.name)
            cells = ["" if rank is None else str(rank), f"*{name}*" if row.reference else name]
            cells[1] += _marks(row.marks)
            cells.append(_tier(row))
            yield markdown.line([*cells, *(_cell(cell) for cell in row.cells)])
        yield ""
        yield from _notes(table)


def _tier(row: BoardRow) -> str:
    if row.tier is None:
        return ""
    if row.tier is Tier.PUBLISHED and row.details is not None:
        return f"{row.tier.value}: {markdown.escape(row.details.source)}"
    return row.tier.value


def _cell(cell: Cell) -> str:
    text = markdown.emphasised(cell.text, cell.place if cell.rank is not None else Place.OTHER)
    return ("≈ " if cell.undecided else "") + text + _marks(cell.marks)


def _marks(marks: tuple[str, ...]) -> str:
    return f"<sup>{','.join(dict.fromkeys(marks))}</sup>" if marks else ""


def _notes(table: TaskTable) -> Iterator[str]:
    for mark, text in table.notes:
        yield f"- <sup>{mark}</sup> {markdown.escape(text)}"
    if table.notes:
        yield ""
