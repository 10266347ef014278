"""From answers to fool rates: which answers count, which raters are kept, and what follows."""

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import fingerprint, lines_digest
from palette_bench.common.errors import InputError
from palette_bench.common.version import __version__
from palette_bench.study import store
from palette_bench.study.definition import Platform, Study
from palette_bench.study.design import RESHOWN, Design, Kind, Trial, item_of, seat_of
from palette_bench.study.estimates import Floats, Ints, detection, difference, holm, rate
from palette_bench.study.plates import plate_answers
from palette_bench.study.record import (
    KIND,
    SCHEMA,
    Flow,
    FoolRate,
    ModelDifference,
    StudyModel,
    StudyRecord,
    signature,
)
from palette_bench.study.sitting import RESHOW, Flag, chose_real
from palette_bench.study.store import Answer, Session, State

SIMULATED = "simulated"
"""The origin of sessions that no person sat in."""
PLATFORM_MINUTES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One answer that shows images, as it is counted; ``fooled`` is None where no model is judged."""

    session: Session
    trial: Trial
    answer: Answer
    item: str
    model: str
    set: int
    exposure_ms: int
    fooled: bool
    valid: bool
    second: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterSummary:
    """What is known of a rater, and why the rules keep the answers out of the headline number, if they do."""

    number: int
    session: Session
    judged: int
    fool_rate: float | None
    practice_right: int
    catch_right: int
    catch_count: int
    plates_right: int
    response_ms: float | None
    total_seconds: float
    streak: int
    left_share: float | None
    flagged_share: float
    automated: bool
    reasons: tuple[str, ...]
    platform_allows: str

    @property
    def kept(self) -> bool:
        """Whether the answers count in the headline number."""
        return self.session.state is State.DONE and not self.reasons


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that an analysis found: the record without its tables' digests, and the tables."""

    record: StudyRecord
    raters: tuple[RaterSummary, ...]
    judgements: tuple[Judgement, ...]

    def tables(self) -> dict[str, str]:
        """``trials.csv``, ``raters.csv`` and ``items.csv``."""
        return {
            "trials.csv": _csv(_trial_rows(self)),
            "raters.csv": _csv(_rater_rows(self.raters)),
            "items.csv": _csv(_item_rows(self.judgements, {r.session.id for r in self.raters if r.kept})),
        }


def analyze(study: Study, database: Path) -> Findings:
    """Analyse the answers in a database. Raises InputError where there are none, or they are of another study."""
    with store.reading(database, fingerprint=study.fingerprint) as connection:
        sessions = store.sessions(connection)
        by_session: dict[int, dict[int, Answer]] = {session.id: {} for session in sessions}
        for answer in store.answers(connection):
            by_session[answer.session][answer.trial] = answer
        invited = store.arrival_count(connection)
    design = Design(study)
    # In the order of seats, so that sums do not depend on who came first.
    judgements = [
        judgement
        for session in sorted(sessions, key=lambda session: (session.seat, session.id))
        if session.state not in (State.WITHDRAWN, State.SCREENED)
        for judgement in _judgements(design, session, by_session[session.id])
    ]
    main = [j for j in judgements if j.trial.kind is Kind.MAIN]
    if not main:
        raise InputError(
            "no answers to analyse",
            where=database,
            expected="answers to trials after practice",
            found=f"{len(sessions)} sessions",
            next_step="palette-bench study monitor says who is active",
        )
    raters = _summaries(design, sessions, by_session, judgements)
    kept = {rater.session.id for rater in raters if rater.kept}
    simulated = any(session.origin == SIMULATED for session in sessions)
    rates = _rates(study, main, kept, simulated=simulated)
    record = StudyRecord(
        schema=SCHEMA,
        kind=KIND,
        result_id=fingerprint({"study": study.fingerprint, "answers": _answers_digest(judgements, raters)}),
        name=study.name,
        preset=study.preset,
        study_fingerprint=study.fingerprint,
        seed=study.seed,
        simulated=simulated,
        source=study.source,
        trials=study.trials,
        exclusions=study.exclusions,
        models=tuple(StudyModel(name=m.name, title=m.title, outputs_digest=m.outputs_digest) for m in study.models),
        rates=rates,
        differences=_differences(study, main, kept),
        flow=_flow(sessions, raters, invited),
        warnings=_warnings(study, raters, rates, simulated=simulated),
        tables_sha256={},
        software=__version__,
    )
    return Findings(record, tuple(raters), tuple(judgements))


def _judgements(design: Design, session: Session, answered: Mapping[int, Answer]) -> Iterable[Judgement]:
    """The answers of a session that count: the second showing's in place of a first that was flagged."""
    study, seat = design.study, seat_of(design.study, session.seat)
    for trial in design.trials(session.seat):
        first = answered.get(trial.number)
        if first is None or trial.kind not in (Kind.MAIN, Kind.CATCH):
            continue
        second = answered.get(trial.number + RESHOWN)
        answer = second if second is not None and RESHOW.intersection(first.flags) else first
        yield Judgement(
            session=session,
            trial=trial,
            answer=answer,
            item=item_of(study, trial).id,
            model="" if trial.model is None else study.models[trial.model].name,
            set=seat.set,
            exposure_ms=seat.exposure_ms,
            fooled=not chose_real(study, trial, answer.choice),
            valid=not {*RESHOW, Flag.AGAIN}.intersection(answer.flags),
            second=answer is second,
        )


def _summaries(
    design: Design,
    sessions: Sequence[Session],
    by_session: Mapping[int, Mapping[int, Answer]],
    judgements: Sequence[Judgement],
) -> list[RaterSummary]:
    of_session: dict[int, list[Judgement]] = {session.id: [] for session in sessions}
    for judgement in judgements:
        of_session[judgement.session.id].append(judgement)
    totals = {
        session.id: sum(float(j.answer.measured["response_ms"]) for j in of_session[session.id]) / 1000
        for session in sessions
    }
    done = [totals[session.id] for session in sessions if session.state is State.DONE]
    fast = -1.0
    if len(done) > 2 and design.study.exclusions.fast_sd:
        fast = statistics.fmean(done) - design.study.exclusions.fast_sd * statistics.stdev(done)
    return [
        _summary(design, number, session, by_session[session.id], of_session[session.id], totals[session.id], fast)
        for number, session in enumerate(sessions, 1)
    ]


def _summary(
    design: Design,
    number: int,
    session: Session,
    answered: Mapping[int, Answer],
    judgements: Sequence[Judgement],
    total: float,
    fast: float,
) -> RaterSummary:
    study, rules = design.study, design.study.exclusions
    main = [j for j in judgements if j.trial.kind is Kind.MAIN]
    catch = [j for j in judgements if j.trial.kind is Kind.CATCH]
    trials = design.trials(session.seat)
    plates = plate_answers(study.seed, study.trials.plates)
    plates_right = sum(
        answered[t.number].choice == plates[t.item] for t in trials if t.kind is Kind.PLATE and t.number in answered
    )
    practice = sum(
        chose_real(study, t, answered[t.number].choice)
        for t in trials
        if t.kind is Kind.PRACTICE and t.number in answered
    )
    responses = [float(j.answer.measured["response_ms"]) for j in judgements]
    median = statistics.median(responses) if responses else None
    choices = [j.answer.choice for j in sorted(judgements, key=lambda j: j.trial.number)]
    streak = _longest_run(choices)
    flagged = sum(not j.valid for j in judgements) / len(judgements) if judgements else 0.0
    automated = any(answer.measured.get("automated") for answer in answered.values())
    catch_right = sum(not j.fooled for j in catch)
    reasons = []
    if catch and catch_right < rules.catch_correct * len(catch):
        reasons.append("catch trials")
    if rules.response_ms and median is not None and median < rules.response_ms:
        reasons.append("response time")
    if 0.0 < total < fast:
        reasons.append("faster than the others")
    if rules.same_side and streak >= rules.same_side:
        reasons.append("same side")
    if rules.flagged_share and flagged > rules.flagged_share:
        reasons.append("flagged showings")
    if study.trials.plates and session.state is State.DONE and plates_right < rules.plates_correct:
        reasons.append("colour plates")
    if rules.automated and automated:
        reasons.append("automated browser")
    return RaterSummary(
        number=number,
        session=session,
        judged=len(main),
        fool_rate=statistics.fmean(j.fooled for j in main) if main else None,
        practice_right=practice,
        catch_right=catch_right,
        catch_count=len(catch),
        plates_right=plates_right,
        response_ms=median,
        total_seconds=total,
        streak=streak,
        left_share=choices.count("left") / len(choices) if choices else None,
        flagged_share=flagged,
        automated=automated,
        reasons=tuple(reasons),
        platform_allows=_platform_allows(study, len(catch) - catch_right, 0.0 < total < fast, session),
    )


def _platform_allows(study: Study, failed: int, is_fast: bool, session: Session) -> str:
    """What a platform's own rules would let one reject, apart from what the analysis excludes; nobody is rejected here.

    Prolific: two failed attention checks, one where the study takes less than five minutes, or completion three
    standard deviations faster than the mean (researcher-help.prolific.com, article 703724).
    """
    if study.recruitment.platform is not Platform.PROLIFIC or session.state is not State.DONE:
        return ""
    needed = 2 if study.ethics.minutes >= PLATFORM_MINUTES else 1
    found = [f"{failed} failed checks"] if failed >= needed else []
    return "; ".join([*found, *(["3 SD faster than the mean"] if is_fast else [])])


def _longest_run(choices: Sequence[str]) -> int:
    longest = run = 0
    for place, choice in enumerate(choices):
        run = run + 1 if place and choices[place - 1] == choice else 1
        longest = max(longest, run)
    return longest


@dataclass(frozen=True, slots=True)
class _Columns:
    """Judgements as arrays [n]: fooled or not, rater, item, where the real image was, which side was called real."""

    fooled: Floats
    raters: Ints
    items: Ints
    real_left: NDArray[np.bool_]
    called_left: NDArray[np.bool_]


def _columns(study: Study, judgements: Sequence[Judgement]) -> _Columns:
    places = {item.id: place for place, item in enumerate(study.items)}
    raters = {number: place for place, number in enumerate(dict.fromkeys(j.session.id for j in judgements))}
    real_left = np.array([j.trial.real_left for j in judgements], dtype=np.bool_)
    fooled = np.array([j.fooled for j in judgements], dtype=np.float64)
    return _Columns(
        fooled,
        np.array([raters[j.session.id] for j in judgements], dtype=np.int64),
        np.array([places[j.item] for j in judgements], dtype=np.int64),
        real_left,
        real_left ^ (fooled == 1.0),
    )


def _rates(study: Study, main: Sequence[Judgement], kept: set[int], *, simulated: bool) -> tuple[FoolRate, ...]:
    found: list[FoolRate] = []
    sets = [0] if study.trials.sets == 1 else [0, *range(1, study.trials.sets + 1)]
    for exposure in study.trials.exposure_ms:
        for number in sets:
            group = []
            for model in study.models:
                all_of_them = [
                    j for j in main if j.model == model.name and j.exposure_ms == exposure and number in (0, j.set)
                ]
                if not all_of_them:
                    continue
                counted = [j for j in all_of_them if j.session.id in kept and j.valid]
                columns = _columns(study, counted)
                everybody = _columns(study, all_of_them)
                group.append(
                    FoolRate(
                        model=model.name,
                        set=number,
                        exposure_ms=exposure,
                        kept=rate(columns.fooled, columns.raters, columns.items) if counted else None,
                        everybody=rate(everybody.fooled, everybody.raters, everybody.items),
                        holm=None,
                        detection=detection(columns.real_left, columns.called_left, columns.raters, columns.items)
                        if counted
                        else None,
                        signature=signature(study, model.name, number, exposure, simulated=simulated),
                    )
                )
            corrected = holm([r.kept.p_half if r.kept else None for r in group])
            found += [replace(r, holm=p) for r, p in zip(group, corrected, strict=True)]
    return tuple(found)


def _differences(study: Study, main: Sequence[Judgement], kept: set[int]) -> tuple[ModelDifference, ...]:
    found: list[ModelDifference] = []
    for exposure in study.trials.exposure_ms:
        sides = {}
        for model in study.models:
            counted = [
                j
                for j in main
                if j.model == model.name and j.exposure_ms == exposure and j.session.id in kept and j.valid
            ]
            if counted:
                columns = _columns(study, counted)
                sides[model.name] = (columns.fooled, columns.raters, columns.items)
        names = list(sides)
        pairs = [
            (first, second, difference(sides[first], sides[second]))
            for place, first in enumerate(names)
            for second in names[place + 1 :]
        ]
        known = [(first, second, d) for first, second, d in pairs if d is not None]
        corrected = holm([d.p for _, _, d in known])
        found += [
            ModelDifference(first=first, second=second, exposure_ms=exposure, difference=replace(d, holm=p))
            for (first, second, d), p in zip(known, corrected, strict=True)
        ]
    return tuple(found)


def _flow(sessions: Sequence[Session], raters: Sequence[RaterSummary], invited: int) -> Flow:
    states = Counter(session.state for session in sessions)
    return Flow(
        invited=max(invited, len(sessions)),
        consented=len(sessions),
        withdrawn=states[State.WITHDRAWN],
        screened=states[State.SCREENED],
        lost=states[State.LOST],
        active=states[State.ACTIVE],
        completed=states[State.DONE],
        kept=sum(rater.kept for rater in raters),
        excluded=dict(
            sorted(
                Counter(
                    reason for rater in raters if rater.session.state is State.DONE for reason in rater.reasons
                ).items()
            )
        ),
    )


def _warnings(
    study: Study, raters: Sequence[RaterSummary], rates: Sequence[FoolRate], *, simulated: bool
) -> tuple[str, ...]:
    found = ["raters were simulated: this is a rehearsal and says nothing about any model"] if simulated else []
    expected = study.trials.items_per_set
    short = [r.number for r in raters if r.session.state is State.DONE and r.judged < expected]
    if short:
        found.append(f"{len(short)} completed sessions have fewer than {expected} trials: raters {_listed(short)}")
    active = sum(rater.session.state is State.ACTIVE for rater in raters)
    if active:
        found.append(f"{active} sessions are still active: the numbers are not final")
    planned = study.trials.raters_per_set
    for r in rates:
        count = 0 if r.kept is None else r.kept.raters
        if r.set and count < planned and study.trials.sets > 1:
            found.append(f"{r.model}, Set {r.set}, {r.exposure_ms} ms: {count} raters kept of {planned} planned")
    return tuple(found)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")


def _answers_digest(judgements: Sequence[Judgement], raters: Sequence[RaterSummary]) -> str:
    """sha256 of what was answered, apart from times and from the order in which raters came."""
    kept = {rater.session.id: rater.kept for rater in raters}
    return lines_digest(
        sorted(
            f"{j.session.seat} {j.trial.number} {j.answer.choice} {j.valid} {kept[j.session.id]}" for j in judgements
        )
    )


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _cell(value: Any) -> object:  # noqa: ANN401
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    return round(value, 3) if isinstance(value, float) else value


def _trial_rows(findings: Findings) -> list[dict[str, object]]:
    numbers = {rater.session.id: rater.number for rater in findings.raters}
    kept = {rater.session.id for rater in findings.raters if rater.kept}
    return [
        {
            "rater": numbers[j.session.id],
            "seat": j.session.seat,
            "set": j.set,
            "asked_ms": j.exposure_ms,
            "trial": j.trial.number,
            "kind": j.trial.kind.value,
            "item": j.item,
            "model": j.model,
            "real": "left" if j.trial.real_left else "right",
            "choice": j.answer.choice,
            "fooled": int(j.fooled),
            "counted": int(j.valid and j.session.id in kept and j.trial.kind is Kind.MAIN),
            "second_showing": int(j.second),
            "flags": " ".join(j.answer.flags),
            **{name: _cell(value) for name, value in sorted(j.answer.measured.items())},
        }
        for j in findings.judgements
    ]


def _rater_rows(raters: Sequence[RaterSummary]) -> list[dict[str, object]]:
    return [
        {
            "rater": r.number,
            "seat": r.session.seat,
            "state": r.session.state.value,
            "kept": int(r.kept),
            "excluded_because": "; ".join(r.reasons),
            "platform_would_allow_rejection": r.platform_allows,
            "trials": r.judged,
            "fool_rate": "" if r.fool_rate is None else f"{r.fool_rate:.4f}",
            "practice_right": r.practice_right,
            "catch_right": r.catch_right,
            "catch_trials": r.catch_count,
            "plates_right": r.plates_right,
            "median_response_ms": _cell(r.response_ms),
            "total_response_s": _cell(r.total_seconds),
            "longest_same_side": r.streak,
            "left_share": "" if r.left_share is None else f"{r.left_share:.4f}",
            "flagged_share": f"{r.flagged_share:.4f}",
            "automated": int(r.automated),
        }
        for r in raters
    ]


def _item_rows(judgements: Sequence[Judgement], kept: set[int]) -> list[dict[str, object]]:
    cells: dict[tuple[int, str, str, int], list[Judgement]] = {}
    for j in judgements:
        if j.trial.kind is Kind.MAIN:
            cells.setdefault((j.set, j.item, j.model, j.exposure_ms), []).append(j)
    rows = []
    for (number, item, model, exposure), of_cell in sorted(cells.items()):
        counted = [j for j in of_cell if j.valid and j.session.id in kept]
        rows.append(
            {
                "item": item,
                "set": number,
                "model": model,
                "asked_ms": exposure,
                "trials": len(counted),
                "fooled": sum(j.fooled for j in counted),
                "fool_rate": f"{sum(j.fooled for j in counted) / len(counted):.4f}" if counted else "",
                "all_trials": len(of_cell),
                "all_fooled": sum(j.fooled for j in of_cell),
            }
        )
    return rows
