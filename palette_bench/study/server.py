"""The study's server: pages, images under opaque names, and answers that are stored before they are acknowledged.

What a rater's browser receives does not depend on which image is real: names are HMACs, images are uncompressed PNG of
one length with the same headers, and catch trials look like all others.
"""

import asyncio
import contextlib
import json
import logging
import math
import secrets
import sqlite3
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palette_bench.study import store
from palette_bench.study.definition import Platform, Question, Study
from palette_bench.study.design import Design, Kind, images_of
from palette_bench.study.keys import Keys, make_keys
from palette_bench.study.plates import CHOICES, draw_plate, plate_answers
from palette_bench.study.sitting import (
    Measured,
    Stage,
    Step,
    browser_family,
    chose_real,
    flags_of,
    next_step,
)
from palette_bench.study.stimuli import encode_png, read_stimuli
from palette_bench.study.store import Answer, Entry, Session, State, Store
from palette_bench.study.texts import Texts, load_texts

IDLE_SECONDS = 30 * 60
TOUCH_SECONDS = 30
"""How old the note of a session's last request may be before one that stores nothing renews it."""
MOST_BODY = 16 * 1024
MOST_REMEMBERED = 10_000
ASSETS = ("icon.svg", "study.css", "app.js", "exposure.js", "answers.js", "pointer.js", "server.js")
_MIME = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
COOKIE = "study"
PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
PLATFORM_FIELDS = {
    Platform.PROLIFIC: ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    Platform.MTURK: ("workerId", "assignmentId", "hitId", "turkSubmitTo"),
}
_PERSON_FIELD = {Platform.PROLIFIC: "PROLIFIC_PID", Platform.MTURK: "workerId"}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBody:
    """What a browser sends."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    trial: str
    choice: str
    measured: Measured


_BODY = TypeAdapter(AnswerBody)


class PageError(Exception):
    """A page that only says something: a text's name and a status."""

    def __init__(self, text: str, status: int, *, title: str = "title") -> None:
        super().__init__(text)
        self.text, self.status, self.title = text, status, title


@dataclass(slots=True)
class Limits:
    """Requests that one address or session may make: ``rate`` a second on average, ``burst`` at once."""

    rate: float
    burst: float
    most: int = 10_000
    _known: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)

    def allow(self, key: str, now: float) -> bool:
        """Whether one more request may be made now."""
        if math.isinf(self.rate):
            return True
        left, last = self._known.pop(key, (self.burst, now))
        left = min(self.burst, left + (now - last) * self.rate)
        allowed = left >= 1.0
        self._known[key] = (left - 1.0 if allowed else left, now)
        while len(self._known) > self.most:
            self._known.popitem(last=False)
        return allowed


class StudyServer:
    """One study, served. ``app`` is the ASGI application."""

    def __init__(
        self,
        folder: Path,
        study: Study,
        *,
        database: str = store.DATABASE,
        clock: Callable[[], float] = time.time,
        limited: bool = True,
    ) -> None:
        self.folder, self.study, self.clock = folder, study, clock
        self.keys: Keys = make_keys(folder)
        self.design = Design(study)
        self.texts: Texts = load_texts(study.language, folder)
        self.images = read_stimuli(folder, study)
        self.plates = plate_answers(study.seed, study.trials.plates)
        self.plate_images = [encode_png(draw_plate(study.seed, n, shown)) for n, shown in enumerate(self.plates)]
        self.fingerprint = study.fingerprint
        self.store = Store(folder / database, fingerprint=self.fingerprint, clock=clock)
        self._pages = environment()
        self._assets = {name: asset(name) for name in ASSETS}
        # A rehearsal answers faster than people do.
        self._per_session = Limits(rate=25.0, burst=80.0) if limited else Limits(math.inf, math.inf)
        self._per_address = Limits(rate=60.0, burst=600.0) if limited else Limits(math.inf, math.inf)
        self._current: OrderedDict[str, tuple[Session, Step]] = OrderedDict()
        self.app = self._build()

    def _build(self) -> ASGIApp:
        app = Starlette(
            routes=[
                Route("/", self._landing),
                Route("/seat/{ticket}", self._landing),
                Route("/begin", self._begin, methods=["POST"]),
                Route("/s/{token}/", self._rater),
                Route("/s/{token}/next", self._next),
                Route("/s/{token}/image/{image}", self._image),
                Route("/s/{token}/answer", self._answer, methods=["POST"]),
                Route("/s/{token}/end", self._end),
                Route("/withdraw", self._withdraw, methods=["GET", "POST"]),
                Route("/assets/{name}", self._asset),
                Route("/health", self._health),
            ],
            exception_handlers={
                PageError: self._said,
                404: self._not_found,
                405: self._not_found,
                sqlite3.Error: self._trouble,
                OSError: self._trouble,
            },
            lifespan=self._lifespan,
        )
        return Guard(app, headers=self._headers(), address=self._per_address, session=self._per_session)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        closing = asyncio.create_task(self._close_idle())
        try:
            yield
        finally:
            closing.cancel()
            self.store.close()

    async def _close_idle(self) -> None:
        while True:
            with contextlib.suppress(sqlite3.Error):
                await self._write(lambda c: store.close_idle(c, self.clock(), IDLE_SECONDS))
            await asyncio.sleep(20.0)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        recruitment = self.study.recruitment
        back = " ".join(origin_of(address) for address in recruitment.return_addresses)
        framed = back if recruitment.platform is Platform.MTURK and back else "'none'"
        policy = (
            f"default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors {framed}; "
            f"form-action {' '.join(filter(None, [chr(39) + 'self' + chr(39), back]))}"
        )
        return [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
            (b"cache-control", b"no-store"),
        ]

    async def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:  # noqa: ANN401
        return await asyncio.wrap_future(self.store.submit(work))

    def page(self, name: str, *, status: int = 200, **facts: object) -> HTMLResponse:
        """A page from its template."""
        return HTMLResponse(self.render(name, **facts), status)

    def render(self, name: str, **facts: object) -> str:
        """A page's HTML."""
        return render(self._pages, self.study, self.texts, name, base="/", assets="/assets/", static=False, **facts)

    # Errors, each a page or an object that says what to do.

    async def _said(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, PageError):
            raise error
        text = self.texts[error.text].replace("{minutes}", str(IDLE_SECONDS // 60))
        if _wants_json(request):
            return JSONResponse({"error": error.text}, error.status)
        return self.page("message.html", status=error.status, title=self.texts[error.title], text=text)

    async def _not_found(self, request: Request, _: Exception) -> Response:
        return await self._said(request, PageError("not_found", 404))

    async def _trouble(self, request: Request, error: Exception) -> Response:
        log.error("an answer could not be stored: %s", error)
        return await self._said(request, PageError("trouble", 503))

    # Coming in.

    async def _landing(self, request: Request) -> Response:
        platform = self.study.recruitment.platform
        fields = {name: request.query_params.get(name, "") for name in PLATFORM_FIELDS.get(platform, ())}
        ticket = request.path_params.get("ticket", "")
        if ticket and (platform is not Platform.SEATS or self.keys.ticket_number(ticket) is None):
            raise PageError("bad_link", 404)
        if platform is Platform.SEATS and not ticket:
            return self.page("message.html", title=self.texts["title"], text=self.texts["seat_needed"])
        preview = platform is Platform.MTURK and fields.get("assignmentId") in ("", PREVIEW)
        if any(len(value) > 200 for value in fields.values()):
            raise PageError("bad_link", 400)
        if platform in _PERSON_FIELD and not preview:
            if not fields[_PERSON_FIELD[platform]]:
                raise PageError("bad_link", 400)
            if fields.get("turkSubmitTo") and not self._may_return(fields["turkSubmitTo"]):
                raise PageError("bad_link", 400)
        if not preview:
            person = self._person(platform, ticket, fields)
            known = await self._write(lambda c: self._known(c, request, person))
            if known is not None:
                return RedirectResponse(f"/s/{known}/", 303)
            await self._write(lambda c: store.arrive(c, f"seat:{person}" if ticket else person or secrets.token_hex(8)))
        return self.page("landing.html", ticket=ticket, fields=fields, preview=preview)

    def _person(self, platform: Platform, ticket: str, fields: Mapping[str, str]) -> str | None:
        if ticket:
            return f"ticket:{self.keys.ticket_number(ticket)}"
        if platform in _PERSON_FIELD:
            return self.keys.person(platform, fields[_PERSON_FIELD[platform]])
        return None

    def _known(self, connection: sqlite3.Connection, request: Request, person: str | None) -> str | None:
        """The token of the session that somebody began before, by who they are or by their cookie."""
        if person is not None:
            return self._token(person) if store.by_token(connection, self._token(person)) else None
        token = request.cookies.get(COOKIE, "")
        return token if token and store.by_token(connection, token) else None

    def _token(self, person: str) -> str:
        return self.keys.token("session", person)

    def _may_return(self, address: str) -> bool:
        allowed = {origin_of(known) for known in self.study.recruitment.return_addresses}
        return origin_of(address) in allowed

    async def _begin(self, request: Request) -> Response:
        values = await _form(request)
        platform = self.study.recruitment.platform
        ticket = values.get("ticket", "")
        fields = {name: values.get(name, "")[:200] for name in PLATFORM_FIELDS.get(platform, ())}
        if platform is Platform.SEATS and self.keys.ticket_number(ticket) is None:
            raise PageError("bad_link", 400)
        if platform in _PERSON_FIELD and (not fields[_PERSON_FIELD[platform]] or fields.get("assignmentId") == PREVIEW):
            raise PageError("bad_link", 400)
        if fields.get("turkSubmitTo") and not self._may_return(fields["turkSubmitTo"]):
            raise PageError("bad_link", 400)
        if values.get("agree") != "yes":
            raise PageError("agree", 400, title="consent_title")
        person = self._person(platform, ticket, fields)
        token = self._token(person) if person is not None else secrets.token_urlsafe(32)
        entry = Entry(
            token=token,
            withdrawal=withdrawal_code(self.keys, token),
            origin=platform.value,
            person=person,
            language=self.study.language,
            consent_version=self.study.ethics.consent_version,
            platform_ids={name: value for name, value in fields.items() if value},
            client={"browser": browser_family(request.headers.get("user-agent", ""))},
        )

        def enter(connection: sqlite3.Connection) -> str | None:
            known = self._known(connection, request, person)
            if known is not None:
                return known
            now = self.clock()
            store.close_idle(connection, now, IDLE_SECONDS)
            seat = store.free_seat(connection, self.design.seats)
            if seat is None:
                return None
            store.begin(connection, entry, seat, now)
            return token

        found = await self._write(enter)
        if found is None:
            raise PageError("full", 409)
        response = RedirectResponse(f"/s/{found}/", 303)
        if person is None:
            response.set_cookie(
                COOKIE, found, httponly=True, samesite="lax", secure=request.url.scheme == "https", max_age=86_400
            )
        return response

    # A session.

    def _open(self, connection: sqlite3.Connection, token: str) -> tuple[Session, dict[int, Answer]]:
        session = store.by_token(connection, token)
        if session is None:
            raise PageError("bad_link", 404)
        return session, {answer.trial: answer for answer in store.answers(connection, session.id)}

    def _step(self, session: Session, answered: Mapping[int, Answer]) -> Step:
        ended = {
            State.DONE: Stage.DONE,
            State.SCREENED: Stage.SCREENED,
            State.LOST: Stage.CLOSED,
            State.WITHDRAWN: Stage.CLOSED,
        }
        if session.state in ended:
            return Step(ended[session.state])
        return next_step(self.design, session.seat, answered)

    def _settle(self, connection: sqlite3.Connection, session: Session, answered: Mapping[int, Answer]) -> Step:
        """The next step; a session that has none ends here, in the same transaction as its last answer."""
        step = self._step(session, answered)
        if session.state is State.ACTIVE and step.stage in (Stage.DONE, Stage.SCREENED):
            state = State.DONE if step.stage is Stage.DONE else State.SCREENED
            store.end(connection, session.id, state, self.clock())
        return step

    async def _rater(self, request: Request) -> Response:
        token = request.path_params["token"]
        session, _ = await self._write(lambda c: self._open(c, token))
        if session.state is not State.ACTIVE:
            return RedirectResponse("end", 303)
        seconds = design_seconds(self.design, session.seat)
        return self.page(
            "rater.html",
            settings=settings_of(self.study),
            scripts=["/assets/app.js"],
            seconds=seconds,
            question=question_text(self.texts, self.study.trials.question),
            choices=CHOICES,
        )

    async def _next(self, request: Request) -> Response:
        token = request.path_params["token"]

        def work(connection: sqlite3.Connection) -> tuple[Session, Step]:
            session, answered = self._open(connection, token)
            now = self.clock()
            if session.state is State.ACTIVE and now - session.seen > TOUCH_SECONDS:
                store.touch(connection, session.id, now)
            return session, self._settle(connection, session, answered)

        session, step = self._remember(token, await self._write(work))
        return JSONResponse(self.step_json(session, step))

    def _remember(self, token: str, found: tuple[Session, Step]) -> tuple[Session, Step]:
        """Keep a session's step, so that its images need no look into the database."""
        self._current[token] = found
        self._current.move_to_end(token)
        while len(self._current) > MOST_REMEMBERED:
            self._current.popitem(last=False)
        return found

    def step_json(self, session: Session, step: Step) -> dict[str, object]:
        """A step as the rater's page gets it: nothing in it tells real from generated, or a catch trial from others."""
        if step.trial is None:
            return {"stage": step.stage.value}
        described: dict[str, object] = {
            "stage": step.stage.value,
            "trial": self.keys.token("trial", session.id, step.key, length=12),
            "position": step.position,
            "total": step.total,
            "rest": step.rest,
            "images": {name: token for token, name in self._names(session, step).items()},
        }
        if step.stage is not Stage.PLATE:
            described["exposure"] = _exposure(self.design, session.seat)
        return described

    def _names(self, session: Session, step: Step) -> dict[str, str]:
        """The names of a step's images: what each token stands for."""
        if step.trial is None:
            return {}
        sides = ["plate"] if step.stage is Stage.PLATE else list(images_of(self.study, step.trial))
        return {self.keys.token("image", session.id, step.key, side, length=12): side for side in sides}

    async def _image(self, request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["image"]

        def work(connection: sqlite3.Connection) -> tuple[Session, Step]:
            session, answered = self._open(connection, token)
            return session, self._step(session, answered)

        session, step = self._current.get(token) or self._remember(token, await self._write(work))
        side = self._names(session, step).get(name)
        if side is None or step.trial is None:
            raise PageError("not_found", 404)
        if side in ("left", "plate"):
            # Nobody waits for this count.
            self.store.submit(lambda c: store.count_load(c, session.id, step.key))
        if side == "plate":
            return Response(self.plate_images[step.trial.item], media_type="image/png")
        return Response(self.images[images_of(self.study, step.trial)[side]], media_type="image/png")

    async def _answer(self, request: Request) -> Response:
        token = request.path_params["token"]
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return JSONResponse({"error": "expected application/json"}, 415)
        try:
            body = _BODY.validate_json(await request.body())
        except ValidationError:
            return JSONResponse({"error": "this is not an answer"}, 400)
        session, step, feedback = await self._write(lambda c: self._store_answer(c, token, body))
        self._remember(token, (session, step))
        described = {"saved": True, "next": self.step_json(session, step)}
        if feedback is not None:
            described["feedback"] = feedback
        return JSONResponse(described)

    def _store_answer(
        self, connection: sqlite3.Connection, token: str, body: AnswerBody
    ) -> tuple[Session, Step, bool | None]:
        session, answered = self._open(connection, token)
        if session.state is State.WITHDRAWN:
            raise PageError("closed", 410)
        now = self.clock()
        # A lost session's last answer may still be on its way; it is stored like any other.
        step = next_step(self.design, session.seat, answered)
        key = step.key if self._is_trial(session, step.key, body.trial) else self._answered_key(session, answered, body)
        if key is None:
            raise PageError("not_found", 409)
        trial = self.design.trial(session.seat, key)
        if trial is None or not _possible(trial.kind, body.choice):
            raise PageError("not_found", 400)
        if key == step.key:
            asked = _exposure(self.design, session.seat)
            flags = () if trial.kind is Kind.PLATE else flags_of(body.measured, asked)
            answer = Answer(
                session=session.id,
                trial=key,
                choice=body.choice,
                flags=tuple(flag.value for flag in flags),
                measured=TypeAdapter(Measured).dump_python(body.measured, mode="json"),
                received=now,
            )
            store.put_answer(connection, answer, self.fingerprint)
            answered[key] = answer
        store.touch(connection, session.id, now)
        feedback = None
        if trial.kind is Kind.PRACTICE:
            feedback = chose_real(self.study, trial, answered[key].choice)
        return session, self._settle(connection, session, answered), feedback

    def _is_trial(self, session: Session, key: int, name: str) -> bool:
        return key >= 0 and secrets.compare_digest(
            self.keys.token("trial", session.id, key, length=12).encode(), name.encode()
        )

    def _answered_key(self, session: Session, answered: Mapping[int, Answer], body: AnswerBody) -> int | None:
        """The trial of an answer that is here already: a double click, a second tab, an answer sent again."""
        return next((key for key in answered if self._is_trial(session, key, body.trial)), None)

    # Going out.

    async def _end(self, request: Request) -> Response:
        token = request.path_params["token"]

        def work(connection: sqlite3.Connection) -> tuple[Session, dict[str, str]]:
            session, answered = self._open(connection, token)
            self._settle(connection, session, answered)
            session, _ = self._open(connection, token)
            ids = connection.execute("SELECT name, value FROM platform_ids WHERE session = ?", (session.id,))
            return session, dict(ids.fetchall())

        session, ids = await self._write(work)
        if session.state is State.ACTIVE:
            return RedirectResponse("./", 303)
        if session.state not in (State.DONE, State.SCREENED):
            raise PageError("closed", 410, title="closed_title")
        done = session.state is State.DONE
        codes = self.study.recruitment.codes
        code = codes.get("completed" if done else "screened", session.code)
        return self.page(
            "end.html",
            done=done,
            code=code,
            action=self._return_address(ids, code),
            assignment=ids.get("assignmentId", ""),
            withdrawal=withdrawal_code(self.keys, token),
            address=f"{request.url.scheme}://{request.url.netloc}/withdraw",
        )

    def _return_address(self, ids: Mapping[str, str], code: str) -> str:
        """Where a rater is sent back to: MTurk's form, Prolific's page, or nowhere."""
        recruitment = self.study.recruitment
        if recruitment.platform is Platform.MTURK and self._may_return(ids.get("turkSubmitTo", "")):
            return f"{origin_of(ids['turkSubmitTo'])}/mturk/externalSubmit"
        if recruitment.platform is Platform.PROLIFIC and recruitment.return_addresses:
            return f"{recruitment.return_addresses[0]}?cc={code}"
        return ""

    async def _withdraw(self, request: Request) -> Response:
        if request.method == "GET":
            return self.page("withdraw.html", said="")
        code = (await _form(request)).get("code", "").strip().upper().replace("-", "").replace(" ", "")

        def work(connection: sqlite3.Connection) -> bool:
            found = store.sessions(connection, "withdrawal_sha256 = ?", store.sha256(code))
            for session in found:
                store.withdraw(connection, session.id, self.clock())
            return bool(found)

        done = await self._write(work)
        unknown = self.texts.fill("withdraw_unknown", contact=self.study.ethics.contact)
        said = self.texts["withdraw_done"] if done else unknown
        return self.page("withdraw.html", status=200 if done else 404, said=said)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._assets:
            raise PageError("not_found", 404)
        return Response(self._assets[name], headers={"content-type": _MIME[name.rpartition(".")[2]]})

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"study": self.study.name})


def environment() -> Environment:
    """The templates of the study's pages."""
    return Environment(
        loader=PackageLoader("palette_bench.study"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def asset(name: str) -> bytes:
    """A script or style of the pages."""
    return (resources.files("palette_bench.study") / "assets" / name).read_bytes()


def render(pages: Environment, study: Study, texts: Texts, name: str, **facts: object) -> str:
    """A page's HTML."""
    return pages.get_template(name).render(t=texts, study=study, paragraphs=consent_of(study, texts), **facts)


def consent_of(study: Study, texts: Texts) -> list[str]:
    """The paragraphs that raters agree to: the study's own, or those of its language."""
    ethics = study.ethics
    facts = {"minutes": ethics.minutes, "retention": ethics.retention.isoformat(), "contact": ethics.contact}
    text = ethics.consent or texts["consent"]
    for name, value in facts.items():
        text = text.replace(f"{{{name}}}", str(value))
    return [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]


def settings_of(study: Study) -> dict[str, object]:
    """What the rater's page must know of a study; nothing of it is secret."""
    trials = study.trials
    return {
        "layout": trials.layout.value,
        "fixation": trials.fixation_ms,
        "gap": trials.gap_ms,
        "pause": trials.pause_ms,
        "side": study.source.size * study.source.enlarge,
    }


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent as an address is."""
    text = (await request.body()).decode("utf-8", errors="replace")
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20))


def question_text(texts: Texts, question: Question) -> str:
    """The question as raters read it."""
    return texts[f"question_{question.value}"]


def withdrawal_code(keys: Keys, token: str) -> str:
    """The code under which a session's answers can be deleted: 12 signs that can be copied by hand."""
    digits = keys.token("withdrawal", token, length=24)
    plain = "".join(c for c in digits.upper() if c.isalnum() and c not in "0O1IL")
    return plain[:12]


def origin_of(address: str) -> str:
    """Scheme and host of an address; empty for anything that is not https (or http on this machine)."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    local = parts.scheme == "http" and host in ("localhost", "127.0.0.1")
    if not host or not (parts.scheme == "https" or local) or parts.username is not None:
        return ""
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def design_seconds(design: Design, seat: int) -> str:
    """The exposure of a seat as raters read it: 3, or 0.25."""
    return f"{_exposure(design, seat) / 1000:g}"


def _exposure(design: Design, seat: int) -> int:
    exposures = design.study.trials.exposure_ms
    return exposures[seat % (design.study.trials.sets * len(exposures)) // design.study.trials.sets]


def _possible(kind: Kind, choice: str) -> bool:
    return choice in (CHOICES if kind is Kind.PLATE else ("left", "right"))


def _wants_json(request: Request) -> bool:
    return request.url.path.endswith(("/next", "/answer")) or "/image/" in request.url.path


class Guard:
    """Around the application: a limit on bodies and on requests, and the same headers on every answer."""

    def __init__(self, app: ASGIApp, *, headers: list[tuple[bytes, bytes]], address: Limits, session: Limits) -> None:
        self._app, self._headers, self._address, self._session = app, headers, address, session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = [pair for pair in message.get("headers", []) if pair[0] != b"cache-control"]
                message["headers"] = [*present, *self._headers]
            await send(message)

        now = time.monotonic()
        address = (scope.get("client") or ("",))[0]
        path = scope["path"].split("/")
        keys = [(self._address, address)]
        if len(path) > 2 and path[1] == "s":
            keys.append((self._session, path[2]))
        if not all(limits.allow(key, now) for limits, key in keys):
            await _refuse(with_headers, 429, "too many requests", [(b"retry-after", b"2")])
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BODY:
            await _refuse(with_headers, 413, "too long", [])
            return
        await self._app(scope, _limited(receive), with_headers)


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    """``receive`` that ends a body without a length at the limit."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BODY:
            return {"type": "http.disconnect"}
        return message

    return limited


async def _refuse(send: Send, status: int, why: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = json.dumps({"error": why}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
