"""The gate: every prediction is there, decodes and has the right size, or nothing is scored.

It also composites: for tasks with a hole, what is scored has the reference's pixels outside of it. And while it has
prediction and reference before it, it compares their pixels by every measure there is. What it found of a file is kept
by the digest of the file's bytes, so that a file is decoded again only if it changed.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from palette_bench.artifacts.evalset import EvalItem, EvalSet, Holes
from palette_bench.artifacts.predictions import Predictions, locate, output_name, tree_digest
from palette_bench.common.canonical import bytes_digest, fingerprint, pixel_digest
from palette_bench.common.errors import InputError, PaletteBenchError, Problem
from palette_bench.common.home import features_folder
from palette_bench.common.parts import WHOLE, Part
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images import canary
from palette_bench.images.decode import REFUSED, BadImageError, Conversion
from palette_bench.images.holes import composited
from palette_bench.images.types import ImageU8
from palette_bench.protocol.tasks import Task
from palette_bench.score.features import KeptRows
from palette_bench.score.ranks import PART_CHUNK
from palette_bench.score.recipes.catalogue import pixel_measures
from palette_bench.score.recipes.pixels import Pixels

CHUNK = 64
WORTH_A_PROCESS = 64 * 1024 * 1024
SUSPICIOUS_CHANGE = 2.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One prediction that passed: digests of its own pixels and of what is scored, and what was noticed.

    ``known_change`` is the mean absolute difference to the reference outside the hole, in grey levels of 0..255, before
    compositing, and ``hole_share`` the hole's share of the image; both None where nothing is hidden. ``pixels`` has
    what each pixel measure says of what is scored beside the reference; empty for all samples but the first.
    """

    index: int
    sample: int
    own_digest: str
    scored_digest: str
    known_change: float | None
    hole_share: float | None
    pixels: Mapping[str, float]
    lossy: bool
    conversions: tuple[Conversion, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """What the gate found of one part of the predictions: what passed, in order of item and sample, and all faults."""

    samples: int
    rows: tuple[Checked, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Predictions that passed the gate: the samples of each item, by item, in protocol order.

    ``tree_sha256`` is the digest of a folder of these images under the names that `predict` gives them.
    """

    items: Mapping[int, tuple[Checked, ...]]
    digest: str
    tree_sha256: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> list[Checked]:
        """The first sample of each item, in protocol order."""
        return [samples[0] for samples in self.items.values()]

    @property
    def samples(self) -> int:
        """Samples an item."""
        return max(map(len, self.items.values()), default=1)

    @property
    def known_change(self) -> float | None:
        """The mean over items of how far the known region was changed, in grey levels."""
        changes = [row.known_change for row in self.rows if row.known_change is not None]
        return sum(changes) / len(changes) if changes else None


def scored_image(eval_set: EvalSet, holes: Holes, item: EvalItem, prediction: ImageU8) -> tuple[ImageU8, float | None]:
    """What is scored of a prediction [H, W, 3], and how far it had changed the known region."""
    hole = holes.of(item)
    if hole is None:
        return prediction, None
    combined, change = composited(prediction, eval_set.reference(item), hole)
    return combined, 0.0 if change is None else change


@dataclass(slots=True)
class _Chunk:
    """What a worker returns: items looked at, rows that passed, those of them that are new by their key, faults."""

    count: int
    rows: list[Checked] = field(default_factory=list)
    fresh: dict[str, dict[str, object]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Checker:
    """Looks at every sample of some items."""

    def __init__(self, folder: Path, task: str, predictions: Predictions) -> None:
        self.eval_set = EvalSet(folder)
        self.holes = self.eval_set.holes(self.eval_set.task(task))
        self.predictions = predictions
        self.measures = pixel_measures()

    def __call__(self, indices: Sequence[int]) -> _Chunk:
        chunk = _Chunk(len(indices))
        for index in indices:
            for sample in range(self.predictions.samples):
                _check_one(self, index, sample, chunk)
        return chunk


def _check_one(checker: _Checker, index: int, sample: int, chunk: _Chunk) -> None:
    eval_set, predictions = checker.eval_set, checker.predictions
    name, item = predictions.name(index, sample), eval_set.items[index]
    try:
        data = predictions.read(index, sample)
        decoded = predictions.decode(data)
    except BadImageError as error:
        chunk.problems.append(Problem("undecodable", name, str(error)))
        return
    except OSError as error:
        chunk.problems.append(Problem("unreadable", name, error.strerror or str(error)))
        return
    height, width = decoded.pixels.shape[:2]
    if (height, width) != (eval_set.size, eval_set.size):
        text = f"expected {eval_set.size}x{eval_set.size}, found {width}x{height}"
        chunk.problems.append(Problem("wrong-size", name, text))
        return
    refused = REFUSED.intersection(decoded.conversions)
    if refused:
        text = f"expected 8-bit RGB, found {', '.join(sorted(refused))}"
        chunk.problems.append(Problem("wrong-mode", name, text))
        return
    own = pixel_digest(decoded.pixels)
    try:
        hole = checker.holes.of(item)
        image, change = scored_image(eval_set, checker.holes, item, decoded.pixels)
        reference = eval_set.reference(item) if sample == 0 else None
    except PaletteBenchError as error:
        chunk.problems.append(Problem("reference", item.id, error.what))
        return
    row = Checked(
        index=index,
        sample=sample,
        own_digest=own,
        scored_digest=own if change is None else pixel_digest(image),
        known_change=change,
        hole_share=None if hole is None else float(hole.mean()),
        pixels={} if reference is None else _compared(checker.measures, image, reference),
        lossy=decoded.lossy,
        conversions=decoded.conversions,
    )
    chunk.rows.append(row)
    chunk.fresh[_key(item, sample, data)] = asdict(row)


def _key(item: EvalItem, sample: int, data: bytes) -> str:
    """What was found of a file is kept under its bytes, its item, and whether it is compared with the reference."""
    return f"{item.id}:{'first' if sample == 0 else 'other'}:{bytes_digest(data)}"


def _known(
    eval_set: EvalSet,
    predictions: Predictions,
    indices: Sequence[int],
    kept: Mapping[str, Mapping[str, object]],
    jobs: int,
) -> dict[int, list[Checked]]:
    """The rows of items of which every sample is known by the digest of its bytes; threads, for nothing is decoded."""

    def rows_of(index: int) -> list[Checked]:
        rows: list[Checked] = []
        for sample in range(predictions.samples):
            try:
                row = kept[_key(eval_set.items[index], sample, predictions.read(index, sample))]
                rows.append(replace(checked_from_json(row), index=index, sample=sample))
            except (OSError, KeyError, ValueError):
                # Not looked at before, or by another version; of a file that cannot be read the worker says why.
                return []
        return rows

    if not kept:
        return {}
    with ThreadPoolExecutor(jobs) as pool:
        return {index: rows for index, rows in zip(indices, pool.map(rows_of, indices), strict=True) if rows}


def _compared(measures: Mapping[str, tuple[Pixels, str]], image: ImageU8, reference: ImageU8) -> dict[str, float]:
    """What every measure that such images are large enough for says of them."""
    return {
        name: float(metric.measure(image, reference))
        for name, (metric, _) in measures.items()
        if min(image.shape[:2]) >= metric.smallest
    }


def checked_from_json(row: Mapping[str, object]) -> Checked:
    """A row as ``dataclasses.asdict`` and JSON leave it. Raises ValueError for one of another layout."""
    if row.keys() != _LAYOUT:
        raise ValueError(f"a row of {', '.join(row)}")
    values: dict[str, Any] = dict(row)
    try:
        values["conversions"] = tuple(Conversion(name) for name in values["conversions"])
        values["pixels"] = {str(name): float(value) for name, value in values["pixels"].items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return Checked(**values)


_LAYOUT = {each.name for each in fields(Checked)}


def _kept_rows(eval_set: EvalSet, task: Task) -> KeptRows:
    """What was found of files before, under everything that can move it."""
    depends = [
        ["gate", *sorted(_LAYOUT)],
        eval_set.data_digest,
        eval_set.task_fingerprint(task),
        eval_set.info.tasks[task.name].masks_sha256,
        canary.software(),
        sorted([name, identity] for name, (_, identity) in pixel_measures().items()),
    ]
    return KeptRows(features_folder() / f"gate-{fingerprint(depends)}")


def examine(
    eval_set: EvalSet, task: Task | str, where: Path, *, jobs: int, progress: Progress, part: Part = WHOLE
) -> Examined:
    """Look at the predictions of a part of the items; faults in the names of all files are found in any case."""
    task = eval_set.task(task)
    predictions, problems = locate(where, eval_set, task)
    present = range(eval_set.count) if predictions.array is not None else [*predictions.files]
    whole = [i for i in present if predictions.array is not None or len(predictions.files[i]) == predictions.samples]
    mine = set(part.of(range(eval_set.count), together=PART_CHUNK))
    whole = [index for index in whole if index in mine]
    store = _kept_rows(eval_set, task)
    known = _known(eval_set, predictions, whole, store.load(progress), jobs)
    rows = [row for of_item in known.values() for row in of_item]
    todo = [index for index in whole if index not in known]
    fresh: dict[str, dict[str, object]] = {}
    work = len(todo) * eval_set.size**2 * predictions.samples
    checker = partial(_Checker, eval_set.folder, task.name, predictions)
    with progress.task("checking predictions", len(todo), "images") as shown:
        processes = jobs if work > WORTH_A_PROCESS and predictions.array is None else 1
        for done in run_chunks(checker, todo, size=CHUNK, processes=processes):
            rows += done.rows
            fresh |= done.fresh
            problems += done.problems
            shown.advance(done.count)
    store.add(fresh, progress)
    rows.sort(key=lambda row: (row.index, row.sample))
    return Examined(predictions.samples, tuple(rows), tuple(problems))


def admit(eval_set: EvalSet, where: str | Path, parts: Sequence[Examined]) -> Admitted:
    """The predictions of a task, from the parts they were examined in; all of them, or those of one part.

    Raises InputError with every fault found, in names and in content.
    """
    problems = {(p.kind, p.where, p.detail): p for part in parts for p in part.problems}
    if problems:
        raise InputError(
            f"{len(problems)} faults in the predictions: nothing was scored",
            where=where,
            expected=f"a {eval_set.size}x{eval_set.size} RGB image for each of the {eval_set.count} items "
            f"of {eval_set.set_id}",
            problems=[problems[key] for key in sorted(problems)],
            next_step="complete the folder and run the command again; palette-bench export writes the list of ids",
        )
    items: dict[int, list[Checked]] = {}
    for row in sorted((row for part in parts for row in part.rows), key=lambda row: (row.index, row.sample)):
        items.setdefault(row.index, []).append(row)
    pairs = [[eval_set.items[index].id, samples[0].own_digest] for index, samples in items.items()]
    others = sorted(row.own_digest for samples in items.values() for row in samples[1:])
    rows = [samples[0] for samples in items.values()]
    most = len(items[rows[0].index])
    tree = tree_digest(
        {
            output_name(eval_set.items[index].id, row.sample, most): row.own_digest
            for index, samples in items.items()
            for row in samples
        }
    )
    return Admitted(
        {index: tuple(samples) for index, samples in items.items()},
        fingerprint(pairs + others),
        tree,
        tuple(_warnings(rows)),
    )


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
