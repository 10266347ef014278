"""A prepared set, opened for reading: its items, references, masks and conditions, each checked against its digest."""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from palette_bench.common import schema
from palette_bench.common.canonical import bytes_digest, file_digest, fingerprint, pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError, did_you_mean
from palette_bench.common.files import below, name_fault, read_jsonl
from palette_bench.common.home import sets_folder
from palette_bench.common.schema import Key
from palette_bench.images.condition import Condition, hole_of, make_condition
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.protocol.definition import (
    Family,
    GeometryName,
    MaskSource,
    Protocol,
    Rule,
    Selection,
    Status,
    load_protocol,
    protocol_names,
)
from palette_bench.protocol.tasks import TASKS, Task, TaskKind
from palette_bench.protocol.tasks import task as named_task

AGAIN = "prepare the set again with --replace"

SCHEMA = 2
SET_FILE = "set.json"
MANIFEST_FILE = "manifest.jsonl"
CONDITIONS_FILE = "conditions.jsonl"
MASKS_FILE = "masks.npz"
EARLIEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def reference_path(folder: Path, item_id: str) -> Path:
    """Where the reference of an item lies in a set's folder."""
    return below(folder, f"references/{item_id}.png")


def _id_fault(item_id: object) -> str | None:
    return name_fault(item_id) if isinstance(item_id, str) else "is not text"


def task_folder(folder: Path, task: Task) -> Path:
    """Where a task's conditions and masks lie in a set's folder."""
    return folder / "tasks" / task.name


def mask_key(task: Task) -> str:
    """The key of a free-form task's array, as in the released mask files: ``10-20% freeform``."""
    low, high = task.area_percent
    return f"{low}-{high}% freeform"


def pack(mask: HoleMask) -> NDArray[np.uint8]:
    """Eight pixels a byte, [H * W / 8]; 1 = hole."""
    return np.packbits(mask)


def unpack(packed: NDArray[np.uint8], size: int) -> HoleMask:
    """The mask [size, size] of a packed one."""
    return np.unpackbits(packed, count=size * size).reshape(size, size).astype(np.bool_)


def write_masks(stream: BinaryIO, key: str, count: int, row_bytes: int, parts: Iterable[NDArray[np.uint8]]) -> None:
    """Write packed masks [count, row_bytes] as the only array of an npz file, part by part.

    Equal masks give equal bytes.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        info = zipfile.ZipInfo(f"{key}.npy", EARLIEST_ZIP_DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (count, row_bytes)}
        )
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for part in parts:
                member.write(np.ascontiguousarray(part).tobytes())


def read_masks(path: Path, key: str, count: int, size: int) -> NDArray[np.uint8]:
    """Packed masks [count, size * size / 8] of an npz file, ours or a released one. Raises InputError."""
    row_bytes = size * size // 8
    # A damaged file may raise anything.
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed = np.asarray(archive[key])
    except Exception as error:
        raise InputError(
            "a mask file cannot be read",
            where=path,
            expected=f"an npz with the key {key!r}",
            found=f"{type(error).__name__}: {error}",
        ) from error
    if packed.dtype != np.uint8 or packed.size != count * row_bytes:
        raise InputError(
            "a mask file has the wrong content",
            where=path,
            expected=f"np.packbits of [{count}, {size}, {size}]: {count * row_bytes} bytes",
            found=f"{packed.size} of {packed.dtype}",
        )
    return packed.reshape(count, row_bytes)


@dataclass(frozen=True, slots=True)
class EvalItem:
    """One item: its place in protocol order, id, class index (or None), digest of the reference's pixels."""

    index: int
    id: str
    label: int | None
    reference_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """What ``set.json`` says of a task: its definition, and digests of its conditions and of its masks, if any."""

    definition: Mapping[str, object]
    fingerprint: schema.Digest
    conditions_sha256: schema.Digest
    masks_sha256: schema.Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFile:
    """``set.json``: a set's definition, and the digests of its files.

    ``protocol`` is the definition's canonical form, ``masks`` where free-form masks come from: a word, or which
    released files. ``conversions`` counts what was done to source images before anything else.
    """

    FILE: ClassVar = schema.File(
        "set file",
        version=("schema", SCHEMA),
        next_step=f"{AGAIN}, or remove the folder",
        every_key=True,
        most_bytes=1 << 24,
    )

    set_id: Annotated[str, Key("set")]
    name: str
    version: Annotated[int, Ge(0)]
    title: str
    status: Status
    family: Family
    variant: tuple[str, ...]
    fingerprint: schema.Digest
    protocol: Mapping[str, Any]
    size: Annotated[int, Ge(1)]
    geometry: str
    count: Annotated[int, Ge(0)]
    labelled: Annotated[int, Ge(0)]
    classes: tuple[str, ...]
    masks: object
    manifest_sha256: schema.Digest
    data_digest: schema.Digest
    conversions: Mapping[str, int]
    tasks: Mapping[str, TaskEntry]
    task_order: tuple[str, ...]
    software: Mapping[str, str]

    def faults(self) -> Iterator[Problem]:
        """A task of the order that is not described."""
        for name in self.task_order:
            if name not in self.tasks:
                yield Problem("missing", f"tasks.{name}", "")


class EvalSet:
    """A prepared set on disk. Opening checks the definition and the manifest; pixels are checked as they are read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = info = schema.read(SetFile, folder / SET_FILE)
        self.set_id, self.name, self.version, self.title = info.set_id, info.name, info.version, info.title
        self.status, self.family, self.variant = info.status, info.family, info.variant
        self.fingerprint, self.data_digest = info.fingerprint, info.data_digest
        self.size, self.geometry, self.count, self.classes = info.size, info.geometry, info.count, info.classes
        self.software, self.task_names = info.software, info.task_order

    @cached_property
    def protocol(self) -> Protocol:
        """The definition this set was made from. Raises VerificationError when the program's is another one by now."""
        try:
            made = self._protocol_as_made()
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "a set file is damaged",
                where=self.folder / SET_FILE,
                expected="the protocol it was made from",
                found=f"{type(error).__name__}: {error}",
                next_step=AGAIN,
            ) from error
        if made.fingerprint() != self.fingerprint:
            raise VerificationError(
                "this set was made from another version of its protocol",
                where=self.folder,
                expected=f"version {made.version}, fingerprint {made.fingerprint()[:16]}",
                found=f"version {self.version}, fingerprint {self.fingerprint[:16]}",
                next_step=f"{AGAIN}; results on the old one stay comparable among themselves",
            )
        known = (made.set_id, made.name, made.version, made.size, made.geometry.value, made.status, made.variant)
        found = (self.set_id, self.name, self.version, self.size, self.geometry, self.status, self.variant)
        if found != known or self.folder.name != self.set_id:
            raise VerificationError(
                "a set file contradicts its own definition, or its folder was renamed",
                where=self.folder / SET_FILE,
                expected=", ".join(map(str, known)),
                found=", ".join(map(str, found)),
                next_step=AGAIN,
            )
        return made

    def _protocol_as_made(self) -> Protocol:
        definition = self.info.protocol
        known = load_protocol("folder" if self.family is Family.FOLDER else self.name)
        if self.family is Family.FOLDER:
            known = replace(known, name=self.name, size=self.size)
        listed = definition["selection"]
        selection = (
            Selection(rule=Rule.LIST, count=int(listed["count"]), list_sha256=str(listed["list_sha256"]))
            if listed["rule"] == Rule.LIST.value
            else None
        )
        return known.with_variant(
            geometry=GeometryName(definition["geometry"]),
            masks=MaskSource(definition["masks"]),
            images=str(definition["images"]),
            selection=selection,
        )

    @cached_property
    def items(self) -> tuple[EvalItem, ...]:
        """All items in protocol order. Raises VerificationError when the manifest is not the one that was frozen."""
        path = self.folder / MANIFEST_FILE
        self._check_there(path)
        if (found := file_digest(path)) != self.info.manifest_sha256:
            raise VerificationError(
                "a set's manifest was changed",
                where=path,
                expected=f"sha256 {self.info.manifest_sha256}",
                found=f"sha256 {found}",
                next_step="prepare the set again with --replace",
            )
        rows = read_jsonl(path, kind="manifest", next_step=AGAIN)
        found = data_digest(rows)
        if found != self.data_digest or len(rows) != self.count:
            raise VerificationError(
                "a set's data digest or count does not fit its manifest",
                where=self.folder / SET_FILE,
                expected=f"{self.data_digest}, {self.count} items",
                found=f"{found}, {len(rows)} items",
                next_step="prepare the set again with --replace",
            )
        faults = [Problem("unsafe-id", repr(row["id"]), fault) for row in rows if (fault := _id_fault(row["id"]))]
        if faults:
            raise VerificationError(
                "a set has ids that cannot be names of files",
                where=path,
                expected="ids that stay inside their folder",
                problems=faults,
                next_step="do not use this set: prepare it again from a source that you trust",
            )
        items = []
        for index, row in enumerate(rows):
            label = row["label"]
            items.append(
                EvalItem(index, str(row["id"]), label if isinstance(label, int) else None, str(row["reference_sha256"]))
            )
        return tuple(items)

    @property
    def labelled(self) -> bool:
        """Whether every item has a label."""
        return all(item.label is not None for item in self.items)

    def task(self, name: str | Task) -> Task:
        """The task of that name, or the one given. Raises UsageError when the set does not have it."""
        name = name.name if isinstance(name, Task) else name
        if name not in self.task_names or name not in TASKS:
            raise UsageError(
                f"set {self.set_id} has no task of this name",
                expected=f"one of {', '.join(self.task_names)}",
                found=name,
                next_step=did_you_mean(name, self.task_names),
            )
        return TASKS[name]

    def task_fingerprint(self, task: Task) -> str:
        """sha256 over the set's definition and the task's.

        Raises VerificationError when the program defines the set or the task otherwise than the set was made with.
        """
        entry = self.info.tasks[task.name]
        expected = self.protocol.task_fingerprint(task.name)
        if entry.definition != json.loads(json.dumps(task.canonical())):
            raise VerificationError(
                f"task {task.name} is defined otherwise in this version of the program",
                where=self.folder,
                expected=entry.definition,
                found=task.canonical(),
                next_step="prepare the set again with --replace, or use the version that made it: "
                + self.software.get("palette-bench", "unknown"),
            )
        if entry.fingerprint != expected:
            raise VerificationError(
                f"the fingerprint of task {task.name} is not that of its definition",
                where=self.folder / SET_FILE,
                expected=expected,
                found=entry.fingerprint,
                next_step=AGAIN,
            )
        return expected

    def reference(self, item: EvalItem) -> ImageU8:
        """The reference [H, W, 3] of an item. Raises VerificationError when its pixels are not the frozen ones."""
        path = reference_path(self.folder, item.id)
        try:
            pixels = decode(path.read_bytes()).pixels
        except FileNotFoundError as error:
            raise VerificationError(
                "a reference is missing", where=path, next_step="prepare the set again with --replace"
            ) from error
        except (OSError, BadImageError) as error:
            raise VerificationError(
                "a reference cannot be read", where=path, found=error, next_step="prepare the set again with --replace"
            ) from error
        if (found := pixel_digest(pixels)) != item.reference_digest:
            raise VerificationError(
                "a reference's pixels were changed",
                where=path,
                expected=f"sha256 {item.reference_digest}",
                found=f"sha256 {found}",
                next_step="prepare the set again with --replace",
            )
        return pixels

    def masks(self, task: Task) -> NDArray[np.uint8]:
        """The packed free-form masks [N, H * W / 8] of a task. Raises VerificationError when they were changed."""
        path = task_folder(self.folder, task) / MASKS_FILE
        try:
            packed = read_masks(path, mask_key(task), self.count, self.size)
        except InputError as error:
            raise VerificationError(
                "a set's masks were changed",
                where=path,
                expected=error.expected,
                found=error.found,
                next_step=AGAIN,
            ) from error
        if (found := bytes_digest(packed.tobytes())) != self.info.tasks[task.name].masks_sha256:
            raise VerificationError(
                "a set's masks were changed",
                where=path,
                expected=f"sha256 {self.info.tasks[task.name].masks_sha256}",
                found=f"sha256 {found}",
                next_step=AGAIN,
            )
        return packed

    def _check_there(self, path: Path) -> None:
        if not path.is_file():
            raise VerificationError("a file of a set is missing", where=path, next_step=AGAIN)

    def holes(self, task: Task) -> "Holes":
        """The holes of a task's items."""
        return Holes(task, self.size, self.masks(task) if task.kind is TaskKind.FREEFORM_HOLE else None)

    def references(self) -> Iterator[tuple[EvalItem, ImageU8]]:
        """Each item with its reference [H, W, 3] uint8 RGB, in protocol order. Raises VerificationError."""
        for item in self.items:
            yield item, self.reference(item)

    def __len__(self) -> int:
        """How many items there are."""
        return self.count

    def __repr__(self) -> str:
        """Name, count, size and fingerprint."""
        return f"<EvalSet {self.set_id}@{self.version}: {self.count} images of {self.size}x{self.size}>"

    def condition_digests(self, task: Task) -> list[str]:
        """The frozen digest of every item's condition. Raises VerificationError when the file was changed."""
        path = task_folder(self.folder, task) / CONDITIONS_FILE
        self._check_there(path)
        if (found := file_digest(path)) != self.info.tasks[task.name].conditions_sha256:
            raise VerificationError(
                "a set's conditions file was changed",
                where=path,
                expected=f"sha256 {self.info.tasks[task.name].conditions_sha256}",
                found=f"sha256 {found}",
                next_step="prepare the set again with --replace",
            )
        return [str(row["sha256"]) for row in read_jsonl(path, kind="conditions")]

    def conditions(self, task: Task | str) -> "Conditions":
        """The conditions of a task's items; iterating gives each item with its condition, in protocol order."""
        task = self.task(task)
        return Conditions(self, task, self.holes(task), tuple(self.condition_digests(task)))


@dataclass(frozen=True, slots=True)
class Holes:
    """The holes of a task's items; ``packed`` [N, bytes] for free-form masks."""

    task: Task
    size: int
    packed: NDArray[np.uint8] | None

    def of(self, item: EvalItem) -> HoleMask | None:
        """The hole [H, W] of an item, None when the task hides nothing."""
        freeform = None if self.packed is None else unpack(self.packed[item.index], self.size)
        return hole_of(self.task, self.size, freeform)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a task's items, recomputed from the references and checked against ``digests``."""

    eval_set: EvalSet
    task: Task
    holes: Holes
    digests: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[EvalItem, Condition]]:
        """Each item with its condition, in protocol order."""
        for item in self.eval_set.items:
            yield item, self.of(item)

    def __len__(self) -> int:
        """How many items there are."""
        return self.eval_set.count

    def of(self, item: EvalItem) -> Condition:
        """The condition of an item. Raises VerificationError when it is not the frozen one."""
        condition = make_condition(self.task, self.eval_set.reference(item), self.holes.of(item))
        if condition.digest != self.digests[item.index]:
            raise VerificationError(
                f"the condition of task {self.task.name} comes out otherwise than it was frozen",
                where=f"{self.eval_set.set_id}: {item.id}",
                expected=f"sha256 {self.digests[item.index]}, made with {_versions(self.eval_set.software)}",
                found=f"sha256 {condition.digest}",
                next_step="another JPEG encoder is the usual cause: install the Pillow that the set was made with",
            )
        return condition


def _versions(software: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in software.items())


def prepared_sets() -> list[str]:
    """Names of all prepared sets, sorted."""
    folder = sets_folder()
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def open_set(name: str) -> EvalSet:
    """The prepared set of that name. Raises InputError naming the prepared ones otherwise."""
    folder = sets_folder() / name
    if name not in prepared_sets():
        known = prepared_sets()
        raise InputError(
            f"set {name} is not prepared",
            where=sets_folder(),
            expected=f"one of {', '.join(known)}" if known else "a prepared set",
            found="nothing" if not known else name,
            next_step=did_you_mean(name, known, otherwise=f"check the name, or {prepare_command(name)}"),
        )
    return EvalSet(folder)


def prepare_command(set_id: str, *, size: int | None = None) -> str:
    """The command that prepares the set called so; ``size`` is that of a set from a folder, if it is known."""
    base, *words = set_id.split("+")
    own = base not in protocol_names()
    if not own and load_protocol(base).family is Family.SCENES32:
        return f"palette-bench prepare {base}"
    parts = [f"palette-bench prepare {'folder' if own else base} --source DIR"]
    if own:
        parts.append(f"--name {base} --size {size or 'N'}")
    for word in words:
        if word in set(GeometryName):
            parts.append(f"--geometry {word}")
        elif word == "released-masks":
            parts.append("--released-masks FILE")
        elif word.startswith("list-"):
            parts.append("--list FILE")
    return " ".join(parts)


def open_only_set(name: str | None, task: str) -> EvalSet:
    """The set called ``name``, or the only prepared one that has ``task``.

    Raises UsageError when there are several, or no such task; InputError when no prepared set has it.
    """
    if name is not None:
        return open_set(name)
    named_task(task)
    candidates = [EvalSet(sets_folder() / known) for known in prepared_sets()]
    fitting = [candidate for candidate in candidates if task in candidate.task_names]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InputError(
            f"no prepared set has task {task}" if candidates else "no set is prepared",
            where=sets_folder(),
            next_step="palette-bench prepare imagenet-ctest10k --source ..., or prepare scenes32",
        )
    raise UsageError(
        "more than one prepared set has this task",
        expected="--set with one of " + ", ".join(candidate.set_id for candidate in fitting),
        found="no --set",
    )


def data_digest(rows: Sequence[dict[str, Any]]) -> str:
    """sha256 over ids, labels and decoded reference pixels, in protocol order: two equal ones are the same images."""
    return fingerprint([[row["id"], row["label"], row["reference_sha256"]] for row in rows])
