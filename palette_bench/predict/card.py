"""A baseline's card: what the model is, how it is run, its configuration and its weights.

A card is ``card.toml`` in a folder of the baseline's name. Reading one imports no model: cards can be listed without
torch, and without what a third party's model needs.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Gt

from palette_bench.common import resources, schema
from palette_bench.common.canonical import file_digest, fingerprint
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError, VerificationError
from palette_bench.common.home import weights_folder
from palette_bench.protocol.definition import TaskName
from palette_bench.protocol.tasks import TASKS

FORMAT = 1
CARD_FILE = "card.toml"
ENTRY_POINTS = "palette_bench.adapters"
DEFAULT_BATCH = 16
DEFAULT_TIMEOUT_SECONDS = 600.0
CLASSICAL = "classical-"
NEXT = "docs/cards.md describes every key of a card"

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class AdapterKind(StrEnum):
    """How a model is run."""

    PYTHON = "python"
    SUBPROCESS = "subprocess"
    DIRECTORY = "directory"
    OUTSIDE = "outside"
    REFERENCE = "reference"
    """The true images, copied by the runner: no adapter sees one. Only the baseline that ships."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """``[adapter]``: the one field that its kind needs; ``timeout_seconds`` is a subprocess's, for each batch."""

    kind: AdapterKind
    entry: Annotated[str, schema.Fits(lambda entry: bool(_ENTRY.fullmatch(entry)), "package.module:Class")] = ""
    command: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Gt(0)] = DEFAULT_TIMEOUT_SECONDS
    folder: str = ""

    def faults(self) -> Iterator[Problem]:
        """What its kind needs and has not, or has and does not look at."""
        needed = {AdapterKind.PYTHON: "entry", AdapterKind.SUBPROCESS: "command", AdapterKind.DIRECTORY: "folder"}
        own = needed.get(self.kind)
        if own is not None and not getattr(self, own):
            yield Problem("missing", own, f"what kind {self.kind} runs")
        for name in needed.values():
            if name != own and getattr(self, name):
                yield Problem("unknown key", name, f"kind {self.kind} has none")
        if self.kind is not AdapterKind.SUBPROCESS and self.timeout_seconds != DEFAULT_TIMEOUT_SECONDS:
            yield Problem("unknown key", "timeout_seconds", f"kind {self.kind} has none")

    def canonical(self) -> dict[str, object]:
        """What can move an output, as plain data."""
        value: dict[str, object] = {"kind": self.kind.value}
        match self.kind:
            case AdapterKind.PYTHON:
                value["entry"] = self.entry
            case AdapterKind.SUBPROCESS:
                value["command"] = list(self.command)
            case AdapterKind.DIRECTORY:
                value["folder"] = self.folder
        return value


def _plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and Path(name).name == name


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``[weights]``: a file, the sha256 of its bytes, and where a user gets it when it is not shipped."""

    file: Annotated[str, schema.Fits(_plain_name, "the name of a file, without a folder")]
    sha256: schema.Digest
    url: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """``[outside]``: how the original is run elsewhere, and which published rows it answers to.

    ``import_from`` is the ``--from`` of ``palette-bench import`` that reads its outputs, ``export_layout`` the
    ``--layout`` of ``palette-bench export`` that writes its inputs; empty where there is none.
    """

    how: str
    import_from: str = ""
    export_layout: str = ""
    published: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model. ``sizes`` empty: images of any size; ``stochastic`` None: not declared; ``folder`` None: no file."""

    FILE: ClassVar = schema.File("card", version=("format", FORMAT), next_step=NEXT, most_bytes=1 << 20)

    name: schema.Text
    title: schema.Text
    tasks: tuple[TaskName, ...]
    adapter: AdapterSpec
    stochastic: bool | None = None
    description: str = ""
    sizes: tuple[int, ...] = ()
    batch: Annotated[int, Gt(0)] = DEFAULT_BATCH
    licence: str = ""
    citation: str = ""
    extra: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    weights: Weights | None = None
    training: Mapping[str, object] = field(default_factory=dict)
    outside: Outside | None = None
    folder: Annotated[Path | None, schema.NOT_IN_FILE] = None
    shipped: Annotated[bool, schema.NOT_IN_FILE] = False

    def faults(self) -> Iterator[Problem]:
        """What a card must say although a model without one need not."""
        if self.stochastic is None:
            yield Problem("missing", "stochastic", "whether two runs with other seeds differ")
        if self.adapter.kind is AdapterKind.OUTSIDE and self.outside is None:
            yield Problem("missing", "outside", "a model that runs elsewhere says how")

    def fingerprint(self) -> str:
        """sha256 of everything on the card that can move an output.

        That includes the files of the card's folder that a subprocess's command names.
        """
        return fingerprint(
            {
                "format": FORMAT,
                "adapter": self.adapter.canonical(),
                "files": self._command_files(),
                "config": dict(self.config),
                "weights": None if self.weights is None else self.weights.sha256,
            }
        )

    def _command_files(self) -> dict[str, str]:
        if self.folder is None:
            return {}
        files = {word: self.folder / word for word in self.adapter.command if not Path(word).is_absolute()}
        return {word: file_digest(path) for word, path in files.items() if path.is_file()}

    def does(self, task: str) -> bool:
        """Whether the card names this task, or every listed task of its kind: then it does the others too."""
        if task in self.tasks or task not in TASKS:
            return task in self.tasks
        alike = {name for name, listed in TASKS.items() if listed.kind is TASKS[task].kind}
        return task not in alike and alike <= set(self.tasks)

    def check_can_do(self, task: str, size: int) -> None:
        """Raise UsageError when the card does not name this task, or this size of images."""
        if not self.does(task):
            raise UsageError(
                f"model {self.name} cannot do this task", expected=f"one of {', '.join(self.tasks)}", found=task
            )
        if self.sizes and size not in self.sizes:
            raise UsageError(
                f"model {self.name} cannot do images of this size",
                expected=f"{' or '.join(map(str, self.sizes))} pixels",
                found=f"{size} pixels",
            )

    def checked_weights(self) -> Path | None:
        """The weights file: the card's own, or the one of that name in the weights folder; None without weights.

        Raises InputError when there is none, VerificationError when it has another digest.
        """
        if self.weights is None:
            return None
        places = [folder / self.weights.file for folder in (self.folder, weights_folder()) if folder is not None]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            origin = " ".join(filter(None, (self.weights.url, self.weights.source)))
            source = f"get it from {origin} and put it there" if origin else "put it there"
            raise InputError(
                f"the weights of model {self.name} are not here",
                where=places[-1],
                expected=f"{self.weights.file}, sha256 {self.weights.sha256}",
                found="nothing",
                next_step=source,
            )
        if (found := file_digest(path)) != self.weights.sha256:
            raise VerificationError(
                f"the weights of model {self.name} are not those of its card",
                where=path,
                expected=f"sha256 {self.weights.sha256}",
                found=f"sha256 {found}",
                next_step="restore the file, or give another card the new digest",
            )
        return path


def parse_card(text: str, *, where: Path, shipped: bool = False) -> Card:
    """The card in ``text`` (TOML) of the file ``where``. Raises InputError with everything that is wrong with it."""
    card = schema.parse(Card, text, where=where, toml=True)
    problems = []
    if card.adapter.kind is AdapterKind.REFERENCE and not shipped:
        baseline = "'reference' is that of the shipped baseline: --model reference"
        problems.append(Problem("wrong value", "adapter.kind", baseline))
    if shipped and card.name != where.parent.name:
        problems.append(Problem("wrong value", "name", f"{card.name!r} in the folder {where.parent.name}"))
    if problems:
        raise InputError(f"{len(problems)} faults in a card", where=where, problems=problems, next_step=NEXT)
    return replace(card, folder=where.parent.absolute(), shipped=shipped)


def load_card(path: Path) -> Card:
    """The card in a ``card.toml``, or in the folder of one. Raises InputError with every fault."""
    return _load(path / CARD_FILE if path.is_dir() else path, shipped=False)


def _load(path: Path, *, shipped: bool) -> Card:
    try:
        text = schema.read_bytes(Card, path).decode()
    except UnicodeDecodeError as error:
        raise InputError("a card cannot be read", where=path, found=error, next_step=NEXT) from error
    return parse_card(text, where=path, shipped=shipped)


def baseline_names() -> list[str]:
    """Names of all baselines that ship with the package."""
    folders = (folder for folder in _baselines().iterdir() if (folder / CARD_FILE).is_file())
    return sorted(folder.name for folder in folders)


def _baselines() -> Path:
    return Path(str(resources.baselines()))


def cards() -> list[Card]:
    """The cards of all baselines that ship with the package, by name."""
    return [_load(_baselines() / name / CARD_FILE, shipped=True) for name in baseline_names()]


def entry_point_names() -> list[str]:
    """Names under which installed packages offer models; nothing is imported."""
    return sorted({point.name for point in metadata.entry_points(group=ENTRY_POINTS)})


def find_card(model: str | Path) -> Card:
    """The card that ``model`` means.

    A baseline's name (``classical-`` may be left out), a ``card.toml`` or its folder, the name of an entry point of
    the group ``palette_bench.adapters``, or ``package.module:Class``. Raises UsageError when it is none of them.
    """
    text = str(model)
    baselines = baseline_names()
    for name in (text, CLASSICAL + text):
        if name in baselines:
            return _load(_baselines() / name / CARD_FILE, shipped=True)
    path = Path(text)
    if (path / CARD_FILE).is_file() or path.is_file():
        return load_card(path)
    points = [point for point in metadata.entry_points(group=ENTRY_POINTS) if point.name == text]
    if points:
        return _of_entry_point(points[0])
    if _ENTRY.fullmatch(text):
        return _of_class(text, text)
    known = [*baselines, *entry_point_names()]
    near = difflib.get_close_matches(text, known, 1)
    raise UsageError(
        "no such model",
        expected="a baseline's name, a card.toml, package.module:Class, or an entry point's name",
        found=text + (f" (did you mean {near[0]}?)" if near else ""),
        next_step="palette-bench baselines lists the names",
    )


def _of_class(name: str, entry: str) -> Card:
    return Card(
        name=name,
        title=entry.rpartition(":")[2],
        tasks=tuple(TASKS),
        adapter=AdapterSpec(kind=AdapterKind.PYTHON, entry=entry),
    )


def _of_entry_point(point: metadata.EntryPoint) -> Card:
    """The class that an entry point names, or the card at the path that its function returns."""
    try:
        found = point.load()
        if isinstance(found, type):
            return _of_class(point.name, point.value)
        return load_card(Path(found()))
    except PaletteBenchError:
        raise
    # A third party's module may raise anything.
    except Exception as error:
        raise InputError(
            "a model's entry point cannot be loaded",
            where=f"{ENTRY_POINTS}: {point.name} = {point.value}",
            expected="an adapter class, or a function that returns the path of a card",
            found=f"{type(error).__name__}: {error}",
            next_step="repair or update the package that offers it",
        ) from error
