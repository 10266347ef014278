"""Recomputing every digest of a prepared set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet, Holes
from palette_bench.common.errors import PaletteBenchError, Problem, VerificationError
from palette_bench.common.progress import Progress
from palette_bench.common.workers import map_unordered
from palette_bench.images import canary
from palette_bench.images.condition import make_condition
from palette_bench.prepare.build import CHUNK
from palette_bench.protocol.definition import GeometryName


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked and found as it was frozen."""

    images: int
    conditions: int
    tasks: int


@dataclass(slots=True)
class _State:
    eval_set: EvalSet
    holes: dict[str, Holes]
    digests: dict[str, list[str]]


_state: _State | None = None


def _prepare_worker(folder: Path) -> None:
    global _state
    eval_set = EvalSet(folder)
    tasks = [eval_set.task(name) for name in eval_set.task_names]
    _state = _State(
        eval_set,
        {task.name: eval_set.holes(task) for task in tasks},
        {task.name: eval_set.condition_digests(task) for task in tasks},
    )


def _verify_chunk(indices: Sequence[int]) -> tuple[int, list[Problem]]:
    if _state is None:
        raise RuntimeError("the worker was not prepared")
    eval_set = _state.eval_set
    problems: list[Problem] = []
    for index in indices:
        item = eval_set.items[index]
        try:
            reference = eval_set.reference(item)
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


def verify(eval_set: EvalSet, *, jobs: int, progress: Progress) -> Verified:
    """Recompute the digests of all references and conditions. Raises VerificationError with every one that differs."""
    canary.check(GeometryName(eval_set.geometry))
    known = eval_set.protocol
    for name in eval_set.task_names:
        if eval_set.task_fingerprint(eval_set.task(name)) != known.task_fingerprint(name):
            raise VerificationError(f"task {name} was made from another definition", where=eval_set.folder)
    problems: list[Problem] = []
    indices = range(len(eval_set.items))
    chunks = [list(indices[start : start + CHUNK]) for start in range(0, len(indices), CHUNK)]
    with progress.task(f"verifying {eval_set.set_id}", len(indices), "images") as task:
        results = map_unordered(
            _verify_chunk, chunks, processes=jobs, prepare=partial(_prepare_worker, eval_set.folder)
        )
        for count, bad in results:
            problems += bad
            task.advance(count)
    if problems:
        raise VerificationError(
            f"set {eval_set.set_id} is not as it was frozen",
            where=eval_set.folder,
            expected="the digests of its manifest and conditions",
            problems=sorted(problems, key=lambda p: (p.kind, p.where)),
            next_step="prepare the set again with --replace",
        )
    return Verified(len(indices), len(indices) * len(eval_set.task_names), len(eval_set.task_names))
