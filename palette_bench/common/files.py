"""Writing files so that a killed process leaves either the old file or the new one, never half of one."""

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from palette_bench.common.canonical import canonical_json
from palette_bench.common.errors import InputError


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its place when the block ends well.

    The bytes are flushed to the disk before the rename. On any failure the temporary file is removed.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            _name(error, path)
        raise


def write_plainly(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, not atomically: for the many files of something that is not whole before its last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(data)
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: Path) -> None:
    """Say which file it was: a failing write, unlike a failing open, does not."""
    if error.filename is None:
        error.filename = str(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_writer(path) as stream:
        stream.write(data)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys. Raises ValueError for NaN and infinities."""
    write_bytes(path, (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode())


def jsonl_bytes(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Rows as canonical JSON, one a line."""
    return b"".join(canonical_json(row) + b"\n" for row in rows)


def read_json(path: Path, *, kind: str, next_step: str | None = None) -> dict[str, object]:
    """The JSON object in ``path``. ``kind`` names the file in errors (``set``, ``record``)."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"no {kind} file here", where=path, expected=path.name, found="nothing", next_step=next_step
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"a {kind} file cannot be read", where=path, expected="a JSON object", found=error, next_step=next_step
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"a {kind} file cannot be read",
            where=path,
            expected="a JSON object",
            found=type(value).__name__,
            next_step=next_step,
        )
    return value


def read_jsonl(path: Path, *, kind: str, next_step: str | None = None) -> list[dict[str, object]]:
    """The JSON objects in ``path``, one a line."""
    rows: list[dict[str, object]] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"a {kind} file cannot be read", where=path, found=error.strerror or error, next_step=next_step
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"a {kind} file is damaged", where=f"{path}, line {number}", found=error, next_step=next_step
            ) from error
        if not isinstance(row, dict):
            raise InputError(
                f"a {kind} file is damaged",
                where=f"{path}, line {number}",
                expected="a JSON object",
                next_step=next_step,
            )
        rows.append(row)
    return rows


@contextmanager
def exclusive(
    path: Path, *, purpose: str, seconds: float = 0.0, note: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock file ``path``; raises InputError when another process still holds it after ``seconds``.

    ``note`` is told once that there is something to wait for.
    """
    lock = filelock.FileLock(path)
    try:
        try:
            _acquire(lock, path, 0.0)
        except filelock.Timeout:
            if seconds == 0.0:
                raise
            if note is not None:
                note(f"waiting for another process: {purpose}")
            _acquire(lock, path, seconds)
    except filelock.Timeout as error:
        raise InputError(
            f"another process is already busy: {purpose}",
            where=path,
            expected="one process at a time",
            next_step="wait until it has finished, then run the command again: what it made will be reused",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, path: Path, seconds: float) -> None:
    for last in (*[False] * 9, True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=seconds)
        except FileNotFoundError:
            # Whoever ends last removes the folder of the locks, perhaps between these two steps.
            if last:
                raise
        else:
            return
