"""Writing a task's conditions as files, for models that live elsewhere, in the layouts that those read."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import (
    EARLIEST_ZIP_DATE,
    Conditions,
    EvalItem,
    EvalSet,
    mask_key,
    pack,
    write_masks,
)
from palette_bench.artifacts.naming import file_names
from palette_bench.common.canonical import bytes_digest, file_digest, lines_digest
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import atomic_writer, write_bytes, write_json, write_plainly
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images import canary
from palette_bench.images.decode import BadImageError, encode_png
from palette_bench.images.holes import punch
from palette_bench.images.types import HoleMask
from palette_bench.prepare.build import CHUNK
from palette_bench.prepare.enlarge import Surroundings, one_more, surroundings, twice
from palette_bench.prepare.input_layouts import PLAIN, Arrays, Canvas, InputLayout, input_layout
from palette_bench.prepare.input_layouts import HoleColour as HoleColour
from palette_bench.protocol.definition import GeometryName
from palette_bench.protocol.tasks import Task, TaskKind

REFERENCES = "references"
EXPORT_FILE = "export.json"
LIST_FILE = "list.txt"
MASKS_FILE = "masks.npz"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: a folder, how many items, which sub-folders and files, and what to know of the layout."""

    folder: Path
    count: int
    parts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Job:
    set_folder: Path
    task: str
    out: Path
    layout: InputLayout
    holes: HoleColour | None
    references: bool
    names: Mapping[str, str]
    around: Surroundings | None


_Written = tuple[int, dict[str, str]]


class _Exporter:
    """Writes the files of some items: their digests, and what is wrong with source images."""

    def __init__(self, job: _Job) -> None:
        eval_set = EvalSet(job.set_folder)
        self._job, self._conditions = job, eval_set.conditions(eval_set.task(job.task))

    def __call__(self, indices: Sequence[int]) -> tuple[list[_Written], list[Problem]]:
        written: list[_Written] = []
        problems: list[Problem] = []
        for index in indices:
            item = self._conditions.eval_set.items[index]
            try:
                files = _files(self._job, self._conditions, item)
            except BadImageError as error:
                problems.append(Problem("unusable-source", item.id, str(error)))
                continue
            for name, data in files.items():
                write_plainly(self._job.out / name, data)
            written.append((index, {name: bytes_digest(data) for name, data in files.items()}))
        return written, problems


def _files(job: _Job, conditions: Conditions, item: EvalItem) -> dict[str, bytes]:
    """The files of one item by name. Raises BadImageError for a source image that has not what lies around it."""
    layout, name = job.layout, job.names[item.id]
    condition = conditions.of(item)
    image, hole = condition.image, condition.hole
    files: dict[str, bytes] = {}
    if hole is not None:
        if layout.canvas is Canvas.TWICE:
            image, hole = twice(image, hole)
        elif layout.canvas is Canvas.ONE_MORE:
            image = one_more(image, hole)
        elif job.around is not None:
            large = job.around.around(conditions.eval_set, item)
            hole = np.pad(hole, conditions.eval_set.size // 2)
            image = punch(large, hole)
    if condition.jpeg is not None:
        if layout.jpegs is not None:
            files[layout.jpegs.format(name=name)] = condition.jpeg
    elif layout.images is not None:
        grey = conditions.task.kind is TaskKind.COLORIZE
        files[layout.images.format(name=name)] = encode_png(image[..., 0] if grey else image)
    if hole is not None and layout.masks is not None:
        files[layout.masks.format(name=name)] = _mask_file(hole, layout, job.holes)
    if job.references:
        files[f"{REFERENCES}/{name}.png"] = encode_png(conditions.eval_set.reference(item))
    return files


def _mask_file(hole: HoleMask, layout: InputLayout, colour: HoleColour | None) -> bytes:
    grey = (hole if colour is HoleColour.WHITE else ~hole).astype(np.uint8) * 255
    return encode_png(grey if layout.mask_channels == 1 else np.repeat(grey[..., None], layout.mask_channels, axis=2))


def export(
    eval_set: EvalSet,
    task: Task,
    out: Path,
    *,
    holes: HoleColour | None,
    references: bool,
    jobs: int,
    progress: Progress,
    layout: str = PLAIN,
    source: Path | None = None,
) -> Exported:
    """Write the conditions of a task below ``out``, which must be empty or not exist.

    In the layout ``plain``: ``images/<id>.png`` (grey for colorize, else RGB with black holes), ``masks/<id>.png`` with
    holes of the chosen colour, ``jpegs/<id>.jpg`` with the frozen bytes; other layouts are a model's own. With them
    ``references/<id>.png`` only if asked for; ``list.txt`` has the ids in protocol order and ``export.json``, written
    last, the digest of every file. Masks are never lossy. ``source`` has the original images, for the layout that
    shows what lies around a reference. Raises UsageError for options that do not fit, InputError for a source that
    does not.
    """
    chosen = input_layout(layout)
    colour = chosen.check(task, holes)
    if (source is not None) != (chosen.canvas is Canvas.SURROUNDINGS):
        raise UsageError(
            f"layout {chosen.name} {'takes no --source' if source else 'shows what lies around the references'}",
            expected="no --source" if source else "--source with the original images",
            found=source or "no --source",
        )
    canary.check(GeometryName(eval_set.geometry))
    fingerprint = eval_set.task_fingerprint(task)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the folder to export to is not empty" if out.is_dir() else "the folder to export to is a file",
            where=out,
            expected="an empty folder, or a name that does not exist yet",
            next_step="choose another --out, or remove it",
        )
    names = file_names([item.id for item in eval_set.items], flat=chosen.flat)
    around = surroundings(eval_set, source) if source is not None else None
    out.mkdir(parents=True, exist_ok=True)
    job = _Job(eval_set.folder, task.name, out, chosen, colour, references, names, around)
    digests: dict[int, dict[str, str]] = {}
    problems: list[Problem] = []
    with progress.task(f"exporting {task.name}", eval_set.count, "images") as shown:
        exporter = partial(_Exporter, job)
        for rows, faults in run_chunks(exporter, range(eval_set.count), size=CHUNK, processes=jobs):
            digests.update(rows)
            problems += faults
            shown.advance(len(rows) + len(faults))
    if problems:
        raise InputError(
            f"{len(problems)} of {eval_set.count} source images cannot be used",
            where=source,
            expected=f"images of at least {2 * eval_set.size} pixels each way whose centre is the reference",
            problems=sorted(problems, key=lambda problem: problem.where),
            next_step="give the images that the set was made from, or use a layout of the set's own size",
        )
    shared = _shared_files(job, eval_set.conditions(task))
    ids = [item.id for item in eval_set.items]
    write_bytes(out / LIST_FILE, "".join(f"{name}\n" for name in ids).encode())
    write_json(
        out / EXPORT_FILE,
        {
            "set": eval_set.set_id,
            "set_version": eval_set.version,
            "set_fingerprint": eval_set.fingerprint,
            "data_digest": eval_set.data_digest,
            "task": task.name,
            "task_fingerprint": fingerprint,
            "layout": chosen.name,
            "canvas": chosen.canvas.value,
            "surroundings": around.rule.value if around else None,
            "holes": colour.value if colour else None,
            "names": {name: item for item, name in names.items() if name != item},
            "count": len(ids),
            "list_sha256": lines_digest(ids),
            "software": canary.software(),
            "files": {name: digest for index in range(len(ids)) for name, digest in sorted(digests[index].items())}
            | shared,
        },
    )
    parts = sorted({name.split("/")[0] for name in (*digests[0], *shared)}) if digests else []
    return Exported(out, len(ids), tuple(parts), chosen.note)


def _shared_files(job: _Job, conditions: Conditions) -> dict[str, str]:
    """Write what a layout has one of for all items: arrays, lists of files. Returns their digests."""
    eval_set, layout, written = conditions.eval_set, job.layout, []
    names = [job.names[item.id] for item in eval_set.items]
    if layout.file_lists:
        for kind, pattern in (("images", layout.images), ("masks", layout.masks if job.holes else None)):
            if pattern is not None:
                lines = "".join(pattern.format(name=name) + "\n" for name in names)
                write_bytes(job.out / f"{kind}.flist", lines.encode())
                written.append(f"{kind}.flist")
    if layout.arrays is Arrays.MASKS and job.holes is not None:
        packed = (pack(_hole(conditions, item))[None] for item in eval_set.items)
        freeform = conditions.task.kind is TaskKind.FREEFORM_HOLE
        key = mask_key(conditions.task) if freeform else conditions.task.name
        with atomic_writer(job.out / MASKS_FILE) as stream:
            write_masks(stream, key, eval_set.count, eval_set.size**2 // 8, packed)
        written.append(MASKS_FILE)
    if layout.arrays is Arrays.EVERYTHING:
        shape = (eval_set.count, eval_set.size, eval_set.size)
        name = f"conditions_{'x'.join(map(str, (*shape, 3)))}.npz"
        _write_array(job.out / name, (*shape, 3), (conditions.of(item).image for item in eval_set.items))
        written.append(name)
        if job.holes is not None:
            holes = (_hole(conditions, item).astype(np.uint8) for item in eval_set.items)
            _write_array(job.out / MASKS_FILE, shape, holes)
            written.append(MASKS_FILE)
    return {name: file_digest(job.out / name) for name in written}


def _hole(conditions: Conditions, item: EvalItem) -> HoleMask:
    hole = conditions.holes.of(item)
    if hole is None:
        raise ValueError("a masked task without a mask")
    return hole


def _write_array(path: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.uint8]]) -> None:
    """Write an uint8 array as ``arr_0`` of an .npz, part by part. Equal arrays give equal bytes."""
    with atomic_writer(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with archive.open(zipfile.ZipInfo("arr_0.npy", EARLIEST_ZIP_DATE), "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for part in parts:
                member.write(np.ascontiguousarray(part).tobytes())
