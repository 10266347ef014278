"""Importing: locate, read, check the range, resize or crop, composite, write, and say what was done."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts import predictions
from palette_bench.artifacts.evalset import Conditions, EvalSet
from palette_bench.artifacts.naming import Matched, ready_command, refuse_pointers
from palette_bench.artifacts.predictions import output_name
from palette_bench.common.canonical import file_digest, pixel_digest
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError
from palette_bench.common.files import staged_folder, write_plainly
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images import canary
from palette_bench.images.condition import luma
from palette_bench.images.decode import BadImageError, encode_png
from palette_bench.images.holes import composite
from palette_bench.images.types import ImageU8
from palette_bench.predict.importing import names
from palette_bench.predict.importing.containers import ArrayFiles, ImageFiles, look
from palette_bench.predict.importing.conventions import Axes, Convention, Resize, ValueRange
from palette_bench.predict.importing.lint import (
    BLACK,
    Finding,
    Severity,
    Verdict,
    compare_known,
    is_deterministic,
    judge,
)
from palette_bench.predict.importing.pixels import (
    Raw,
    as_nhwc,
    check_values,
    fit,
    paste_half,
    paste_luma,
    read_image,
    row_image,
)
from palette_bench.predict.importing.tensors import load_array
from palette_bench.protocol.definition import GeometryName
from palette_bench.protocol.tasks import Task, TaskKind

CHUNK = 64
KIND = "imported"


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of every output: the pixel that becomes its upper left, and its size (None: that of the set)."""

    left: int
    top: int
    width: int | None = None
    height: int | None = None

    def of(self, pixels: ImageU8, size: int) -> ImageU8:
        """The part of an image [H, W, 3]. Raises BadImageError where the image ends before it does."""
        bottom, right = self.top + (self.height or size), self.left + (self.width or size)
        height, width = pixels.shape[:2]
        if bottom > height or right > width:
            raise BadImageError(f"is {width}x{height}, and the part to crop ends at {right},{bottom}")
        return pixels[self.top : bottom, self.left : right]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may say about outputs; None takes the convention's own. ``about`` is kept word by word."""

    pattern: str | None = None
    strip_prefix: str | None = None
    strip_suffix: str | None = None
    exclude: tuple[str, ...] = ()
    order: Path | None = None
    crop: Crop | None = None
    value_range: ValueRange | None = None
    axes: Axes | None = None
    array_key: str | None = None
    composite: bool | None = None
    resize: Resize | None = None
    luma_paste: bool | None = None
    clip: bool = False
    strict: bool = False
    name: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import left: a folder, how many items and samples each, the lint, and what ``predictions.json`` says."""

    folder: Path
    count: int
    samples: int
    verdicts: tuple[Verdict, ...]
    described: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Arrays that hold all outputs, part after part, each [N, H, W, C]."""

    parts: tuple[NDArray[np.generic], ...]
    values: ValueRange
    clipped: int
    key: str | None
    axes: Axes

    def read(self, row: int) -> Raw:
        for part in self.parts:
            if row < len(part):
                return row_image(part[row], self.values)
            row -= len(part)
        raise IndexError(row)


@dataclass(frozen=True, slots=True)
class _Job:
    set_folder: Path
    task: str
    convention: Convention
    resize: Resize | None
    composite: bool
    luma_paste: bool
    outputs: ImageFiles | _Rows
    found: Matched
    staging: Path
    crop: Crop | None


@dataclass(frozen=True, slots=True)
class _Row:
    """One output that was written: its path, the digest of its pixels, its first size and how it was fitted."""

    path: str
    digest: str
    size: tuple[int, int]
    how: str
    finding: Finding
    luma_error: float | None


class _Importer:
    """Reads and writes the outputs of some items: how many items, the outputs, and those that cannot be used."""

    def __init__(self, job: _Job) -> None:
        eval_set = EvalSet(job.set_folder)
        self._job, self._conditions = job, eval_set.conditions(eval_set.task(job.task))

    def __call__(self, indices: Sequence[int]) -> tuple[int, list[_Row], list[Problem]]:
        rows: list[_Row] = []
        problems: list[Problem] = []
        for index in indices:
            for sample, place in enumerate(self._job.found.places[index]):
                try:
                    rows.append(_import_one(self._job, self._conditions, index, sample, place))
                except BadImageError as error:
                    problems.append(Problem("unusable", str(place), str(error)))
                except OSError as error:
                    problems.append(Problem("unreadable", str(place), error.strerror or str(error)))
        return len(indices), rows, problems


def _read(outputs: ImageFiles | _Rows, place: str | int) -> Raw:
    if isinstance(outputs, _Rows):
        return outputs.read(int(place))
    # A damaged archive may raise anything.
    try:
        data = outputs.read(str(place))
    except OSError:
        raise
    except Exception as error:
        raise BadImageError(f"{type(error).__name__}: {error}") from error
    return read_image(data)


def _import_one(job: _Job, conditions: Conditions, index: int, sample: int, place: str | int) -> _Row:
    eval_set = conditions.eval_set
    item = eval_set.items[index]
    raw = _read(job.outputs, place)
    condition = conditions.of(item)
    whole = raw.pixels if job.crop is None else job.crop.of(raw.pixels, eval_set.size)
    fitted = paste_half(whole, condition) or fit(whole, eval_set.size, job.convention, job.resize)
    pixels = fitted.pixels
    known = None if condition.hole is None else compare_known(pixels, condition.image, condition.hole)
    finding = Finding(
        item=item.id,
        sample=sample,
        digest=pixel_digest(pixels),
        condition=condition.digest,
        black=float(pixels.mean()) < BLACK,
        lossy=raw.lossy,
        flattened=raw.flattened,
        grey=raw.grey,
        known=known.known if known else None,
        swapped=known.swapped if known else None,
        hole=known.hole if known else None,
        shift=known.shift if known else None,
    )
    luma_error = None
    if conditions.task.kind is TaskKind.COLORIZE:
        grey = condition.image[..., 0]
        luma_error = float(np.abs(luma(pixels).astype(np.int16) - grey).mean())
        if job.luma_paste:
            pixels = paste_luma(pixels, grey)
    if condition.hole is not None and job.composite:
        pixels = composite(pixels, condition.image, condition.hole)
    path = output_name(item.id, sample, job.found.samples)
    write_plainly(job.staging / path, encode_png(pixels))
    height, width = raw.pixels.shape[:2]
    return _Row(path, pixel_digest(pixels), (width, height), fitted.how, finding, luma_error)


def import_outputs(
    where: Path,
    convention: Convention,
    eval_set: EvalSet,
    task: Task,
    out: Path,
    options: Options,
    *,
    jobs: int,
    progress: Progress,
) -> Imported:
    """Write the outputs at ``where`` as a folder of predictions of ``task``, which must be empty or not exist.

    The folder takes its name when it is complete: whatever is wrong leaves nothing there. Raises InputError with every
    missing, extra, duplicate, unreadable or wrongly sized output, for values that are not in the declared range, and
    for what the lint finds to be wrong; with ``strict`` its warnings are errors too.
    """
    convention.check(task)
    pattern = names.pattern_of(convention, options.pattern, options.strip_prefix, options.strip_suffix)
    paste = _luma_paste(convention, options, task)
    compositing = _composite(convention, options, task)
    canary.check(GeometryName(eval_set.geometry))
    _check_out(out)
    outputs, found = _locate(where, convention, eval_set, task, options, pattern)
    model: dict[str, object] = {
        "name": options.name or convention.name,
        "title": options.name or convention.title,
        "kind": KIND,
        "fingerprint": None,
        "weights_sha256": None,
        "config": {},
    }
    identity = predictions.identity_of(eval_set, task, model, seed=None, samples=found.samples)
    with staged_folder(out, purpose="an import into the same folder") as staging:
        job = _Job(
            eval_set.folder,
            task.name,
            convention,
            options.resize,
            compositing,
            paste,
            outputs,
            found,
            staging,
            options.crop,
        )
        rows = _write_all(job, where, eval_set, jobs=jobs, progress=progress)
        resized = any("resized" in row.how for row in rows)
        findings = [row.finding for row in rows]
        verdicts = judge(findings, samples=found.samples, resized=resized)
        _stop_at_errors(verdicts, where, strict=options.strict)
        samples_differ = not is_deterministic(verdicts) if found.samples > 1 else None
        made = predictions.Made(
            digests={row.path: row.digest for row in rows},
            stochastic=samples_differ,
            post_processing=_steps(job, rows, options),
            more={
                "import": _declared(where, convention, options, outputs, found, pattern.pattern),
                "lint": [verdict.as_json() for verdict in verdicts],
                **({"about": dict(options.about)} if options.about else {}),
            },
        )
        described = predictions.finish(staging, identity, made)
        shutil.rmtree(staging / predictions.WORK_FOLDER, ignore_errors=True)
    return Imported(out, eval_set.count, found.samples, tuple(verdicts), described)


def _luma_paste(convention: Convention, options: Options, task: Task) -> bool:
    wanted = convention.luma_paste if options.luma_paste is None else options.luma_paste
    if wanted and task.kind is not TaskKind.COLORIZE:
        raise UsageError("--luma-paste is for colorization", expected="task colorize", found=task.name)
    return wanted


def _composite(convention: Convention, options: Options, task: Task) -> bool:
    if options.composite and not task.masked:
        raise UsageError("--composite is for tasks with a hole", expected="no --composite", found=task.name)
    return task.masked and (convention.composite if options.composite is None else options.composite)


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the folder for predictions is not empty" if out.is_dir() else "the folder for predictions is a file",
            where=out,
            expected="an empty folder, or a name that does not exist yet",
            next_step="choose another --out, or remove it",
        )


def _locate(
    where: Path, convention: Convention, eval_set: EvalSet, task: Task, options: Options, pattern: re.Pattern[str]
) -> tuple[ImageFiles | _Rows, Matched]:
    looked = look(where, convention)
    _refuse_idle(options, arrays=isinstance(looked, ArrayFiles))
    order = names.read_order(options.order, eval_set) if options.order is not None else None
    if isinstance(looked, ArrayFiles):
        if order is None:
            raise UsageError(
                "an array has no names: which image is which has to be said",
                expected="--order FILE, a line an image; export writes one, list.txt",
                found="no --order",
            )
        rows = _rows(looked, convention, options)
        lengths = [len(part) for part in rows.parts]
        return rows, names.match_rows(lengths, eval_set, order, padded=convention.padded)
    if looked.listing is not None:
        refuse_pointers(looked.listing, looked.paths)
    own = options.pattern is not None or (
        order is not None and (options.strip_prefix is not None or options.strip_suffix is not None)
    )
    rule = names.Rule(pattern, own=own, exclude=options.exclude)
    if order is not None:
        return looked, names.match_sorted(looked.paths, eval_set, convention, rule, order)
    matched = names.match_files(looked.paths, eval_set, convention, rule)
    if not matched.places:
        command = ready_command(where, rule.chosen(looked.paths, convention), eval_set, task.name)
        raise InputError(
            "no output is called after an item of the set",
            where=where,
            expected=f"{eval_set.count} images named like {eval_set.items[0].id}.png",
            found=f"{len(looked.paths)} images, {looked.paths[0]} the first",
            next_step=command or "say how they are called with --pattern, or in which order they are with --order",
        )
    return looked, matched


def _refuse_idle(options: Options, *, arrays: bool) -> None:
    """Raise UsageError for options that would do nothing."""
    of_arrays: dict[str, object] = {
        "--range": options.value_range,
        "--axes": options.axes,
        "--array-key": options.array_key,
        "--clip": options.clip or None,
    }
    of_names: dict[str, object] = {
        "--pattern": options.pattern,
        "--strip-prefix": options.strip_prefix,
        "--strip-suffix": options.strip_suffix,
        "--exclude": options.exclude or None,
    }
    idle = [name for name, value in (of_names if arrays else of_arrays).items() if value is not None]
    if idle:
        raise UsageError(
            "some options would do nothing",
            expected="options for arrays" if arrays else "options for image files",
            found=", ".join(idle),
            next_step="leave them out",
        )


def _rows(files: ArrayFiles, convention: Convention, options: Options) -> _Rows:
    """The arrays of all parts, checked. Raises InputError, naming the file."""
    parts: list[NDArray[np.generic]] = []
    clipped = 0
    values, axes, key = ValueRange.BYTES, Axes.NHWC, None
    for path in files.paths:
        array, key = load_array(path, convention.array_keys, options.array_key)
        try:
            part, axes = as_nhwc(array, options.axes or convention.axes)
            declared = options.value_range or (None if array.dtype == np.uint8 else convention.value_range)
            values, beyond = check_values(part, declared, clip=options.clip)
        except PaletteBenchError as error:
            raise type(error)(
                error.what,
                where=path,
                expected=error.expected,
                found=error.found,
                next_step=error.next_step,
                problems=error.problems,
            ) from error
        parts.append(part)
        clipped += beyond
    return _Rows(tuple(parts), values, clipped, key, axes)


def _write_all(job: _Job, where: Path, eval_set: EvalSet, *, jobs: int, progress: Progress) -> list[_Row]:
    """Read and write every output that has a name. Raises InputError with all that is wrong, names included."""
    # Arrays are in this process: copies of them would cost more than what workers save.
    processes = 1 if isinstance(job.outputs, _Rows) else jobs
    indices = sorted(job.found.places)
    rows: list[_Row] = []
    problems = list(job.found.problems)
    with progress.task(f"importing {job.convention.name}", len(indices), "items") as shown:
        for count, fresh, faults in run_chunks(partial(_Importer, job), indices, size=CHUNK, processes=processes):
            rows += fresh
            problems += faults
            shown.advance(count)
    if problems:
        counts = Counter(problem.kind for problem in problems)
        raise InputError(
            "these outputs are not complete, or not usable",
            where=where,
            expected=f"{eval_set.count} items of {eval_set.set_id}, {eval_set.size}x{eval_set.size}",
            found=", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())),
            problems=sorted(problems, key=lambda problem: (problem.kind, problem.where)),
            next_step="names: --pattern, --exclude; sizes: --resize, --crop; docs/layouts.md has every convention",
        )
    return sorted(rows, key=lambda row: row.path)


def _stop_at_errors(verdicts: Sequence[Verdict], where: Path, *, strict: bool) -> None:
    fatal = [v for v in verdicts if v.severity is Severity.ERROR or (strict and v.severity is Severity.WARNING)]
    if fatal:
        raise InputError(
            "these outputs look wrong",
            where=where,
            problems=[Problem(verdict.kind, "outputs", verdict.message) for verdict in fatal],
            next_step="mend the model's inputs or outputs" + (", or import without --strict" if strict else ""),
        )


def _steps(job: _Job, rows: Sequence[_Row], options: Options) -> list[dict[str, object]]:
    """What was done to outputs, in order; only what was."""
    steps: list[dict[str, object]] = []
    findings = [row.finding for row in rows]
    if isinstance(job.outputs, _Rows) and job.outputs.values is not ValueRange.BYTES:
        steps.append({"step": "quantise", "range": job.outputs.values.value, "clipped_values": job.outputs.clipped})
    if flattened := sum(finding.flattened for finding in findings):
        steps.append({"step": "flatten_alpha", "on": "black", "outputs": flattened})
    if grey := sum(finding.grey for finding in findings):
        steps.append({"step": "replicate_grey", "outputs": grey})
    if (crop := options.crop) is not None:
        box = [crop.left, crop.top, crop.width or "set", crop.height or "set"]
        steps.append({"step": "crop", "box": box, "outputs": len(rows)})
    sizes = Counter((row.size, row.how) for row in rows if row.how != "as-is")
    for ((width, height), how), count in sorted(sizes.items()):
        kind = "resize" if "resized" in how else "paste_half" if how == "pasted" else "crop_centre"
        step: dict[str, object] = {"step": kind, "outputs": count}
        step["from"] = [width, height]
        if "resized" in how:
            method = options.resize or job.convention.resize
            step["method"] = method.value if method else None
        if how == "resized and cropped":
            step["then"] = "crop_centre"
        steps.append(step)
    if job.luma_paste:
        errors = [row.luma_error for row in rows if row.luma_error is not None]
        steps.append({"step": "paste_luma", "luma_error": float(np.mean(errors))})
    known = [finding.known for finding in findings if finding.known is not None]
    if job.composite and known:
        steps.append({"step": predictions.COMPOSITE_KNOWN, "known_region_error": float(np.mean(known))})
    return steps


def _declared(
    where: Path,
    convention: Convention,
    options: Options,
    outputs: ImageFiles | _Rows,
    found: Matched,
    pattern: str,
) -> dict[str, object]:
    """What the import was told, and what it found: enough to do it again."""
    declared: dict[str, object] = {"from": convention.name, "name": where.name, "left_out": found.ignored}
    if isinstance(outputs, _Rows):
        declared |= {
            "container": "arrays",
            "range": outputs.values.value,
            "axes": outputs.axes.value,
            "array_key": outputs.key,
            "rows": [len(part) for part in outputs.parts],
        }
    else:
        declared |= {"container": outputs.kind, "other_files": len(outputs.others)}
        declared["pattern"] = None if options.order is not None and options.pattern is None else pattern
        if options.exclude:
            declared["exclude"] = list(options.exclude)
    if options.order == names.IN_ORDER:
        declared["order"] = "set"
    elif options.order is not None:
        declared["order_sha256"] = file_digest(options.order)
    return declared
