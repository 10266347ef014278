"""What follows from numbers of untouched references: verdicts, explanations, sheets, on the rows that are printed."""

from types import SimpleNamespace
from typing import cast

import pytest

from palette_bench.artifacts.evalset import EvalSet, prepare_command
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.progress import Silent
from palette_bench.protocol.definition import load_protocol
from palette_bench.publish.calibrate import (
    BANDS,
    Band,
    Calibration,
    JudgedNumber,
    Outcome,
    Variant,
    Verdict,
    calibrate,
    conclude,
    geometry_variants,
    judge,
    page,
    parse_bands,
    printed_references,
    sheet,
    summary,
)
from palette_bench.score.calibrating import NotComputed, ReferenceNumber
from palette_bench.score.engine import Compute
from palette_bench.score.metrics.expected_frechet import Expectation, Relation
from palette_bench.score.recipes.base import Column

CTEST = "imagenet-ctest10k"
FID, IS, CA = "fid-inception2015-tf1", "is-inception2015-biased-1split", "ca-resnet50v1-crop224"


def eval_set(name: str = CTEST) -> EvalSet:
    """As much of a prepared set as judging needs."""
    protocol = load_protocol(name)
    known = SimpleNamespace(
        name=name,
        set_id=name,
        family=protocol.family,
        status=protocol.status,
        protocol=protocol,
        task_names=protocol.task_names,
        count=protocol.selection.count,
        size=protocol.size,
        fingerprint="",
        data_digest="",
    )
    return cast("EvalSet", known)


def number(recipe: str, value: float, *, error: float = 0.0, incomparable: str | None = None) -> ReferenceNumber:
    of = "imagenet-val" if recipe.startswith("fid") else None
    return ReferenceNumber(
        recipe=recipe,
        reference=of,
        reference_count=50000 if of else None,
        value=value,
        standard_error=error,
        fingerprint="",
        by_definition=False,
        incomparable=incomparable,
        expected=(Expectation(Relation.PART, 2.68, 0.03),) if of else (),
        unexpected=None,
    )


def variant(
    words: str, numbers: list[ReferenceNumber], *, missing: tuple[NotComputed, ...] = (), name: str = CTEST
) -> Variant:
    of = eval_set(name)
    printed = printed_references(of)
    return Variant(
        set_id=name + words,
        geometry=words,
        command="",
        eval_set=of,
        numbers=tuple(JudgedNumber(each, tuple(judge(each, printed, of))) for each in numbers),
        missing=missing,
        incomparable=None,
    )


def concluded(*variants: Variant, name: str = CTEST) -> Calibration:
    return conclude(name, printed_references(eval_set(name)), variants)


def outcome(*variants: Variant) -> Outcome:
    return concluded(*variants).outcome


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("imagenet-coltran5k", ["14.68 / 229.6 / 75.6"]),
        (CTEST, ["2.7 / 250.1 / 76.0", "5.1 / 231.6 / 74.6", "2.7 / 250.1 / 75.9"]),
        ("places10k", ["11.4", "2.1"]),
        ("scenes32", []),
    ],
)
def test_the_printed_reference_rows(name: str, texts: list[str]) -> None:
    rows = printed_references(eval_set(name))
    assert [row.text for row in rows] == texts
    if name == CTEST:
        assert rows[0].sources == ("Palette v1, Table C.1", "Palette v1, Table 3")
        assert {"colorize", "uncrop"} <= set(rows[0].tasks)
        assert any("the images differ" in reason for reason in rows[1].disputed)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(2.70, "reproduces"), (2.7634, "reproduces"), (2.7636, "differs"), (2.6366, "reproduces"), (2.6364, "differs")],
)
def test_half_a_unit_and_the_band(value: float, verdict: str) -> None:
    """2.7 ± 0.05 of rounding ± 0.0135 of the band."""
    found = judge(number(FID, value), printed_references(eval_set()), eval_set())
    assert [each.verdict.value for each in found if each.printed == 0] == [verdict]
    without = judge(
        number(FID, value), printed_references(eval_set()), eval_set(), bands={**BANDS, Column.FID: Band(width=0.0)}
    )
    assert (without[0].verdict is Verdict.REPRODUCES) == (abs(value - 2.7) <= 0.05)


def test_a_reconstruction_is_another_draw() -> None:
    """The list of places10k was never published, so the sampling error of both draws counts; elsewhere it does not."""
    rows = printed_references(eval_set("places10k"))
    for error, verdict in ((0.1, Verdict.REPRODUCES), (0.01, Verdict.DIFFERS)):
        found = judge(number(FID, 2.3, error=error), rows, eval_set("places10k"))
        assert {each.printed: each.verdict for each in found}[1] is verdict
    found = judge(number(FID, 2.9, error=1.0), printed_references(eval_set()), eval_set())
    assert found[0].verdict is Verdict.DIFFERS


SQUARE = [number(FID, 2.71), number(IS, 250.3), number(CA, 75.98)]
ADM = [number(FID, 5.08), number(IS, 231.0), number(CA, 74.65)]


def test_a_geometry_for_each_row() -> None:
    found = concluded(variant("", SQUARE), variant("+adm", ADM))
    assert found.outcome is Outcome.NONE
    assert {row: [e.variants for e in alone] for row, alone in found.by_row.items()} == {
        0: [(CTEST,)],
        1: [(f"{CTEST}+adm",)],
        2: [(CTEST,)],
    }
    assert [e.variants for e in found.mixed] == [(CTEST, f"{CTEST}+adm", CTEST)]
    text = "\n".join(summary(found))
    assert "No set of choices explains all 3 printed rows." in text
    assert "With the same recipes and a geometry of its own for each row (A, B, C): 1 set of choices:" in text
    swapped = concluded(variant("", SQUARE), variant("+adm", [number(FID, 5.3), *ADM[1:]]))
    assert swapped.mixed == ()
    assert swapped.by_row[1] == ()


def test_one_several_and_none() -> None:
    places = "places10k"
    exact = conclude(places, printed_references(eval_set(places))[1:], [variant("", [], name=places)])
    assert exact.outcome is Outcome.NOT_JUDGED
    rows = printed_references(eval_set("imagenet-coltran5k"))

    def told(*values: float) -> Calibration:
        sets = []
        for place, value in enumerate(values):
            numbers = [number(FID, value), number(IS, 229.7), number(CA, 75.6)]
            sets.append(variant(f"+{place}", numbers, name="imagenet-coltran5k"))
        return conclude("imagenet-coltran5k", rows, sets)

    assert told(14.7, 15.7).outcome is Outcome.EXPLAINED
    assert told(14.7, 15.7).together[0].variants == ("imagenet-coltran5k+0",)
    assert told(14.7, 14.66).outcome is Outcome.UNDECIDED
    assert told(13.7, 15.7).outcome is Outcome.NONE
    assert summary(told(14.7, 14.66))[0] == "Undecided: 2 sets of choices explain the printed row:"


def test_a_column_that_is_not_computed_explains_nothing() -> None:
    missing = NotComputed(FID, "imagenet-val", "no statistics", "palette-bench statistics")
    found = concluded(variant("", SQUARE[1:], missing=(missing,)))
    assert found.outcome is Outcome.NOT_JUDGED
    assert found.by_row == {}
    assert found.untested == (f"{CTEST}: {FID} against imagenet-val",)
    assert "neither confirmed nor ruled out" in "\n".join(summary(found))


def test_numbers_of_other_weights_explain_nothing() -> None:
    foreign = [number(each.recipe, each.value, incomparable="other weights") for each in SQUARE]
    assert outcome(variant("", foreign)) is Outcome.NOT_COMPARABLE
    assert outcome(variant("", [foreign[0], *SQUARE[1:]])) is Outcome.NOT_COMPARABLE
    mixed = concluded(variant("", [*SQUARE, number("ca-efficientnetb0-crop224", 76.0, incomparable="other weights")]))
    assert mixed.by_row[0][0].recipes[Column.CA] == (CA,)
    assert any("compare with nothing" in text for text in mixed.untested)
    assert "reproduces" not in page(concluded(variant("", foreign)))
    assert "reproduces 2.7" in page(concluded(variant("", SQUARE)))


def test_the_page_escapes_what_it_is_told() -> None:
    missing = NotComputed(CA, None, "the set's class a|b<script> is not one", None)
    text = page(concluded(variant("", SQUARE[:2], missing=(missing,))))
    assert "a\\|b&lt;script&gt;" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_the_sheet_says_what_perfect_samples_score() -> None:
    printed = sheet(concluded(variant("", SQUARE)))
    fid = printed.tables[0].groups[0].rows[0]
    texts = tuple(cell.text for cell in fid.cells)
    assert fid.label == FID
    assert texts[:3] == ("imagenet-val (50000)", "2.71 ± 0.00", "2.68 ± 0.03")
    assert texts[3:] == ("reproduces 2.7", "differs by -2.39", "reproduces 2.7")


def test_geometries_and_the_commands_that_prepare_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palette_bench.publish.calibrate.prepared_sets", lambda: [f"{CTEST}+adm+released-masks"])
    found = [set_id for set_id, _ in geometry_variants(f"{CTEST}+released-masks")]
    words = ("+released-masks", "+short-side-bilinear+released-masks", "+adm+released-masks")
    assert found == [CTEST + each for each in words]
    assert prepare_command(found[1]) == (
        f"palette-bench prepare {CTEST} --source DIR --geometry short-side-bilinear --released-masks FILE"
    )
    with pytest.raises(InputError, match="is not prepared"):
        geometry_variants(CTEST)


def test_nothing_is_prepared(home: object) -> None:
    with pytest.raises(InputError, match="set imagenet-ctest10k is not prepared"):
        calibrate(CTEST, Compute(), progress=Silent())


def test_bands() -> None:
    assert parse_bands(["fid=0.05", "is=1%"]) == {**BANDS, Column.FID: Band(width=0.05), Column.IS: Band(share=0.01)}
    for text in ("pd=1", "fid=nan", "fid=-1", "ca", "=1"):
        with pytest.raises(UsageError):
            parse_bands([text])
