"""A table in six formats: for a terminal, and as Markdown, LaTeX, HTML, CSV and JSON.

Names and notes are somebody else's text and escaped in each.
"""

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from palette_bench.common.errors import printable
from palette_bench.publish import pages
from palette_bench.publish.tables import markup
from palette_bench.publish.tables.methods import Methods
from palette_bench.publish.tables.printed import BLANK
from palette_bench.publish.tables.ranking import Place
from palette_bench.publish.tables.table import UNDECIDED, Source, Table, TableCell, TableRow

if TYPE_CHECKING:
    from rich.table import Table as Drawn
    from rich.text import Text

SCHEMA = 1
YOURS = "▸"
"""Before the label of a row of the reader's own."""
UNSTYLED = {Place.BEST: "**", Place.SECOND: "_", Place.OTHER: ""}
STYLES = {Place.BEST: "bold", Place.SECOND: "underline", Place.OTHER: ""}
LEAST_LABEL, MOST_LABEL = 12, 24
"""Between these, a label keeps the width of the longest word of any, however many numbers there are."""
PADDING = 3
"""What a column takes besides its text."""


class Format(StrEnum):
    """What a table is written as."""

    RICH = "rich"
    MARKDOWN = "md"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def written(table: Table, form: Format, methods: Methods) -> str:
    """A numbered table as the text of a file, with the paragraph on methods; for `RICH` there is `terminal`."""
    match form:
        case Format.RICH:
            raise ValueError("a terminal draws its tables itself")
        case Format.MARKDOWN:
            return _markdown_page(table, methods)
        case Format.LATEX:
            return _latex(table, methods)
        case Format.HTML:
            return pages.render(
                "table.html.jinja",
                table.heading,
                style=pages.asset("palette_bench.publish", "table.css"),
                table=table,
                methods=methods,
            )
        case Format.CSV:
            return _csv(table)
        case Format.JSON:
            return json.dumps(data(table, methods), indent=2, allow_nan=False) + "\n"


# Terminal


def terminal(table: Table, *, width: int, styled: bool) -> "Iterator[str | Drawn]":
    """The lines and drawings of a table, footnotes below.

    Where it is wider than ``width``, columns under one heading come together, as many as fit, one block below the
    other. A number is never broken. Without ``styled`` the best has two stars around it, the second a line.
    """
    if table.heading:
        yield printable(" ".join([table.heading, *table.marks]))
    if table.columns and table.groups:
        yield from _blocks(table, width, styled=styled)
    if table.number and any(row.source is Source.YOURS for row in table.rows):
        yield f"  {YOURS} your records"
    for text in table.legend():
        yield f"  {text if styled else text.replace('best bold, second underlined', '**best**, _second_')}"
    for mark, text in table.notes:
        yield f"  {mark}  {printable(text)}"
    for text in table.remarks:
        yield f"  {printable(text)}"


def _blocks(table: Table, width: int, *, styled: bool) -> "Iterator[Drawn]":
    """The drawings that the columns come to stand in."""
    from rich.console import Console

    everything = list(range(len(table.columns)))
    whole = _drawn(table, everything, styled=styled)
    if Console(width=10_000).measure(whole).maximum <= width:
        yield whole
        return
    for _, of_over in groupby(everything, key=lambda index: table.columns[index].over):
        block: list[int] = []
        label = _label_width(table)
        taken = label + PADDING
        for index in of_over:
            needed = PADDING + (LEAST_LABEL if table.columns[index].text else _least_width(table, index, styled=styled))
            if block and taken + needed > width:
                yield _drawn(table, block, styled=styled, folded=True)
                block, taken = [], label + PADDING
            block.append(index)
            taken += needed
        yield _drawn(table, block, styled=styled, folded=True)


def _label_width(table: Table) -> int:
    longest = max((len(word) for row in table.rows for word in row.label.split()), default=0)
    return sorted((LEAST_LABEL, MOST_LABEL, longest))[1]


def _least_width(table: Table, index: int, *, styled: bool) -> int:
    """The width of the widest number of a column, and of the longest word of its head."""
    words = f"{table.columns[index].head} {table.columns[index].over}".split()
    numbers = [_drawn_cell(row.cells[index], styled=styled).cell_len for row in table.rows]
    return max([*map(len, words), *numbers])


def _drawn(table: Table, indices: Sequence[int], *, styled: bool, folded: bool = False) -> "Drawn":
    """Some columns of the table; ``folded`` heads are no wider than the numbers below them, or a word."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=box.SIMPLE_HEAD)
    drawn.add_column(Text(table.row_head), overflow="fold", min_width=_label_width(table) if folded else None)
    for index in indices:
        column = table.columns[index]
        lines = [*([column.over] if column.over else []), " ".join([column.head, *column.marks])]
        least = _least_width(table, index, styled=styled)
        if folded and not column.text:
            lines = [part for line in lines for part in textwrap.wrap(line, least)]
        shown = Text(printable("\n".join(lines), keep="\n"))
        if column.text:
            drawn.add_column(shown, overflow="fold")
        else:
            drawn.add_column(shown, justify="right", no_wrap=True, min_width=least if folded else None)
    for group in table.groups:
        if title := table.group_title(group):
            drawn.add_row(Text(printable(title), style="bold" if styled else ""))
        for row in group.rows:
            cells = [_drawn_cell(row.cells[index], styled=styled) for index in indices]
            style = "red" if row.fails else "italic" if row.reference else None
            drawn.add_row(Text(_terminal_label(table, row)), *cells, style=style)
        drawn.add_section()
    return drawn


def _terminal_label(table: Table, row: TableRow) -> str:
    parts = [row.label]
    if table.number and row.source is Source.YOURS:
        parts.insert(0, YOURS)
    if row.cites:
        parts.append(f"[{row.cites}]")
    if row.paper is not None and row.paper != table.paper:
        parts.append(f"({row.paper.name})")
    return printable(" ".join([*parts, *row.marks]))


def _drawn_cell(cell: TableCell, *, styled: bool) -> "Text":
    from rich.text import Text

    shown = printable(cell.text.replace(" ± ", " ±"))
    around = UNSTYLED[cell.place]
    number = Text(shown, style=STYLES[cell.place]) if styled else Text(f"{around}{shown}{around}")
    # A base of no style, or the padding would be underlined with the number.
    return Text.assemble(number, "".join(f" {mark}" for mark in cell.all_marks))


# Markdown


def markdown(table: Table, *, origins: bool = False) -> list[str]:
    """The lines of a table in GitHub's Markdown, without its heading and notes.

    ``origins`` gives a column that says where rows come from.
    """
    escape = markup.markdown
    columns = table.columns
    text_columns = [column for column in columns if column.text]
    if text_columns != list(columns[: len(text_columns)]):
        raise ValueError("columns of text come first")
    heads = [_with_marks_markdown(escape(f"{column.over} {column.head}".strip()), column.marks) for column in columns]
    first = [escape(table.row_head), *(["from"] if origins else [])]
    lines = markup.markdown_head([*first, *heads[: len(text_columns)]], heads[len(text_columns) :])
    for number, group in enumerate(table.groups):
        title = table.group_title(group)
        if title or (number and origins):
            blanks = [""] * (len(first) + len(columns) - 1)
            lines.append(markup.markdown_line([f"*{escape(title)}*" if title else "", *blanks]))
        for row in group.rows:
            label = escape(row.label) + (f" {escape(f'[{row.cites}]')}" if row.cites else "")
            shown = _with_marks_markdown(f"*{label}*" if row.reference else label, row.marks)
            cells = [_markdown_cell(cell) for cell in row.cells]
            lines.append(markup.markdown_line([shown, *([escape(row.origin)] if origins else []), *cells]))
    return lines


def markdown_notes(table: Table) -> list[str]:
    """The lines of a table's footnotes and remarks."""
    lines = [f"- <sup>{mark}</sup> {markup.markdown(text)}" for mark, text in table.notes]
    return lines + [f"- {markup.markdown(text)}" for text in table.remarks]


def _markdown_cell(cell: TableCell) -> str:
    text = markup.markdown(cell.text) if cell.text != BLANK else BLANK
    return _with_marks_markdown(markup.markdown_emphasised(text, cell.place), cell.all_marks)


def _markdown_page(table: Table, methods: Methods) -> str:
    """The table, its notes, signatures, the paragraph on methods and its references."""
    escape = markup.markdown
    lines = [f"### {_with_marks_markdown(escape(table.heading), table.marks)}", "", *markdown(table, origins=True)]
    lines += ["", *(f"{escape(text[:1].upper() + text[1:])}.  " for text in table.legend())]
    lines += ["", *markdown_notes(table)]
    lines += ["", methods.render(escape, lambda cited: f" \\[{methods.numbers(cited)}\\]")]
    lines += ["", *(f"{number}. {escape(c.text)}" for number, c in enumerate(methods.citations, 1))]
    if signatures := table.signatures():
        lines += ["", "Signatures:", "", *(f"- `{printable(text).replace('`', '')}`" for text in signatures)]
    return "\n".join(lines).replace("\n\n\n", "\n\n").strip() + "\n"


def _with_marks_markdown(text: str, marks: Sequence[str]) -> str:
    return f"{text} <sup>{' '.join(marks)}</sup>" if marks else text


# LaTeX


def _latex(table: Table, methods: Methods) -> str:
    """A ``table`` environment with booktabs rules, notes and signatures below, and the paragraph on methods after it.

    Needs ``\\usepackage{booktabs}`` and the entries of the methods' citations.
    """
    escape = markup.latex
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


def latex_rows(table: Table) -> str:
    """The lines of the reader's own rows alone, for a table of theirs; what keeps numbers apart stands in comments."""
    lines = [markup.latex_comment(" & ".join([table.row_head, *(f"{c.over} {c.head}".strip() for c in table.columns)]))]
    for group in table.groups:
        yours = [row for row in group.rows if row.source is Source.YOURS]
        if yours and (title := table.group_title(group)):
            lines.append(markup.latex_comment(title))
        for row in yours:
            cells = [replace(cell, marks=(), undecided=()) for cell in row.cells]
            lines.append(f"{_latex_label(replace(row, marks=()))} & {' & '.join(map(_latex_cell, cells))} \\\\")
            reasons = [text for cell in row.cells for text in (*cell.reasons, *cell.remarks)]
            lines += [f"{markup.latex_comment(text)}" for text in dict.fromkeys((*row.remarks, *row.reasons, *reasons))]
    return "\n".join(lines) + "\n"


def _label(number: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in number).lower()


def _breakable(signature: str) -> str:
    """A signature that may end a line after each of its parts; typewriter has the letters itself."""
    return "|\\allowbreak{}".join(map(markup.latex, signature.split("|")))


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


def _record_comments(table: Table) -> list[str]:
    lines = []
    for entry in table.entries:
        record = entry.record
        lines.append(markup.latex_comment(f"{entry.name}: {record.scored.task}, result_id {record.result_id}"))
        shown = {cell.signature for cell in table.cells}
        lines += [markup.latex_comment(f"  {m.signature}") for m in record.metrics.values() if m.signature in shown]
    return lines


def _latex_over(table: Table) -> list[str]:
    """The line of headings above several columns, with its rules."""
    if not any(column.over for column in table.columns):
        return []
    cells, rules, at = [""], [], 2
    for over, width in table.overs():
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{markup.latex(over)}}}")
        rules += [f"\\cmidrule(lr){{{at}-{at + width - 1}}}"] if over else []
        at += width
    return [" & ".join(cells) + " \\\\", "".join(rules)]


def _with_marks_latex(text: str, marks: Sequence[str]) -> str:
    return f"{text}\\textsuperscript{{{' '.join(marks)}}}" if marks else text


def _latex_label(row: TableRow) -> str:
    label = markup.latex(row.label) + (f" {markup.latex(f'[{row.cites}]')}" if row.cites else "")
    label = f"\\emph{{{label}}}" if row.reference else label
    cited = f"~\\cite{{{row.paper.key}}}" if row.paper is not None else ""
    return _with_marks_latex(label, row.marks) + cited


def _latex_cell(cell: TableCell) -> str:
    text = (
        "--" if cell.value is None and cell.text == "-" else markup.latex(cell.text).replace(" $\\pm$ ", "\\,$\\pm$\\,")
    )
    text = {Place.BEST: f"\\textbf{{{text}}}", Place.SECOND: f"\\underline{{{text}}}", Place.OTHER: text}[cell.place]
    return _with_marks_latex(text, ["$\\approx$" if mark == UNDECIDED else mark for mark in cell.all_marks])


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


def _csv(table: Table) -> str:
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


def _cells(table: Table) -> list[dict[str, object]]:
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


def data(table: Table, methods: Methods) -> dict[str, object]:
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
                "direction": None if column.direction is None else column.direction.value,
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
