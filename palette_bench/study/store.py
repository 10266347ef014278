"""Answers on disk: SQLite in write-ahead mode with one writer, and nothing acknowledged before it is synced.

All writes go through one thread, which commits whatever has queued up as one transaction (so twenty raters share a
sync) and then tells each caller. A killed process loses nothing that was acknowledged; an answer that comes twice is
stored once, by its key (session, trial).
"""

import contextlib
import hashlib
import json
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from palette_bench.common.errors import InputError, UsageError, VerificationError

DATABASE = "answers.sqlite"
SCHEMA = 1
SEAL = "sealed"
_T = TypeVar("_T")
_STOP = object()
_MOST_TOGETHER = 64

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY,
    token_sha256 TEXT UNIQUE,
    seat INTEGER NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    person TEXT,
    language TEXT NOT NULL,
    consent_version TEXT NOT NULL,
    consented REAL NOT NULL,
    seen REAL NOT NULL,
    finished REAL,
    reason TEXT NOT NULL DEFAULT '',
    withdrawal_sha256 TEXT,
    code TEXT NOT NULL DEFAULT '',
    client TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS sessions_seat ON sessions (seat);
CREATE INDEX IF NOT EXISTS sessions_person ON sessions (person);
CREATE TABLE IF NOT EXISTS answers (
    session INTEGER NOT NULL REFERENCES sessions (id),
    trial INTEGER NOT NULL,
    choice TEXT NOT NULL,
    flags TEXT NOT NULL,
    measured TEXT NOT NULL,
    received REAL NOT NULL,
    PRIMARY KEY (session, trial)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS loads (
    session INTEGER NOT NULL, trial INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (session, trial)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS platform_ids (session INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS arrivals (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class State(StrEnum):
    """Where a session stands. The first holds its seat; ``lost``, ``screened`` and ``withdrawn`` gave it up."""

    ACTIVE = "active"
    DONE = "done"
    LOST = "lost"
    SCREENED = "screened"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A rater's session. ``person`` is an HMAC of a platform's id, None without one; times are Unix seconds."""

    id: int
    seat: int
    state: State
    origin: str
    person: str | None
    language: str
    consent_version: str
    consented: float
    seen: float
    finished: float | None
    reason: str
    code: str
    client: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. ``choice`` is ``left`` or ``right``, or what a colour plate was read as."""

    session: int
    trial: int
    choice: str
    flags: tuple[str, ...]
    measured: Mapping[str, Any]
    received: float


def sha256(text: str) -> str:
    """sha256 of a token: a stolen database opens no session."""
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The database of a study, opened by its one writer."""

    def __init__(self, path: Path, *, fingerprint: str, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._queue: queue.Queue[Any] = queue.Queue()
        self._connection = _connect(path)
        self._thread = threading.Thread(target=self._write_all, name="study-writer", daemon=True)
        try:
            _claim(self._connection, path, fingerprint)
        except BaseException:
            self._connection.close()
            raise
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, and close."""
        if self._thread.is_alive():
            self._queue.put(_STOP)
            self._thread.join()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[[sqlite3.Connection], _T]) -> "Future[_T]":
        """Run ``work`` in the writer's thread; the future is done when what it wrote is on the disk."""
        future: Future[_T] = Future()
        self._queue.put((work, future))
        return future

    def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """``submit`` and wait."""
        return self.submit(work).result()

    def _write_all(self) -> None:
        stopping = False
        while not stopping:
            batch = [self._queue.get()]
            while len(batch) < _MOST_TOGETHER and batch[-1] is not _STOP:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            stopping = batch[-1] is _STOP
            self._write([entry for entry in batch if entry is not _STOP])

    def _write(self, batch: list[tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]]) -> None:
        """One transaction; a work that fails undoes itself alone, a commit that fails fails all of them."""
        connection = self._connection
        results: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                connection.execute("SAVEPOINT work")
                try:
                    value = work(connection)
                except sqlite3.OperationalError:
                    raise
                except Exception as error:  # noqa: BLE001
                    connection.execute("ROLLBACK TO work")
                    results.append((future, None, error))
                else:
                    results.append((future, value, None))
                connection.execute("RELEASE work")
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            for _, future in batch:
                future.set_exception(error)
            return
        for future, value, failure in results:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL syncs the log at every commit: an acknowledged answer survives a power cut, not only a killed process.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(_TABLES)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    return connection


def unusable(path: Path, error: Exception) -> InputError:
    """The house's error for a database that cannot be used."""
    return InputError(
        "the answers of a study cannot be read or written",
        where=path,
        expected=f"a database that this program made, of schema {SCHEMA}, on a disk with room",
        found=error,
        next_step="make room, or put a backup (palette-bench study backup) in its place",
    )


def _claim(connection: sqlite3.Connection, path: Path, fingerprint: str) -> None:
    """Tie the database to a study. Raises VerificationError where its answers are of another."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        known = dict(connection.execute("SELECT key, value FROM meta"))
        if known.get("schema", str(SCHEMA)) != str(SCHEMA):
            connection.execute("ROLLBACK")
            raise unusable(path, ValueError(f"schema {known['schema']}"))
        if SEAL in known and known[SEAL] != fingerprint:
            connection.execute("ROLLBACK")
            raise VerificationError(
                "this study was edited after its first answer",
                where=path,
                expected=f"the study with fingerprint {known[SEAL][:16]}",
                found=f"fingerprint {fingerprint[:16]}",
                next_step="put study.toml back as it was, or make another study in another folder",
            )
        if known.get("study", fingerprint) != fingerprint:
            # Edited before the first answer: whoever had begun begins again.
            connection.execute(
                "UPDATE sessions SET state = ?, reason = 'the study was edited' WHERE state = ?",
                (State.LOST, State.ACTIVE),
            )
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [("schema", str(SCHEMA)), ("study", fingerprint)],
        )
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise unusable(path, error) from error


@contextlib.contextmanager
def reading(path: Path, *, fingerprint: str | None = None) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, beside a running server. Raises InputError, VerificationError as `Store`."""
    if not path.is_file():
        raise InputError(
            "this study has no answers yet",
            where=path,
            found="nothing",
            next_step="palette-bench study serve collects them, study simulate rehearses",
        )
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)
        known = dict(connection.execute("SELECT key, value FROM meta"))
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        if known.get("schema") != str(SCHEMA):
            raise unusable(path, ValueError(f"schema {known.get('schema')}"))
        if fingerprint is not None and known.get(SEAL, fingerprint) != fingerprint:
            raise VerificationError(
                "these answers are of another study, or study.toml was edited after the first answer",
                where=path,
                expected=f"the study with fingerprint {known[SEAL][:16]}",
                found=f"fingerprint {fingerprint[:16]}",
                next_step="put study.toml back as it was",
            )
        yield connection
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    finally:
        connection.close()


def back_up(path: Path, target: Path) -> None:
    """A consistent copy of a database, while a server writes to it."""
    if target.exists():
        raise UsageError("a backup replaces nothing", where=target, next_step="choose another --out")
    with reading(path) as source:
        copy = sqlite3.connect(target)
        try:
            source.backup(copy)
        finally:
            copy.close()


_SESSION = "id, seat, state, origin, person, language, consent_version, consented, seen, finished, reason, code, client"


def sessions(connection: sqlite3.Connection, where: str = "1", *values: object) -> list[Session]:
    """Sessions by a condition, in order of their consent."""
    rows = connection.execute(f"SELECT {_SESSION} FROM sessions WHERE {where} ORDER BY id", values)  # noqa: S608
    names = _SESSION.split(", ")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [Session(**{**row, "state": State(row["state"]), "client": json.loads(row["client"])}) for row in found]


def answers(connection: sqlite3.Connection, session: int | None = None) -> list[Answer]:
    """Answers of one session or of all, by trial."""
    rows = connection.execute(
        "SELECT session, trial, choice, flags, measured, received FROM answers "
        "WHERE (?1 IS NULL OR session = ?1) ORDER BY session, trial",
        (session,),
    )
    return [
        Answer(
            session=row[0],
            trial=row[1],
            choice=row[2],
            flags=tuple(row[3].split()),
            measured=json.loads(row[4]),
            received=row[5],
        )
        for row in rows
    ]


def by_token(connection: sqlite3.Connection, token: str) -> Session | None:
    """The session of a token."""
    found = sessions(connection, "token_sha256 = ?", sha256(token))
    return found[0] if found else None


def arrive(connection: sqlite3.Connection, key: str) -> None:
    """Count somebody who opened the study, once."""
    connection.execute("INSERT INTO arrivals VALUES (?) ON CONFLICT DO NOTHING", (key,))


def arrival_count(connection: sqlite3.Connection) -> int:
    """How many opened the study."""
    return int(connection.execute("SELECT count(*) FROM arrivals").fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a session begins with."""

    token: str
    withdrawal: str
    origin: str
    person: str | None
    language: str
    consent_version: str
    platform_ids: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)


def free_seat(connection: sqlite3.Connection, seats: int) -> int | None:
    """The first seat that nobody holds: given-up ones are issued again before new ones."""
    held = {
        row[0]
        for row in connection.execute("SELECT seat FROM sessions WHERE state IN (?, ?)", (State.ACTIVE, State.DONE))
    }
    return next((seat for seat in range(seats) if seat not in held), None)


def begin(connection: sqlite3.Connection, entry: Entry, seat: int, now: float, *, state: State = State.ACTIVE) -> int:
    """A new session on a seat; returns its id."""
    cursor = connection.execute(
        "INSERT INTO sessions (token_sha256, seat, state, origin, person, language, consent_version, consented, seen,"
        " withdrawal_sha256, client) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sha256(entry.token),
            seat,
            state,
            entry.origin,
            entry.person,
            entry.language,
            entry.consent_version,
            now,
            now,
            sha256(entry.withdrawal),
            json.dumps(dict(entry.client), sort_keys=True),
        ),
    )
    number = int(cursor.lastrowid or 0)
    connection.executemany(
        "INSERT INTO platform_ids VALUES (?, ?, ?)",
        [(number, name, value) for name, value in entry.platform_ids.items()],
    )
    return number


def put_answer(connection: sqlite3.Connection, answer: Answer, fingerprint: str) -> bool:
    """Store an answer; False when the trial has one already, which stays. The first of a study seals it."""
    cursor = connection.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            answer.session,
            answer.trial,
            answer.choice,
            " ".join(answer.flags),
            json.dumps(dict(answer.measured), sort_keys=True),
            answer.received,
        ),
    )
    connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (SEAL, fingerprint))
    return cursor.rowcount == 1


def touch(connection: sqlite3.Connection, session: int, now: float) -> None:
    """Note that a session was heard of."""
    connection.execute("UPDATE sessions SET seen = ? WHERE id = ?", (now, session))


def end(connection: sqlite3.Connection, session: int, state: State, now: float, *, reason: str = "") -> None:
    """End a session; a code that says so to a platform is made once."""
    code = secrets.token_hex(5).upper()
    connection.execute(
        "UPDATE sessions SET state = ?, finished = ?, seen = ?, reason = ?, code = CASE code WHEN '' THEN ? ELSE code"
        " END WHERE id = ?",
        (state, now, now, reason, code, session),
    )


def close_idle(connection: sqlite3.Connection, now: float, seconds: float) -> int:
    """Give up the seats of sessions not heard of for ``seconds``; returns how many there were."""
    cursor = connection.execute(
        "UPDATE sessions SET state = ?, finished = ?, reason = 'not heard of' WHERE state = ? AND seen < ?",
        (State.LOST, now, State.ACTIVE, now - seconds),
    )
    return cursor.rowcount


def withdraw(connection: sqlite3.Connection, session: int, now: float) -> None:
    """Forget a session's answers and whose they were; that there was a session stays."""
    for table in ("answers", "loads", "platform_ids"):
        connection.execute(f"DELETE FROM {table} WHERE session = ?", (session,))  # noqa: S608
    connection.execute(
        "UPDATE sessions SET state = ?, finished = ?, person = NULL, client = '{}', reason = '' WHERE id = ?",
        (State.WITHDRAWN, now, session),
    )


def count_load(connection: sqlite3.Connection, session: int, trial: int) -> int:
    """Count that a trial's images were sent, and return how often now."""
    connection.execute(
        "INSERT INTO loads VALUES (?, ?, 1) ON CONFLICT (session, trial) DO UPDATE SET count = count + 1",
        (session, trial),
    )
    found = connection.execute("SELECT count FROM loads WHERE session = ? AND trial = ?", (session, trial)).fetchone()
    return int(found[0])


def anonymize(path: Path) -> None:
    """Drop all that tells people apart but their answers: ids, tokens, browsers, and the times but for their day."""
    connection = _connect(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM platform_ids")
        connection.execute("DELETE FROM arrivals WHERE key NOT LIKE 'seat:%'")
        connection.execute(
            "UPDATE sessions SET person = NULL, token_sha256 = NULL, withdrawal_sha256 = NULL, code = '', "
            "client = '{}', state = CASE state WHEN 'active' THEN 'lost' ELSE state END, "
            "consented = round(consented / 86400) * 86400, seen = round(seen / 86400) * 86400, "
            "finished = round(finished / 86400) * 86400"
        )
        connection.execute("UPDATE answers SET received = round(received / 86400) * 86400")
        connection.execute("INSERT INTO meta VALUES ('anonymized', '1') ON CONFLICT DO NOTHING")
        connection.execute("COMMIT")
        # What was deleted must not stay in free pages or in the log.
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    finally:
        connection.close()
