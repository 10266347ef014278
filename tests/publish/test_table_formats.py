"""Tables in every format: whole, and with nobody's name taken for markup, a formula or a command."""

import csv
import functools
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palette_bench.cli.console import print_table
from palette_bench.common.errors import printable
from palette_bench.protocol.definition import GeometryName
from palette_bench.publish.tables import markup, render
from palette_bench.publish.tables import printed as published
from palette_bench.publish.tables.citations import bibliography
from palette_bench.publish.tables.methods import Methods, methods
from palette_bench.publish.tables.paper import fill
from palette_bench.publish.tables.render import Format, written
from palette_bench.publish.tables.score import score_table
from palette_bench.publish.tables.table import Table
from tests.publish.paper_records import CA, EVIL, FID, GOOD, photo_record, with_metric


@functools.cache
def evil_table() -> Table:
    """Table 2 with a record under every bad name, and one that does not compare."""
    records = [
        replace(photo_record(name, task="inpaint-center"), predictions_digest=f"{index:064d}")
        for index, name in enumerate(EVIL)
    ]
    other = photo_record("other", task="inpaint-center", variant=GeometryName.ADM)
    return fill(published.table("2"), [*records, other])


@functools.cache
def evil_methods() -> Methods:
    return methods(evil_table())


# CSV and JSON


def csv_rows(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(table, Format.CSV, methods(table)))))


def test_csv_has_a_line_a_cell_and_no_formula() -> None:
    rows = csv_rows(evil_table())
    assert len(rows) == len(list(evil_table().cells))
    numbers = {"value", "error", "rank"}
    for row in rows:
        assert all(text[:1] not in ("=", "+", "-", "@", "\t", "\r") for key, text in row.items() if key not in numbers)
        assert all(text == "" or float(text) >= 0 for key, text in row.items() if key in numbers)
    names = {row["row"] for row in rows}
    assert {"'=1+1", "'@x", "'-2", "<script>alert(1)</script>"} <= names
    assert "=1+1" not in names


def test_csv_and_json_keep_what_is_said_of_a_number_apart() -> None:
    mine = with_metric(photo_record("mine"), CA, canonical=False)
    table = fill(published.table("3"), [mine])
    by_row = {(row["row"], row["over"], row["column"]): row for row in csv_rows(table)}
    fid = by_row["mine", "ImageNet", "FID ↓"]
    assert {key: fid[key] for key in ("value", "error", "comparable", "rank", "place", "set", "recipe", "marks")} == {
        "value": "1.5",
        "error": "0.06",
        "comparable": "true",
        "rank": "1",
        "place": "best",
        "set": "imagenet-ctest10k",
        "recipe": FID,
        "marks": "",
    }
    assert fid["fingerprint"] == mine.metrics[FID].fingerprint
    accuracy = by_row["mine", "ImageNet", "CA ↑"]
    assert (accuracy["comparable"], accuracy["rank"], accuracy["unit"]) == ("false", "", "%")
    assert "not the published ones" in accuracy["marks"]
    data = json.loads(json.dumps(render.data(table, methods(table)), allow_nan=False))
    [row] = [row for row in data["groups"][0]["rows"] if row["yours"]]
    assert [cell["comparable"] for cell in row["cells"]] == [True, True, False, True, False, False, False]
    assert row["cells"][2]["marks"] == [
        "not comparable with anything: the weights of resnet50-v1 are not the published ones"
    ]
    assert data["records"][0]["result_id"] == mine.result_id
    printed = data["groups"][0]["rows"][0]["cells"][0]
    assert (printed["value"], printed["error"], printed["fingerprint"]) == (18.7, None, None)


# Markdown

UNESCAPED_BAR = re.compile(r"(?<!\\)\|")


def test_markdown_has_equal_lines_and_only_its_own_markup() -> None:
    text = written(evil_table(), Format.MARKDOWN, evil_methods())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(UNESCAPED_BAR.findall(line)) for line in lines} == {9}
    assert set(re.findall(r"<[^>]*>", re.sub(r"`[^`]*`", "", text))) == {"<sup>", "</sup>", "<u>", "</u>"}
    assert "https://" not in text
    assert "&lt;script&gt;" in text
    assert "**1.50 ± 0.06**" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("=1+1", r"\=1+1"),
        ("- x", r"\- x"),
        ("x-y", "x-y"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("[a](b)", r"\[a\](b)"),
        ("a|b\\", r"a\|b\\"),
        (" [1] ", r" \[1\] "),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert markup.markdown(text) == escaped


# HTML


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_html_is_one_page_without_foreign_tags_and_shows_the_names_as_they_are() -> None:
    text = written(evil_table(), Format.HTML, evil_methods())
    page = _Reader()
    page.feed(text)
    assert not {"script", "img", "link", "iframe"} & page.tags
    assert not {"src", "href", "onerror"} & page.attributes
    assert not re.search(r"https?:", re.sub(r"&lt;|arxiv", "", text.split("</style>")[0]))
    labels = {row[0].strip().rstrip("abcdefghijklmnopqrstuvwxyz ") for row in page.rows if row}
    for name in EVIL:
        assert printable(name, keep="\n\t").strip().rstrip("abcdefghijklmnopqrstuvwxyz ") in labels
    assert 'class="number best"' in text
    assert "prefers-color-scheme: dark" in text


# LaTeX


def unbalanced(text: str) -> int:
    """Open braces at the end; raises where one is closed that was not open."""
    depth = 0
    for token in re.findall(r"\\.|[{}]", re.sub(r"(?m)^%.*$", "", text)):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
    return depth


def evil_latex() -> str:
    return written(evil_table(), Format.LATEX, evil_methods())


def test_latex_is_balanced_and_every_line_has_all_columns() -> None:
    text = evil_latex()
    assert unbalanced(text) == 0
    code = [line for line in text.splitlines() if not line.startswith("%")]
    assert sum("\\begin{tabular}" in line for line in code) == sum("\\end{tabular}" in line for line in code) == 1
    lines = [line for line in code if line.endswith(r"\\")]
    for line in lines:
        spans = sum(int(width) - 1 for width in re.findall(r"\\multicolumn\{(\d+)\}", line))
        assert len(re.findall(r"(?<!\\)&", line)) + spans == 6
    assert len(lines) == 4 + sum(len(group.rows) for group in evil_table().groups)
    assert r"\textbf{1.50\,$\pm$\,0.06}" in text
    assert all(line.startswith("%") for line in text.splitlines() if "result_id" in line)


def test_latex_carries_every_signature_and_record() -> None:
    record = photo_record()
    table = fill(published.table("3"), [record])
    text = written(table, Format.LATEX, methods(table))
    assert record.result_id in text
    for metric in record.metrics.values():
        assert f"%   {metric.signature}\n" in text
    flowing = text.replace(r"\allowbreak{}", "")
    assert (
        markup.latex("set:imagenet-ctest10k@1|task:uncrop|n:10000|ref:imagenet-val").replace(r"\textbar{}", "|")
        in flowing
    )


def test_signatures_of_several_tasks_are_joined_below_the_table_and_whole_in_the_comments() -> None:
    records = [photo_record(task=task) for task in ("jpeg-qf5", "jpeg-qf10")]
    table = fill(published.table("4"), records)
    text = written(table, Format.LATEX, methods(table))
    below = text.partition(r"\bottomrule")[2]
    assert below.count("fid-inception2015-tf1|") == 1
    assert "task:jpeg-qf5,jpeg-qf10|" in below
    assert all(metric.signature in text for record in records for metric in record.metrics.values())


@given(st.text())
def test_escaped_latex_is_balanced_and_on_one_line(text: str) -> None:
    escaped = markup.latex(text)
    assert unbalanced(escaped) == 0
    assert "\n" not in escaped
    assert "--" not in escaped
    assert not re.search(r"(?<!\\)[%#&_]", escaped)


def compiles(folder: Path, table_tex: str, entries: str) -> bool:
    (folder / "table.tex").write_text(table_tex)
    (folder / "refs.bib").write_text(entries)
    (folder / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n\\input{table}\n"
        "\\bibliographystyle{plain}\n\\bibliography{refs}\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=batchmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return result.returncode == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_whatever_the_names_are(tmp_path: Path) -> None:
    text = evil_latex()
    assert compiles(tmp_path, text, bibliography(evil_methods().citations))
    found = subprocess.run(["bibtex", "paper"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert "Warning" not in found.stdout
    assert not compiles(tmp_path, text.replace(markup.latex(EVIL[9]), EVIL[9]), "")


# Methods


def test_the_methods_say_what_was_evaluated_and_cite_what_is_in_the_bibliography() -> None:
    record = photo_record(task="inpaint-freeform-20-30")
    table = fill(published.table("2"), [record])
    said = methods(table)
    for words in (
        "palette-bench 0.1.0",
        "inpaint-freeform-20-30",
        "imagenet-ctest10k@1",
        "10,000 images of 256x256 pixels (geometry square-area)",
        "free-form masks",
        "composited",
        f"FID [5] is the recipe {FID} on pool_3 of inception2015 [6], against imagenet-val (50,000 images)",
        "TensorFlow 1 bilinear to 299x299",
        "one standard error",
        "are as printed",
    ):
        assert words.lower() in said.plain.lower()
    text, entries = written(table, Format.LATEX, said), bibliography(said.citations)
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", text) for key in keys.split(",")}
    assert cited == set(re.findall(r"@\w+\{([^,]+),", entries))
    assert "zhou2017places" not in cited


def test_the_methods_name_what_is_not_as_published() -> None:
    record = with_metric(photo_record(), CA, canonical=False, weights_sha256="e" * 64)
    said = methods(fill(published.table("3"), [record])).plain
    assert "weights eeeeeeee, not the published ones" in said
    assert "not the published ones" not in methods(fill(published.table("3"), [photo_record()])).plain
    places = methods(fill(published.table("3"), [photo_record(set_name="places10k")])).plain
    assert "a reconstruction of a list that was never published" in places
    alone = methods(fill(published.table("3"))).plain
    assert alone.startswith("All rows are as printed")
    assert "palette-bench" not in alone


# The terminal


@pytest.mark.parametrize("width", [80, 120, 250])
def test_the_terminals_tables_lose_no_number(width: int) -> None:
    from rich.console import Console

    near = {**GOOD, FID: (6.75, 0.06)}
    records = [photo_record("[red]mine[/red]", task="inpaint-center", values=near)]
    table = fill(published.table("2"), records)
    stream = io.StringIO()
    drawn = [part for part in render.terminal(table, width=width, styled=False) if not isinstance(part, str)]
    assert len(drawn) == {80: 3, 120: 2, 250: 1}[width]
    for part in drawn:
        Console(file=stream, width=width).print(part)
    text = stream.getvalue()
    assert "_6.75 ±0.06_" in text
    assert "**300.0 ±1.4**" in text
    assert "[red]" in text
    assert max(len(line) for line in text.splitlines()) <= width
    for group in published.table("2").groups:
        for row in group.rows:
            assert all(cell.digits in text for cell in row.cells)


@pytest.mark.parametrize("name", ["[red]mine[/red]", "[/]", "\\[x]"])
def test_a_name_in_brackets_is_no_markup_in_a_table_of_scores(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(score_table([photo_record(name)]))
    assert name in capsys.readouterr().out


def test_every_shipped_table_fits_80_columns_and_breaks_no_number() -> None:
    from rich.console import Console

    for printed in published.tables():
        table = fill(printed)
        stream = io.StringIO()
        for part in render.terminal(table, width=80, styled=False):
            if not isinstance(part, str):
                Console(file=stream, width=80).print(part)
        text = stream.getvalue()
        assert max(map(len, text.splitlines())) <= 80
        assert all(cell.text in text for cell in table.cells)


def test_the_rows_of_ones_own_are_lines_for_a_table_of_ones_own() -> None:
    other = photo_record("other_model", task="inpaint-center", variant=GeometryName.ADM)
    table = fill(published.table("2"), [photo_record("mine", task="inpaint-center"), other])
    lines = render.latex_rows(table).splitlines()
    rows = [line for line in lines if not line.startswith("%")]
    assert [row.partition(" & ")[0] for row in rows] == ["mine", r"other\_model"]
    assert all(row.endswith(r"\\") and row.count(" & ") == len(table.columns) for row in rows)
    assert r"\textbf{1.50\,$\pm$\,0.06}" in rows[0]
    assert "textsuperscript" not in "".join(rows)
    assert any("another variant of the set" in line for line in lines)
