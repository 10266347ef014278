"""Published numbers as data: what a row knows of itself, what a file may not say, and the rows beside a score."""

import re
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError, UsageError
from palette_bench.protocol.definition import load_protocol
from palette_bench.publish.tables.printed import (
    PALETTE,
    PublishedRow,
    all_published_rows,
    load_tables,
    published_rows,
    resolve,
    table,
    tables,
)
from palette_bench.score.recipes.base import Column, Direction
from palette_bench.score.recipes.catalogue import RECIPES

CTEST10K = "imagenet-ctest10k"
PLACES = "places10k"

FILE = """
format = 2
key = "mine"
name = "Mine"
version = "1"
title = "A paper"
authors = ["A. Author"]
year = 2030
venue = "a journal"
url = "https://example.org"

[metrics.fid]
recipe = "fid-inception2015-tf1"
basis = "read"

[metrics.ca]

[[table]]
number = "1"
title = "A table."
column = [
    { metric = "fid", head = "FID ↓", set = "imagenet-ctest10k" },
    { metric = "ca", head = "CA ↑", set = "imagenet-ctest10k", disputed = "of which classifier" },
]

[[table.group]]
title = "First"
tasks = ["uncrop"]
rows = [
    { model = "A", cells = ["1.25", "50"] },
    { model = "B", cells = ["-", "60.0"], disputed = { ca = "printed twice" } },
]
"""


def file_of(folder: Path, text: str = FILE, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def digits(row: PublishedRow, set_name: str) -> dict[Column, str]:
    return {metric: cell.digits for metric, cell in row.printed(set_name).items()}


def test_sets_tasks_and_recipes_of_every_placed_cell_exist_and_fit() -> None:
    for row in all_published_rows():
        for cell in row.cells:
            column = cell.column
            assert column.recipe == "" or column.recipe in RECIPES
            assert (column.recipe == "") == (column.metric is Column.FOOL_RATE)
            if column.set_name:
                assert set(row.tasks) <= set(load_protocol(column.set_name).task_names)
            if column.recipe:
                assert RECIPES[column.recipe].direction is column.direction
                assert RECIPES[column.recipe].unit == column.unit


def test_papers_come_in_the_order_of_their_years() -> None:
    assert list(dict.fromkeys(found.paper.key for found in tables())) == ["palette-v1", "palette-v2", "i2sb"]


def test_a_cell_has_its_text_its_value_and_half_a_unit_of_its_last_digit() -> None:
    palette = next(row for row in table("3").rows if row.model == "Palette")
    by_name = {cell.column.name: cell for cell in palette.cells}
    assert palette.printed_label == "Palette (Ours)"
    assert (by_name["imagenet-ca"].text, by_name["imagenet-ca"].value) == ("63.4%", 63.4)
    assert by_name["imagenet-fid"].half_unit == pytest.approx(0.05)
    assert by_name["places-fid"].half_unit == pytest.approx(0.005)
    blank = next(row for row in table("1").rows if row.model == "cGAN").cells[1]
    assert (blank.text, blank.value, blank.half_unit, blank.disputed) == ("-", None, None, ())
    assert table("1").columns[0].direction is Direction.LOWER


def test_tables_are_found_by_number() -> None:
    assert table("c.2") is table("C.2")
    assert table("2").set_names == (CTEST10K, PLACES)
    assert table("3").name == "Table 3"
    assert table("JPEG restoration", "i2sb").name == "table of JPEG restoration"
    with pytest.raises(UsageError, match=re.escape("1, 2, 3, 4, 5, 6, C.1, C.2, C.3, C.4")):
        table("7")
    with pytest.raises(UsageError, match="palette-v1, palette-v2, i2sb"):
        table("1", "palette")


def test_what_the_paper_leaves_open_is_disputed_where_it_does() -> None:
    def reasons(number: str, model: str, column: str) -> str:
        row = next(row for row in table(number).rows if row.model == model)
        return "; ".join(next(cell for cell in row.cells if cell.column.name == column).disputed)

    assert "10,000 to 14,999" in reasons("1", "Palette", "fid")
    assert "slip" in reasons("4", "Palette", "fid")
    assert "76.0" in reasons("4", "Ground Truth", "ca")
    assert "76.0" not in reasons("4", "Palette", "ca")
    assert "EfficientNet-B0" in reasons("C.1", "Palette (L2)", "ca")
    assert "squared" in reasons("C.1", "Palette (L2)", "pd")
    assert reasons("C.1", "Ground Truth", "pd") == ""
    assert "never published" in reasons("3", "Reference", "places-fid")
    assert reasons("3", "Palette", "imagenet-fid") == ""
    assert {row.group for row in table("6").rows if row.disputed} == {"Inpainting (128×128 center mask)"}
    of_others = {row.model for row in all_published_rows() if row.differs and row.cells[0].disputed}
    assert of_others == {"DDRM", "PiGDM"}
    assert [found.number for found in tables() if found.paper.key == PALETTE and found.disputed] == ["2", "5", "C.2"]
    assert [found.number for found in tables() if found.paper.key == PALETTE and found.unplaced] == ["C.3", "C.4"]


def test_only_later_papers_are_of_another_protocol_and_none_of_theirs_is_missing() -> None:
    later = {row.key for row in all_published_rows() if row.differs}
    assert {key.split("/")[0] for key in later} == {"i2sb"}
    assert {row.key for row in all_published_rows() if row.paper.key == "i2sb"} == later
    assert all("short-side-bilinear" in row.variant for row in all_published_rows() if row.differs)
    transcribed = [row for row in all_published_rows() if row.paper.key != PALETTE]
    assert all(cell.transcribed for row in transcribed for cell in row.cells)


def test_rows_that_are_in_no_text_layer() -> None:
    places_pd = {
        (row.tasks[0], row.model): digits(row, PLACES)[Column.PD] for row in table("C.2").rows if not row.reference
    }
    tasks = ["inpaint-freeform-10-20", "inpaint-freeform-20-30", "inpaint-freeform-30-40", "inpaint-center"]
    models = ["DeepFillv2", "HiFill", "Palette (I)", "Palette (I+P)"]
    assert [[places_pd[task, model] for model in models] for task in tasks] == [
        ["38.1", "55.1", "22.1", "20.3"],
        ["63.0", "92.8", "37.7", "35.0"],
        ["90.1", "132.0", "53.5", "49.2"],
        ["96.3", "115.4", "62.8", "57.3"],
    ]
    jpeg = {(r.model, r.tasks): tuple(c.text for c in r.cells) for r in table("JPEG restoration", "i2sb").rows}
    assert jpeg["I2SB", ("jpeg-qf10",)] == ("3.6", "72.1%")
    assert jpeg["PiGDM", ("jpeg-qf5",)] == ("8.6", "64.1%")


def test_beside_a_score_every_number_stands_once_and_the_reference_last() -> None:
    rows = published_rows(CTEST10K, "inpaint-center")
    assert [row.model for row in rows if row.paper.key == PALETTE and row.table != "5"] == [
        "DeepFillv2",
        "HiFill",
        "Palette (I+P)",
        "Palette (Multi-task)",
        "Palette (I)",
        "Ground Truth",
    ]
    assert [row.reference for row in rows] == [False] * (len(rows) - 1) + [True]
    assert {row.table for row in published_rows(CTEST10K, "jpeg-qf5")} == {"4", "6", "JPEG restoration"}
    assert [row.model for row in published_rows(PLACES, "inpaint-center")][-2:] == ["Co-ModGAN", "Ground Truth"]
    assert [digits(row, PLACES) for row in published_rows(PLACES, "uncrop")][1] == {
        Column.FID: "3.53",
        Column.PD: "103.3",
        Column.FOOL_RATE: "39.9",
    }
    assert published_rows("scenes32", "uncrop") == []
    assert published_rows("", "uncrop") == []


def test_reference_rows_differ_by_task_as_in_the_paper() -> None:
    of_task = {
        task: [digits(row, CTEST10K)[Column.FID] for row in published_rows(CTEST10K, task) if row.reference]
        for task in ("uncrop", "inpaint-center", "jpeg-qf5", "colorize")
    }
    assert of_task == {"uncrop": ["2.7"], "inpaint-center": ["5.1"], "jpeg-qf5": ["2.7"], "colorize": ["2.7"]}


def test_keys_are_exact() -> None:
    assert [row.group for row in resolve("palette-v1/table-2/DeepFillv2")] == [
        "20-30% free form",
        "128×128 center mask",
    ]
    assert len(resolve("palette-v1/table-C.2/DeepFillv2")) == 4
    assert len(resolve("palette-v1/table-C.4/InfinityGAN")) == 1
    for row in all_published_rows():
        assert row in resolve(row.key)
    with pytest.raises(InputError, match="palette-v1/table-2/DeepFillv2"):
        resolve("palette-v1/table-2/Deepfillv2")
    for wrong in ("palette-v2/table-C.2/DeepFillv2", "palette-v1/table-9/HiFill", "", "palette-v1"):
        with pytest.raises(InputError, match="no published row has this key"):
            resolve(wrong)


def test_a_users_paper_is_read(tmp_path: Path) -> None:
    (found,) = load_tables([file_of(tmp_path)])
    first, second = found.rows
    assert (first.key, first.source, first.order) == ("mine/table-1/A", "Mine, Table 1", 0)
    assert digits(first, CTEST10K) == {Column.FID: "1.25", Column.CA: "50"}
    assert [cell.disputed for cell in second.cells] == [(), ("of which classifier", "printed twice")]
    assert found.columns[1].recipe == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 2", "format = 1", "unreadable: mine.toml: expected format 2, found format 1"),
        ('name = "Mine"', 'name = "Mine"\ncolour = "red"', "unknown key: mine.toml: colour"),
        ("[metrics.ca]", "[metrics.car]", "wrong value: mine.toml: metrics.car"),
        ("[metrics.ca]", "", "no [metrics.ca] says which recipe it is"),
        ("year = 2030", 'year = "2030"', "wrong type: mine.toml: year"),
        ('basis = "read"', "", "missing: mine.toml: metrics.fid.basis"),
        ('basis = "read"', 'basis = "sure"', "wrong value: mine.toml: metrics.fid.basis"),
        ("fid-inception2015-tf1", "fid-inception", "wrong value: mine.toml: metrics.fid.recipe"),
        ('head = "FID ↓"', 'head = "FID"', "wrong value: mine.toml: table[0].column[0].head"),
        ('"imagenet-ctest10k" },', '"imagenet-ctest10K" },', "wrong value: mine.toml: table[0].column[0].set"),
        ('"FID ↓", set = "imagenet-ctest10k"', '"FID ↓", set = ""', "missing: mine.toml: table[0].unplaced"),
        ('metric = "ca"', 'name = "fid", metric = "ca"', "two columns have the name 'fid'"),
        ('metric = "ca"', 'name = "fid2", metric = "fid"', "two columns are fid of imagenet-ctest10k"),
        (
            'tasks = ["uncrop"]',
            'tasks = ["uncrops"]',
            "wrong value: mine.toml: table[0].group[0].tasks[0]",
        ),
        ('tasks = ["uncrop"]', "tasks = []", "missing: mine.toml: table[0].unplaced"),
        ('"1.25", "50"', '"1.25"', "1 cells for 2 columns"),
        ('"1.25", "50"', '"1.25", "50", "-"', "3 cells for 2 columns"),
        ('"1.25"', "1.25", "wrong type: mine.toml: table[0].group[0].rows[0].cells"),
        ('"1.25"', '"1.25%"', "not a number: mine.toml: table[0].group[0].rows[0].cells: '1.25%'"),
        ('"1.25"', '"nan"', "not a number"),
        ('"1.25"', '"-1.25"', "not a number"),
        ('"1.25"', '"١"', "not a number"),
        ('"1.25"', '""', "not a number"),
        ('model = "B"', 'model = "A"', "two rows are 'A' for uncrop"),
        ("{ ca =", "{ pd =", "unknown column: mine.toml: table[0].group[0].rows[1].disputed: 'pd'"),
        ('model = "B",', 'model = "B", transcribed = ["is"],', "unknown column"),
        ('model = "B",', 'model = "B", order = 1,', "unknown key: mine.toml: table[0].group[0].rows[1].order"),
        ('model = "B",', 'model = "B", repeats = "mine/table-1/A",', "ca of imagenet-ctest10k is 60.0, and 50 in"),
        ('model = "B",', 'model = "B", repeats = "mine/table-1/C",', "which is no first row of these tasks"),
        ('key = "mine"', 'key = "Mine 1"', "wrong value: mine.toml: key"),
        ('number = "1"', 'number = "1"\nvariant = ["adn"]', "wrong value: mine.toml: table[0].variant"),
        ("[[table]]", "[[table", "unreadable: mine.toml"),
    ],
)
def test_a_fault_in_a_file_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in FILE
    with pytest.raises(InputError) as caught:
        load_tables([file_of(tmp_path, FILE.replace(old, new, 1))])
    assert said in str(caught.value)


def test_doubled_tables_and_papers_are_named(tmp_path: Path) -> None:
    doubled = FILE + FILE[FILE.index("[[table]]") :]
    with pytest.raises(InputError, match="two tables have the number '1'"):
        load_tables([file_of(tmp_path, doubled)])
    with pytest.raises(InputError, match=r"'mine' is that of mine\.toml"):
        load_tables([file_of(tmp_path), file_of(tmp_path, name="second.toml")])


def test_every_fault_of_all_files_is_told_at_once(tmp_path: Path) -> None:
    first = file_of(tmp_path, FILE.replace('"1.25"', '"x"').replace("uncrop", "uncrops"))
    second = file_of(tmp_path, FILE.replace("year = 2030", "").replace('"mine"', '"yours"'), "yours.toml")
    missing = tmp_path / "none.toml"
    with pytest.raises(InputError) as caught:
        load_tables([first, second, missing])
    assert {(problem.kind, problem.where.split(":")[0]) for problem in caught.value.problems} == {
        ("not a number", "mine.toml"),
        ("wrong value", "mine.toml"),
        ("missing", "yours.toml"),
        ("unreadable", "none.toml"),
    }
    assert load_tables([file_of(tmp_path)])
