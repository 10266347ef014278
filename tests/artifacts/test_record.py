"""Records from files: what `score` wrote reads back equal, and anything else is refused with every fault."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palette_bench.artifacts.record import SCHEMA, read_items, read_record, save
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, VerificationError
from tests.records import ITEMS, a_record


def changed(folder: Path, change: Callable[[dict[str, Any]], object], *, reseal: bool) -> Path:
    path = folder / "result.json"
    content = json.loads(path.read_text())
    change(content)
    if reseal:
        content.pop("seal", None)
        content["seal"] = fingerprint(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("bare", [False, True])
def test_a_record_reads_back_equal(tmp_path: Path, bare: bool) -> None:
    written = a_record()
    if bare:
        written = replace(written, reference=None, known_change=None, histogram=None, origin=None, groups=())
    save(written, ITEMS, tmp_path)
    read = read_record(tmp_path)
    assert read.record == written
    assert read_record(tmp_path / "result.json") == read
    items = read_items(read)
    assert items.ids == ("a", "b")
    assert items.prediction_digests == ("0" * 64,) * 2
    assert items.columns["psnr"][0] == 30.5
    assert math.isnan(items.columns["psnr"][1])


def test_a_digit_changed_by_hand_breaks_the_seal(tmp_path: Path) -> None:
    save(a_record(), ITEMS, tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace("1.25", "1.24"))
    with pytest.raises(VerificationError, match="changed after it was written"):
        read_record(tmp_path)


def _metric(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["metrics"]["fid-scenes32"]
    return found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.pop("name"), "missing: name"),
        (lambda c: c.update(nmae="x"), "unknown key: nmae: did you mean name"),
        (lambda c: _metric(c).update(value="1.2"), "wrong type: metrics.fid-scenes32.value"),
        (lambda c: _metric(c).update(value=None), "wrong type: metrics.fid-scenes32.value"),
        (lambda c: _metric(c).update(standard_error=-1.0), "at least 0, found -1.0"),
        (lambda c: _metric(c).update(interval=[2.0, 1.0]), "expected \\[low, high\\]"),
        (lambda c: _metric(c).update(fingerprint="A" * 64), "metrics.fid-scenes32.fingerprint"),
        (lambda c: _metric(c).update(direction="sideways"), "direction"),
        (lambda c: c["set"].update(count=0), "set.count"),
        (lambda c: c["set"].update(count=True), "set.count"),
        (lambda c: c["task"].update(name="../../x"), "task.name"),
        (lambda c: c.update(comparable=False), "contradicts"),
        (lambda c: c.update(groups=[[]]), "groups"),
        (lambda c: c["predictions"]["origin"].update(seed="7"), "predictions.origin.seed"),
        (lambda c: c.update(metrics={}) or c.pop("set"), "missing: set"),
    ],
)
def test_a_fault_under_a_good_seal_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], fault: str
) -> None:
    save(a_record(), ITEMS, tmp_path)
    changed(tmp_path, change, reseal=True)
    with pytest.raises((InputError, VerificationError), match=fault):
        read_record(tmp_path)


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    save(a_record(), ITEMS, tmp_path)
    changed(tmp_path, lambda c: (c.pop("name"), _metric(c).update(value=True)), reseal=True)
    with pytest.raises(InputError) as caught:
        read_record(tmp_path)
    assert {p.where for p in caught.value.problems} == {"name", "metrics.fid-scenes32.value"}


def test_a_result_id_of_other_content_is_found(tmp_path: Path) -> None:
    save(a_record(), ITEMS, tmp_path)
    changed(tmp_path, lambda c: c["predictions"].update(digest="9" * 64), reseal=True)
    with pytest.raises(VerificationError, match="result_id"):
        read_record(tmp_path)


@pytest.mark.parametrize(("schema", "advice"), [(SCHEMA + 1, "a later one"), (SCHEMA - 1, "score the predictions")])
def test_another_schema_is_refused_with_what_to_do(tmp_path: Path, schema: int, advice: str) -> None:
    save(a_record(), ITEMS, tmp_path)
    changed(tmp_path, lambda c: c.update(schema=schema), reseal=True)
    with pytest.raises(InputError, match=advice):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"schema": 3, "metrics": NaN}', "[" * 100_000])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(InputError, match="record"):
        read_record(tmp_path)


def test_nan_and_infinity_are_refused(tmp_path: Path) -> None:
    for word in ("NaN", "Infinity", "1e999"):
        save(a_record(), ITEMS, tmp_path)
        path = tmp_path / "result.json"
        path.write_text(path.read_text().replace('"value": 1.25', f'"value": {word}'))
        with pytest.raises((InputError, VerificationError)):
            read_record(tmp_path)


def test_no_record_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record here"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "change",
    [lambda text: text[: len(text) // 2], lambda text: text.replace("30.5", "30.6"), lambda text: text + text[-10:]],
)
def test_items_that_are_not_the_records_own_are_refused(tmp_path: Path, change: Callable[[str], str]) -> None:
    save(a_record(), ITEMS, tmp_path)
    (tmp_path / "items.csv").write_text(change(ITEMS))
    with pytest.raises(VerificationError, match="not its own"):
        read_items(read_record(tmp_path))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ITEMS.replace("id,label", "no,label"), "missing: id"),
        (ITEMS.replace("label", "psnr"), "doubled: psnr"),
        (ITEMS.replace("30.5,3", "30.5"), "cut short: line 2"),
        (ITEMS.replace("30.5", "nan"), "no number: line 2, column psnr"),
        (ITEMS.replace("30.5", "<b>"), "no number"),
        (ITEMS + ITEMS.splitlines()[1] + "\n", "3 of 2 items"),
        ("", "missing: id"),
    ],
)
def test_items_with_faults_under_a_good_digest_are_refused(tmp_path: Path, text: str, fault: str) -> None:
    save(a_record(), text, tmp_path)
    with pytest.raises(InputError, match=fault):
        read_items(read_record(tmp_path))


def test_items_must_be_there(tmp_path: Path) -> None:
    save(a_record(), ITEMS, tmp_path)
    (tmp_path / "items.csv").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_items(read_record(tmp_path))
