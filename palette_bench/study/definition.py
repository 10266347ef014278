"""What a study is: ``study.toml`` and the presets it begins with, as frozen dataclasses.

The file is sealed by the first answer: its fingerprint is then kept beside the answers, and an edited file is another
study. Nothing in it says on which side a real image was shown; that follows from the seed (`design`).
"""

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import write_bytes
from palette_bench.protocol.definition import FieldSource

FORMAT = 1
STUDY_FILE = "study.toml"
STIMULI_FOLDER = "stimuli"
NEXT = "docs/study.md describes every key of a study"
_STRICT = ConfigDict(extra="forbid")

_T = TypeVar("_T")


class Layout(StrEnum):
    """How a trial shows its images."""

    PAIR = "pair"
    TRIPLE = "triple"
    SEQUENCE = "sequence"


class Question(StrEnum):
    """What raters are asked; a rater is fooled by choosing the output, or with ``fake`` the real image."""

    CAMERA = "camera"
    BETTER = "better"
    FAKE = "fake"


class Assignment(StrEnum):
    """Who sees which model."""

    LATIN_SQUARE = "latin-square"
    ONE_MODEL = "one-model-per-rater"


class Fakes(StrEnum):
    """What stands beside the real image in practice."""

    MOSAIC = "mosaic"
    MODELS = "models"


class Platform(StrEnum):
    """Where raters come from."""

    SEATS = "seats"
    OPEN = "open"
    PROLIFIC = "prolific"
    MTURK = "mturk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What a rater sees, and how long.

    Every exposure is a group of raters of its own. ``raters_per_set`` counts raters for a set and exposure, for each
    model where a rater sees one model only. ``practice``, ``plates`` and ``catch`` are trials a rater.
    """

    __pydantic_config__ = _STRICT

    layout: Layout
    question: Question
    exposure_ms: tuple[int, ...]
    sets: int
    items_per_set: int
    raters_per_set: int
    assignment: Assignment
    practice: int
    practice_fakes: Fakes
    plates: int
    catch: int
    break_every: int
    fixation_ms: int
    gap_ms: int
    pause_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Rules that keep a rater's answers out of the headline number; 0 switches a rule off.

    ``practice_correct`` ends the session of who has fewer right; the others only exclude: less than ``catch_correct``
    of the catch trials right, a median response below ``response_ms``, a session faster than the mean by ``fast_sd``
    standard deviations, ``same_side`` equal answers in a row, more than ``flagged_share`` of the trials flagged, fewer
    than ``plates_correct`` colour plates, a browser that says it is automated.
    """

    __pydantic_config__ = _STRICT

    practice_correct: int
    catch_correct: float
    response_ms: float
    fast_sd: float
    same_side: int
    flagged_share: float
    plates_correct: int
    automated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The evaluation set and task that the images are of; ``enlarge`` is the whole factor that they are shown at."""

    __pydantic_config__ = _STRICT

    set: str
    name: str
    version: int
    status: str
    variant: tuple[str, ...]
    fingerprint: str
    data_digest: str
    count: int
    size: int
    geometry: str
    task: str
    task_fingerprint: str
    enlarge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: its name here, and the digest of its outputs for the items of the study (sha256 of their digests)."""

    __pydantic_config__ = _STRICT

    name: str
    title: str
    outputs_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item: sha256 of the pixels shown: the real image, an output for each model, and the condition if shown."""

    __pydantic_config__ = _STRICT

    id: str
    reference: str
    outputs: tuple[str, ...]
    condition: str = ""
    set: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recruitment:
    """Where raters come from and may be sent back to. ``codes`` are the platform's, by outcome."""

    __pydantic_config__ = _STRICT

    platform: Platform = Platform.SEATS
    return_addresses: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethics:
    """Who asks, what raters agree to, and until when data are kept. ``consent`` is paragraphs of plain text."""

    __pydantic_config__ = _STRICT

    institution: str
    contact: str
    approval: str
    consent_version: str
    retention: datetime.date
    minutes: int
    consent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stimuli:
    """What is shown: models in a fixed order, items of the sets, of practice and of catch trials."""

    __pydantic_config__ = _STRICT

    models: tuple[Model, ...]
    items: tuple[Item, ...]
    practice: tuple[Item, ...] = ()
    catch: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its file holds it."""

    __pydantic_config__ = _STRICT

    format: int
    name: str
    preset: str
    seed: str
    language: str
    source: Source
    trials: Trials
    exclusions: Exclusions
    recruitment: Recruitment
    ethics: Ethics
    stimuli: Stimuli

    @property
    def models(self) -> tuple[Model, ...]:
        """The models."""
        return self.stimuli.models

    @property
    def items(self) -> tuple[Item, ...]:
        """The items of all sets."""
        return self.stimuli.items

    @property
    def practice(self) -> tuple[Item, ...]:
        """The items of the practice trials."""
        return self.stimuli.practice

    @property
    def catch(self) -> tuple[Item, ...]:
        """The items of the catch trials."""
        return self.stimuli.catch

    @property
    def fingerprint(self) -> str:
        """sha256 of everything in the file."""
        return fingerprint(TypeAdapter(Study).dump_python(self, mode="json"))

    def items_of(self, number: int) -> tuple[Item, ...]:
        """The items of Set ``number``, from 1."""
        return tuple(item for item in self.items if item.set == number)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of all images that raters may be shown."""
        shown = [*self.items, *self.practice, *self.catch]
        found = {digest for item in shown for digest in (item.reference, *item.outputs, item.condition)}
        return frozenset(found - {""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings of a published protocol, and where each comes from."""

    __pydantic_config__ = _STRICT

    title: str
    trials: Trials
    exclusions: Exclusions
    sources: Mapping[str, FieldSource]


def preset_names() -> list[str]:
    """The presets that ship with the program."""
    return sorted(file.name.removesuffix(".toml") for file in _data("presets").iterdir() if file.name.endswith(".toml"))


def load_preset(name: str) -> Preset:
    """A preset by name; UsageError for an unknown one."""
    if name not in preset_names():
        raise UsageError("no preset of this name", expected=f"one of {', '.join(preset_names())}", found=name)
    file = _data("presets") / f"{name}.toml"
    return read_as(Preset, tomllib.loads(file.read_text(encoding="utf-8")), where=file.name, what="a preset")


def _data(folder: str) -> Traversable:
    return resources.files("palette_bench.study") / folder


def read_as(kind: type[_T], values: object, *, where: object, what: str) -> _T:
    """``values`` as a dataclass, every fault at once. Raises InputError."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise InputError(
            f"{what} cannot be read",
            where=where,
            problems=[
                Problem(fault["type"].replace("_", " "), ".".join(map(str, fault["loc"])) or "the file", fault["msg"])
                for fault in error.errors(include_url=False)
            ],
            next_step=NEXT,
        ) from error


def read_study(folder: Path) -> Study:
    """The study in a folder. Raises InputError with everything that is wrong with its file."""
    path = folder / STUDY_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no study here",
            where=folder,
            expected=STUDY_FILE,
            found="nothing",
            next_step="palette-bench study new makes one",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError("a study cannot be read", where=path, found=error, next_step=NEXT) from error
    if values.get("format") != FORMAT:
        raise InputError("a study of another format", where=path, expected=FORMAT, found=values.get("format"))
    study = read_as(Study, values, where=path, what="a study")
    if problems := faults(study):
        raise InputError("a study contradicts itself", where=path, problems=problems, next_step=NEXT)
    return study


def faults(study: Study) -> list[Problem]:
    """What cannot be in a study, whatever its images."""
    problems: list[Problem] = []
    trials, models = study.trials, len(study.models)

    def need(holds: bool, where: str, detail: str) -> None:
        if not holds:
            problems.append(Problem("wrong value", where, detail))

    names = [model.name for model in study.models]
    need(models > 0, "models", "a study needs a model")
    need(len(set(names)) == models, "models", "two of one name")
    need(bool(trials.exposure_ms), "trials.exposure_ms", "at least one")
    need(all(50 <= ms <= 60_000 for ms in trials.exposure_ms), "trials.exposure_ms", "from 50 to 60000 ms")
    need(len(set(trials.exposure_ms)) == len(trials.exposure_ms), "trials.exposure_ms", "twice the same")
    for name in ("sets", "items_per_set", "raters_per_set"):
        need(getattr(trials, name) >= 1, f"trials.{name}", "at least 1")
    for name in ("practice", "plates", "catch", "break_every", "fixation_ms", "gap_ms", "pause_ms"):
        need(getattr(trials, name) >= 0, f"trials.{name}", "not below 0")
    need(trials.plates <= 8, "trials.plates", "at most 8")
    need(study.source.enlarge >= 1, "source.enlarge", "a whole factor from 1")
    need(study.exclusions.practice_correct <= trials.practice, "exclusions.practice_correct", "more than there are")
    need(study.exclusions.plates_correct <= trials.plates, "exclusions.plates_correct", "more than there are")
    ids = [item.id for item in [*study.items, *study.practice, *study.catch]]
    need(len(set(ids)) == len(ids), "items", "an item twice: sets, practice and catch trials must be disjoint")
    for number in range(1, trials.sets + 1):
        found = len(study.items_of(number))
        need(found == trials.items_per_set, f"items of set {number}", f"{found}, not {trials.items_per_set}")
    need(all(1 <= item.set <= trials.sets for item in study.items), "items", f"an item outside Sets 1 to {trials.sets}")
    need(all(len(item.outputs) == models for item in study.items), "items", "an item without an output of every model")
    need(len(study.practice) == trials.practice, "practice", f"{len(study.practice)}, not {trials.practice}")
    need(len(study.catch) == trials.catch, "catch", f"{len(study.catch)}, not {trials.catch}")
    return problems


def write_study(study: Study, folder: Path) -> Path:
    """Write ``study.toml``."""
    path = folder / STUDY_FILE
    write_bytes(path, as_toml(asdict(study), head=_HEAD).encode())
    return path


_HEAD = (
    "# A study of palette-bench. Edit it before the first answer; afterwards a change makes it another study.\n"
    "# docs/study.md describes every key; images are named by the sha256 of their pixels.\n\n"
)


def as_toml(values: Mapping[str, object], *, head: str = "") -> str:
    """Plain data, nested one table deep, as TOML: scalars first, then tables; lists of tables one row per line."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *(f"{name} = {_toml(inner)}" for name, inner in value.items())]
    return head + "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], Mapping):
            return "[\n" + "".join(f"    {_toml(inner)},\n" for inner in value) + "]"
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return _quoted(str(value))


def _key(key: object) -> str:
    text = str(key)
    plain = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\u{ord(c):04x}") for c in text) + '"'
