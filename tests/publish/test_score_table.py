from dataclasses import replace

import pytest

from palette_bench.artifacts.record import MetricValue, ResultRecord, ScoredReference, ScoredSet
from palette_bench.common import schema
from palette_bench.publish.tables.score import score_table, tasks_table
from palette_bench.publish.tables.table import Table, TableRow

SET = ScoredSet(
    set_id="imagenet-ctest10k",
    name="imagenet-ctest10k",
    version=1,
    status="checked",
    variant=(),
    fingerprint="f" * 64,
    data_digest="d" * 64,
    count=10_000,
    size=256,
    geometry="square-area",
    task="uncrop",
    task_fingerprint="e" * 64,
)

EVALSET = "fid-inception2015-tf1-evalset"


def metric(recipe: str, title: str, value: float, **changes: object) -> MetricValue:
    made = MetricValue(
        recipe=recipe,
        title=title,
        unit="%" if title == "CA" else "",
        lower_is_better=title in ("FID", "PD"),
        headline=True,
        value=value,
        standard_error=None,
        low=None,
        high=None,
        reference_value=0.0,
        fingerprint="a" * 64,
        backbone="inception2015",
        weights_sha256="b" * 64,
        canonical=True,
        signature=recipe,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def record(**changes: object) -> ResultRecord:
    metrics = [
        metric("fid-inception2015-tf1", "FID", 6.25),
        metric("is-inception2015-biased-1split", "IS", 140.0),
        metric("ca-resnet50v1-crop224", "CA", 61.0),
        metric("pd-inception2015-pool3-l2sq", "PD", 90.0),
    ]
    made = ResultRecord(
        name="mine",
        scored=SET,
        reference=ScoredReference(name="imagenet-val", fingerprint="1" * 64, data_digest="2" * 64, count=50_000),
        predictions_digest="c" * 64,
        tree_sha256="9" * 64,
        samples=1,
        lossy=0,
        known_change=0.0,
        metrics={m.recipe: m for m in metrics},
        refused={},
        warnings=(),
        incomparable=(),
        environment={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def texts(row: TableRow) -> tuple[str, ...]:
    return tuple(" ".join([cell.text, *cell.marks]) for cell in row.cells[1:])


def run_row(table: Table) -> tuple[str, ...]:
    return texts(table.groups[-1].rows[0])


def heads(table: Table) -> tuple[str, ...]:
    return tuple(column.head for column in table.columns[1:])


def test_the_papers_rows_stand_above_the_run() -> None:
    table = score_table([record()])
    published = {row.label: texts(row) for row in table.groups[0].rows}
    assert list(published) == ["Boundless", "Palette", "Reference"]
    assert published["Palette"] == ("5.8", "138.1", "63.4 % a", "85.9 b")
    assert published["Reference"] == ("2.7", "250.1", "76.0 % a", "0.0")
    assert run_row(table) == ("6.25", "140.0", "61.0 %", "90.0")
    assert heads(table) == ("FID ↓", "IS ↑", "CA ↑", "PD ↓")


def test_what_the_paper_leaves_open_is_marked() -> None:
    table = score_table([record()])
    assert "EfficientNet" in dict(table.notes)["a"]
    palette = next(row for row in table.groups[0].rows if row.label == "Palette")
    [mark] = palette.cells[4].marks
    assert "does not say of which network" in dict(table.notes)[mark]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scored": replace(SET, variant=("adm",), set_id="imagenet-ctest10k+adm")}, "another variant of the set: adm"),
        ({"samples": 4}, "the first of 4 samples"),
        (
            {"metrics": {"fid-inception2015-tf1": metric("fid-inception2015-tf1", "FID", 6.25, canonical=False)}},
            "not comparable with anything",
        ),
        (
            {"metrics": {"fid-inception2015-tf1": metric("fid-inception2015-tf1", "FID", 6.25, precision="bfloat16")}},
            "inception2015 ran in bfloat16",
        ),
        ({"metrics": {EVALSET: metric(EVALSET, "FID (evaluation set)", 1.0)}}, "another recipe"),
    ],
)
def test_what_cannot_be_compared_is_marked(changes: dict[str, object], reason: str) -> None:
    table = score_table([record(**changes)])
    marks = run_row(table)[0].split()[1:]
    assert any(reason in dict(table.notes)[mark] for mark in marks)
    clean = score_table([record()])
    assert run_row(clean)[0] == "6.25"


def test_a_refused_recipe_is_explained() -> None:
    name = "is-inception2015-biased-1split"
    table = score_table([record(metrics={name: metric(name, "IS", 1.0)}, refused={"fid-inception2015-tf1": "why"})])
    assert heads(table) == ("FID ↓", "IS ↑")
    refused, mark = run_row(table)[0].split()
    assert refused == "refused"
    assert dict(table.notes)[mark] == "no fid-inception2015-tf1: why"
    palette = next(row for row in table.groups[0].rows if row.label == "Palette")
    assert texts(palette) == ("5.8", "138.1")


def test_a_number_stands_with_its_standard_error_and_an_unknown_reference_is_a_dash() -> None:
    fid = metric("fid-inception2015-tf1", "FID", 6.25, standard_error=0.123, low=6.01, high=6.49, reference_value=None)
    table = score_table([record(metrics={fid.recipe: fid})])
    assert run_row(table) == ("6.25 ± 0.12",)
    assert texts(table.groups[-1].rows[-1]) == ("-",)
    tiny = replace(fid, standard_error=0.0021)
    assert run_row(score_table([record(metrics={fid.recipe: tiny})])) == ("6.25 ± 0.002",)
    assert schema.dump(fid)["interval"] == [6.01, 6.49]


def test_records_of_different_tasks_share_no_table() -> None:
    with pytest.raises(ValueError, match="share no table"):
        score_table([record(), record(scored=replace(SET, task="colorize"))])


def test_equal_inputs_have_an_equal_id_and_nothing_else_has() -> None:
    first = record()
    assert first.result_id == record(name="another name", environment={"torch": "9"}).result_id
    changed = [
        record(predictions_digest="0" * 64),
        record(scored=replace(SET, data_digest="0" * 64)),
        record(scored=replace(SET, task_fingerprint="0" * 64)),
        record(reference=None),
        record(metrics={"x": metric("fid-inception2015-tf1", "FID", 6.25, fingerprint="0" * 64)}),
    ]
    assert len({first.result_id, *(other.result_id for other in changed)}) == 6


def test_rows_of_another_protocol_and_of_a_disputed_table_are_marked() -> None:
    table = score_table([record(scored=replace(SET, task="inpaint-center"))])
    marks = {row.label: row.marks for row in table.groups[0].rows}
    notes = dict(table.notes)
    assert "another protocol: images are cut by short-side-bilinear" in notes[marks["PiGDM"][-1]]
    assert "the images differ" in notes[marks["DeepFillv2"][-1]]
    assert score_table([record()]).groups[0].rows[0].cells[0].text == "Palette v1, Table 3"


def test_an_equal_result_is_one_row() -> None:
    again = score_table([record(), record(name="copy"), record(name="other", predictions_digest="0" * 64)])
    assert [row.label for row in again.groups[-1].rows] == ["mine", "other", "references"]


def test_several_tasks_stand_under_their_names() -> None:
    table = tasks_table([[record()], [record(scored=replace(SET, task="colorize"))]])
    assert [group.title for group in table.groups] == ["uncrop", "colorize"]
    assert [len(row.cells) for row in table.rows] == [4] * 4
