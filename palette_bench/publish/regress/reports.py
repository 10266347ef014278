"""What a regression leaves for machines and reviewers: JUnit XML, and a summary in GitHub-flavoured Markdown."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.etree import ElementTree

from palette_bench.publish.regress.manifest import Manifest, Outcome, Status, counts
from palette_bench.publish.tables import markup
from palette_bench.publish.tables.render import markdown
from palette_bench.publish.tables.table import Table, TableColumn, TableGroup, TableRow, words

SIGNS = {
    Status.REPRODUCING: "✅",
    Status.WITHIN_BAND: "🟡",
    Status.UNTESTED: "⚪",
    Status.NOT_COMPARABLE: "❌",
    Status.NOT_REPRODUCING: "❌",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(manifest: Manifest, outcomes: Sequence[Outcome]) -> bytes:
    """JUnit XML: a suite per table, a case per cell. Failing statuses are failures, untested cells are skipped."""
    suites = ElementTree.Element("testsuites", name=_xml(manifest.name))
    for number, of_table in groupby(outcomes, key=lambda outcome: outcome.table):
        cells = list(of_table)
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=_xml(f"Table {number}: {manifest.titles[number]}"),
            tests=str(len(cells)),
            failures=str(sum(cell.status.fails for cell in cells)),
            errors="0",
            skipped=str(sum(cell.status is Status.UNTESTED for cell in cells)),
        )
        for cell in cells:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_xml(f"{manifest.name}.table-{number}.{cell.task}"),
                name=_xml(f"{cell.label}: {cell.recipe}"),
            )
            if cell.status.fails:
                failure = ElementTree.SubElement(case, "failure", type=cell.status.value, message=_xml(cell.detail))
                failure.text = f"printed {cell.printed}, found {cell.found}, allowed {cell.allowed:.3g}"
            elif cell.status is Status.UNTESTED:
                ElementTree.SubElement(case, "skipped", message=_xml(cell.detail))
            else:
                ElementTree.SubElement(case, "system-out").text = _xml(f"{cell.status.value}: {cell.detail}")
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _xml(text: str) -> str:
    """``text`` without the control characters that XML 1.0 has no way to write."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def summary(manifest: Manifest, outcomes: Sequence[Outcome]) -> str:
    """Markdown for the summary page of a workflow: the counts, every cell that is not reproducing, a line per table."""
    of_status = counts(outcomes)
    lines = [f"## {markup.markdown(manifest.name)}: {len(outcomes)} published numbers", ""]
    lines += [f"- {SIGNS[status]} {status.value}: {count}" for status, count in of_status.items() if count]
    for table in (*cells_tables(outcomes), tables_table(manifest, outcomes)):
        lines += ["", f"### {markup.markdown(table.title)}", "", *markdown(table)]
    return "\n".join(lines) + "\n"


def tables_table(manifest: Manifest, outcomes: Sequence[Outcome]) -> Table:
    """A line per table: its cells, and how many of them have each status."""
    rows = []
    for number, of_table in groupby(outcomes, key=lambda outcome: outcome.table):
        of_status = counts(list(of_table))
        label = f"{number}: {manifest.titles[number]}"
        rows.append(TableRow(label=label, cells=words(str(sum(of_status.values())), *map(str, of_status.values()))))
    columns = tuple(TableColumn(head=head) for head in ("cells", *Status))
    return Table(title="Tables", columns=columns, groups=(TableGroup(rows=tuple(rows)),), row_head="table")


def cells_tables(outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """A line for every cell that is out of its band, and for every one that only its band admits."""
    for statuses, title in (
        ((Status.NOT_REPRODUCING, Status.NOT_COMPARABLE), "Out of band"),
        ((Status.WITHIN_BAND,), "Within the stated band"),
    ):
        rows = tuple(_cell_row(outcome) for outcome in outcomes if outcome.status in statuses)
        if rows:
            heads = ("table", "row", "task", "recipe", "status", "why")
            columns = (*(TableColumn(head=h, text=True) for h in heads), *map(_number_column, ("printed", "found")))
            yield Table(title=title, columns=columns, groups=(TableGroup(rows=rows),))


def _number_column(head: str) -> TableColumn:
    return TableColumn(head=head)


def _cell_row(cell: Outcome) -> TableRow:
    found = "-" if cell.found is None else f"{cell.found:.6g}"
    texts = (cell.table, cell.label, cell.task, cell.recipe, cell.status.value, cell.detail, cell.printed, found)
    return TableRow(label=SIGNS[cell.status], cells=words(*texts), fails=cell.status.fails)
