"""What a regression leaves for machines and reviewers: JUnit XML, and a summary in GitHub-flavoured Markdown."""

import re
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree

from palette_bench.publish.regress.manifest import Manifest, Outcome, Status, counts

SIGNS = {
    Status.REPRODUCING: "✅",
    Status.WITHIN_BAND: "🟡",
    Status.UNTESTED: "⚪",
    Status.NOT_COMPARABLE: "❌",
    Status.NOT_REPRODUCING: "❌",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(manifest: Manifest, outcomes: Sequence[Outcome]) -> bytes:
    """JUnit XML: a suite a table, a case a cell. Failing statuses are failures, untested cells are skipped."""
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
    """Markdown for the summary page of a workflow: the counts, every cell that is not reproducing, a line a table."""
    found = counts(outcomes)
    lines = [f"## {_md(manifest.name)}: {sum(found.values())} published numbers", ""]
    lines += [f"- {SIGNS[status]} {status.value}: {count}" for status, count in found.items() if count]
    for statuses, title in (
        ((Status.NOT_REPRODUCING, Status.NOT_COMPARABLE), "Out of band"),
        ((Status.WITHIN_BAND,), "Within the stated band"),
    ):
        cells = [outcome for outcome in outcomes if outcome.status in statuses]
        if cells:
            lines += [
                "",
                f"### {title}",
                "",
                "| | table | row | task | recipe | printed | found | |",
                "|---|---|---|---|---|---:|---:|---|",
            ]
            lines += [
                f"| {SIGNS[cell.status]} | {_md(cell.table)} | {_md(cell.label)} | {cell.task} | {cell.recipe} "
                f"| {cell.printed} | {'-' if cell.found is None else f'{cell.found:.6g}'} | {_md(cell.detail)} |"
                for cell in cells
            ]
    lines += ["", "### Tables", "", "| table | cells | reproducing | within band | untested | out of band |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for number, of_table in groupby(outcomes, key=lambda outcome: outcome.table):
        of = counts(list(of_table))
        failing = sum(count for status, count in of.items() if status.fails)
        lines.append(
            f"| {_md(number)}: {_md(manifest.titles[number])} | {sum(of.values())} | {of[Status.REPRODUCING]} "
            f"| {of[Status.WITHIN_BAND]} | {of[Status.UNTESTED]} | {failing} |"
        )
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    """``text`` as Markdown that shows it as it is, in one cell of a table."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one_line)
