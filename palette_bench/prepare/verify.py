"""Recomputing every digest of a prepared set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from palette_bench.common.errors import PaletteBenchError, Problem, VerificationError
from palette_bench.common.progress import Progress
from palette_bench.common.workers import map_unordered
from palette_bench.prepare import canary
from palette_bench.prepare.build import CHUNK
from palette_bench.prepare.degrade.condition import make_condition
from palette_bench.prepare.frozen import FrozenSet, Holes
from palette_bench.protocol.definition import GeometryName


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked and found as it was frozen."""

    images: int
    conditions: int
    tasks: int


@dataclass(slots=True)
class _State:
    opened: FrozenSet
    holes: dict[str, Holes]
    digests: dict[str, list[str]]


_state: _State | None = None


def _prepare_worker(folder: Path) -> None:
    global _state
    opened = FrozenSet(folder)
    tasks = [opened.task(name) for name in opened.task_names]
    _state = _State(
        opened,
        {task.name: opened.holes(task) for task in tasks},
        {task.name: opened.condition_digests(task) for task in tasks},
    )


def _verify_chunk(indices: Sequence[int]) -> tuple[int, list[Problem]]:
    if _state is None:
        raise RuntimeError("the worker was not prepared")
    opened = _state.opened
    problems: list[Problem] = []
    for index in indices:
        item = opened.items[index]
        try:
            reference = opened.reference(item)
        except PaletteBenchError as error:
            problems.append(Problem("reference", item.id, f"{error.what}; {error.found or ''}"))
            continue
        for name, holes in _state.holes.items():
            found = make_condition(holes.task, reference, holes.of(item)).digest
            if found != _state.digests[name][index]:
                problems.append(
                    Problem(
                        f"condition {name}", item.id, f"expected {_state.digests[name][index][:16]}, found {found[:16]}"
                    )
                )
    return len(indices), problems


def verify(opened: FrozenSet, *, jobs: int, progress: Progress) -> Verified:
    """Recompute the digests of all references and conditions. Raises VerificationError with every one that differs."""
    canary.check(GeometryName(opened.geometry))
    known = opened.protocol
    for name in opened.task_names:
        if opened.task_fingerprint(opened.task(name)) != known.task_fingerprint(name):
            raise VerificationError(f"task {name} was made from another definition", where=opened.folder)
    problems: list[Problem] = []
    indices = range(len(opened.items))
    chunks = [list(indices[start : start + CHUNK]) for start in range(0, len(indices), CHUNK)]
    with progress.task(f"verifying {opened.set_id}", len(indices), "images") as task:
        results = map_unordered(_verify_chunk, chunks, processes=jobs, prepare=partial(_prepare_worker, opened.folder))
        for count, bad in results:
            problems += bad
            task.advance(count)
    if problems:
        raise VerificationError(
            f"set {opened.set_id} is not as it was frozen",
            where=opened.folder,
            expected="the digests of its manifest and conditions",
            problems=sorted(problems, key=lambda p: (p.kind, p.where)),
            next_step="prepare the set again with --replace",
        )
    return Verified(len(indices), len(indices) * len(opened.task_names), len(opened.task_names))
