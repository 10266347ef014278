"""From answers to fool rates: what was simulated comes back, rules are applied, and the record is sealed."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.progress import Silent
from palette_bench.study.analyze import Findings, analyze
from palette_bench.study.definition import Platform, Study, write_study
from palette_bench.study.design import Kind, Trial
from palette_bench.study.monitor import standing
from palette_bench.study.pictures import by_rate, draw_fooled
from palette_bench.study.record import RECORD_FILE, is_study_record, read_study_record, save_record
from palette_bench.study.simulate import REHEARSAL, Behaviour, simulate
from tests.study.conftest import Serve
from tests.study.served import Served, real_side
from tests.study.worlds import small_study


def rehearse(folder: Path, study: Study, *, raters: int, fooled: dict[str, float], **more: float) -> Findings:
    behaviour = Behaviour(fooled=fooled, **more)
    simulate(folder, study, raters=raters, behaviour=behaviour, progress=Silent(), at_once=8)
    return analyze(study, folder / REHEARSAL)


def test_a_rehearsal_gives_back_the_rates_it_was_told(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=12, raters=4, catch=4)
    found = rehearse(
        tmp_path,
        study,
        raters=8,
        fooled={"model-a": 0.5, "model-b": 0.1},
        rater_spread=0.0,
        item_spread=0.0,
    )
    record = found.record
    assert record.flow.completed == record.flow.kept == 8
    for name, truth in (("model-a", 0.5), ("model-b", 0.1)):
        rate = record.rate(name, exposure_ms=100)
        assert rate is not None
        assert rate.kept is not None
        assert rate.kept.trials == 48
        assert (rate.kept.low or 0) <= truth <= (rate.kept.high or 1)
        assert rate.kept == rate.everybody
    gap = record.differences[0].difference
    assert gap.items == 24
    assert gap.p is not None
    assert gap.p < 0.05
    assert record.simulated
    assert "simulated" in record.rates[0].signature
    again = rehearse(
        tmp_path, study, raters=8, fooled={"model-a": 0.5, "model-b": 0.1}, rater_spread=0.0, item_spread=0.0
    )
    assert again.record.result_id == record.result_id
    assert again.record.rates == record.rates


def test_the_signature_says_what_a_number_is_of(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=10, raters=2)
    record = rehearse(tmp_path, study, raters=4, fooled={"model-a": 0.5, "model-b": 0.5}).record
    start = "fool-2afc|set:blobs@1|task:uncrop|n:20|raters:2x2|t:100ms|layout:pair|question:camera|"
    assert record.rates[0].signature.startswith(start)


def test_a_record_keeps_its_seal_and_its_tables(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=10, raters=2)
    found = rehearse(tmp_path, study, raters=4, fooled={"model-a": 0.5, "model-b": 0.5})
    out = tmp_path / "results"
    saved = save_record(found.record, found.tables(), out)
    assert is_study_record(out)
    assert read_study_record(out) == saved
    trials = list(csv.DictReader(io.StringIO((out / "trials.csv").read_text())))
    assert len(trials) == 4 * 11
    assert sum(int(row["counted"]) for row in trials) == 40
    items = list(csv.DictReader(io.StringIO((out / "items.csv").read_text())))
    assert sum(int(row["trials"]) for row in items) == 40
    values = json.loads((out / RECORD_FILE).read_text())
    values["rates"][0]["kept"]["value"] = 0.49
    (out / RECORD_FILE).write_text(json.dumps(values))
    with pytest.raises(VerificationError, match="was changed"):
        read_study_record(out)


def test_no_answers_is_an_error_that_says_so(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    with pytest.raises(InputError, match="no answers yet"):
        analyze(study, tmp_path / "answers.sqlite")
    served = serve(tmp_path, study)
    served.run(served.rater(), most=1)
    with pytest.raises(InputError, match="no answers to analyse"):
        analyze(study, tmp_path / "answers.sqlite")


def test_answers_of_another_study_are_refused(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    served = serve(tmp_path, study)
    served.run(served.rater())
    edited = replace(study, trials=replace(study.trials, break_every=7))
    write_study(edited, tmp_path)
    with pytest.raises(VerificationError, match="another study"):
        analyze(edited, tmp_path / "answers.sqlite")


def wrong_side(trial: Trial) -> str:
    return "right" if trial.real_left else "left"


def misses_catch(trial: Trial) -> str:
    return wrong_side(trial) if trial.kind is Kind.CATCH else real_side(trial)


Sitting = Callable[[Served, int], object]


@pytest.mark.parametrize(
    ("reason", "sit"),
    [
        ("catch trials", lambda s, n: s.run(s.rater(n), misses_catch)),
        ("response time", lambda s, n: s.run(s.rater(n), response_ms=80.0)),
        ("same side", lambda s, n: s.run(s.rater(n), lambda t: "left")),
        ("flagged showings", lambda s, n: s.run(s.rater(n), shown_ms=400.0)),
        ("automated browser", lambda s, n: s.run(s.rater(n), automated=True)),
    ],
)
def test_rules_exclude_and_both_results_are_told(tmp_path: Path, serve: Serve, reason: str, sit: Sitting) -> None:
    def loose(study: Study) -> Study:
        rules = replace(study.exclusions, practice_correct=0, same_side=6)
        return replace(study, exclusions=rules)

    study = small_study(tmp_path, change=loose, items=8)
    served = serve(tmp_path, study)
    served.run(served.rater(1))
    sit(served, 2)
    served.run(served.rater(3))
    found = analyze(study, tmp_path / "answers.sqlite")
    assert [r.kept for r in found.raters] == [True, False, True]
    assert reason in found.raters[1].reasons
    flow = found.record.flow
    assert (flow.consented, flow.completed, flow.kept) == (3, 3, 2)
    assert flow.excluded[reason] == 1
    total = [r for r in found.record.rates if r.set == 0]
    assert sum(r.everybody.trials for r in total) == 24
    assert sum(r.kept.trials for r in total if r.kept) == 16


def test_a_second_showing_counts_in_place_of_a_flagged_first(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path, practice=0, catch=0)
    served = serve(tmp_path, study)
    rater = served.rater()
    step = rater.next()
    rater.answer(step["trial"], wrong_side(served.trial(rater, step)), shown_ms=400.0, response_ms=700.0)
    served.run(rater)
    found = analyze(study, tmp_path / "answers.sqlite")
    first = found.judgements[0]
    assert (first.second, first.valid, first.fooled) == (True, True, False)


def test_seen_twice_is_flagged_and_not_counted(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path, practice=0, catch=0, items=10)
    served = serve(tmp_path, study)
    rater = served.rater()
    step = rater.next()
    rater.answer(step["trial"], "left", shown_ms=100.0, showings=2, response_ms=700.0)
    served.run(rater)
    found = analyze(study, tmp_path / "answers.sqlite")
    assert [j.valid for j in found.judgements].count(False) == 1
    assert found.raters[0].kept


def test_what_a_platform_would_allow_is_told_apart(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path, catch=2)
    served = serve(tmp_path, study)
    served.run(served.rater(1), misses_catch)
    other = replace(study, recruitment=replace(study.recruitment, platform=Platform.PROLIFIC))
    assert analyze(study, tmp_path / "answers.sqlite").raters[0].platform_allows == ""
    served.server.store.run(lambda c: c.execute("UPDATE meta SET value = ?", (other.fingerprint,)))
    served.server.store.run(lambda c: c.execute("UPDATE meta SET value = '1' WHERE key = 'schema'"))
    found = analyze(other, tmp_path / "answers.sqlite").raters[0]
    assert found.platform_allows == "2 failed checks"
    assert "catch trials" in found.reasons


def test_lost_raters_count_among_all_and_not_among_kept(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    served = serve(tmp_path, study)
    served.run(served.rater(1))
    lost = served.rater(2)
    served.run(lost, most=5)
    served.shift[0] += 31 * 60
    served.run(served.rater(3))
    found = analyze(study, tmp_path / "answers.sqlite")
    assert (found.record.flow.lost, found.record.flow.completed) == (1, 2)
    total = [r for r in found.record.rates if r.set == 0]
    assert sum(r.everybody.trials for r in total) > sum(r.kept.trials for r in total if r.kept)
    now = standing(study, tmp_path / "answers.sqlite")
    assert (now.active, now.done, now.lost, now.fewest_trials) == (0, 2, 1, 6)


def test_the_monitor_warns_when_raters_get_fewer_trials_than_they_should(tmp_path: Path, serve: Serve) -> None:
    study = small_study(tmp_path)
    served = serve(tmp_path, study)
    served.run(served.rater(1))
    assert standing(study, tmp_path / "answers.sqlite").warnings == ()
    served.server.store.run(lambda c: c.execute("DELETE FROM answers WHERE trial = 5"))
    assert "fewer than 6 trials" in standing(study, tmp_path / "answers.sqlite").warnings[0]
    assert "fewer than 6 trials" in analyze(study, tmp_path / "answers.sqlite").record.warnings[0]


def test_the_picture_shows_most_and_least_fooling_items(tmp_path: Path) -> None:
    from PIL import Image

    study = small_study(tmp_path, items=10, raters=4)
    found = rehearse(tmp_path, study, raters=8, fooled={"model-a": 0.5, "model-b": 0.5})
    rates = [item.rate for item in by_rate(found)]
    assert rates == sorted(rates, reverse=True)
    draw_fooled(tmp_path, study, found, tmp_path / "fooled.png")
    with Image.open(tmp_path / "fooled.png") as image:
        assert image.size[0] > 1000
