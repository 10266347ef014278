"""The gate: every prediction is there, decodes and has the right size, or nothing is scored.

It also composites: for tasks with a hole, what is scored has the reference's pixels outside of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from palette_bench.common.canonical import fingerprint, pixel_digest
from palette_bench.common.errors import InputError, PaletteBenchError, Problem
from palette_bench.common.progress import Progress
from palette_bench.common.workers import map_unordered
from palette_bench.prepare.decode import BadImageError, Conversion
from palette_bench.prepare.degrade.holes import composite
from palette_bench.prepare.frozen import FrozenItem, FrozenSet, Holes
from palette_bench.prepare.images import ImageU8
from palette_bench.protocol.tasks import Task
from palette_bench.score.predictions import Predictions, locate

CHUNK = 64
WORTH_A_PROCESS = 64 * 1024 * 1024
REFUSED_MODES = frozenset((Conversion.SIXTEEN_BIT, Conversion.CMYK, Conversion.OTHER_COLOUR_SPACE))
SUSPICIOUS_CHANGE = 2.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One prediction that passed: digests of its own pixels and of what is scored, and what was noticed.

    ``known_change`` is the mean absolute difference to the reference outside the hole, in grey levels of 0..255, before
    compositing; None where nothing is hidden.
    """

    index: int
    own_digest: str
    scored_digest: str
    known_change: float | None
    lossy: bool
    conversions: tuple[Conversion, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Predictions that passed the gate, in item order (the first sample of each item)."""

    predictions: Predictions
    rows: tuple[Checked, ...]
    digest: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def known_change(self) -> float | None:
        """The mean over items of how far the known region was changed, in grey levels."""
        changes = [row.known_change for row in self.rows if row.known_change is not None]
        return sum(changes) / len(changes) if changes else None


@dataclass(slots=True)
class _State:
    opened: FrozenSet
    holes: Holes
    predictions: Predictions


_state: _State | None = None


def _prepare_worker(folder: Path, task: str, predictions: Predictions) -> None:
    global _state
    opened = FrozenSet(folder)
    _state = _State(opened, opened.holes(opened.task(task)), predictions)


def scored_image(
    opened: FrozenSet, holes: Holes, item: FrozenItem, prediction: ImageU8
) -> tuple[ImageU8, float | None]:
    """What is scored of a prediction [H, W, 3], and how far it had changed the known region."""
    hole = holes.of(item)
    if hole is None:
        return prediction, None
    reference = opened.reference(item)
    # SCORE: the known region comes from the reference.
    combined = composite(prediction, reference, hole)
    difference = np.abs(prediction[~hole].astype(np.int16) - reference[~hole])
    return combined, float(difference.mean()) if difference.size else 0.0


def _check_chunk(indices: Sequence[int]) -> tuple[int, list[Checked], list[str], list[Problem]]:
    if _state is None:
        raise RuntimeError("the worker was not prepared")
    opened, predictions = _state.opened, _state.predictions
    rows: list[Checked] = []
    others: list[str] = []
    problems: list[Problem] = []
    for index in indices:
        for sample in range(predictions.samples):
            name = predictions.name(index, sample)
            try:
                decoded = predictions.read(index, sample)
            except BadImageError as error:
                problems.append(Problem("undecodable", name, str(error)))
                continue
            except OSError as error:
                problems.append(Problem("unreadable", name, error.strerror or str(error)))
                continue
            height, width = decoded.pixels.shape[:2]
            if (height, width) != (opened.size, opened.size):
                problems.append(
                    Problem("wrong-size", name, f"expected {opened.size}x{opened.size}, found {width}x{height}")
                )
                continue
            refused = REFUSED_MODES.intersection(decoded.conversions)
            if refused:
                problems.append(Problem("wrong-mode", name, f"expected 8-bit RGB, found {', '.join(sorted(refused))}"))
                continue
            own = pixel_digest(decoded.pixels)
            if sample > 0:
                others.append(own)
                continue
            try:
                image, change = scored_image(opened, _state.holes, opened.items[index], decoded.pixels)
            except PaletteBenchError as error:
                problems.append(Problem("reference", opened.items[index].id, error.what))
                continue
            scored = own if change is None else pixel_digest(image)
            rows.append(Checked(index, own, scored, change, decoded.lossy, decoded.conversions))
    return len(indices), rows, others, problems


def admit(opened: FrozenSet, task: Task, where: Path, *, jobs: int, progress: Progress) -> Admitted:
    """Check all predictions of a task. Raises InputError with every fault found, in names and in content."""
    predictions, problems = locate(where, opened)
    present = range(opened.count) if predictions.array is not None else [*predictions.files]
    whole = [i for i in present if predictions.array is not None or len(predictions.files[i]) == predictions.samples]
    chunks = [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]
    rows: list[Checked] = []
    others: list[str] = []
    work = len(whole) * opened.size**2 * predictions.samples
    prepare = partial(_prepare_worker, opened.folder, task.name, predictions)
    with progress.task("checking predictions", len(whole), "images") as shown:
        processes = jobs if work > WORTH_A_PROCESS and predictions.array is None else 1
        for count, good, more, bad in map_unordered(_check_chunk, chunks, processes=processes, prepare=prepare):
            rows += good
            others += more
            problems += bad
            shown.advance(count)
    if problems:
        raise InputError(
            f"{len(problems)} faults in the predictions: nothing was scored",
            where=where,
            expected=f"a {opened.size}x{opened.size} RGB image for each of the {opened.count} items of {opened.set_id}",
            problems=sorted(problems, key=lambda p: (p.kind, p.where)),
            next_step="complete the folder and run the command again; palette-bench export writes the list of ids",
        )
    rows.sort(key=lambda row: row.index)
    digest = fingerprint([[opened.items[row.index].id, row.own_digest] for row in rows] + sorted(others))
    return Admitted(predictions, tuple(rows), digest, tuple(_warnings(rows)))


def _warnings(rows: Sequence[Checked]) -> list[str]:
    warnings: list[str] = []
    lossy = sum(row.lossy for row in rows)
    if lossy:
        warnings.append(f"{lossy} predictions are lossy files (JPEG or WebP): the compression is scored too")
    for conversion in Conversion:
        count = sum(conversion in row.conversions for row in rows)
        if count:
            warnings.append(f"{count} predictions were converted: {conversion.value}")
    different = len({row.own_digest for row in rows})
    if len(rows) > 1 and different <= len(rows) // 2:
        warnings.append(f"only {different} of {len(rows)} predictions differ from each other")
    changed = [row.known_change for row in rows if row.known_change is not None]
    if changed and (mean := sum(changed) / len(changed)) > SUSPICIOUS_CHANGE:
        warnings.append(
            f"the known region was changed by {mean:.1f} grey levels on average before compositing: "
            "a shifted image, an inverted mask or a lossy round trip?"
        )
    return warnings
