"""Withdrawing a rater's answers, and making a study anonymous."""

import sqlite3
import time
from pathlib import Path

from palette_bench.common.errors import InputError
from palette_bench.study import store
from palette_bench.study.definition import Study
from palette_bench.study.keys import forget_people


def withdraw_by_code(folder: Path, study: Study, code: str) -> None:
    """Delete the answers of the session with a withdrawal code. Raises InputError for an unknown one."""
    plain = code.strip().upper().replace("-", "").replace(" ", "")
    with store.reading(folder / store.DATABASE, fingerprint=study.fingerprint):
        pass
    with store.Store(folder / store.DATABASE, fingerprint=study.fingerprint) as database:

        def work(connection: sqlite3.Connection) -> int:
            found = store.sessions(connection, "withdrawal_sha256 = ?", store.sha256(plain))
            for session in found:
                store.withdraw(connection, session.id, time.time())
            return len(found)

        if not database.run(work):
            raise InputError("no rater has this code", where=folder, found=code)


def anonymize_study(folder: Path) -> None:
    """Drop what could lead to a person from the answers, and the key of the pseudonyms. Raises InputError."""
    with store.reading(folder / store.DATABASE):
        pass
    store.anonymize(folder / store.DATABASE)
    forget_people(folder)
