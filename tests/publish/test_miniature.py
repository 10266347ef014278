"""The miniature paper: its tables name models that exist, its verdicts follow from numbers and errors."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.artifacts.record import ResultRecord, read_record, sealed
from palette_bench.common import resources
from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError
from palette_bench.common.files import write_json
from palette_bench.predict.card import find_card
from palette_bench.publish.leaderboard.build import built, demand_fresh
from palette_bench.publish.regress.manifest import read_manifest
from palette_bench.publish.tables import miniature
from palette_bench.publish.tables.layout import layouts, records_needed
from palette_bench.publish.tables.miniature import (
    CA,
    DIVERSITY,
    FID,
    IS,
    PSNR,
    Lead,
    Verdict,
)
from palette_bench.score.recipes.catalogue import named
from tests.records import a_record

GOOD = {FID: 1.0, IS: 9.0, CA: 90.0, PSNR: 18.0, "pd-scenes32": 2.0, DIVERSITY: 0.4}
POOR = {FID: 9.0, IS: 4.0, CA: 40.0, PSNR: 24.0, "pd-scenes32": 6.0, DIVERSITY: 0.6}
FLOOR = {FID: 30.0, IS: 2.0, CA: 20.0, PSNR: 20.0, "pd-scenes32": 9.0, DIVERSITY: 0.9}


def record(model: str, task: str, values: dict[str, float], *, error: float = 0.1) -> ResultRecord:
    whole = a_record()
    some = next(iter(whole.metrics.values()))
    metrics = {
        name: replace(some, recipe=name, value=value, standard_error=error / 100 if name == DIVERSITY else error)
        for name, value in values.items()
    }
    return replace(whole, name=model, scored=replace(whole.scored, task=task), metrics=metrics)


def all_records(*, error: float = 0.1) -> dict[tuple[str, str], ResultRecord]:
    """Records as the paper would have them."""
    found = {}
    for task, model, _ in records_needed(layouts()):
        values = FLOOR
        if model.startswith("palette"):
            values = GOOD
        elif model.startswith("regression"):
            values = POOR
        if task.startswith("jpeg") and model.startswith("regression"):
            quality = int(task.removeprefix("jpeg-qf"))
            values = {**POOR, FID: 9.0 - quality / 4}
        if model.endswith("-l1"):
            values = {**GOOD, DIVERSITY: 0.5}
        if model.endswith(("-local", "-more-blocks", "-dilated")):
            values = {**GOOD, FID: 2.0}
        found[task, model] = record(model, task, values, error=error)
    return found


def test_every_row_is_a_baseline_that_can_do_its_task() -> None:
    tables = layouts()
    assert [table.number for table in tables] == ["1", "2", "3", "4", "5", "6", "C.1"]
    for task, model, samples in records_needed(tables):
        card = find_card(model)
        card.check_can_do(task, 32)
        assert samples == 1 or card.stochastic
    for table in tables:
        assert all(named(column).name == column for column in table.columns)


def test_a_row_that_stands_in_two_tables_has_one_record_with_the_most_samples() -> None:
    rows = records_needed(layouts())
    assert len({(task, model) for task, model, _ in rows}) == len(rows)
    samples = {(task, model): count for task, model, count in rows}
    assert samples["colorize", "palette-scenes32-colorize"] == samples["colorize", "palette-scenes32-colorize-l1"] > 1
    assert samples["uncrop", "classical-mirror"] == 1


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (1.0, 0.5, Verdict.HOLDS),
        (0.9, 0.5, Verdict.UNDECIDED),
        (-0.9, 0.5, Verdict.UNDECIDED),
        (-1.0, 0.5, Verdict.FAILS),
        (0.1, 0.0, Verdict.HOLDS),
    ],
)
def test_a_difference_counts_beyond_its_error(value: float, error: float, verdict: Verdict) -> None:
    assert miniature.judged(Lead(value, error)) is verdict


def test_ahead_means_lower_for_fid_and_higher_for_the_inception_score() -> None:
    good, poor = record("a", "uncrop", GOOD), record("b", "uncrop", POOR)
    assert miniature.ahead(good, poor, FID).value == pytest.approx(8.0)
    assert miniature.ahead(good, poor, IS).value == pytest.approx(5.0)
    assert miniature.ahead(good, poor, PSNR).value == pytest.approx(-6.0)
    assert miniature.ahead(good, poor, FID).error == pytest.approx(0.1 * 2**0.5)


def test_all_claims_hold_where_the_numbers_say_so() -> None:
    found = miniature.claims(layouts(), all_records())
    assert {claim.verdict for claim in found} == {Verdict.HOLDS}
    texts = " ".join(claim.text for claim in found)
    for word in (
        "regression in FID",
        "classical method in CA",
        "PSNR",
        "as QF falls",
        "diverse",
        "dilated",
        "generalist",
    ):
        assert word in texts
    assert len({claim.text for claim in found}) == len(found)


def test_no_claim_is_decided_when_the_errors_are_large() -> None:
    found = miniature.claims(layouts(), all_records(error=1000.0))
    assert {claim.verdict for claim in found} == {Verdict.UNDECIDED}


def test_each_claim_fails_on_its_own() -> None:
    tables = layouts()

    def failing(task: str, model: str, **changed: float) -> list[str]:
        records = all_records()
        before = records[task, model]
        names = {"fid": FID, "is_": IS, "ca": CA, "psnr": PSNR, "similarity": DIVERSITY}
        numbers = {
            names[name]: replace(before.metrics[names[name]], value=value, standard_error=0.1)
            for name, value in changed.items()
        }
        records[task, model] = replace(before, metrics={**before.metrics, **numbers})
        return [claim.text for claim in miniature.claims(tables, records) if claim.verdict is not Verdict.HOLDS]

    assert failing("uncrop", "regression-scenes32-uncrop", ca=95.0) == [
        "Uncropping (right half): Palette is ahead of regression in CA"
    ]
    assert failing("uncrop", "classical-tile", fid=0.5) == [
        "Uncropping (right half): Palette is ahead of every classical method in FID"
    ]
    assert failing("uncrop", "regression-scenes32-uncrop", psnr=10.0) == [
        "Uncropping (right half): regression is ahead of Palette in PSNR"
    ]
    assert failing("jpeg-qf20", "regression-scenes32-jpeg", fid=20.0) == [
        "JPEG: the gap between Palette and regression in FID grows as QF falls"
    ]
    [text] = failing("colorize", "palette-scenes32-colorize-l1", similarity=0.3)
    assert text.startswith("colorize: samples of the L2 model are more diverse")
    assert failing("inpaint-center", "palette-scenes32-inpaint-dilated", fid=0.2) == [
        "Inpainting: global self-attention is ahead of dilated convolutions in FID"
    ]
    assert failing("uncrop", "palette-scenes32-multitask", fid=20.0) == [
        "uncrop: the generalist Palette is ahead of the generalist regression in FID"
    ]


def test_a_record_of_another_row_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    path = miniature.record_path(tmp_path, "uncrop", "mine")
    with pytest.raises(InputError, match="no record here"):
        miniature.checked_record(path, "uncrop", "mine")
    write_json(path, sealed(a_record(), "0" * 64))
    assert miniature.checked_record(path, "uncrop", "mine").metrics[FID].value == 1.25
    for task, model in (("colorize", "mine"), ("uncrop", "other")):
        with pytest.raises(InputError, match="of another row"):
            miniature.checked_record(path, task, model)


FOLDER = Path(str(resources.leaderboards() / "scenes32"))


def test_every_published_record_is_of_the_card_that_is_here() -> None:
    tables = layouts()
    for task, model, samples in records_needed(tables):
        published = read_record(miniature.record_path(FOLDER, task, model)).record
        assert published.origin is not None
        assert published.origin.fingerprint == find_card(model).fingerprint(), f"{task}/{model}"
        assert published.samples == samples, f"{task}/{model}"
        assert published.scored.count == 2000
        assert not published.incomparable


def test_the_built_files_are_what_the_records_say() -> None:
    leaderboards = FOLDER.parent
    demand_fresh(built(leaderboards, leaderboards / "site"), leaderboards / "site")
    manifest = read_manifest(resources.own_manifest())
    assert len(manifest.rows) == sum(len(group.rows) for table in layouts() for group in table.groups)
    readme = (FOLDER / "README.md").read_text()
    for row in manifest.rows:
        for cell in row.cells:
            assert f"{cell.printed} ±" in readme or cell.printed in readme


def test_the_drawn_figure_8_is_of_these_records() -> None:
    account = json.loads((FOLDER / f"{miniature.DIVERSITY_FIGURE}.json").read_text())
    drawn = [record["result_id"] for record in account["records"]]
    assert drawn == [
        read_record(miniature.record_path(FOLDER, task, model)).record.result_id
        for task, models in miniature.HISTOGRAMS
        for _, model in models
    ]
    picture = (FOLDER / f"{miniature.DIVERSITY_FIGURE}.png").read_bytes()
    assert account["files"]["png"] == bytes_digest(picture)
