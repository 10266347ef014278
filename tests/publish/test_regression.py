"""The regression of published tables: what a cell is called, and what a manifest must be."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import InputError
from palette_bench.publish.regress.manifest import (
    Cell,
    Manifest,
    Missing,
    Outcome,
    Status,
    counts,
    differences,
    judged,
    read_manifest,
)
from palette_bench.publish.regress.reports import junit, summary
from tests.records import a_record

FID = "fid-scenes32"

MANIFEST = """
format = 1
name = "ours"

[[band]]
models = "net-*"
recipes = "fid-*"
standard_errors = 0.5
reason = "rounding"

[[table]]
number = "3"
title = "Uncropping"

[[table.row]]
label = "Ours"
record = "records/uncrop/mine.json"
model = "net-1"
printed = { fid-scenes32 = "1.25", psnr-rgb = "1.2" }
band = { psnr-rgb = { within = 0.2, reason = "another decoder" } }
"""


def manifest(tmp_path: Path, text: str = MANIFEST) -> Manifest:
    path = tmp_path / "regression.toml"
    path.write_text(text)
    return read_manifest(path)


def metric(value: float, **changes: str) -> MetricValue:
    return replace(a_record().metrics[FID], value=value, **changes)  # type: ignore[arg-type]


def again(value: float, **changes: object) -> ResultRecord:
    """The record with another FID, and what else is to differ."""
    return replace(a_record(), **{"metrics": {FID: metric(value)}, **changes})  # type: ignore[arg-type]


def fid(tmp_path: Path, new: ResultRecord | Missing, text: str = MANIFEST) -> Outcome:
    row = manifest(tmp_path, text).rows[0]
    return next(outcome for outcome in judged(row, a_record(), new) if outcome.recipe == FID)


def test_a_manifest_says_rows_cells_and_bands(tmp_path: Path) -> None:
    read = manifest(tmp_path)
    assert read.titles == {"3": "Uncropping"}
    [row] = read.rows
    assert row.record == tmp_path / "records/uncrop/mine.json"
    assert row.model == "net-1"
    by_recipe = {cell.recipe: cell for cell in row.cells}
    by_rule, own = by_recipe[FID].band, by_recipe["psnr-rgb"].band
    assert by_rule is not None
    assert own is not None
    assert by_rule.width(0.1) == pytest.approx(0.05)
    assert own.reason == "another decoder"
    other = manifest(tmp_path, MANIFEST.replace('model = "net-1"', 'model = "cards/own/card.toml"')).rows[0]
    assert other.model == str(tmp_path / "cards/own/card.toml")
    assert {cell.recipe: cell.band for cell in other.cells}[FID] is None


@pytest.mark.parametrize(("printed", "half"), [("1.25", 0.005), ("5.8", 0.05), ("76", 0.5), ("250.10", 0.005)])
def test_half_a_unit_is_that_of_the_last_printed_digit(printed: str, half: float) -> None:
    assert Cell(FID, printed, None).half_unit == pytest.approx(half)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (1.25, Status.REPRODUCING),
        (1.2549, Status.REPRODUCING),
        (1.245, Status.REPRODUCING),
        (1.2551, Status.WITHIN_BAND),
        (1.30, Status.WITHIN_BAND),
        (1.3001, Status.NOT_REPRODUCING),
        (1.19, Status.NOT_REPRODUCING),
    ],
)
def test_the_status_follows_from_the_distance(tmp_path: Path, value: float, status: Status) -> None:
    found = fid(tmp_path, again(value, predictions_digest="9" * 64))
    assert found.status is status
    assert found.found == value
    assert found.status.fails == (status is Status.NOT_REPRODUCING)


def test_without_a_band_half_a_unit_is_all(tmp_path: Path) -> None:
    text = MANIFEST.replace('models = "net-*"', 'models = "other-*"')
    assert fid(tmp_path, again(1.2549), text).status is Status.REPRODUCING
    assert fid(tmp_path, again(1.2551), text).status is Status.NOT_REPRODUCING


def test_a_record_that_does_not_say_what_was_printed_fails_untested_or_not(tmp_path: Path) -> None:
    text = MANIFEST.replace('"1.25"', '"1.26"')
    for new in (again(1.26), Missing(Status.UNTESTED, "no predictions")):
        found = fid(tmp_path, new, text)
        assert found.status is Status.NOT_REPRODUCING
        assert "itself says 1.25" in found.detail


def test_what_cannot_be_made_again_is_untested_with_its_reason(tmp_path: Path) -> None:
    found = fid(tmp_path, Missing(Status.UNTESTED, "no predictions"))
    assert (found.status, found.detail, found.found) == (Status.UNTESTED, "no predictions", None)
    assert not found.status.fails


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": {FID: metric(1.25, fingerprint="8" * 64)}}, "recipe, network or FID reference"),
        ({"metrics": {FID: metric(1.25, precision="bfloat16")}}, "precision"),
        ({"samples": 1}, "samples"),
        ({"scored": replace(a_record().scored, data_digest="8" * 64)}, "images"),
        ({"scored": replace(a_record().scored, fingerprint="8" * 64)}, "set"),
        ({"scored": replace(a_record().scored, task_fingerprint="8" * 64)}, "task"),
        ({"metrics": {}, "refused": {FID: "no statistics"}}, "no statistics"),
        ({"metrics": {}, "refused": {}}, "no such number"),
    ],
)
def test_the_same_digits_of_something_else_are_not_comparable(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    found = fid(tmp_path, again(1.25, **changes))
    assert found.status is Status.NOT_COMPARABLE
    assert reason in found.detail
    assert found.status.fails


def test_equal_records_do_not_differ() -> None:
    one = a_record()
    assert differences(one, one.metrics[FID], one, one.metrics[FID]) == []


def test_other_predictions_are_said_to_be_others(tmp_path: Path) -> None:
    assert "bit for bit" in fid(tmp_path, a_record()).detail
    assert "the same predictions, the printed" in fid(tmp_path, again(1.251)).detail
    other = again(1.251, predictions_digest="9" * 64, tree_sha256="9" * 64)
    assert "other predictions" in fid(tmp_path, other).detail


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text.replace("format = 1", ""), "not a manifest"),
        (lambda text: text.replace('reason = "rounding"', ""), "missing: band\\[0\\].reason"),
        (lambda text: text.replace('reason = "rounding"', 'reason = " "'), "wrong value: band\\[0\\].reason"),
        (lambda text: text.replace("standard_errors = 0.5", "standard_errors = -1"), "standard_errors"),
        (lambda text: text.replace("standard_errors = 0.5", "standard_errors = nan"), "standard_errors"),
        (lambda text: text.replace('"1.25"', "1.25"), "wrong type: table\\[0\\].row\\[0\\].printed.fid-scenes32"),
        (lambda text: text.replace('"1.25"', '"1,25"'), "no number"),
        (lambda text: text.replace('"1.25"', '"nan"'), "no number"),
        (lambda text: text.replace('"1.25"', '"1e3"'), "no number"),
        (lambda text: text.replace("fid-scenes32 =", "fid-scene32 ="), "unknown recipe"),
        (lambda text: text.replace("band = { psnr-rgb", "band = { ssim-gauss11-rgb"), "nothing is printed for it"),
        (lambda text: text.replace("label =", "lable ="), "unknown key: table\\[0\\].row\\[0\\].lable: did you mean"),
        (lambda text: text + '\n[[table]]\nnumber = "3"\ntitle = "x"\nrow = []\n', "doubled"),
        (lambda text: text[:-40], "cannot be read"),
    ],
)
def test_a_faulty_manifest_is_refused(tmp_path: Path, change: Callable[[str], str], fault: str) -> None:
    assert change(MANIFEST) != MANIFEST
    with pytest.raises(InputError, match=fault):
        manifest(tmp_path, change(MANIFEST))


def every_status(label: str) -> list[Outcome]:
    return [
        Outcome(
            table="3",
            label=label,
            task="uncrop",
            recipe=FID,
            printed="1.25",
            found=None if status is Status.UNTESTED else 1.3,
            allowed=0.005,
            status=status,
            detail="because <of> | that",
        )
        for status in Status
    ]


def test_junit_has_a_case_a_cell_and_a_failure_for_each_that_fails(tmp_path: Path) -> None:
    outcomes = every_status("a <b> & \x1b[31m")
    suites = ElementTree.fromstring(junit(manifest(tmp_path), outcomes))  # noqa: S314
    [suite] = suites
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "5",
        "failures": "2",
        "skipped": "1",
        "errors": "0",
    }
    assert [case.find("failure") is not None for case in suite] == [status.fails for status in Status]
    assert suite[0].get("name") == "a <b> & \N{REPLACEMENT CHARACTER}[31m: fid-scenes32"


def test_the_summary_lists_what_is_out_of_band_and_escapes_it(tmp_path: Path) -> None:
    text = summary(manifest(tmp_path), every_status("x|y <img>"))
    assert "x\\|y &lt;img&gt;" in text
    assert text.count("because &lt;of&gt; \\| that") == 3
    assert "| 3: Uncropping | 5 | 1 | 1 | 1 | 1 | 1 |" in text
    assert "Out of band" not in summary(manifest(tmp_path), every_status("x")[:3])


def test_counts_are_of_every_status() -> None:
    assert list(counts(every_status("x")).values()) == [1] * 5


def test_outcomes_are_plain_data() -> None:
    for outcome in every_status("x"):
        assert json.loads(json.dumps(outcome.as_json(), allow_nan=False))["status"] == outcome.status.value
