"""How a running study stands: who is active, finished, lost, and whether raters get the trials that they should."""

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from palette_bench.study import store
from palette_bench.study.definition import Study
from palette_bench.study.design import RESHOWN, Design, Kind
from palette_bench.study.store import State

STUCK_SECONDS = 10 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Counts of sessions by state, seats, answers, the fewest and the median trials of those who finished."""

    invited: int
    active: int
    done: int
    lost: int
    screened: int
    withdrawn: int
    seats: int
    answers: int
    expected_trials: int
    fewest_trials: int | None
    median_trials: float | None
    flagged: int
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__slots__} | {"warnings": list(self.warnings)}


def standing(study: Study, database: Path, *, now: float | None = None) -> Standing:
    """How a study stands now; beside a running server. Raises InputError where there is no database."""
    moment = time.time() if now is None else now
    design = Design(study)
    with store.reading(database, fingerprint=study.fingerprint) as connection:
        sessions = store.sessions(connection)
        answers = store.answers(connection)
        invited = store.arrival_count(connection)
    states = Counter(session.state for session in sessions)
    main: Counter[int] = Counter()
    seats = {session.id: session.seat for session in sessions}
    for answer in answers:
        trial = design.trial(seats[answer.session], answer.trial)
        if answer.trial < RESHOWN and trial is not None and trial.kind is Kind.MAIN:
            main[answer.session] += 1
    expected = study.trials.items_per_set
    finished = [main[session.id] for session in sessions if session.state is State.DONE]
    warnings = []
    short = [count for count in finished if count < expected]
    if short:
        warnings.append(f"{len(short)} finished raters have fewer than {expected} trials, the fewest {min(short)}")
    stuck = [s for s in sessions if s.state is State.ACTIVE and moment - s.seen > STUCK_SECONDS]
    if stuck:
        warnings.append(f"{len(stuck)} active raters have not been heard of for {STUCK_SECONDS // 60} minutes")
    ended = states[State.DONE] + states[State.LOST]
    if ended >= 5 and states[State.LOST] > ended / 4:
        warnings.append(f"{states[State.LOST]} of {ended} raters were lost: is the page slow, or the study too long?")
    flagged = sum(bool(answer.flags) for answer in answers)
    if len(answers) >= 50 and flagged > len(answers) / 10:
        warnings.append(f"{flagged} of {len(answers)} showings are flagged: look at trials.csv for what browsers do")
    return Standing(
        invited=max(invited, len(sessions)),
        active=states[State.ACTIVE],
        done=states[State.DONE],
        lost=states[State.LOST],
        screened=states[State.SCREENED],
        withdrawn=states[State.WITHDRAWN],
        seats=design.seats,
        answers=len(answers),
        expected_trials=expected,
        fewest_trials=min(finished, default=None),
        median_trials=statistics.median(finished) if finished else None,
        flagged=flagged,
        warnings=tuple(warnings),
    )
