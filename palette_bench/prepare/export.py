"""Writing a task's conditions as files, for models that live elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np

from palette_bench.common.canonical import bytes_digest, lines_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.files import write_bytes, write_json, write_plainly
from palette_bench.common.progress import Progress
from palette_bench.common.workers import map_unordered
from palette_bench.prepare import canary
from palette_bench.prepare.build import CHUNK
from palette_bench.prepare.frozen import Conditions, FrozenSet
from palette_bench.prepare.pngs import encode_png
from palette_bench.protocol.definition import GeometryName
from palette_bench.protocol.tasks import Task, TaskKind


class HoleColour(StrEnum):
    """What a hole looks like in a mask file; models disagree, so it is never assumed."""

    WHITE = "white"
    BLACK = "black"


IMAGES, MASKS, JPEGS, REFERENCES = "images", "masks", "jpegs", "references"
EXPORT_FILE = "export.json"
LIST_FILE = "list.txt"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: a folder, how many items, which sub-folders."""

    folder: Path
    count: int
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    set_folder: Path
    task: str
    out: Path
    holes: HoleColour | None
    references: bool


_state: tuple[_Job, Conditions] | None = None


def _prepare_worker(job: _Job) -> None:
    global _state
    opened = FrozenSet(job.set_folder)
    _state = (job, opened.conditions(opened.task(job.task)))


def _export_chunk(indices: Sequence[int]) -> list[tuple[int, dict[str, str]]]:
    if _state is None:
        raise RuntimeError("the worker was not prepared")
    job, conditions = _state
    opened = conditions.opened
    written: list[tuple[int, dict[str, str]]] = []
    for index in indices:
        item = opened.items[index]
        condition = conditions.of(item)
        files: dict[str, bytes] = {}
        if condition.jpeg is not None:
            files[f"{JPEGS}/{item.id}.jpg"] = condition.jpeg
        else:
            grey = conditions.task.kind is TaskKind.COLORIZE
            files[f"{IMAGES}/{item.id}.png"] = encode_png(condition.image[..., 0] if grey else condition.image)
        if condition.hole is not None:
            white = condition.hole if job.holes is HoleColour.WHITE else ~condition.hole
            files[f"{MASKS}/{item.id}.png"] = encode_png(white.astype(np.uint8) * 255)
        if job.references:
            files[f"{REFERENCES}/{item.id}.png"] = encode_png(opened.reference(item))
        for name, data in files.items():
            write_plainly(job.out / name, data)
        written.append((index, {name: bytes_digest(data) for name, data in files.items()}))
    return written


def export(
    opened: FrozenSet,
    task: Task,
    out: Path,
    *,
    holes: HoleColour | None,
    references: bool,
    jobs: int,
    progress: Progress,
) -> Exported:
    """Write the conditions of a task below ``out``, which must be empty or not exist.

    ``images/<id>.png`` (grey for colorize, else RGB with black holes), ``masks/<id>.png`` with holes of the chosen
    colour, ``jpegs/<id>.jpg`` with the frozen bytes, ``references/<id>.png`` only if asked for; ``list.txt`` has the
    ids in protocol order and ``export.json``, written last, the digest of every file. Masks are never lossy.
    """
    if task.masked and holes is None:
        raise UsageError(
            f"task {task.name} has masks, and models disagree on what is white",
            expected="--holes white (white is filled in) or --holes black (white is kept)",
            found="no --holes",
        )
    canary.check(GeometryName(opened.geometry))
    fingerprint = opened.task_fingerprint(task)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the folder to export to is not empty" if out.is_dir() else "the folder to export to is a file",
            where=out,
            expected="an empty folder, or a name that does not exist yet",
            next_step="choose another --out, or remove it",
        )
    out.mkdir(parents=True, exist_ok=True)
    job = _Job(opened.folder, task.name, out, holes, references)
    chunks = [list(range(start, min(start + CHUNK, opened.count))) for start in range(0, opened.count, CHUNK)]
    digests: dict[int, dict[str, str]] = {}
    with progress.task(f"exporting {task.name}", opened.count, "images") as shown:
        for rows in map_unordered(_export_chunk, chunks, processes=jobs, prepare=partial(_prepare_worker, job)):
            digests.update(rows)
            shown.advance(len(rows))
    ids = [item.id for item in opened.items]
    write_bytes(out / LIST_FILE, "".join(f"{name}\n" for name in ids).encode())
    write_json(
        out / EXPORT_FILE,
        {
            "set": opened.set_id,
            "set_version": opened.version,
            "set_fingerprint": opened.fingerprint,
            "data_digest": opened.data_digest,
            "task": task.name,
            "task_fingerprint": fingerprint,
            "holes": holes.value if task.masked and holes else None,
            "count": len(ids),
            "list_sha256": lines_digest(ids),
            "software": canary.software(),
            "files": {name: digest for index in range(len(ids)) for name, digest in sorted(digests[index].items())},
        },
    )
    parts = sorted({name.split("/")[0] for name in digests[0]}) if digests else []
    return Exported(out, len(ids), tuple(parts))
