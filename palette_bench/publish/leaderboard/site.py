"""Pages of the leaderboards: one a set, and one that leads to them; plain files that need no server and no network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.publish.html import asset, escape, page
from palette_bench.publish.leaderboard.board import Board, BoardRow, Cell, Details, TaskTable, in_table_order
from palette_bench.publish.leaderboard.entry import AUDIT_FOLDER, Tier, is_link
from palette_bench.publish.tables.ranking import Place
from palette_bench.publish.tables.score import number_text
from palette_bench.score.recipes.base import Direction, Recipe
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
    files: dict[str, bytes] = {INDEX: _index(boards).encode()}
    for board in boards:
        files[f"{board.set_id}.html"] = _board_page(board, boards).encode()
        for table in board.tables:
            for row in table.rows:
                for path in _audit(row).values():
                    files[_audit_path(board, table, row, path)] = path.read_bytes()
    return files


def _audit(row: BoardRow) -> dict[str, Path]:
    return dict(row.details.audit or {}) if row.details is not None else {}


def _audit_path(board: Board, table: TaskTable, row: BoardRow, path: Path) -> str:
    return f"{AUDIT_FOLDER}/{board.set_id}/{table.task}/{row.anchor}/{path.name}"


def _page(title: str, body: str, *, script: bool) -> str:
    package = "palette_bench.publish.leaderboard"
    return page(title, body, style=asset(package, "board.css"), script=asset(package, "board.js") if script else "")


def _index(boards: Sequence[Board]) -> str:
    lines = [
        "<header><h1>Leaderboards</h1>",
        "<p>The evaluation protocol of Palette: colorization, inpainting, uncropping and JPEG restoration. Numbers "
        "are ranked only where set, task, pixels, recipe, network and weights are the same.</p></header>",
        '<main><div class="scroll"><table>',
        "<caption>Sets</caption>",
        '<thead><tr><th scope="col">set</th><th scope="col" class="number">images</th>'
        '<th scope="col" class="number">tasks</th>'
        + "".join(f'<th scope="col" class="number">{tier.value}</th>' for tier in MEANING)
        + "</tr></thead>",
        "<tbody>",
    ]
    for board in boards:
        tiers = [row.tier for table in board.tables for row in table.rows if not row.reference]
        cells = [board.count, len(board.tables), *(tiers.count(tier) for tier in MEANING)]
        lines.append(
            f'<tr><th scope="row"><a href="{escape(quote(board.set_id))}.html">{escape(board.title)}</a></th>'
            + "".join(f'<td class="number">{count:,}</td>' for count in cells)
            + "</tr>"
        )
    lines += ["</tbody></table></div>", *_tiers(), "</main>"]
    return _page("Leaderboards", "\n".join(lines), script=False)


def _tiers() -> Iterator[str]:
    yield "<h2>How far a number was checked</h2><dl>"
    for tier, meaning in MEANING.items():
        yield f"<dt>{_badge(tier)}</dt><dd>{meaning}</dd>"
    yield "</dl>"


def _badge(tier: Tier | None) -> str:
    return "" if tier is None else f'<span class="tier {tier.value}">{tier.value}</span>'


def _board_page(board: Board, boards: Sequence[Board]) -> str:
    present = {row.tier for table in board.tables for row in table.rows}
    others = [
        f'<a href="{escape(quote(other.set_id))}.html">{escape(other.set_id)}</a>'
        if other is not board
        else f"<strong>{escape(other.set_id)}</strong>"
        for other in boards
    ]
    lines = [
        f'<header><nav aria-label="Sets"><a href="{INDEX}">Leaderboards</a>: {", ".join(others)}</nav>',
        f"<h1>{escape(board.title)}</h1>",
        f"<p>{escape(board.description)} {board.count:,} images a task.</p>",
        '<p class="quiet">± is the standard error, the bar the 95 % interval. The best ranked number is bold, the '
        "second underlined; ≈ is not told from the best by the error bars. Numbers with a mark are not ranked where "
        "the note says so; a row with none of the ranked numbers stands below.</p>",
        '<form class="filter" role="search" hidden>',
        '<label>Search <input type="search" id="search" placeholder="name of a model" autocomplete="off"></label>',
        "<fieldset><legend>Tiers</legend>",
        *(
            f'<label><input type="checkbox" name="tier" value="{tier.value}" checked> {tier.value}'
            f'<span class="quiet"> ({meaning})</span></label>'
            for tier, meaning in MEANING.items()
            if tier in present
        ),
        "</fieldset>",
        '<output id="shown" aria-live="polite"></output>',
        "</form>",
        '<nav aria-label="Tasks">'
        + " ".join(f'<a href="#{table.task}">{escape(table.task)}</a>' for table in board.tables)
        + "</nav></header>",
        "<main>",
    ]
    for table in board.tables:
        lines += _table(board, table)
    lines.append("</main>")
    return _page(board.title, "\n".join(lines), script=True)


def _table(board: Board, table: TaskTable) -> Iterator[str]:
    yield f'<section id="{table.task}"><h2>{escape(table.title)}</h2>'
    yield f'<div class="scroll"><table class="board" data-task="{table.task}">'
    yield f'<caption class="quiet">{escape(table.task)} on {escape(board.set_id)}</caption>'
    yield "<thead><tr>"
    yield '<th scope="col" class="number">rank</th>'
    yield _head("model", "text", "ascending")
    yield _head("tier", "order", "ascending")
    for place, recipe in enumerate(table.columns):
        better = "ascending" if recipe.direction is Direction.LOWER else "descending"
        yield _head(_heading(recipe), "number", better, sorted_by=place == 0, title=f"{recipe.name}: {recipe.doc}")
    yield "</tr></thead>"
    for references in (False, True):
        rows = [row for row in table.rows if row.reference is references]
        if rows:
            yield f'<tbody class="{"references" if references else "models"}">'
            for row in rows:
                yield from _row(table, row)
            yield "</tbody>"
    yield "</table></div>"
    if table.notes:
        yield '<ol class="notes">'
        for mark, text in table.notes:
            yield f'<li id="{table.task}-note-{mark}"><b>{mark}</b> {escape(text)}</li>'
        yield "</ol>"
    about = [row for row in table.rows if row.details is not None and row.details.record is not None]
    if about:
        yield f'<details class="about"><summary>About these {len(about)} rows</summary>'
        for row in about:
            yield from _about(board, table, row)
        yield "</details>"
    yield "</section>"


def _heading(recipe: Recipe) -> str:
    return f"{recipe.title} {'↓' if recipe.direction is Direction.LOWER else '↑'}"


def _head(text: str, kind: str, better: str, *, sorted_by: bool = False, title: str = "") -> str:
    """A heading that sorts: ``better`` is the order of its first click."""
    state = better if sorted_by else "none"
    css = ' class="number"' if kind == "number" else ""
    return (
        f'<th scope="col"{css} aria-sort="{state}" data-kind="{kind}" data-better="{better}">'
        f'<button type="button" title="{escape(title)}">{escape(text)}</button></th>'
    )


def _row(table: TaskTable, row: BoardRow) -> Iterator[str]:
    tier = row.tier.value if row.tier is not None else ""
    strength = list(MEANING).index(row.tier) if row.tier is not None else len(MEANING)
    name = escape(row.name)
    if row.details is not None and row.details.record is not None:
        name = f'<a href="#{_about_id(table, row)}">{name}</a>'
    elif row.details is not None and row.details.source:
        name = f'{name} <span class="quiet">{escape(row.details.source)}</span>'
    rank = row.cells[0].rank
    yield f'<tr data-name="{escape(row.name)}" data-tier="{tier}">'
    yield f'<td class="number rank">{"" if rank is None else rank}</td>'
    yield f'<th scope="row" data-value="{escape(row.name.casefold())}">{name}{_marks(table, row.marks)}</th>'
    yield f'<td data-value="{strength}">{_badge(row.tier)}</td>'
    for place, cell in enumerate(row.cells):
        yield _cell(table, place, cell)
    yield "</tr>"


def _marks(table: TaskTable, marks: Sequence[str]) -> str:
    links = ",".join(
        f'<a href="#{table.task}-note-{mark}" aria-label="note {mark}">{mark}</a>' for mark in dict.fromkeys(marks)
    )
    return f"<sup>{links}</sup>" if links else ""


def _cell(table: TaskTable, place: int, cell: Cell) -> str:
    text = escape(cell.text)
    if cell.place is Place.BEST:
        text = f"<strong>{text}</strong>"
    elif cell.place is Place.SECOND:
        text = f"<u>{text}</u>"
    if cell.undecided:
        text = f'<abbr title="the error bars do not tell it from the best">≈</abbr> {text}'
    data = "" if cell.value is None else f' data-value="{cell.value!r}"'
    data += "" if cell.rank is None else f' data-rank="{cell.rank}"'
    inside = f"{text}{_marks(table, cell.marks)}{_bar(table, place, cell)}"
    return f'<td class="number"{data}{_interval_title(cell)}>{inside}</td>'


def _interval_title(cell: Cell) -> str:
    return "" if cell.low is None or cell.high is None else f' title="95 %: {cell.low:.4g} to {cell.high:.4g}"'


def _bar(table: TaskTable, place: int, cell: Cell) -> str:
    """The interval within the range of the column's ranked numbers."""
    if cell.rank is None or cell.low is None or cell.high is None:
        return ""
    ranked = [row.cells[place] for row in table.rows if row.cells[place].rank is not None]
    least = min(one.low for one in ranked if one.low is not None)
    most = max(one.high for one in ranked if one.high is not None)
    span = (most - least) or 1.0
    left, width = 100 * (cell.low - least) / span, 100 * (cell.high - cell.low) / span
    return f'<span class="bar" aria-hidden="true"><i style="left:{left:.2f}%;width:{width:.2f}%"></i></span>'


def _about_id(table: TaskTable, row: BoardRow) -> str:
    return f"{table.task}-{row.anchor}"


def _about(board: Board, table: TaskTable, row: BoardRow) -> Iterator[str]:
    details = row.details
    if details is None or details.record is None:
        return
    yield f'<details id="{_about_id(table, row)}" data-name="{escape(row.name)}" data-tier="{row.tier or ""}">'
    yield f"<summary>{escape(row.name)} {_badge(row.tier)}</summary>"
    if details.description:
        yield f"<p>{escape(details.description)}</p>"
    yield "<dl>"
    for name, text in _facts(details, details.record):
        yield f"<dt>{name}</dt><dd>{text}</dd>"
    yield "</dl>"
    yield from _warnings(details.record)
    yield from _numbers(details.record)
    audit = _audit(row)
    if audit:
        yield "<p>Predictions that the digest of all predictions chose:</p>"
        yield '<div class="audit">'
        for item_id, path in audit.items():
            source = escape(quote(_audit_path(board, table, row, path)))
            yield f'<img loading="lazy" src="{source}" alt="prediction of {escape(item_id)}" title="{escape(item_id)}">'
        yield "</div>"
    yield "</details>"


def _facts(details: Details, record: ResultRecord) -> Iterator[tuple[str, str]]:
    """Names and markup of what is known."""
    model = details.model
    if model is not None:
        for name, text in (
            ("trained on", model.training_data),
            ("licence", model.licence),
            ("citation", model.citation),
            ("card", f"{model.card} {model.card_sha256[:16]}".strip()),
        ):
            if text:
                yield name, escape(text)
        # Checked when the entry was read, and again where it does harm.
        if model.url and is_link(model.url):
            yield "address", f'<a href="{escape(model.url)}" rel="nofollow noopener">{escape(model.url)}</a>'
    if record.origin is not None:
        seed = "" if record.origin.seed is None else f", seed {record.origin.seed}"
        yield "made by", escape(f"{record.origin.model} ({record.origin.kind}{seed}, {record.samples} an item)")
    if details.verified:
        yield "verified", escape(details.verified)
    if not details.audit and details.model is not None and not details.source.endswith(".json"):
        yield "audit images", "none"
    yield "predictions", f"<code>{record.tree_sha256}</code>"
    yield "result", f"<code>{record.result_id}</code>"
    yield "file", f"<code>{escape(details.source)}</code>"


def _warnings(record: ResultRecord) -> Iterator[str]:
    for warning in record.warnings:
        yield f'<p class="warning">{escape(warning)}</p>'


def _numbers(record: ResultRecord) -> Iterator[str]:
    yield '<div class="scroll"><table><thead><tr><th scope="col">recipe</th><th scope="col" class="number">value</th>'
    yield '<th scope="col">95 % interval</th><th scope="col">signature</th></tr></thead><tbody>'
    for metric in in_table_order(record):
        yield f'<tr><th scope="row">{escape(metric.recipe)}</th><td class="number">{escape(_number(metric))}</td>'
        yield f"<td>{_interval(metric)}</td><td><code>{escape(metric.signature)}</code></td></tr>"
    yield "</tbody></table></div>"


def _number(metric: MetricValue) -> str:
    text = number_text(metric.value, metric.standard_error, named(metric.recipe).digits)
    return f"{text} {metric.unit}" if metric.unit else text


def _interval(metric: MetricValue) -> str:
    if metric.low is None or metric.high is None:
        return "-"
    digits = named(metric.recipe).digits
    return f"{metric.low:.{digits}f} to {metric.high:.{digits}f}"
