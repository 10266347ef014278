"""A filled table as Markdown, LaTeX, HTML, CSV and JSON; names and notes are somebody else's text and escaped in each.

The terminal's form is in ``cli.tables``.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from palette_bench.common.errors import printable
from palette_bench.publish import html
from palette_bench.publish.tables import latex
from palette_bench.publish.tables import markup as markdown
from palette_bench.publish.tables.citations import Citation
from palette_bench.publish.tables.methods import Methods
from palette_bench.publish.tables.paper import UNDECIDED, PaperTable, Source, TableCell, TableGroup, TableRow
from palette_bench.publish.tables.ranking import Place

SCHEMA = 1


class Format(StrEnum):
    """What a table is written as."""

    RICH = "rich"
    MARKDOWN = "md"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def marks_of(cell: TableCell) -> str:
    """The sign of doubt and the footnotes of a cell, empty for none."""
    return (UNDECIDED if cell.undecided else "") + " ".join(cell.marks)


# Markdown


def as_markdown(table: PaperTable, methods: Methods) -> str:
    """GitHub's Markdown: the table, its notes, signatures, the paragraph on methods and its references."""
    escape = markdown.escape
    heads = [
        _with_marks_markdown(escape(f"{column.over} {column.head}".strip()), column.marks) for column in table.columns
    ]
    lines = [
        f"### {_with_marks_markdown(escape(table.heading), table.marks)}",
        "",
        *markdown.head_lines([escape(table.row_head), "from"], heads),
    ]
    for number, group in enumerate(table.groups):
        title = table.group_title(group)
        if title or number:
            lines.append(markdown.line([f"*{escape(title)}*" if title else "", *[""] * (len(heads) + 1)]))
        for row in group.rows:
            label = escape(row.label) + (f" {escape(f'[{row.cites}]')}" if row.cites else "")
            first = _with_marks_markdown(f"*{label}*" if row.reference else label, row.marks)
            cells = [
                _with_marks_markdown(
                    markdown.emphasised(escape(cell.text) if cell.text != "-" else "-", cell.place),
                    ([UNDECIDED] if cell.undecided else []) + list(cell.marks),
                )
                for cell in row.cells
            ]
            lines.append(markdown.line([first, escape(row.origin), *cells]))
    lines += ["", *(f"{escape(text[:1].upper() + text[1:])}.  " for text in table.legend())]
    lines += ["", *(f"- <sup>{mark}</sup> {escape(text)}" for mark, text in table.notes)]
    lines += [f"- {escape(text)}" for text in table.remarks]
    paragraph = methods.render(escape, lambda cited: f" {_bracketed(methods, cited, escape=True)}")
    lines += ["", paragraph]
    lines += ["", *(f"{number}. {escape(c.text)}" for number, c in enumerate(methods.citations, 1))]
    if signatures := table.signatures():
        lines += ["", "Signatures:", "", *(f"- `{printable(text).replace('`', '')}`" for text in signatures)]
    return "\n".join(lines).replace("\n\n\n", "\n\n").strip() + "\n"


def _with_marks_markdown(text: str, marks: Sequence[str]) -> str:
    return f"{text} <sup>{' '.join(marks)}</sup>" if marks else text


def _bracketed(methods: Methods, cited: Sequence[Citation], *, escape: bool = False) -> str:
    numbers = ", ".join(str(methods.number(citation)) for citation in cited)
    return f"\\[{numbers}\\]" if escape else f"[{numbers}]"


# LaTeX


def as_latex(table: PaperTable, methods: Methods) -> str:
    """A ``table`` environment with booktabs rules, notes and signatures below, and the paragraph on methods after it.

    Needs ``\\usepackage{booktabs}`` and the entries of the methods' citations.
    """
    escape = latex.escape
    columns = len(table.columns) + 1
    lines = [
        "% Needs \\usepackage{booktabs}; the cited entries are written by palette-bench table --bib FILE.",
        *_record_comments(table),
        "\\begin{table}[tb]",
        "\\centering",
        f"\\caption{{{_with_marks_latex(escape(table.title), table.marks)}}}",
        f"\\label{{tab:{'scenes32' if table.paper is None else table.paper.key}-{_label(table.number)}}}",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{3.5pt}",
        f"\\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        "\\toprule",
        *_latex_over(table),
        " & ".join([escape(table.row_head), *(_with_marks_latex(escape(c.head), c.marks) for c in table.columns)])
        + " \\\\",
    ]
    for group in table.groups:
        lines.append("\\midrule")
        if title := table.group_title(group):
            lines.append(f"\\multicolumn{{{columns}}}{{@{{}}l}}{{\\emph{{{escape(title)}}}}} \\\\")
        lines += [f"{_latex_label(row)} & {' & '.join(map(_latex_cell, row.cells))} \\\\" for row in group.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    below = [escape(f"{text[:1].upper() + text[1:]}.") for text in table.legend()]
    below += [f"\\textsuperscript{{{mark}}}\\,{escape(text)}." for mark, text in table.notes]
    below += [escape(text) for text in table.remarks]
    if below or table.signatures():
        lines += ["", "\\smallskip", "\\begin{minipage}{\\linewidth}", "\\scriptsize\\raggedright"]
        lines += [f"{text}\\par" for text in below]
        lines += [f"\\texttt{{{_breakable(text)}}}\\par" for text in _without_repeats(table.signatures())]
        lines += ["\\end{minipage}"]
    paragraph = methods.render(escape, lambda cited: f"~\\cite{{{','.join(c.key for c in cited)}}}")
    return "\n".join([*lines, "\\end{table}", "", paragraph]) + "\n"


def _label(number: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in number).lower()


def _breakable(signature: str) -> str:
    """A signature that may end a line after each of its parts; typewriter has the letters itself."""
    return "|\\allowbreak{}".join(map(latex.escape, signature.split("|")))


def _without_repeats(signatures: Sequence[str]) -> list[str]:
    """Signatures that differ in the task alone as one, all its tasks in their place; the comments have them whole."""
    tasks: dict[tuple[str, ...], list[str]] = {}
    for signature in signatures:
        parts = signature.split("|")
        frame = tuple("task:" if part.startswith("task:") else part for part in parts)
        tasks.setdefault(frame, []).extend(part[5:] for part in parts if part.startswith("task:"))
    return [
        "|".join(f"task:{','.join(of_frame)}" if part == "task:" else part for part in frame)
        for frame, of_frame in tasks.items()
    ]


def _record_comments(table: PaperTable) -> list[str]:
    lines = []
    for entry in table.entries:
        record = entry.record
        lines.append(latex.comment(f"{entry.name}: {record.scored.task}, result_id {record.result_id}"))
        shown = {cell.signature for cell in table.cells}
        lines += [latex.comment(f"  {m.signature}") for m in record.metrics.values() if m.signature in shown]
    return lines


def _latex_over(table: PaperTable) -> list[str]:
    """The line of headings above several columns, with its rules."""
    if not any(column.over for column in table.columns):
        return []
    cells, rules, at = [""], [], 2
    for over, columns in groupby(table.columns, key=lambda column: column.over):
        width = len(list(columns))
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{latex.escape(over)}}}")
        rules += [f"\\cmidrule(lr){{{at}-{at + width - 1}}}"] if over else []
        at += width
    return [" & ".join(cells) + " \\\\", "".join(rules)]


def _with_marks_latex(text: str, marks: Sequence[str]) -> str:
    return f"{text}\\textsuperscript{{{' '.join(marks)}}}" if marks else text


def _latex_label(row: TableRow) -> str:
    label = latex.escape(row.label) + (f" {latex.escape(f'[{row.cites}]')}" if row.cites else "")
    label = f"\\emph{{{label}}}" if row.reference else label
    cited = f"~\\cite{{{row.paper.key}}}" if row.paper is not None else ""
    return _with_marks_latex(label, row.marks) + cited


def _latex_cell(cell: TableCell) -> str:
    text = (
        "--" if cell.value is None and cell.text == "-" else latex.escape(cell.text).replace(" $\\pm$ ", "\\,$\\pm$\\,")
    )
    text = {Place.BEST: f"\\textbf{{{text}}}", Place.SECOND: f"\\underline{{{text}}}", Place.OTHER: text}[cell.place]
    doubt = ["$\\approx$"] if cell.undecided else []
    return _with_marks_latex(text, [*doubt, *cell.marks])


# HTML

_STYLE = """td.best { font-weight: 700; }
td.second { text-decoration: underline; text-underline-offset: .2em; }
tr.reference { color: var(--quiet); font-style: italic; }
tr.yours th, tr.yours td { background: var(--shade); }
tbody th { font-weight: 400; }
tbody th.title { font-weight: 600; padding-top: 1rem; }
tbody + tbody { border-top: 2px solid var(--line); }
thead th.over { text-align: center; border-bottom-width: 1px; }
.notes { padding-left: 1.5rem; }
.notes li { margin: .2rem 0; max-width: 62rem; }
"""


def as_html(table: PaperTable, methods: Methods) -> str:
    """One page that opens by double-click: the table, notes, methods with references, signatures."""
    escape = html.escape
    head = [f'<th scope="col">{escape(table.row_head)}</th>', '<th scope="col">from</th>']
    head += [f'<th scope="col" class="number">{escape(c.head)}{_sup(c.marks)}</th>' for c in table.columns]
    body = [
        f"<h1>{escape(table.heading)}{_sup(table.marks)}</h1>",
        '<div class="scroll"><table>',
        f"<thead>{_html_over(table)}<tr>{''.join(head)}</tr></thead>",
    ]
    for group in table.groups:
        body += ["<tbody>", *_html_group(table, group), "</tbody>"]
    body.append("</table></div>")
    body += [f"<p>{escape(text[:1].upper() + text[1:])}.</p>" for text in table.legend()]
    notes = [f"<li><sup>{escape(mark)}</sup> {escape(text)}</li>" for mark, text in table.notes]
    notes += [f"<li>{escape(text)}</li>" for text in table.remarks]
    if notes:
        body += ["<h2>Notes</h2>", '<ul class="notes">', *notes, "</ul>"]
    paragraph = methods.render(escape, lambda cited: f" {_bracketed(methods, cited)}")
    body += ["<h2>Evaluation</h2>", f"<p>{paragraph}</p>"]
    body += ["<ol>", *(f"<li>{escape(citation.text)}</li>" for citation in methods.citations), "</ol>"]
    if signatures := table.signatures():
        body += ["<h2>Signatures</h2>", *(f"<p><code>{escape(text)}</code></p>" for text in signatures)]
    return html.page(table.heading, "\n".join(body) + "\n", style=_STYLE)


def _html_over(table: PaperTable) -> str:
    if not any(column.over for column in table.columns):
        return ""
    cells = ['<td colspan="2"></td>']
    for over, columns in groupby(table.columns, key=lambda column: column.over):
        cells.append(f'<th class="over" colspan="{len(list(columns))}">{html.escape(over)}</th>')
    return f"<tr>{''.join(cells)}</tr>"


def _html_group(table: PaperTable, group: TableGroup) -> list[str]:
    lines = []
    if title := table.group_title(group):
        width = len(table.columns) + 2
        lines.append(f'<tr><th class="title" scope="rowgroup" colspan="{width}">{html.escape(title)}</th></tr>')
    for row in group.rows:
        label = html.escape(row.label) + (f" [{html.escape(row.cites)}]" if row.cites else "") + _sup(row.marks)
        kind = "reference" if row.reference else row.source.value
        cells = [f'<th scope="row">{label}</th>', f'<td class="quiet">{html.escape(row.origin)}</td>']
        for cell in row.cells:
            doubt = [UNDECIDED] if cell.undecided else []
            hint = f' title="not decided against {html.escape(", ".join(cell.undecided))}"' if doubt else ""
            text = html.escape(cell.text if cell.text != "-" else "–")
            place = f" {cell.place.value}" if cell.place else ""
            cells.append(f'<td class="number{place}"{hint}>{text}{_sup([*doubt, *cell.marks])}</td>')
        lines.append(f'<tr class="{kind}">{"".join(cells)}</tr>')
    return lines


def _sup(marks: Sequence[str]) -> str:
    return f"<sup>{html.escape(' '.join(marks))}</sup>" if marks else ""


# For programs

_CSV_COLUMNS = (
    "table",
    "group",
    "tasks",
    "row",
    "from",
    "reference",
    "column",
    "over",
    "set",
    "recipe",
    "value",
    "error",
    "unit",
    "comparable",
    "rank",
    "place",
    "undecided_against",
    "marks",
    "fingerprint",
    "signature",
)
_NUMBERS = frozenset(["value", "error", "rank"])
_FORMULA = frozenset("=+-@＝＋－＠")
"""What begins a formula, full-width forms included."""


def as_csv(table: PaperTable) -> str:
    """One line a cell, numbers in full. Text that a spreadsheet would compute begins with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for cell in _cells(table):
        writer.writerow([_csv_text(name, cell[name]) for name in _CSV_COLUMNS])
    return stream.getvalue()


def _csv_text(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _NUMBERS:
        return repr(value)
    if isinstance(value, bool):
        return str(value).lower()
    text = printable("; ".join(value) if isinstance(value, list) else str(value))
    return f"'{text}" if text.lstrip()[:1] in _FORMULA else text


def _cells(table: PaperTable) -> list[dict[str, object]]:
    """Every cell with a number or a reason for none, as plain data, its row and column beside it."""
    texts = dict(table.notes)
    return [
        {
            "table": table.number,
            "group": table.group_title(group),
            "tasks": list(group.tasks),
            "row": row.label,
            "from": row.origin,
            "reference": row.reference,
            "column": column.head,
            "over": column.over,
            "set": column.set_name,
            "recipe": cell.recipe or column.recipe,
            "signature": cell.signature or None,
            **_number(cell, [*row.marks, *cell.marks], texts),
        }
        for group in table.groups
        for row in group.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]


def _number(cell: TableCell, marks: Sequence[str], texts: Mapping[str, str]) -> dict[str, object]:
    return {
        "value": cell.value,
        "error": cell.error,
        "unit": cell.unit,
        "fingerprint": cell.fingerprint,
        "comparable": cell.comparable,
        "rank": cell.rank,
        "place": cell.place.value or None,
        "undecided_against": list(cell.undecided),
        "marks": [texts[mark] for mark in dict.fromkeys(marks)],
    }


def as_data(table: PaperTable, methods: Methods) -> dict[str, object]:
    """Everything for programs: the table in its layout, a number's fields apart, notes as text where they belong."""
    texts = dict(table.notes)
    return {
        "schema": SCHEMA,
        "table": table.number,
        "paper": None if table.paper is None else table.paper.key,
        "title": table.title,
        "notes": [texts[mark] for mark in table.marks] + list(table.remarks),
        "legend": table.legend(),
        "columns": [
            {
                "head": column.head,
                "over": column.over,
                "set": column.set_name or None,
                "recipe": column.recipe or None,
                "direction": column.direction.value,
                "marks": [texts[mark] for mark in column.marks],
            }
            for column in table.columns
        ],
        "groups": [
            {
                "title": table.group_title(group),
                "tasks": list(group.tasks),
                "rows": [
                    {
                        "label": row.label,
                        "cites": row.cites or None,
                        "source": row.source.value,
                        "from": row.origin,
                        "yours": row.source is Source.YOURS,
                        "reference": row.reference,
                        "marks": [texts[mark] for mark in row.marks],
                        "cells": [
                            {
                                "text": cell.text,
                                "recipe": cell.recipe or None,
                                "signature": cell.signature or None,
                                **_number(cell, cell.marks, texts),
                            }
                            for cell in row.cells
                        ],
                    }
                    for row in group.rows
                ],
            }
            for group in table.groups
        ],
        "records": [
            {
                "name": entry.name,
                "source": entry.source.value,
                "set": entry.record.scored.set_id,
                "task": entry.record.scored.task,
                "result_id": entry.record.result_id,
                "tree_sha256": entry.record.tree_sha256,
            }
            for entry in table.entries
        ],
        "methods": methods.plain,
        "citations": [{"key": citation.key, "text": citation.text} for citation in methods.citations],
    }
