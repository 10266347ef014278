"""Writing files so that a killed process leaves either the old file or the new one, never half of one."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from palette_bench.common.canonical import canonical_json
from palette_bench.common.errors import InputError


@contextmanager
def atomic_writer(path: Path, *, beside: Path | None = None, flush: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of ``path`` when the block ends well.

    It lies in the folder of ``path``, or in ``beside``, of the same file system. The bytes are flushed to the disk
    before the rename, unless a journal tells of files that were not. On any failure the temporary file is removed.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f".{path.name}.{secrets.token_hex(6)}.tmp"
    temporary = path.with_name(name) if beside is None else beside / name
    temporary.parent.mkdir(exist_ok=True)
    try:
        with temporary.open("xb") as stream:
            yield stream
            if flush:
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
    write_bytes(path, json_bytes(value))


def json_bytes(value: object) -> bytes:
    """``value`` as indented JSON with sorted keys. Raises ValueError for NaN and infinities."""
    return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


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


RESERVED = frozenset(("con", "prn", "aux", "nul", *(f"{device}{n}" for device in ("com", "lpt") for n in range(1, 10))))
"""Names, in small letters, that Windows keeps for devices, with any extension."""


def name_fault(name: str) -> str | None:
    """What keeps ``name``, relative and with ``/`` between its parts, from being a file's in a folder of ours."""
    parts = name.split("/")
    if "\0" in name:
        return "has a NUL character"
    if not name or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "begins at a root"
    if any(part in ("", ".", "..") for part in re.split(r"[/\\]", name)):
        return "leads out of its folder"
    if any(part.startswith(".") for part in parts):
        return "is hidden"
    if reserved := next((part for part in parts if part.split(".")[0].casefold() in RESERVED), None):
        return f"has the reserved name {reserved}"
    return None


def below(folder: Path, name: str) -> Path:
    """``folder / name`` for a name that comes from a file. Raises InputError for one that could lie elsewhere."""
    if (fault := name_fault(name)) is not None:
        raise InputError(
            "a name from a file cannot be used",
            where=folder,
            expected="a name inside the folder",
            found=f"{name!r}: {fault}",
        )
    return folder / name


@contextmanager
def staged_folder(folder: Path, *, purpose: str) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` when the block ends well; nothing half made is seen there.

    What a killed run left is removed first, and what was at ``folder`` goes only when the new one is complete. One
    process at a time: another one gets the InputError of `exclusive`.
    """
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    staging, old = place.with_name(f".{place.name}.making"), place.with_name(f".{place.name}.old")
    lock = place.with_name(f".{place.name}.lock")
    with exclusive(lock, purpose=purpose):
        for left in (staging, old):
            shutil.rmtree(left, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
            replace_folder(staging, place, old)
        finally:
            for left in (staging, old):
                shutil.rmtree(left, ignore_errors=True)
            lock.unlink(missing_ok=True)


def replace_folder(new: Path, place: Path, old: Path) -> None:
    """Give ``new`` the name ``place``; a folder that has it is moved to ``old`` first, then removed."""
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


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
