"""The page of a report: what must be read first, the numbers, every item, groups, and where it all comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.record import GroupRecord, MetricValue, ResultRecord
from palette_bench.publish.html import asset, data_block, escape, page
from palette_bench.publish.report.facts import Facts, GroupTable, ItemColumn
from palette_bench.publish.report.material import Material
from palette_bench.publish.report.pictures import Layout
from palette_bench.publish.tables.printed import PublishedRow, published_rows
from palette_bench.publish.tables.score import ScoreTable, TableRow, number_text, score_table
from palette_bench.score.recipes.catalogue import named

PACKAGE = "palette_bench.publish.report"
SIGNIFICANT = 6
WIDE, HIGH, EDGE = 300.0, 34.0, 8.0


def report_page(material: Material, facts: Facts, layout: Layout, full: Sequence[int]) -> str:
    """The whole page; ``full`` are the items that have full images."""
    record = material.record
    body = "\n".join(
        [
            _head(material),
            _warnings(record),
            _contents(record),
            _scores(record),
            _items(facts, layout, full),
            _groups(facts.tables),
            _diversity(record),
            _provenance(material),
            data_block("report-data", _data(material, facts, layout, full)),
        ]
    )
    title = f"{record.name}: {record.scored.task} on {record.scored.set_id}"
    return page(title, body, style=asset(PACKAGE, "report.css"), script=asset(PACKAGE, "report.js"))


def _head(material: Material) -> str:
    record, scored = material.record, material.record.scored
    made_by = "" if record.origin is None else f", made by {escape(record.origin.title)}"
    samples = "" if record.samples == 1 else f", {record.samples} samples each"
    return (
        f"<header><h1>{escape(record.name)}</h1>"
        f'<p class="lead">{escape(material.task.title)} on {escape(scored.set_id)} version {scored.version}: '
        f"{scored.count:,} items of {scored.size}×{scored.size}{samples}{made_by}</p></header>"
    )


def _contents(record: ResultRecord) -> str:
    titles = ["Scores", "Items", "Groups", *(["Diversity"] if record.histogram is not None else []), "Provenance"]
    links = " ".join(f'<a href="#{title.lower()}">{title}</a>' for title in titles)
    return f'<nav class="contents" aria-label="Contents">{links}</nav>'


def _warnings(record: ResultRecord) -> str:
    """What keeps numbers from being read as they stand; a word where there is nothing."""
    parts = [f"Comparable with nothing: {reason}." for reason in record.incomparable]
    parts += [f"{warning[:1].upper()}{warning[1:]}." for warning in record.warnings]
    parts += [f"No {name}: {reason}." for name, reason in record.refused.items()]
    if not parts:
        return '<p class="quiet" id="warnings">No warnings: nothing was noticed about these predictions.</p>'
    listed = "".join(f"<li>{escape(part)}</li>" for part in parts)
    title = "1 warning" if len(parts) == 1 else f"{len(parts)} warnings"
    return (
        f'<aside class="warning" id="warnings" aria-label="Warnings"><strong>{title}</strong><ul>{listed}</ul></aside>'
    )


def _scores(record: ResultRecord) -> str:
    table = score_table([record])
    rows = published_rows(record.scored.name, record.scored.task)
    bars = "".join(_bar(metric, _ticks(metric, table, rows, record.scored.name)) for metric in _in_order(record))
    known = ""
    if record.known_change is not None:
        known = (
            '<p class="quiet">Predictions are shown and scored with the known region of the reference put back; before '
            f"that they had changed it by {record.known_change:.3f} grey levels on average.</p>"
        )
    legend = [
        (
            '<path class="range" d="M2 6H24"/><circle class="value" cx="13" cy="6" r="4"/>',
            26,
            "this run, 95 % interval",
        ),
        ('<path class="ideal" d="M6 1L11 6L6 11L1 6Z"/>', 12, "untouched references"),
    ]
    if rows:
        legend += [
            ('<path class="published" d="M6 1V11"/>', 12, "published"),
            ('<path class="published marked" d="M6 1V11"/>', 12, "published, with a mark in the table"),
        ]
    keys = "".join(
        f'<span><svg class="key" viewBox="0 0 {width} 12" aria-hidden="true">{drawn}</svg> {text}</span>'
        for drawn, width, text in legend
    )
    return (
        f'<section id="scores"><h2>Scores</h2>{_score_table(table)}{known}'
        f'<p class="quiet legend">{keys}</p><div class="bars">{bars}</div></section>'
    )


def _in_order(record: ResultRecord) -> list[MetricValue]:
    """Headline numbers first, each in the order of the table."""
    return [record.metrics[name] for name in sorted(record.metrics, key=_place)]


def _place(recipe: str) -> tuple[bool, int, str]:
    return named(recipe).order


def _score_table(table: ScoreTable) -> str:
    heads = "".join(f'<th scope="col" class="number">{escape(heading)}</th>' for heading in table.headings)
    groups = "".join(
        f"<tbody>{''.join(_score_row(row, table) for row in group)}</tbody>" for group in table.groups if group
    )
    notes = "".join(f"<li><sup>{escape(mark)}</sup> {escape(text)}</li>" for mark, text in table.notes)
    return (
        f'<div class="scroll"><table class="scores"><caption>{escape(table.title)}</caption><thead><tr>'
        f'<th scope="col">model</th><th scope="col">{escape(table.source_heading)}</th>{heads}</tr></thead>{groups}'
        f'</table></div><ul class="notes">{notes}</ul>'
    )


def _score_row(row: TableRow, table: ScoreTable) -> str:
    kind = ' class="reference"' if row.reference else ' class="run"' if row.source == "this run" else ""
    cells = "".join(f'<td class="number">{_marked(cell, table)}</td>' for cell in row.cells)
    return f'<tr{kind}><th scope="row">{escape(row.name)}</th><td>{_marked(row.source, table)}</td>{cells}</tr>'


def _split(text: str, table: ScoreTable) -> tuple[str, list[str]]:
    """A cell without the marks at its end, and those."""
    known = {mark for mark, _ in table.notes}
    words = text.split(" ")
    end = len(words)
    while end > 1 and words[end - 1] in known:
        end -= 1
    return " ".join(words[:end]), words[end:]


def _marked(text: str, table: ScoreTable) -> str:
    plain, marks = _split(text, table)
    return escape(plain) + (f"<sup>{escape(' '.join(marks))}</sup>" if marks else "")


@dataclass(frozen=True, slots=True)
class _Tick:
    """A published number on a metric's axis; ``marked`` where its row or cell carries a mark in the table."""

    value: float
    text: str
    marked: bool


def _ticks(metric: MetricValue, table: ScoreTable, rows: Sequence[PublishedRow], set_name: str) -> list[_Tick]:
    """The published numbers of the column of a metric, with the table's own marks."""
    title, column = named(metric.recipe).title, named(metric.recipe).column
    place = next((n for n, heading in enumerate(table.headings) if heading.rpartition(" ")[0] == title), None)
    if column is None or place is None or not rows or not metric.headline:
        return []
    run = next((row for group in table.groups for row in group if row.source == "this run"), None)
    run_marked = run is not None and bool(_split(run.cells[place], table)[1])
    found = []
    for row, drawn in zip(rows, table.groups[0], strict=False):
        cell = row.printed(set_name).get(column)
        if cell is None or cell.value is None:
            continue
        marked = run_marked or any(_split(text, table)[1] for text in (drawn.cells[place], drawn.source))
        found.append(_Tick(cell.value, f"{row.label}: {cell.text}, {row.source}", marked))
    return found


def _bar(metric: MetricValue, ticks: Sequence[_Tick]) -> str:
    """A number with its interval on an axis of its own, the references' and the published numbers on the same."""
    recipe = named(metric.recipe)
    low, high = (metric.value, metric.value) if metric.low is None or metric.high is None else (metric.low, metric.high)
    ideal = [] if metric.reference_value is None else [metric.reference_value]
    values = [low, high, metric.value, *ideal, *(tick.value for tick in ticks)]
    least, most = min(values), max(values)
    if len(values) == 3:
        # With nothing beside it, an interval would fill the axis whatever its size.
        least, most = least - (most - least), most + (most - least)
    span = most - least or abs(most) or 1.0

    def x(value: float) -> str:
        return f"{EDGE + (value - least) / span * (WIDE - 2 * EDGE):.1f}"

    middle = HIGH / 2
    drawn = [f'<path class="axis" d="M{EDGE} {middle}H{WIDE - EDGE}"/>']
    drawn += [
        f'<path class="published{" marked" if tick.marked else ""}" d="M{x(tick.value)} 6V{HIGH - 6}">'
        f"<title>{escape(tick.text)}</title></path>"
        for tick in ticks
    ]
    for value in ideal:
        drawn.append(
            f'<path class="ideal" transform="translate({x(value)} {middle})" d="M0 -6L6 0L0 6L-6 0Z">'
            f"<title>untouched references: {number_text(value, None, recipe.digits)}</title></path>"
        )
    drawn.append(
        f'<path class="range" d="M{x(low)} {middle}H{x(high)}M{x(low)} 11V{HIGH - 11}M{x(high)} 11V{HIGH - 11}"/>'
    )
    drawn.append(f'<circle class="value" cx="{x(metric.value)}" cy="{middle}" r="4.5"/>')
    unit = f" {escape(metric.unit)}" if metric.unit else ""
    text = number_text(metric.value, metric.standard_error, recipe.digits) + unit
    interval = "no interval"
    if metric.low is not None and metric.high is not None:
        interval = f"95 %: {metric.low:.{recipe.digits}f} to {metric.high:.{recipe.digits}f}"
    better = "lower is better" if metric.lower_is_better else "higher is better"
    return (
        f'<figure class="bar"><figcaption><strong>{escape(metric.title)}</strong> <span class="score">{text}</span><br>'
        f'<span class="quiet">{escape(metric.recipe)}, {better}, {interval}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDE:.0f} {HIGH:.0f}" role="img" aria-label="{escape(metric.title)} {text}, {interval}">'
        f"{''.join(drawn)}</svg></figure>"
    )


def _items(facts: Facts, layout: Layout, full: Sequence[int]) -> str:
    views = "".join(
        f'<button type="button" data-view="{escape(view.key)}" aria-pressed="false">{escape(view.title)}</button>'
        for view in facts.views
    )
    if layout.exact:
        images = "Every image here is exact, pixel for pixel."
    else:
        images = (
            f"Thumbnails are lossy and {layout.tile} pixels wide. Exact images are here for {len(full):,} of "
            f"{layout.count:,} items, the heads of every list first."
        )
    unknown = ""
    if facts.classes.unknown:
        unknown = f'<p class="quiet">Class flips are not shown: {escape(facts.classes.unknown)}.</p>'
    samples = (
        "" if layout.samples == 1 else f" Of every item {layout.samples} samples can be seen, the first in the list."
    )
    return f"""<section id="items"><h2>Items</h2>
<p class="quiet">Each strip is condition, prediction, reference. {images}{samples}
A click or Enter opens an item.</p>{unknown}
<div class="tools"><div class="views" role="group" aria-label="Lists">{views}</div>
<label hidden>Class <select id="choose-class"></select></label>
<label>Sort by <select id="choose-sort"></select></label>
<button type="button" id="direction"></button>
<label>Find <input id="find" type="search" placeholder="part of an id" size="14" spellcheck="false"></label></div>
<p id="shown" class="quiet" aria-live="polite"></p>
<div id="grid"></div>
<nav class="pages" aria-label="Pages"><button type="button" id="previous-page">Previous page</button>
<label>Page <input id="page-number" type="number" min="1" value="1"></label> <span id="page-count"></span>
<button type="button" id="next-page">Next page</button></nav>
<noscript><p class="warning">The items need JavaScript; everything else on this page does not.</p></noscript></section>
{_DIALOG}"""


_DIALOG = """<dialog id="item" aria-labelledby="item-title"><div class="item">
<div class="item-head"><h2 id="item-title"></h2><span id="item-place" class="quiet"></span>
<button type="button" id="previous-item" title="Left arrow">Previous</button>
<button type="button" id="next-item" title="Right arrow">Next</button>
<button type="button" id="close" title="Escape">Close</button></div>
<div class="item-body"><div class="viewer">
<div class="sides"><label>Left <select id="left"></select></label>
<label>Right <select id="right"></select></label></div>
<div id="stage" tabindex="0" role="group"><div class="layer" id="right-layer"></div><div class="layer" id="left-layer">
</div><div id="divider" aria-hidden="true"></div></div>
<input id="slider" type="range" min="0" max="100" value="50" step="1" aria-label="Slider: share of the left image">
<div class="viewer-tools"><button type="button" id="blink" aria-pressed="false" title="b">Blink</button>
<button type="button" id="zoom-out" title="-" aria-label="Zoom out">&minus;</button>
<output id="zoom-level">100%</output>
<button type="button" id="zoom-in" title="+" aria-label="Zoom in">+</button>
<button type="button" id="zoom-fit" title="0">Fit</button>
<span id="side-shown" class="quiet"></span></div></div>
<div class="item-facts"><div id="panels"></div><p id="item-note" class="quiet"></p>
<dl id="numbers"></dl>
<p class="quiet keys"><kbd>&larr;</kbd> <kbd>&rarr;</kbd> items, <kbd>Shift</kbd> with them the slider, <kbd>b</kbd>
blink, <kbd>+</kbd> <kbd>&minus;</kbd> <kbd>0</kbd> zoom, <kbd>Esc</kbd> closes</p></div></div></div></dialog>"""


def _groups(tables: Iterable[GroupTable]) -> str:
    drawn = "".join(_group_table(table) for table in tables)
    if not drawn:
        drawn = '<p class="quiet">The items of this score form no groups: no classes, and holes of one size.</p>'
    return f'<section id="groups"><h2>Groups</h2>{drawn}</section>'


def _group_table(table: GroupTable) -> str:
    names = sorted({name for group in table.groups for name in group.metrics}, key=_place)
    heads = "".join(
        '<th scope="col" class="number" aria-sort="none"><button type="button" class="sort">'
        f"{escape(named(name).title)}</button></th>"
        for name in names
    )
    rows = "".join(_group_row(group, names) for group in table.groups)
    eval_set = " open" if len(table.groups) <= 32 else ""
    return (
        f'<details{eval_set}><summary>{escape(table.title)} <span class="quiet">{len(table.groups):,} groups, '
        f'{escape(table.note)}</span></summary><div class="scroll"><table class="sortable"><thead><tr>'
        '<th scope="col" aria-sort="none"><button type="button" class="sort">group</button></th>'
        '<th scope="col" class="number" aria-sort="none"><button type="button" class="sort">items</button></th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _group_row(group: GroupRecord, names: Sequence[str]) -> str:
    cells = []
    for name in names:
        found, digits = group.metrics.get(name), named(name).digits
        if found is None:
            cells.append('<td class="number">-</td>')
            continue
        text = number_text(found.value, found.standard_error, digits)
        cells.append(f'<td class="number" data-value="{found.value:.9g}">{escape(text)}</td>')
    return (
        f'<tr><th scope="row">{escape(group.name)}</th>'
        f'<td class="number" data-value="{group.count}">{group.count:,}</td>{"".join(cells)}</tr>'
    )


def _diversity(record: ResultRecord) -> str:
    """The histogram of pairwise MS-SSIM, as Figure 8 of the paper."""
    counts = record.histogram
    if counts is None:
        return ""
    most, total = max(counts) or 1, sum(counts)
    left, base, top, wide = 44.0, 172.0, 12.0, 640.0
    step = (wide - left - 8) / len(counts)
    bars = "".join(
        f'<path class="count" d="M{left + n * step + 0.5:.1f} {base}V{base - count / most * (base - top):.1f}'
        f'h{step - 1:.1f}V{base}Z">'
        f"<title>{n / len(counts):.2f} to {(n + 1) / len(counts):.2f}: {count:,} pairs</title></path>"
        for n, count in enumerate(counts)
        if count
    )
    ticks = "".join(
        f'<text x="{left + t / 5 * (wide - left - 8):.1f}" y="{base + 16}" text-anchor="middle">{t / 5:.1f}</text>'
        for t in range(6)
    )
    return f"""<section id="diversity"><h2>Diversity of samples</h2>
<p class="quiet">MS-SSIM of the first sample of an item with each other, {total:,} pairs: 1 is the same image twice.
Lower means more diverse.</p>
<svg class="histogram" viewBox="0 0 {wide:.0f} 208" role="img" aria-label="Histogram of pairwise MS-SSIM of samples">
<path class="axis" d="M{left} {base}H{wide - 8}"/>{bars}{ticks}
<text x="{(left + wide) / 2:.0f}" y="{base + 33}" text-anchor="middle">MS-SSIM of a pair</text>
<text x="{left - 6}" y="{top + 10}" text-anchor="end">{most:,}</text>
<text x="{left - 6}" y="{base}" text-anchor="end">0</text></svg></section>"""


def _provenance(material: Material) -> str:
    record, scored = material.record, material.record.scored
    signatures = "".join(_copyable(metric.signature) for metric in _in_order(record))
    lines = {
        "result id": record.result_id,
        "set": f"{scored.set_id} version {scored.version}, {scored.status}",
        "set's definition": scored.fingerprint,
        "set's images": scored.data_digest,
        "task": f"{scored.task} {scored.task_fingerprint}",
        "predictions": record.predictions_digest,
        "predictions' tree": record.tree_sha256,
    }
    if record.reference is not None:
        reference = record.reference
        lines["FID's reference"] = f"{reference.name}, {reference.count} images, {reference.data_digest}"
    if record.origin is not None:
        origin = record.origin
        lines["made by"] = f"{origin.title} ({origin.model}), card {origin.fingerprint}"
        lines["weights"] = origin.weights_sha256 or "none"
        lines["seed"] = "none" if origin.seed is None else str(origin.seed)
        if origin.post_processing:
            lines["after the model"] = ", ".join(str(step.get("step", step)) for step in origin.post_processing)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{_copyable(value)}</dd>" for name, value in lines.items())
    environment = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in sorted(record.environment.items())
    )
    return (
        '<section id="provenance"><h2>Provenance</h2><p>Signatures, for print beside the numbers:</p>'
        f'<div class="signatures">{signatures}</div><dl class="facts">{facts}</dl>'
        f'<details><summary>Environment of the score</summary><dl class="facts">{environment}</dl></details></section>'
    )


def _copyable(text: str) -> str:
    return (
        f'<span class="copyable"><code>{escape(text)}</code><button type="button" class="copy" '
        f'aria-label="Copy {escape(text)}">Copy</button></span>'
    )


def _data(material: Material, facts: Facts, layout: Layout, full: Sequence[int]) -> dict[str, object]:
    """What the script knows of items: columns of equal length, in set order."""
    classes = facts.classes
    return {
        "layout": {
            "size": layout.size,
            "columns": layout.columns,
            "lines": layout.lines,
            "count": layout.count,
            "samples": layout.samples,
            "exact": layout.exact,
            "suffix": layout.suffix,
        },
        "full": list(full),
        "ids": list(material.items.ids),
        "classNames": list(classes.names),
        "labels": _whole(classes.labels),
        "words": {str(number): word for number, word in classes.words.items()},
        "predicted": _whole(classes.predicted),
        "right": _whole(classes.right),
        "reference": _whole(classes.reference),
        "flips": _whole(classes.flips),
        "columns": [_column(column) for column in facts.columns],
        "views": [
            {
                "key": view.key,
                "title": view.title,
                "note": view.note,
                "column": view.column,
                "descending": view.descending,
                "flips": view.flips,
            }
            for view in facts.views
        ],
    }


def _whole(values: NDArray[np.generic] | None) -> list[int] | None:
    return None if values is None else [int(value) for value in values.astype(np.int64)]


def _column(column: ItemColumn) -> Mapping[str, object]:
    values = [float(f"{value:.{SIGNIFICANT}g}") if np.isfinite(value) else None for value in column.values.tolist()]
    return {"key": column.key, "title": column.title, "digits": column.digits, "values": values}
