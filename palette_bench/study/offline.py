"""A study without a server: one folder for any web server or a USB stick, and the answers that come back as files.

A seat's page has its images under names that say nothing, and for every trial a commitment: the sha256 of a salt and
the side of the real image. The salts stay with whoever runs the study, so the page cannot be read for the truth, nor
the truth be changed afterwards. A file of answers is signed with a key of its seat: that tells damaged, edited and
foreign files, and does not keep a rater with tools from forging one, who holds the page and thus the key.
"""

import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from palette_bench.common.canonical import canonical_json
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import read_json, write_bytes
from palette_bench.study import store
from palette_bench.study.definition import Study, read_as
from palette_bench.study.design import Design, Kind, images_of
from palette_bench.study.keys import Keys, make_keys
from palette_bench.study.plates import CHOICES, draw_plate, plate_answers
from palette_bench.study.server import (
    asset,
    environment,
    question_text,
    render,
    settings_of,
    withdrawal_code,
)
from palette_bench.study.sitting import Measured, flags_of, next_step
from palette_bench.study.stimuli import encode_png, read_stimuli
from palette_bench.study.store import Answer, Entry, State, Store
from palette_bench.study.texts import load_texts

FORMAT = 1
ORIGIN = "static"
SCRIPTS = ("sha256.js", "exposure.js", "pointer.js", "answers.js", "static.js", "app.js")
_SHOWN_KINDS = {Kind.PLATE: "plate", Kind.PRACTICE: "practice", Kind.CATCH: "main", Kind.MAIN: "main"}


def commitment(keys: Keys, seat: int, trial: int, side: str) -> str:
    """sha256 of a trial's salt and a side: says nothing without the salt, and fits one side only."""
    return hashlib.sha256(f"{keys.token('salt', seat, trial)}|{side}".encode()).hexdigest()


def seat_key(keys: Keys, study: Study, seat: int) -> str:
    """The key that a seat's answers are signed with, in hexadecimal digits."""
    return hmac.new(keys.tokens, f"seat key|{study.fingerprint}|{seat}".encode(), "sha256").hexdigest()


def export_static(folder: Path, study: Study, target: Path, seats: Sequence[int]) -> list[Path]:
    """Write a folder with a page for each of ``seats``; returns the pages. Raises UsageError, InputError."""
    if target.exists() and any(target.iterdir()):
        raise UsageError("the folder for the static study is not empty", where=target, next_step="choose another")
    design, keys, texts = Design(study), make_keys(folder), load_texts(study.language, folder)
    if bad := [seat for seat in seats if not 0 <= seat < design.seats]:
        raise UsageError(
            "the study has no such seat", expected=f"0 to {design.seats - 1}", found=", ".join(map(str, bad))
        )
    images = read_stimuli(folder, study)
    plates = plate_answers(study.seed, study.trials.plates)
    plate_images = [encode_png(draw_plate(study.seed, n, shown)) for n, shown in enumerate(plates)]
    pages = environment()
    made = []
    for seat in seats:
        trials: list[dict[str, object]] = []
        for trial in design.trials(seat):
            sides = {"plate": ""} if trial.kind is Kind.PLATE else images_of(study, trial)
            names = {}
            for side, digest in sides.items():
                name = keys.token("static image", seat, trial.number, side, length=15)
                data = plate_images[trial.item] if side == "plate" else images[digest]
                write_bytes(target / "images" / f"{name}.png", data)
                names[side] = f"images/{name}.png"
            described: dict[str, object] = {
                "number": trial.number,
                "stage": _SHOWN_KINDS[trial.kind],
                "images": names,
            }
            if trial.kind is not Kind.PLATE:
                described["commitment"] = commitment(keys, seat, trial.number, "left" if trial.real_left else "right")
            if trial.kind is Kind.PRACTICE:
                # Practice is told at once whether it was right, so its truth is in the page, and in no other trial's.
                described["right"] = "left" if trial.real_left == (study.trials.question.value != "fake") else "right"
            trials.append(described)
        content: dict[str, object] = {
            "format": FORMAT,
            "study": study.fingerprint,
            "seat": seat,
            "key": seat_key(keys, study, seat),
            "consent": study.ethics.consent_version,
            "exposure": design_exposure(design, seat),
            "practice": study.exclusions.practice_correct,
            "breaks": study.trials.break_every,
            "trials": trials,
        }
        script = f"globalThis.STUDY_SEAT = {json.dumps(content, sort_keys=True)};\n"
        write_bytes(target / f"seat-{seat + 1}.js", script.encode())
        page = render(
            pages,
            study,
            texts,
            "rater.html",
            base="",
            assets="",
            static=True,
            settings=settings_of(study),
            scripts=[f"seat-{seat + 1}.js", "study.js"],
            seconds=f"{design_exposure(design, seat) / 1000:g}",
            question=question_text(texts, study.trials.question),
            choices=CHOICES,
        )
        path = target / f"seat-{seat + 1}.html"
        write_bytes(path, page.encode())
        made.append(path)
    for name in ("study.css", "icon.svg"):
        write_bytes(target / name, asset(name))
    write_bytes(target / "study.js", bundle())
    return made


def design_exposure(design: Design, seat: int) -> int:
    """The exposure of a seat in milliseconds."""
    exposures, sets = design.study.trials.exposure_ms, design.study.trials.sets
    return exposures[seat % (sets * len(exposures)) // sets]


def bundle() -> bytes:
    """The page's modules as one plain script: a browser loads no modules from a disk."""
    parts = []
    for name in SCRIPTS:
        lines = asset(name).decode().splitlines()
        kept = [line for line in lines if not line.startswith("import ")]
        parts.append("\n".join(line.removeprefix("export ") for line in kept))
    return ('"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();\n").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticAnswer:
    """One answer of a file. ``commitment`` is that of the page, empty for a colour plate."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    trial: int
    choice: str
    commitment: str
    measured: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFile:
    """What a rater's browser saved. ``sitting`` is drawn by the browser and tells two raters on one seat apart."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    format: int
    study: str
    seat: int
    sitting: str
    consent: str
    consented: float
    browser: str
    answers: tuple[StaticAnswer, ...]


def read_answer_file(path: Path, study: Study, keys: Keys, design: Design) -> AnswerFile:
    """A file of answers, checked. Raises InputError with everything that is wrong with it."""
    values = read_json(path, kind="answers", next_step="ask the rater to save the file again")
    body = values.get("body")
    try:
        content = json.loads(body) if isinstance(body, str) else None
    except ValueError:
        content = None
    if not isinstance(body, str) or content is None:
        raise InputError("this is not a file of answers", where=path, expected="body and signature")
    found = read_as(AnswerFile, content, where=path, what="a file of answers")
    if found.study != study.fingerprint:
        raise InputError(
            "these answers are of another study, or study.toml was edited since the pages were made",
            where=path,
            expected=f"study {study.fingerprint[:16]}",
            found=f"study {found.study[:16]}",
        )
    if not 0 <= found.seat < design.seats:
        raise InputError("answers of a seat that the study does not have", where=path, found=found.seat)
    key = bytes.fromhex(seat_key(keys, study, found.seat))
    if not hmac.compare_digest(hmac.new(key, body.encode(), "sha256").hexdigest(), str(values.get("signature"))):
        raise InputError(
            "a file of answers was damaged or edited",
            where=path,
            expected="the signature of its seat",
            next_step="ask the rater to save the file again",
        )
    problems = []
    seen = set()
    for answer in found.answers:
        trial = design.trial(found.seat, answer.trial)
        where = f"trial {answer.trial}"
        if trial is None or answer.trial in seen:
            problems.append(Problem("unknown or doubled", where, ""))
            continue
        seen.add(answer.trial)
        if answer.choice not in (CHOICES if trial.kind is Kind.PLATE else ("left", "right")):
            problems.append(Problem("wrong value", where, answer.choice[:20]))
        side = "left" if trial.real_left else "right"
        if trial.kind is not Kind.PLATE and answer.commitment != commitment(keys, found.seat, trial.number, side):
            problems.append(Problem("commitment", where, "the page showed something else than this study has"))
    if problems:
        raise InputError("a file of answers does not fit the study", where=path, problems=problems)
    return found


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    new: int
    known: int


def import_answers(folder: Path, study: Study, paths: Iterable[Path]) -> Imported:
    """Take files of answers into the study's database, all or none; one that is there already changes nothing.

    Raises InputError with everything that is wrong with any of them.
    """
    design, keys = Design(study), make_keys(folder)
    problems: list[Problem] = []
    files: dict[str, AnswerFile] = {}
    for path in paths:
        try:
            found = read_answer_file(path, study, keys, design)
        except InputError as error:
            problems += error.problems or [Problem(error.what, str(path), error.found or "")]
            continue
        before = files.setdefault(found.sitting, found)
        if before != found:
            problems.append(Problem("two files of one sitting differ", str(path), "keep the one saved last"))
    if problems:
        raise InputError("files of answers cannot be imported: nothing was", problems=problems)
    with Store(folder / store.DATABASE, fingerprint=study.fingerprint) as database:
        return database.run(lambda c: _import(c, study, design, keys, list(files.values())))


def _import(
    connection: sqlite3.Connection, study: Study, design: Design, keys: Keys, files: Sequence[AnswerFile]
) -> Imported:
    new = known = 0
    for file in files:
        person = f"static:{file.sitting}"
        answers = [_answer(study, design, file, answer) for answer in file.answers]
        existing = store.sessions(connection, "person = ?", person)
        if existing:
            kept = {a.trial: (a.choice, dict(a.measured)) for a in store.answers(connection, existing[0].id)}
            if kept != {a.trial: (a.choice, dict(a.measured)) for a in answers}:
                raise InputError("answers of this sitting were imported before, and are not the same", found=person)
            known += 1
            continue
        token = keys.token("session", person)
        entry = Entry(
            token=token,
            withdrawal=withdrawal_code(keys, token),
            origin=ORIGIN,
            person=person,
            language=study.language,
            consent_version=file.consent,
            client={"browser": file.browser[:80]},
        )
        store.arrive(connection, f"seat:{person}")
        session = store.begin(connection, entry, file.seat, file.consented)
        for answer in answers:
            store.put_answer(
                connection,
                Answer(
                    session=session,
                    trial=answer.trial,
                    choice=answer.choice,
                    flags=answer.flags,
                    measured=answer.measured,
                    received=answer.received,
                ),
                study.fingerprint,
            )
        step = next_step(design, file.seat, {answer.trial: answer for answer in answers})
        ended = {"done": State.DONE, "screened": State.SCREENED}.get(step.stage.value, State.LOST)
        store.end(connection, session, ended, time.time(), reason="imported")
        new += 1
    return Imported(new, known)


def _answer(study: Study, design: Design, file: AnswerFile, answer: StaticAnswer) -> Answer:
    trial = design.trial(file.seat, answer.trial)
    asked = design_exposure(design, file.seat)
    plate = trial is not None and trial.kind is Kind.PLATE
    return Answer(
        session=0,
        trial=answer.trial,
        choice=answer.choice,
        flags=() if plate else tuple(flag.value for flag in flags_of(answer.measured, asked)),
        measured=TypeAdapter(Measured).dump_python(answer.measured, mode="json"),
        received=file.consented,
    )


def signed(content: AnswerFile, key: str) -> bytes:
    """A file of answers as a rater's browser saves it."""
    body = canonical_json(TypeAdapter(AnswerFile).dump_python(content, mode="json")).decode()
    signature = hmac.new(bytes.fromhex(key), body.encode(), "sha256").hexdigest()
    return json.dumps({"body": body, "signature": signature}).encode()
