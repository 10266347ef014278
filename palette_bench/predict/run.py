"""Running a method over a task's conditions and writing one PNG an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from palette_bench.common.errors import UsageError
from palette_bench.common.progress import Progress
from palette_bench.common.workers import map_unordered
from palette_bench.predict.models.classical import METHODS
from palette_bench.prepare.frozen import Conditions, FrozenSet
from palette_bench.prepare.pngs import encode_png

CHUNK = 64


@dataclass(frozen=True, slots=True)
class _Job:
    set_folder: Path
    task: str
    method: str
    out: Path


_state: tuple[_Job, Conditions] | None = None


def _prepare_worker(job: _Job) -> None:
    global _state
    opened = FrozenSet(job.set_folder)
    _state = (job, opened.conditions(opened.task(job.task)))


def _predict_chunk(indices: Sequence[int]) -> int:
    if _state is None:
        raise RuntimeError("the worker was not prepared")
    job, conditions = _state
    method = METHODS[job.method]
    for index in indices:
        item = conditions.opened.items[index]
        path = job.out / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(method(conditions.of(item))))
    return len(indices)


def predict(opened: FrozenSet, task: str, method: str, out: Path, *, jobs: int, progress: Progress) -> None:
    """Write ``out/<id>.png`` for every item of a task with a classical method."""
    if method not in METHODS:
        raise UsageError("no such method", expected=f"one of {', '.join(METHODS)}", found=method)
    job = _Job(opened.folder, opened.task(task).name, method, out)
    chunks = [list(range(start, min(start + CHUNK, opened.count))) for start in range(0, opened.count, CHUNK)]
    with progress.task(f"{method}, {task}", opened.count, "images") as shown:
        for count in map_unordered(_predict_chunk, chunks, processes=jobs, prepare=partial(_prepare_worker, job)):
            shown.advance(count)
