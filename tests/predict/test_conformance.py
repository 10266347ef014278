"""The conformance kit: a model that behaves passes, and one that breaks a law fails exactly that law."""

from pathlib import Path

import pytest

from palette_bench.common.errors import UsageError
from palette_bench.predict.adapters import conformance
from palette_bench.predict.adapters.conformance import Finding, Law, Report, State, check_adapter
from palette_bench.predict.card import find_card, load_card
from tests.predict.small_set import content, write_card
from tests.predict.test_adapters import GOOD_PROGRAM, program


def broken(report: Report) -> set[Law]:
    return {finding.law for finding in report.findings if finding.state is State.BROKEN}


def skipped(report: Report) -> set[Law]:
    return {finding.law for finding in report.findings if finding.state is State.NOT_CHECKED}


@pytest.fixture
def _no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the law that takes three runs; it has tests of its own."""
    monkeypatch.setattr(conformance._Kit, "_resume", lambda _: Finding(Law.RESUME, State.KEPT, ""))


def test_a_program_that_behaves_keeps_every_law(here: Path) -> None:
    report = check_adapter(program(here / "mine", GOOD_PROGRAM))
    assert report.conforms
    assert [finding.law for finding in report.findings] == list(Law)
    assert skipped(report) == set()
    assert (report.task, report.size) == ("uncrop", 32)
    assert sorted(content(here)) == ["mine/card.toml", "mine/run.py"]


@pytest.mark.usefixtures("_no_runs")
@pytest.mark.parametrize(
    ("name", "law", "left_out"),
    [
        ("CannotBeBuilt", Law.BUILT, {Law.OUTPUTS, *conformance.AFTER_OUTPUTS, Law.INPUTS, Law.RESUME}),
        ("Floats", Law.OUTPUTS, {*conformance.AFTER_OUTPUTS, Law.INPUTS, Law.RESUME}),
        ("ZeroToOne", Law.OUTPUTS, set()),
        ("Restless", Law.REPEATABLE, {Law.BATCHES, Law.SEED, Law.RESUME}),
        ("Sociable", Law.BATCHES, set()),
        ("Backwards", Law.BATCHES, set()),
        ("Forgetful", Law.SEED, set()),
        ("NeedsHole", Law.NO_HOLE, set()),
        ("Spoiling", Law.INPUTS, set()),
        ("Littering", Law.ELSEWHERE, set()),
    ],
)
def test_a_model_that_breaks_a_law_fails_exactly_that_one(here: Path, name: str, law: Law, left_out: set[Law]) -> None:
    card = write_card(here / "mine", f'kind = "python"\nentry = "tests.predict.adapters:{name}"')
    report = check_adapter(load_card(card), seconds=30)
    assert broken(report) == {law}, report
    assert skipped(report) == left_out
    assert not report.conforms


def test_a_run_that_would_end_otherwise_after_an_interruption_is_found(here: Path) -> None:
    report = check_adapter(find_card("tests.predict.adapters:Tiring"))
    assert broken(report) == {Law.RESUME}


@pytest.mark.usefixtures("_no_runs")
def test_the_last_grey_level_is_rounding_and_said_so(here: Path) -> None:
    report = check_adapter(find_card("tests.predict.adapters:Rounding"), task_name="colorize")
    assert report.conforms, report
    found = {finding.law: finding for finding in report.findings}
    assert found[Law.BATCHES].text.startswith("up to rounding: ")
    assert found[Law.NO_HOLE].state is State.NOT_CHECKED
    assert "no card says" in found[Law.SEED].text


@pytest.mark.usefixtures("_no_runs")
def test_a_model_that_uses_the_seed_against_its_card_is_found(here: Path) -> None:
    card = write_card(here / "mine", 'kind = "python"\nentry = "tests.predict.adapters:Painter"', stochastic=False)
    assert broken(check_adapter(load_card(card))) == {Law.SEED}


def test_what_cannot_be_tried_is_refused(here: Path) -> None:
    card = load_card(write_card(here / "mine", 'kind = "directory"\nfolder = "outputs"'))
    with pytest.raises(UsageError, match="only a model that computes"):
        check_adapter(card)
    with pytest.raises(UsageError, match="multiple of 8"):
        check_adapter(find_card("tests.predict.adapters:Painter"), size=33)
