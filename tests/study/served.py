"""A study that is served, for tests: raters come in by its links and answer as they are told."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palette_bench.study import store
from palette_bench.study.design import Trial
from palette_bench.study.rater import Rater
from palette_bench.study.server import StudyServer
from palette_bench.study.store import Answer, Session

Choose = Callable[[Trial], str]


def real_side(trial: Trial) -> str:
    return "left" if trial.real_left else "right"


@dataclass
class Served:
    server: StudyServer
    address: str
    shift: list[float]

    def rater(self, ticket: int = 1) -> Rater:
        """Somebody who came in by a link."""
        found = Rater(self.address)
        found.enter(f"/seat/{self.server.keys.ticket(ticket)}")
        return found

    def session(self, rater: Rater) -> Session:
        token = rater.session.split("/")[2]
        with store.reading(self.server.store.path) as connection:
            found = store.by_token(connection, token)
        assert found is not None
        return found

    def answers(self, rater: Rater) -> list[Answer]:
        session = self.session(rater)
        with store.reading(self.server.store.path) as connection:
            return store.answers(connection, session.id)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.server.store.path) as connection:
            return connection.execute(sql, values).fetchall()

    def trial(self, rater: Rater, step: dict[str, Any]) -> Trial:
        """The trial behind a step, which only this side of the server can know."""
        session = self.session(rater)
        for trial in self.server.design.trials(session.seat):
            for key in (trial.number, trial.number + 10_000):
                if self.server.keys.token("trial", session.id, key, length=12) == step["trial"]:
                    return trial
        raise AssertionError(f"no trial {step}")

    def run(self, rater: Rater, choose: Choose = real_side, *, most: int = 1000, **measured: object) -> dict[str, Any]:
        """Answer until there is nothing more, or ``most`` times; returns the last step."""
        step = rater.next()
        shown = {"shown_ms": float(step.get("exposure", 0)), "refresh_hz": 60.0, "response_ms": 700.0} | measured
        for _ in range(most):
            if "trial" not in step:
                return step
            reply = rater.answer(step["trial"], choose(self.trial(rater, step)), **shown)
            assert reply.status == 200, reply.body
            step = reply.json["next"]
            shown["shown_ms"] = measured.get("shown_ms", float(step.get("exposure", 0)))
        return step
