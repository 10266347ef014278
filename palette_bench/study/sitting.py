"""What a rater does next, and what an answer's measurements say: pure functions, the same for server and analysis."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import ConfigDict

from palette_bench.study.definition import Question, Study
from palette_bench.study.design import RESHOWN, Design, Kind, Trial
from palette_bench.study.store import Answer

FRAMES_OFF = 1.5
SHARE_OFF = 0.05
"""An exposure is flagged when it is off by more than these frames and this share of what was asked, together."""


class Flag(StrEnum):
    """What is wrong with a showing. The first three have it shown again; ``again`` was seen more than once."""

    EXPOSURE = "exposure"
    HIDDEN = "hidden"
    BLURRED = "blurred"
    AGAIN = "again"


RESHOW = frozenset({Flag.EXPOSURE, Flag.HIDDEN, Flag.BLURRED})


class Input(StrEnum):
    """What an answer was given with."""

    KEY = "key"
    MOUSE = "mouse"
    TOUCH = "touch"
    PEN = "pen"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a browser measured of one trial; times in milliseconds, of a clock that does not jump.

    ``shown_ms`` is from the frame that first showed the images to the frame that hid them, of the worse one where they
    follow each other; ``clock_ms`` is the same by the browser's own paint times (element timing), None where it has
    none. ``showings`` counts how often the images of this trial were shown on this device. ``pixel`` is the device
    pixels that an image pixel took. The pointer fields summarise its way from question to answer; ``trusted`` is False
    for events made by a script, ``automated`` is what the browser says of itself.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    shown_ms: float = 0.0
    frames: int = 0
    longest_gap_ms: float = 0.0
    refresh_hz: float = 60.0
    pixel_ratio: float = 1.0
    pixel: int = 1
    decode_ms: float = 0.0
    response_ms: float = 0.0
    clock_ms: float | None = None
    hidden: bool = False
    blurred: bool = False
    showings: int = 1
    input: Input = Input.NONE
    moves: int = 0
    path_px: float = 0.0
    direct_px: float = 0.0
    trusted: bool = True
    automated: bool = False


def flags_of(measured: Measured, asked_ms: int) -> tuple[Flag, ...]:
    """What is wrong with a showing of ``asked_ms``, by either clock."""
    frame = 1000.0 / measured.refresh_hz if measured.refresh_hz > 0 else 1000.0 / 60.0
    times = [measured.shown_ms, *([] if measured.clock_ms is None else [measured.clock_ms])]
    off = max(abs(time - asked_ms) for time in times)
    found = {
        Flag.EXPOSURE: off > FRAMES_OFF * frame + SHARE_OFF * asked_ms,
        Flag.HIDDEN: measured.hidden,
        Flag.BLURRED: measured.blurred,
        Flag.AGAIN: measured.showings > 1,
    }
    return tuple(flag for flag, holds in found.items() if holds)


class Stage(StrEnum):
    """What a rater's page shows next; catch trials look like all others."""

    PLATE = "plate"
    PRACTICE = "practice"
    MAIN = "main"
    DONE = "done"
    SCREENED = "screened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing a rater does: a trial, its key, and its place ``position`` of ``total`` in its stage."""

    stage: Stage
    trial: Trial | None = None
    key: int = -1
    position: int = 0
    total: int = 0
    rest: bool = False


_STAGES: Mapping[Kind, Stage] = {
    Kind.PLATE: Stage.PLATE,
    Kind.PRACTICE: Stage.PRACTICE,
    Kind.CATCH: Stage.MAIN,
    Kind.MAIN: Stage.MAIN,
}


def chose_real(study: Study, trial: Trial, choice: str) -> bool:
    """Whether a choice says that the real image is real: which side that is depends on the question."""
    real = "left" if trial.real_left else "right"
    return (choice == real) != (study.trials.question is Question.FAKE)


def practice_right(study: Study, trials: tuple[Trial, ...], answered: Mapping[int, Answer]) -> int:
    """How many practice trials were answered rightly."""
    return sum(
        chose_real(study, trial, answered[trial.number].choice)
        for trial in trials
        if trial.kind is Kind.PRACTICE and trial.number in answered
    )


def next_step(design: Design, seat: int, answered: Mapping[int, Answer]) -> Step:
    """The next step of a seat whose trials ``answered`` have answers, by trial number."""
    study, trials = design.study, design.trials(seat)
    main = [trial for trial in trials if _STAGES[trial.kind] is Stage.MAIN]
    for trial in trials:
        if trial.number in answered:
            continue
        stage = _STAGES[trial.kind]
        if stage is Stage.MAIN and practice_right(study, trials, answered) < study.exclusions.practice_correct:
            return Step(Stage.SCREENED)
        of_stage = [other for other in trials if _STAGES[other.kind] is stage]
        place = trial.number - of_stage[0].number
        every = study.trials.break_every
        rest = stage is Stage.MAIN and every > 0 and place > 0 and place % every == 0
        return Step(stage, trial, trial.number, place + 1, len(of_stage), rest)
    again = [trial for trial in main if RESHOW.intersection(answered[trial.number].flags)]
    for place, trial in enumerate(again):
        key = trial.number + RESHOWN
        if key not in answered:
            return Step(Stage.MAIN, trial, key, len(main) + place + 1, len(main) + len(again), False)
    return Step(Stage.DONE)


def browser_family(agent: str) -> str:
    """A user agent as no more than its family and kind of device: nothing that tells two people apart."""
    family = next(
        (name for mark, name in _FAMILIES if mark in agent),
        "other",
    )
    device = "phone" if re.search(r"Mobile|iPhone|Android", agent) else "computer"
    return f"{family}, {device}"


_FAMILIES = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chromium"), ("Safari/", "Safari"))
