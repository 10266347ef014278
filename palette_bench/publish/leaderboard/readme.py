"""``README.md`` of a set's leaderboard, from the same boards as the pages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from palette_bench.publish.leaderboard.board import Board, TaskBoard
from palette_bench.publish.leaderboard.entry import Tier
from palette_bench.publish.leaderboard.site import MEANING
from palette_bench.publish.tables import markup, miniature
from palette_bench.publish.tables.layout import layouts, records_needed
from palette_bench.publish.tables.render import markdown, markdown_notes
from palette_bench.publish.tables.table import Table, TableColumn, words

MINIATURE = "scenes32"


def readme(board: Board) -> str:
    """The tables of a set as Markdown; equal boards give equal text."""
    return "\n".join([f"# {markup.markdown(board.title)}", "", *_introduction(board), *_tables(board)]).rstrip() + "\n"


def miniature_readme(folder: Path, board: Board | None) -> str:
    """The miniature's page, which has its own tables, and below it the entries of others where there are any.

    Raises InputError when a record of the miniature cannot be used.
    """
    text = miniature.render_readme(folder)
    if board is None or not board.has_entries:
        return text
    return text + "\n".join(["", "## Leaderboard", "", *_introduction(board), *_tables(board)]).rstrip() + "\n"


def missing_of_miniature(folder: Path) -> list[Path]:
    """Records of the miniature that are not made yet; without them there is no page of it."""
    paths = [miniature.record_path(folder, task, model) for task, model, _ in records_needed(layouts())]
    return [path for path in paths if not path.is_file()]


def _introduction(board: Board) -> Iterator[str]:
    yield f"{markup.markdown(board.description)} {board.count:,} images per task."
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
    for one in board.tables:
        yield f"## {markup.markdown(one.table.title)}"
        yield ""
        yield from markdown(_with_tiers(one))
        yield ""
        if one.table.notes:
            yield from (*markdown_notes(one.table), "")


def _with_tiers(board: TaskBoard) -> Table:
    """The table with columns of rank and tier before the numbers."""
    columns = (TableColumn(head="rank", text=True), TableColumn(head="tier", text=True), *board.table.columns)
    groups = []
    for group in board.table.groups:
        rows = []
        for row in group.rows:
            rank, tier = row.cells[0].rank, board.tier(row)
            source = f": {board.details[row.key].source}" if tier is Tier.PUBLISHED else ""
            first = words("" if rank is None else str(rank), "" if tier is None else tier.value + source)
            rows.append(replace(row, cells=(*first, *row.cells)))
        groups.append(replace(group, rows=tuple(rows)))
    return replace(board.table, columns=columns, groups=tuple(groups))
