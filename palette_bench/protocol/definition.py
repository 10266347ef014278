"""Protocol definitions: frozen data read from TOML, checked field by field, with a fingerprint."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from palette_bench.common import resources
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, UsageError
from palette_bench.protocol.tasks import TASKS, Task, task

FORMAT = 1

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


class Status(StrEnum):
    """How sure it is that the set is the paper's."""

    CHECKED = "checked"
    RECONSTRUCTION = "reconstruction"
    EMBEDDED = "embedded"
    AD_HOC = "ad-hoc"


class Family(StrEnum):
    """What kind of images a set holds; decides the sources it takes and the recipes it is scored with."""

    IMAGENET = "imagenet"
    PLACES = "places"
    SCENES32 = "scenes32"
    FOLDER = "folder"


class Rule(StrEnum):
    """How the images of a set, or of a reference set, are selected and ordered."""

    CTEST10K = "ctest10k"
    TFDS_RANGE = "tfds-range"
    LOWEST_NUMBERS = "lowest-numbers-per-category"
    SPLIT = "split"
    ALL = "all"
    LIST = "list"


class GeometryName(StrEnum):
    """How a source image becomes a square of the set's size; see ``images.geometry``."""

    SQUARE_AREA = "square-area"
    SHORT_SIDE_BILINEAR = "short-side-bilinear"
    ADM = "adm"


class ExifPolicy(StrEnum):
    """What an EXIF orientation does to the pixels."""

    IGNORE = "ignore"
    APPLY = "apply"


class MaskSource(StrEnum):
    """Where free-form masks come from."""

    GENERATED = "generated"
    RELEASED = "released"


class Basis(StrEnum):
    """How sure a field is, and where from."""

    CHECKED = "checked"
    READ = "read"
    INFERRED = "inferred"
    ASSUMPTION = "assumption"
    DEFINITION = "definition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which images, in which order.

    ``list_sha256`` is over the names in protocol order, ``sorted_list_sha256`` over the sorted names,
    ``labels_sha256`` over ``name label`` of the whole split by name and ``item_labels_sha256`` over the selected
    ones; LF after each line, None where not known.
    """

    rule: Rule
    count: int | None = None
    start: int = 0
    split: str | None = None
    per_category: int = 0
    excluded_numbers: tuple[int, ...] = ()
    list_sha256: str | None = None
    sorted_list_sha256: str | None = None
    labels_sha256: str | None = None
    item_labels_sha256: str | None = None

    def canonical(self) -> dict[str, object]:
        """What can move a number, as plain data. Digests of labels move CA and are included."""
        value: dict[str, object] = {"rule": self.rule.value, "count": self.count}
        match self.rule:
            case Rule.TFDS_RANGE:
                value["start"] = self.start
            case Rule.SPLIT:
                value["split"] = self.split
            case Rule.LOWEST_NUMBERS:
                value["per_category"] = self.per_category
            case Rule.CTEST10K:
                value["excluded_numbers"] = list(self.excluded_numbers)
        value |= {"list_sha256": self.list_sha256, "item_labels_sha256": self.item_labels_sha256}
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSource:
    """Why a field has its value."""

    basis: Basis
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One set's definition. ``title``, ``description`` and ``sources`` are prose and not part of the fingerprint."""

    name: str
    version: int
    title: str
    description: str
    status: Status
    family: Family
    selection: Selection
    size: int
    geometry: GeometryName
    exif: ExifPolicy
    images: str
    masks: MaskSource
    task_names: tuple[str, ...]
    references: Mapping[str, Selection] = field(default_factory=dict)
    default_reference: str | None = None
    default_geometry: GeometryName = GeometryName.SQUARE_AREA
    default_images: str = ""
    sources: Mapping[str, FieldSource] = field(default_factory=dict)

    @property
    def variant(self) -> tuple[str, ...]:
        """What differs from the protocol's defaults, as words of the set's folder name."""
        words: list[str] = []
        if self.geometry is not self.default_geometry:
            words.append(self.geometry.value)
        if self.images != self.default_images:
            words.append(self.images)
        if self.masks is MaskSource.RELEASED:
            words.append("released-masks")
        if self.selection.rule is Rule.LIST:
            words.append(f"list-{(self.selection.list_sha256 or '')[:8]}")
        return tuple(words)

    @property
    def set_id(self) -> str:
        """The name of the set's folder: the protocol's name and its variant."""
        return "+".join((self.name, *self.variant))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the set, in the protocol's order."""
        return tuple(TASKS[name] for name in self.task_names)

    def task(self, name: str) -> Task:
        """The task of that name. Raises UsageError when the set does not have it."""
        wanted = task(name)
        if wanted.name not in self.task_names:
            raise UsageError(
                f"set {self.name} has no task {name}", expected=f"one of {', '.join(self.task_names)}", found=name
            )
        return wanted

    def canonical(self) -> dict[str, object]:
        """Everything that can move a number, as plain data."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "selection": self.selection.canonical(),
            "size": self.size,
            "geometry": self.geometry.value,
            "exif": self.exif.value,
            "images": self.images,
            "masks": self.masks.value,
        }

    def fingerprint(self) -> str:
        """sha256 of ``canonical()``."""
        return fingerprint(self.canonical())

    def task_fingerprint(self, name: str) -> str:
        """sha256 over the set's definition and the task's."""
        return fingerprint({"set": self.canonical(), "task": self.task(name).canonical()})

    def reference_fingerprint(self, name: str) -> str:
        """sha256 over a FID reference set's definition and the geometry its images go through."""
        return fingerprint(
            {
                "reference": self.references[name].canonical(),
                "name": name,
                "size": self.size,
                "geometry": self.geometry.value,
                "exif": self.exif.value,
                "images": self.images,
            }
        )

    def with_variant(
        self,
        *,
        geometry: GeometryName | None = None,
        masks: MaskSource | None = None,
        images: str | None = None,
        selection: Selection | None = None,
    ) -> "Protocol":
        """The same protocol with other choices where it leaves one; another fingerprint unless nothing changes."""
        return replace(
            self,
            geometry=geometry or self.geometry,
            masks=masks or self.masks,
            images=self.images if images is None else images,
            selection=selection or self.selection,
        )


class _Table:
    """A TOML table that is read field by field; what is left over, or missing, is an error that names it."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self._values = dict(values)
        self.where = where

    def take(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        if name not in self._values:
            if default is not None:
                return default
            raise InputError("a protocol definition lacks a field", where=self.where, expected=name)
        value = self._values.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(
                "a protocol definition has a field of the wrong type",
                where=f"{self.where}: {name}",
                expected=kind.__name__,
                found=value,
            )
        return value

    def optional(self, name: str, kind: type[_T]) -> _T | None:
        return self.take(name, kind) if name in self._values else None

    def choice(self, name: str, kind: type[_E], default: _E | None = None) -> _E:
        text = self.take(name, str, default.value if default is not None else None)
        try:
            return kind(text)
        except ValueError as error:
            raise InputError(
                "a protocol definition has an unknown value",
                where=f"{self.where}: {name}",
                expected=f"one of {', '.join(member.value for member in kind)}",
                found=text,
            ) from error

    def table(self, name: str) -> "_Table":
        return _Table(self.take(name, dict, {}), f"{self.where}: {name}")

    def names(self) -> list[str]:
        return list(self._values)

    def finish(self) -> None:
        if self._values:
            raise InputError(
                "a protocol definition has unknown fields", where=self.where, found=", ".join(sorted(self._values))
            )


def _selection(table: _Table) -> Selection:
    numbers = table.take("excluded_numbers", list, [])
    selection = Selection(
        rule=table.choice("rule", Rule),
        count=table.optional("count", int),
        start=table.take("start", int, 0),
        split=table.optional("split", str),
        per_category=table.take("per_category", int, 0),
        excluded_numbers=tuple(int(n) for n in numbers),
        list_sha256=table.optional("list_sha256", str),
        sorted_list_sha256=table.optional("sorted_list_sha256", str),
        labels_sha256=table.optional("labels_sha256", str),
        item_labels_sha256=table.optional("item_labels_sha256", str),
    )
    table.finish()
    return selection


def parse(text: str, *, where: str) -> Protocol:
    """The definition in ``text`` (TOML). Raises InputError naming the field that is missing, unknown or wrong."""
    try:
        top = _Table(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise InputError("a protocol definition is not TOML", where=where, found=error) from error
    if (found := top.take("format", int)) != FORMAT:
        raise InputError("a protocol definition of another format", where=where, expected=FORMAT, found=found)
    name, version = top.take("name", str), top.take("version", int)
    title, description = top.take("title", str), top.take("description", str)
    status, family = top.choice("status", Status), top.choice("family", Family)
    selection = _selection(top.table("selection"))
    images = top.table("images")
    size, geometry = images.take("size", int), images.choice("geometry", GeometryName)
    exif, image_kind = images.choice("exif", ExifPolicy), images.take("kind", str)
    images.finish()
    tasks = top.table("tasks")
    masks, task_names = tasks.choice("masks", MaskSource), tuple(str(n) for n in tasks.take("names", list))
    tasks.finish()
    for task_name in task_names:
        task(task_name)
    references_table = top.table("fid_reference")
    default_reference = references_table.optional("default", str)
    references = {n: _selection(references_table.table(n)) for n in references_table.names()}
    prose = top.table("sources")
    sources: dict[str, FieldSource] = {}
    for path in prose.names():
        entry = prose.table(path)
        sources[path] = FieldSource(basis=entry.choice("basis", Basis), note=entry.take("note", str))
        entry.finish()
    top.finish()
    return Protocol(
        name=name,
        version=version,
        title=title,
        description=description,
        status=status,
        family=family,
        selection=selection,
        size=size,
        geometry=geometry,
        exif=exif,
        images=image_kind,
        masks=masks,
        task_names=task_names,
        references=references,
        default_reference=default_reference,
        default_geometry=geometry,
        default_images=image_kind,
        sources=sources,
    )


def protocol_names() -> list[str]:
    """Names of all protocols that ship with the package."""
    return [file.name.removesuffix(".toml") for file in resources.toml_files(resources.protocols())]


def load_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises UsageError with all names otherwise."""
    if name not in protocol_names():
        raise UsageError("no such protocol", expected=f"one of {', '.join(protocol_names())}", found=name)
    file = resources.protocols() / f"{name}.toml"
    return parse(file.read_text(encoding="utf-8"), where=f"protocols/{name}.toml")
