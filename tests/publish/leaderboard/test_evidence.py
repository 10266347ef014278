"""Numbers that follow from items: true records pass, and one digit of any number that can be recomputed does not."""

from dataclasses import replace

import numpy as np
import pytest

from palette_bench.artifacts.record import Items, ResultRecord, read_items, read_record
from palette_bench.publish.leaderboard.evidence import follows, rounding
from tests.publish.leaderboard.results import a_result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResultRecord, Items]:
    folder = tmp_path_factory.mktemp("result")
    a_result(folder)
    of_file = read_record(folder)
    return of_file.record, read_items(of_file)


def changed(record: ResultRecord, name: str, **values: float) -> ResultRecord:
    return replace(record, metrics={**record.metrics, name: replace(record.metrics[name], **values)})  # type: ignore[arg-type]


def test_a_true_record_follows_from_its_items(result: tuple[ResultRecord, Items]) -> None:
    found = follows(*result)
    assert found.problems == ()
    assert found.recomputed == {
        "fid-scenes32": "standard error",
        "ca-scenes32": "value and error",
        "pd-scenes32": "value and error",
        "psnr-rgb": "value and error",
        "ssim-gauss11-rgb": "value and error",
    }
    assert list(found.taken_on_trust) == ["fid-scenes32", "is-scenes32"]


@pytest.mark.parametrize("name", ["ca-scenes32", "pd-scenes32", "psnr-rgb", "ssim-gauss11-rgb"])
@pytest.mark.parametrize("what", ["value", "standard_error", "low", "high"])
def test_the_eighth_digit_of_a_number_matters(result: tuple[ResultRecord, Items], name: str, what: str) -> None:
    record, items = result
    true = getattr(record.metrics[name], what)
    found = follows(changed(record, name, **{what: true * (1 + 1e-7)}), items)
    assert [problem.kind for problem in found.problems] == ["contradiction"]
    assert name in found.problems[0].where
    assert follows(changed(record, name, **{what: true * (1 + 1e-13)}), items).problems == ()


@pytest.mark.parametrize("what", ["standard_error", "low", "high"])
def test_fid_has_its_error_from_its_items(result: tuple[ResultRecord, Items], what: str) -> None:
    record, items = result
    true = getattr(record.metrics["fid-scenes32"], what)
    found = follows(changed(record, "fid-scenes32", **{what: true * (1 + 1e-6)}), items)
    assert [problem.where for problem in found.problems] != []


def test_fid_moved_with_its_interval_is_what_items_cannot_tell(result: tuple[ResultRecord, Items]) -> None:
    record, items = result
    metric = record.metrics["fid-scenes32"]
    assert metric.low is not None
    assert metric.high is not None
    moved = changed(record, "fid-scenes32", value=metric.value - 1, low=metric.low - 1, high=metric.high - 1)
    found = follows(moved, items)
    assert found.problems == ()
    assert "fid-scenes32" in found.taken_on_trust


def column(items: Items, name: str, row: int, value: float) -> Items:
    values = items.columns[name].copy()
    values[row] = value
    return replace(items, columns={**items.columns, name: values})


@pytest.mark.parametrize(
    ("name", "row", "value", "says"),
    [
        ("pd-scenes32", 0, 400.0, "pd-scenes32: value"),
        ("psnr", 5, 90.0, "psnr-rgb: value"),
        ("fid-scenes32_influence", 3, 100.0, "fid-scenes32"),
        ("correct", 0, 0.5, "ca-scenes32"),
        ("pd-scenes32", 7, float("nan"), "pd-scenes32"),
        ("known_region_change", 0, 9.0, "known_region_change"),
    ],
)
def test_one_cell_matters(result: tuple[ResultRecord, Items], name: str, row: int, value: float, says: str) -> None:
    record, items = result
    found = follows(record, column(items, name, row, value))
    assert any(problem.where == says for problem in found.problems), found.problems


def test_an_item_called_right_against_its_class_is_found(result: tuple[ResultRecord, Items]) -> None:
    record, items = result
    wrong = int(np.flatnonzero(items.columns["correct"] == 0)[0])
    found = follows(record, column(items, "correct", wrong, 1.0))
    assert "1 items are called right or wrong" in found.problems[0].detail


def test_the_digests_of_all_predictions_are_those_of_the_items(result: tuple[ResultRecord, Items]) -> None:
    record, items = result
    other = replace(items, prediction_digests=("0" * 64, *items.prediction_digests[1:]))
    assert [p.where for p in follows(record, other).problems] == ["predictions.tree_sha256", "predictions.digest"]
    # Of several samples the items name one: then nothing can be said.
    assert follows(replace(record, samples=2), other).problems == ()


def test_a_missing_column_is_found(result: tuple[ResultRecord, Items]) -> None:
    record, items = result
    fewer = replace(items, columns={name: values for name, values in items.columns.items() if name != "psnr"})
    assert [str(problem) for problem in follows(record, fewer).problems] == ["items: psnr-rgb: no column psnr"]


def test_rounding_is_what_nine_digits_lose() -> None:
    values = np.array([0.0, 1.23456789012, -9876.54321098, 3.3e-12, 9.9999999999e20])
    written = np.array([float(f"{value:.9g}") for value in values])
    lost = np.abs(written - values)
    assert (lost <= rounding(values) * (1 + 1e-12)).all()
    assert (rounding(values) <= np.abs(values) * 5.0001e-9).all()
