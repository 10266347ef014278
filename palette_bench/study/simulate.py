"""Rehearsals: raters of known fool rates, through the real server by HTTP or by a browser.

A rehearsal has a database of its own; what it answers never stands beside people's answers. Only here, beside the
server, is it known which image is real: a simulated rater looks the truth up and is then fooled as often as was asked.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palette_bench.common.bits import CounterBits
from palette_bench.common.errors import InputError
from palette_bench.common.progress import Progress
from palette_bench.study import store
from palette_bench.study.analyze import SIMULATED
from palette_bench.study.definition import Question, Study
from palette_bench.study.design import RESHOWN, Kind, Trial, item_of
from palette_bench.study.rater import Rater
from palette_bench.study.server import StudyServer
from palette_bench.study.serving import running
from palette_bench.study.store import Session

REHEARSAL = "rehearsal.sqlite"
_MOST_AT_ONCE = 20
_LOGIT_VARIANCE = (16 * math.sqrt(3) / (15 * math.pi)) ** 2
"""Of the normal approximation of the logistic distribution (Johnson and Kotz 1970)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How simulated raters answer: a fool rate a model, and how far raters and items are from it (log-odds).

    ``careless`` is the share of raters who answer by chance, catch trials included.
    """

    fooled: Mapping[str, float]
    rater_spread: float = 0.4
    item_spread: float = 0.7
    careless: float = 0.0

    def choice(self, study: Study, seat: int, trial: Trial) -> str:
        """The choice of the rater on a seat: a pure function of study, seat and trial."""
        item = item_of(study, trial).id
        chance = CounterBits(["simulated answer", study.seed, seat, trial.number]).uniform(1)[0]
        careless = CounterBits(["simulated rater", study.seed, seat, "careless"]).uniform(1)[0] < self.careless
        if trial.kind is Kind.MAIN and trial.model is not None:
            base = self.fooled[study.models[trial.model].name]
            rater = CounterBits(["simulated rater", study.seed, seat]).normal(1)[0] * self.rater_spread
            effect = CounterBits(["simulated item", study.seed, item]).normal(1)[0] * self.item_spread
            share = base
            if 0.0 < base < 1.0:
                # So stretched, log-odds with normal deviations have the mean that was asked for, to about 0.005.
                stretch = math.sqrt(1 + _LOGIT_VARIANCE * (self.rater_spread**2 + self.item_spread**2))
                share = 1 / (1 + math.exp(-(math.log(base / (1 - base)) * stretch + rater + effect)))
        else:
            share = 0.02
        fooled = chance < (0.5 if careless else share)
        takes_real = fooled == (study.trials.question is Question.FAKE)
        return "left" if trial.real_left == takes_real else "right"

    def seconds(self, study: Study, seat: int, trial: Trial) -> float:
        """A response time."""
        draw = CounterBits(["simulated time", study.seed, seat, trial.number]).normal(1)[0]
        return float(0.9 * math.exp(0.35 * draw))


@dataclass(slots=True)
class Rehearsed:
    """What came of a rehearsal: raters who finished, and how long answers took to be acknowledged, in seconds."""

    finished: int = 0
    acknowledged: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The acknowledgement time that ``share`` of the answers stayed below, in seconds."""
        ordered = sorted(self.acknowledged)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def behaviour_for(study: Study, fooled: Mapping[str, float], default: float, *, careless: float = 0.0) -> Behaviour:
    """Behaviour with a rate for every model. Raises InputError for a model that the study does not have."""
    names = [model.name for model in study.models]
    if unknown := sorted(set(fooled) - set(names)):
        raise InputError("no model of this name in the study", expected=", ".join(names), found=", ".join(unknown))
    return Behaviour(fooled={name: fooled.get(name, default) for name in names}, careless=careless)


def simulate(
    folder: Path,
    study: Study,
    *,
    raters: int,
    behaviour: Behaviour,
    progress: Progress,
    at_once: int = _MOST_AT_ONCE,
    pause: Callable[[], None] | None = None,
) -> Rehearsed:
    """Let ``raters`` sit through a study by HTTP, ``at_once`` at a time, into ``rehearsal.sqlite``, made anew.

    ``pause`` is called between an image and its answer.
    """
    for name in (REHEARSAL, f"{REHEARSAL}-wal", f"{REHEARSAL}-shm"):
        (folder / name).unlink(missing_ok=True)
    server = StudyServer(folder, study, database=REHEARSAL, limited=False)
    raters = min(raters, server.design.seats)
    rehearsed = Rehearsed()
    with running(server) as address, progress.task("raters", raters, "raters") as task:

        def sit(seat: int) -> None:
            # Each is given its seat, so that a rehearsal is the same whoever is faster.
            rater = Rater(address)
            rater.session = _seated(server, seat)
            rehearsed.acknowledged.extend(_sit(server, rater, seat, behaviour, pause))
            rater.close()
            rehearsed.finished += 1
            task.advance()

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(sit, range(raters)))
    return rehearsed


def _seated(server: StudyServer, seat: int) -> str:
    """A session on a seat, as consent would make it."""
    token = server.keys.token("simulated", seat)
    entry = store.Entry(
        token=token,
        withdrawal=token[:12],
        origin=SIMULATED,
        person=f"simulated:{seat}",
        language=server.study.language,
        consent_version=server.study.ethics.consent_version,
        client={"browser": SIMULATED},
    )

    def enter(connection: Any) -> None:  # noqa: ANN401
        store.arrive(connection, f"seat:simulated {seat}")
        store.begin(connection, entry, seat, server.clock())

    server.store.run(enter)
    return f"/s/{token}/"


def _sit(
    server: StudyServer, rater: Rater, seat: int, behaviour: Behaviour, pause: Callable[[], None] | None
) -> list[float]:
    study, times = server.study, []
    step = rater.next()
    session = session_of(server, rater)
    while "trial" in step:
        trial = trial_of_step(server, session, step)
        for name in step["images"].values():
            rater.image(name)
        if pause is not None:
            pause()
        exposure = float(step.get("exposure", 0))
        if trial.kind is Kind.PLATE:
            choice, seconds = server.plates[trial.item], 2.0
        else:
            choice, seconds = behaviour.choice(study, seat, trial), behaviour.seconds(study, seat, trial)
        reply = rater.answer(
            step["trial"],
            choice,
            shown_ms=exposure,
            frames=round(exposure * 0.06),
            longest_gap_ms=16.7,
            response_ms=1000 * seconds,
            input="key",
        )
        if reply.status != 200:
            raise InputError("the rehearsal's answer was refused", found=f"{reply.status}: {reply.body[:200]!r}")
        times.append(reply.seconds)
        step = reply.json["next"]
    return times


def session_of(server: StudyServer, rater: Rater) -> Session:
    """The session behind a rater's address."""
    token = rater.session.split("/")[2]
    found = server.store.run(lambda c: store.by_token(c, token))
    if found is None:
        raise InputError("the rehearsal lost its session", where=rater.session)
    return found


def trial_of_step(server: StudyServer, session: Session, step: Mapping[str, Any]) -> Trial:
    """The trial that a step's opaque name stands for, which only the server's side can tell."""
    for trial in server.design.trials(session.seat):
        for key in (trial.number, trial.number + RESHOWN):
            if server.keys.token("trial", session.id, key, length=12) == step["trial"]:
                return trial
    raise InputError("the rehearsal met an unknown trial", found=step["trial"])


def simulate_in_browser(
    folder: Path, study: Study, *, raters: int, behaviour: Behaviour, program: str, progress: Progress
) -> Rehearsed:
    """Let ``raters`` sit through a study in headless Chromium, one after the other, by keyboard, in real time."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise InputError(
            "a rehearsal in a browser needs the package playwright",
            next_step="pip install 'palette-bench[browser]', or leave out --browser",
        ) from error
    for name in (REHEARSAL, f"{REHEARSAL}-wal", f"{REHEARSAL}-shm"):
        (folder / name).unlink(missing_ok=True)
    server = StudyServer(folder, study, database=REHEARSAL, limited=False)
    rehearsed = Rehearsed()
    with (
        running(server) as address,
        sync_playwright() as playwright,
        progress.task("raters", raters, "raters") as task,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for seat in range(min(raters, server.design.seats)):
            rater = Rater(address)
            rater.session = _seated(server, seat)
            session = session_of(server, rater)
            page = browser.new_page()
            page.goto(f"{address}{rater.session}")
            page.click("#start")
            while True:
                page.wait_for_selector(
                    "#choices:not([hidden]) #choose-left, #plate:not([hidden]) img, #feedback:not([hidden]), #code,"
                    "#practice-done:not([hidden]), #rest:not([hidden])"
                )
                if page.query_selector("#code"):
                    break
                if page.is_visible("#feedback-next"):
                    page.keyboard.press("Enter")
                elif page.is_visible("#plate"):
                    step = rater.next()
                    trial = trial_of_step(server, session, step)
                    page.click(f'[data-plate="{server.plates[trial.item]}"]')
                    page.wait_for_timeout(100)
                elif page.is_visible("#choices"):
                    trial = trial_of_step(server, session, rater.next())
                    page.keyboard.press("f" if behaviour.choice(study, seat, trial) == "left" else "j")
                    page.wait_for_timeout(50)
                else:
                    page.locator("[data-go]:visible").first.click()
            page.close()
            rehearsed.finished += 1
            task.advance()
        browser.close()
    return rehearsed
