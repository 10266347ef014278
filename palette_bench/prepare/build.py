"""Building a frozen set: parallel, resumable, byte-identical whatever the number of processes."""

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import (
    AGAIN,
    CONDITIONS_FILE,
    MANIFEST_FILE,
    MASKS_FILE,
    SCHEMA,
    SET_FILE,
    SetFile,
    TaskEntry,
    data_digest,
    mask_key,
    pack,
    read_masks,
    reference_path,
    task_folder,
    unpack,
    write_masks,
)
from palette_bench.common import schema
from palette_bench.common.canonical import bytes_digest, canonical_json, fingerprint, pixel_digest
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import (
    atomic_writer,
    exclusive,
    jsonl_bytes,
    read_json,
    read_jsonl,
    replace_folder,
    write_bytes,
    write_json,
    write_plainly,
)
from palette_bench.common.home import sets_folder
from palette_bench.common.listing import Source
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images import canary
from palette_bench.images.condition import hole_of, make_condition
from palette_bench.images.decode import BadImageError, decode, encode_png
from palette_bench.images.geometry import GEOMETRIES
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.prepare.masks import ReleasedMasks, freeform_tasks, generate
from palette_bench.prepare.selection.select import Item
from palette_bench.prepare.sources.scene_source import SceneSource
from palette_bench.protocol.definition import Family, Protocol

CHUNK = 64
PLACES_SMALL = "val_256"
PLACES_SMALL_SHAPE = (256, 256)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """All that decides what is built; ``identity`` tells whether an interrupted build can be continued."""

    protocol: Protocol
    items: tuple[Item, ...]
    source: Source
    classes: tuple[str, ...] = ()
    released: ReleasedMasks | None = None
    released_path: Path | None = None

    def identity(self) -> str:
        """sha256 over protocol, items and the versions of the decoding software."""
        return fingerprint(
            {
                "schema": SCHEMA,
                "protocol": self.protocol.canonical(),
                "tasks": [task.canonical() for task in self.protocol.tasks],
                "items": [[item.id, item.name, item.label] for item in self.items],
                "released": self.released.sha256 if self.released else None,
                "software": canary.software(),
                "source": str(self.source.where.absolute()),
            }
        )


@dataclass(frozen=True, slots=True)
class BuiltSet:
    """What ``build`` leaves behind. ``fresh`` is False when the set was there already, of which less is known.

    ``enlarged`` images had a side shorter than the set's; ``doubled`` have the very same reference as another one.
    """

    folder: Path
    count: int
    data_digest: str
    fresh: bool
    conversions: dict[str, int]
    enlarged: int = 0
    doubled: int = 0


@dataclass(frozen=True, slots=True)
class _Chunk:
    number: int
    start: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class _Worker:
    """What every process needs to build chunks."""

    protocol: Protocol
    source: Source
    folder: Path
    released_path: Path | None
    total: int


class ChunkBuilder:
    """Builds chunks: how many items were looked at, and which images cannot be used."""

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker
        self._released: dict[str, NDArray[np.uint8]] = {}
        if worker.released_path is not None:
            for task in freeform_tasks(worker.protocol):
                key = mask_key(task)
                self._released[key] = read_masks(worker.released_path, key, worker.total, worker.protocol.size)

    def __call__(self, chunks: Sequence[_Chunk]) -> tuple[int, list[Problem]]:
        """Build some chunks."""
        problems = [problem for chunk in chunks for problem in _build_chunk(self._worker, self._released, chunk)]
        return sum(len(chunk.items) for chunk in chunks), problems


def _build_chunk(worker: _Worker, released: Mapping[str, NDArray[np.uint8]], chunk: _Chunk) -> list[Problem]:
    """Write the references of a chunk, then its journal; a chunk with a bad image leaves no journal."""
    protocol, tasks = worker.protocol, freeform_tasks(worker.protocol)
    rows: list[dict[str, object]] = []
    problems: list[Problem] = []
    packed = np.zeros((len(tasks), len(chunk.items), protocol.size**2 // 8), dtype=np.uint8)
    for offset, (item, loaded) in enumerate(zip(chunk.items, _load(worker.source, chunk.items, protocol), strict=True)):
        if isinstance(loaded, Problem):
            problems.append(loaded)
            continue
        reference, conversions, source_digest, enlarged = loaded
        if released:
            masks: list[HoleMask] = [
                unpack(released[mask_key(task)][chunk.start + offset], protocol.size) for task in tasks
            ]
        else:
            masks = generate(protocol, item.id, tasks)
        for k, mask in enumerate(masks):
            packed[k, offset] = pack(mask)
        by_task = {task.name: mask for task, mask in zip(tasks, masks, strict=True)}
        png = encode_png(reference)
        write_plainly(reference_path(worker.folder, item.id), png)
        conditions = {
            task.name: make_condition(task, reference, hole_of(task, protocol.size, by_task.get(task.name))).row(
                item.id
            )
            for task in protocol.tasks
        }
        manifest: dict[str, object] = {
            "id": item.id,
            "label": item.label,
            "source_sha256": source_digest,
            "reference_sha256": pixel_digest(reference),
        }
        if conversions:
            manifest["conversions"] = conversions
        rows.append({"manifest": manifest, "conditions": conditions, "png_bytes": len(png), "enlarged": enlarged})
    if not problems:
        with atomic_writer(_masks_journal(worker.folder, chunk.number)) as stream:
            # Not into the file itself: NumPy's own writing does not say why it failed.
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, packed)
            stream.write(buffer.getvalue())
        write_bytes(
            _journal(worker.folder, chunk.number),
            canonical_json({"rows": rows, "masks": bytes_digest(packed.tobytes())}),
        )
    return problems


_Loaded = tuple[ImageU8, list[str], str | None, bool]


def _load(source: Source, items: Sequence[Item], protocol: Protocol) -> Iterator[_Loaded | Problem]:
    """Reference, conversions, digest of the source file and whether it was too small, or what is wrong with it."""
    if isinstance(source, SceneSource):
        for scene in source.render([item.name for item in items]):
            yield scene, [], None, False
        return
    for item in items:
        try:
            data = source.read(item.name)
            decoded = decode(data, exif=protocol.exif)
            height, width = decoded.pixels.shape[:2]
            if protocol.images == PLACES_SMALL and (height, width) != PLACES_SMALL_SHAPE:
                raise BadImageError(
                    f"is {width}x{height}, but all of {PLACES_SMALL} are 256x256 (val_large is a variant)"
                )
            reference = GEOMETRIES[protocol.geometry](decoded.pixels, protocol.size)
            small = min(height, width) < protocol.size
            yield reference, [c.value for c in decoded.conversions], bytes_digest(data), small
        except BadImageError as error:
            yield Problem("bad-image", item.name, str(error))
        except OSError as error:
            yield Problem("unreadable", item.name, error.strerror or str(error))


def _journal(folder: Path, number: int) -> Path:
    return folder / "journal" / f"{number:06d}.json"


def _masks_journal(folder: Path, number: int) -> Path:
    return folder / "journal" / f"{number:06d}.npy"


def _chunks(items: Sequence[Item]) -> list[_Chunk]:
    return [
        _Chunk(number, start, tuple(items[start : start + CHUNK]))
        for number, start in enumerate(range(0, len(items), CHUNK))
    ]


def _read_chunk(folder: Path, chunk: _Chunk) -> list[dict[str, Any]] | None:
    """The journal of a chunk, or None when the chunk must be built again."""
    try:
        content = json.loads(_journal(folder, chunk.number).read_bytes())
        rows: list[dict[str, Any]] = content["rows"]
        masks = np.load(_masks_journal(folder, chunk.number), allow_pickle=False)
        whole = (
            [row["manifest"]["id"] for row in rows] == [item.id for item in chunk.items]
            and bytes_digest(masks.tobytes()) == content["masks"]
            and all(reference_path(folder, row["manifest"]["id"]).stat().st_size == row["png_bytes"] for row in rows)
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return rows if whole else None


def build(plan: BuildPlan, *, jobs: int, replace: bool, progress: Progress) -> BuiltSet:
    """Build the set of ``plan`` in the sets folder, continuing an interrupted build of the same plan.

    Nothing looks finished before it is: the folder takes its name in one rename at the very end. Raises InputError
    with every bad image of the source, VerificationError from the canary.
    """
    canary.check(plan.protocol.geometry)
    folder = sets_folder() / plan.protocol.set_id
    with exclusive(sets_folder() / ".locks" / f"{plan.protocol.set_id}.lock", purpose=f"preparing {folder.name}"):
        if folder.exists() and not replace:
            return _existing(plan, folder)
        unfinished = sets_folder() / ".building" / plan.protocol.set_id
        _resume_or_restart(plan, unfinished)
        _build_chunks(plan, unfinished, jobs=jobs, progress=progress)
        return _finish(plan, unfinished, folder)


def _existing(plan: BuildPlan, folder: Path) -> BuiltSet:
    described = schema.read(SetFile, folder / SET_FILE)
    if described.fingerprint != plan.protocol.fingerprint():
        raise VerificationError(
            "a set of this name is here, but of another definition",
            where=folder,
            expected=f"version {plan.protocol.version}, fingerprint {plan.protocol.fingerprint()[:16]}",
            found=f"version {described.version}, fingerprint {described.fingerprint[:16]}",
            next_step="prepare it again with --replace; results on the old one stay comparable among themselves only",
        )
    _check_same_images(plan, folder)
    return BuiltSet(folder, described.count, described.data_digest, False, {})


def _check_same_images(plan: BuildPlan, folder: Path) -> None:
    """The set that is here is of the plan's images: of their names, and for a folder of anybody's their bytes."""
    path = folder / MANIFEST_FILE
    kept = {str(row.get("id")): row for row in read_jsonl(path, kind="manifest", next_step=AGAIN)}
    items = {item.id: item for item in plan.items}
    problems = [Problem("only-in-set", name, "") for name in kept if name not in items]
    for name, item in items.items():
        if name not in kept:
            problems.append(Problem("only-in-source", name, ""))
        elif kept[name].get("label") != item.label:
            problems.append(Problem("label", name, f"{kept[name].get('label')} in the set, {item.label} now"))
        elif plan.protocol.family is Family.FOLDER and _source_digest(plan.source, item) != kept[name].get(
            "source_sha256"
        ):
            problems.append(Problem("changed", name, "another file than the set was made from"))
    if problems:
        raise VerificationError(
            "a set of this name is here, but of other images",
            where=folder,
            expected=f"the {len(items)} images of {plan.source.where}",
            problems=problems,
            next_step="prepare it again with --replace, or choose another --name",
        )


def _source_digest(source: Source, item: Item) -> str | None:
    try:
        return bytes_digest(source.read(item.name))
    except OSError:
        return None


def _resume_or_restart(plan: BuildPlan, unfinished: Path) -> None:
    marker = unfinished / "build.json"
    if unfinished.exists():
        try:
            same = read_json(marker, kind="build").get("identity") == plan.identity()
        except InputError:
            same = False
        if not same:
            shutil.rmtree(unfinished)
    write_json(marker, {"identity": plan.identity()})


def _build_chunks(plan: BuildPlan, unfinished: Path, *, jobs: int, progress: Progress) -> None:
    worker = _Worker(plan.protocol, plan.source, unfinished, plan.released_path, len(plan.items))
    chunks = _chunks(plan.items)
    problems: list[Problem] = []
    with progress.task(f"preparing {plan.protocol.set_id}", len(plan.items), "images") as task:
        todo = []
        for chunk in chunks:
            if _read_chunk(unfinished, chunk) is None:
                todo.append(chunk)
            else:
                task.advance(len(chunk.items))
        if len(todo) < len(chunks):
            progress.note(f"continuing: {len(chunks) - len(todo)} of {len(chunks)} parts are already there")
        for count, bad in run_chunks(partial(ChunkBuilder, worker), todo, size=1, processes=jobs):
            problems += bad
            task.advance(count)
    if problems:
        raise InputError(
            f"{len(problems)} of {len(plan.items)} images of the source cannot be used",
            where=plan.source.where,
            expected="images that decode, of one frame, without transparency",
            problems=sorted(problems, key=lambda p: p.where),
            next_step="repair or replace them and run the same command again: the rest is kept",
        )


def _finish(plan: BuildPlan, unfinished: Path, folder: Path) -> BuiltSet:
    """Join the chunks' journals into the set's files and give the folder its name."""
    protocol, chunks = plan.protocol, _chunks(plan.items)
    rows: list[dict[str, Any]] = []
    for chunk in chunks:
        part = _read_chunk(unfinished, chunk)
        if part is None:
            raise InputError(
                "a part of the set disappeared while it was built",
                where=_journal(unfinished, chunk.number),
                next_step="run the command again",
            )
        rows += part
    manifest = jsonl_bytes(row["manifest"] for row in rows)
    write_bytes(unfinished / MANIFEST_FILE, manifest)
    tasks: dict[str, TaskEntry] = {}
    freeform = freeform_tasks(protocol)
    for task in protocol.tasks:
        conditions = jsonl_bytes(row["conditions"][task.name] for row in rows)
        write_bytes(task_folder(unfinished, task) / CONDITIONS_FILE, conditions)
        tasks[task.name] = TaskEntry(
            fingerprint=protocol.task_fingerprint(task.name),
            definition=task.canonical(),
            conditions_sha256=bytes_digest(conditions),
            masks_sha256=_masks_digest(unfinished, chunks, freeform.index(task)) if task in freeform else None,
        )
    for k, task in enumerate(freeform):
        with atomic_writer(task_folder(unfinished, task) / MASKS_FILE) as stream:
            write_masks(stream, mask_key(task), len(rows), protocol.size**2 // 8, _mask_parts(unfinished, chunks, k))
    digest = data_digest([row["manifest"] for row in rows])
    conversions: dict[str, int] = {}
    for row in rows:
        for name in row["manifest"].get("conversions", ()):
            conversions[name] = conversions.get(name, 0) + 1
    described = SetFile(
        set_id=protocol.set_id,
        name=protocol.name,
        version=protocol.version,
        title=protocol.title,
        status=protocol.status,
        family=protocol.family,
        variant=protocol.variant,
        fingerprint=protocol.fingerprint(),
        protocol=protocol.canonical(),
        size=protocol.size,
        geometry=protocol.geometry.value,
        count=len(rows),
        labelled=sum(row["manifest"]["label"] is not None for row in rows),
        classes=plan.classes,
        masks=plan.released or protocol.masks,
        manifest_sha256=bytes_digest(manifest),
        data_digest=digest,
        conversions=conversions,
        tasks=tasks,
        task_order=protocol.task_names,
        software=canary.software(),
    )
    write_json(unfinished / SET_FILE, schema.dump(described))
    shutil.rmtree(unfinished / "journal")
    (unfinished / "build.json").unlink()
    retired = sets_folder() / ".building" / f"{folder.name}~old"
    replace_folder(unfinished, folder, retired)
    times = Counter(row["manifest"]["reference_sha256"] for row in rows)
    return BuiltSet(
        folder,
        len(rows),
        digest,
        True,
        conversions,
        enlarged=sum(row.get("enlarged") is True for row in rows),
        doubled=sum(count for count in times.values() if count > 1),
    )


def _masks_digest(folder: Path, chunks: Sequence[_Chunk], k: int) -> str:
    """sha256 of the packed masks of the k-th free-form task."""
    digest = hashlib.sha256()
    for part in _mask_parts(folder, chunks, k):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _mask_parts(folder: Path, chunks: Sequence[_Chunk], k: int) -> Iterator[NDArray[np.uint8]]:
    for chunk in chunks:
        yield np.load(_masks_journal(folder, chunk.number), allow_pickle=False)[k]
