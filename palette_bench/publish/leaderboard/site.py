"""Pages of the leaderboards: one per set, and one that leads to them; plain files, without server or network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish import pages
from palette_bench.publish.leaderboard.board import Board, Details, TaskBoard, in_table_order
from palette_bench.publish.leaderboard.entry import AUDIT_FOLDER, Tier, is_link
from palette_bench.publish.tables.table import TableCell, TableRow, interval_text, number_text
from palette_bench.score.recipes.catalogue import named

INDEX = "index.html"
MEANING = {
    Tier.RERUN: "made again from the model",
    Tier.RESCORED: "scored again from the author's predictions",
    Tier.SCORED: "scored by its author",
    Tier.PUBLISHED: "copied from a paper",
}
"""What each tier says, the most trusted first."""


def site(boards: Sequence[Board]) -> dict[str, bytes]:
    """The files of the site by their path: equal boards give equal bytes."""
    files = {INDEX: _page("leaderboards.html.jinja", "Leaderboards", script=False, boards=boards).encode()}
    for board in boards:
        page = _page(
            "board.html.jinja",
            board.title,
            script=True,
            board=board,
            boards=boards,
            index=INDEX,
            present={details.tier for one in board.tables for details in one.details.values()},
            bar_of=_bar,
            facts=_facts,
            numbers=_numbers,
            audit_path=_audit_path,
        )
        files[f"{board.set_id}.html"] = page.encode()
        for one in board.tables:
            for row, details, _ in one.described:
                for path in details.audit.values():
                    files[_audit_path(board, one, row, path)] = path.read_bytes()
    return files


def _page(template: str, title: str, *, script: bool, **values: object) -> str:
    package = "palette_bench.publish.leaderboard"
    return pages.render(
        template,
        title,
        style=pages.asset(package, "board.css"),
        script=pages.asset(package, "board.js") if script else "",
        meaning=MEANING,
        **values,
    )


def _audit_path(board: Board, one: TaskBoard, row: TableRow, path: Path) -> str:
    return f"{AUDIT_FOLDER}/{board.set_id}/{one.task}/{row.key}/{path.name}"


def _bar(one: TaskBoard, place: int, cell: TableCell) -> tuple[str, str] | None:
    """The interval within the range of the column's ranked numbers: where it begins and how wide it is, in percent."""
    if cell.rank is None or cell.low is None or cell.high is None:
        return None
    shown = [row.cells[place] for row in one.table.rows if row.cells[place].rank is not None]
    least = min(other.low for other in shown if other.low is not None)
    most = max(other.high for other in shown if other.high is not None)
    span = (most - least) or 1.0
    return f"{100 * (cell.low - least) / span:.2f}", f"{100 * (cell.high - cell.low) / span:.2f}"


def _facts(details: Details) -> Iterator[tuple[str, str]]:
    """Names and texts of what is known of a row with a record."""
    model, record = details.model, details.record
    if model is not None:
        for name, text in (
            ("trained on", model.training_data),
            ("licence", model.licence),
            ("citation", model.citation),
            ("card", f"{model.card} {model.card_sha256[:16]}".strip()),
        ):
            if text:
                yield name, text
        # Checked when the entry was read, and again where it does harm.
        if model.url and is_link(model.url):
            yield "address", model.url
    if record is None:
        return
    if record.origin is not None:
        seed = "" if record.origin.seed is None else f", seed {record.origin.seed}"
        yield "made by", f"{record.origin.model} ({record.origin.kind}{seed}, {record.samples} per item)"
    if details.verified:
        yield "verified", details.verified
    if details.entry and not details.audit:
        yield "audit images", "none"
    yield "predictions", record.tree_sha256
    yield "result", record.result_id
    yield "file", details.source


def _numbers(record: ResultRecord) -> Iterator[tuple[MetricValue, str, str | None]]:
    """Every number of a record, with its text and its interval's."""
    for metric in in_table_order(record):
        digits = named(metric.recipe).digits
        text = number_text(metric.value, metric.standard_error, digits, metric.unit)
        yield metric, text, interval_text(metric.low, metric.high, digits)
