"""Recomputing every digest of a prepared set."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import PaletteBenchError, Problem, VerificationError
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
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


class _Verifier:
    """Recomputes the digests of some items: how many, and those that differ."""

    def __init__(self, folder: Path) -> None:
        self._eval_set = EvalSet(folder)
        tasks = [self._eval_set.task(name) for name in self._eval_set.task_names]
        self._holes = {task.name: self._eval_set.holes(task) for task in tasks}
        self._digests = {task.name: self._eval_set.condition_digests(task) for task in tasks}

    def __call__(self, indices: Sequence[int]) -> tuple[int, list[Problem]]:
        problems: list[Problem] = []
        for index in indices:
            item = self._eval_set.items[index]
            try:
                reference = self._eval_set.reference(item)
            except PaletteBenchError as error:
                problems.append(Problem("reference", item.id, f"{error.what}; {error.found or ''}"))
                continue
            for name, holes in self._holes.items():
                expected = self._digests[name][index]
                digest = make_condition(holes.task, reference, holes.of(item)).digest
                if digest != expected:
                    problems.append(
                        Problem(f"condition {name}", item.id, f"expected {expected[:16]}, found {digest[:16]}")
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
    with progress.task(f"verifying {eval_set.set_id}", len(indices), "images") as task:
        verifier = partial(_Verifier, eval_set.folder)
        for count, bad in run_chunks(verifier, indices, size=CHUNK, processes=jobs):
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
