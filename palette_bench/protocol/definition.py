"""Protocol definitions: frozen data read from TOML, checked field by field, with a fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, ClassVar

from annotated_types import Ge

from palette_bench.common import resources, schema
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import UsageError
from palette_bench.common.schema import Digest, Key
from palette_bench.protocol.tasks import TASKS, Task, task

FORMAT = 1


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
    count: Annotated[int | None, Ge(1)] = None
    start: Annotated[int, Ge(0)] = 0
    split: str | None = None
    per_category: Annotated[int, Ge(0)] = 0
    excluded_numbers: tuple[int, ...] = ()
    list_sha256: Digest | None = None
    sorted_list_sha256: Digest | None = None
    labels_sha256: Digest | None = None
    item_labels_sha256: Digest | None = None

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


TaskName = Annotated[str, schema.Fits(lambda name: name in TASKS, f"one of {', '.join(TASKS)}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One set's definition. ``title``, ``description`` and ``sources`` are prose and not part of the fingerprint."""

    FILE: ClassVar = schema.File("protocol definition", version=("format", FORMAT), most_bytes=1 << 20)

    name: str
    version: Annotated[int, Ge(1)]
    title: str
    description: str
    status: Status
    family: Family
    selection: Selection
    size: Annotated[int, Key("images.size"), Ge(1)]
    geometry: Annotated[GeometryName, Key("images.geometry")]
    exif: Annotated[ExifPolicy, Key("images.exif")]
    images: Annotated[str, Key("images.kind")]
    masks: Annotated[MaskSource, Key("tasks.masks")]
    task_names: Annotated[tuple[TaskName, ...], Key("tasks.names")]
    references: Annotated[Mapping[str, Selection], Key("fid_reference.*")] = field(default_factory=dict)
    default_reference: Annotated[str | None, Key("fid_reference.default")] = None
    default_geometry: Annotated[GeometryName, schema.NOT_IN_FILE] = GeometryName.SQUARE_AREA
    default_images: Annotated[str, schema.NOT_IN_FILE] = ""
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


def parse(text: str, *, where: str) -> Protocol:
    """The definition in ``text`` (TOML). Raises InputError with every field that is missing, unknown or wrong."""
    made = schema.parse(Protocol, text, where=where, toml=True)
    return replace(made, default_geometry=made.geometry, default_images=made.images)


def protocol_names() -> list[str]:
    """Names of all protocols that ship with the package."""
    return [file.name.removesuffix(".toml") for file in resources.toml_files(resources.protocols())]


def load_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises UsageError with all names otherwise."""
    if name not in protocol_names():
        raise UsageError("no such protocol", expected=f"one of {', '.join(protocol_names())}", found=name)
    file = resources.protocols() / f"{name}.toml"
    return parse(file.read_text(encoding="utf-8"), where=f"protocols/{name}.toml")
