"""A baseline's card: what the model is, how it is run, its configuration and its weights.

A card is ``card.toml`` in a folder of the baseline's name. Reading one imports no model: cards can be listed without
torch, and without what a third party's model needs.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from palette_bench.common import resources
from palette_bench.common.canonical import file_digest, fingerprint
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError, VerificationError
from palette_bench.common.home import weights_folder
from palette_bench.common.tables import Table, is_digest
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
    entry: str = ""
    command: tuple[str, ...] = ()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    folder: str = ""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``[weights]``: a file, the sha256 of its bytes, and where a user gets it when it is not shipped."""

    file: str
    sha256: str
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

    name: str
    title: str
    tasks: tuple[str, ...]
    adapter: AdapterSpec
    stochastic: bool | None = None
    description: str = ""
    sizes: tuple[int, ...] = ()
    batch: int = DEFAULT_BATCH
    licence: str = ""
    citation: str = ""
    extra: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    weights: Weights | None = None
    training: Mapping[str, object] = field(default_factory=dict)
    outside: Outside | None = None
    folder: Path | None = None
    shipped: bool = False

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

    def check_can_do(self, task: str, size: int) -> None:
        """Raise UsageError when the card does not name this task, or this size of images."""
        if task not in self.tasks:
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
            source = f"get it from {self.weights.source} and put it there" if self.weights.source else "put it there"
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
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError("a card is not TOML", where=where, found=error, next_step=NEXT) from error
    problems: list[Problem] = []
    top = Table(values, "", problems)
    if (found := top.take("format", int, 0, required=True)) not in (0, FORMAT):
        raise InputError("a card of another format", where=where, expected=FORMAT, found=found, next_step=NEXT)
    adapter = _adapter(top)
    card = Card(
        name=top.take("name", str, where.parent.name, required=True, fits=bool),
        title=top.take("title", str, "", required=True, fits=bool),
        description=top.take("description", str, ""),
        tasks=_tasks(top),
        sizes=top.items("sizes", int),
        stochastic=top.take("stochastic", bool, False, required=True),
        batch=top.take("batch", int, DEFAULT_BATCH, fits=lambda batch: batch > 0),
        licence=top.take("licence", str, ""),
        citation=top.take("citation", str, ""),
        extra=top.take("extra", str, ""),
        adapter=adapter,
        config=_config(top),
        weights=_weights(top),
        training=_free(top, "training"),
        outside=_outside(top, adapter.kind),
        folder=where.parent.absolute(),
        shipped=shipped,
    )
    top.finish()
    if adapter.kind is AdapterKind.REFERENCE and not shipped:
        top.wrong("wrong value", "adapter.kind", "'reference' is that of the shipped baseline: --model reference")
    if shipped and card.name != where.parent.name:
        top.wrong("wrong value", "name", f"{card.name!r} in the folder {where.parent.name}")
    if problems:
        raise InputError(f"{len(problems)} faults in a card", where=where, problems=problems, next_step=NEXT)
    return card


def _tasks(top: Table) -> tuple[str, ...]:
    names = top.items("tasks", str, required=True)
    for name in names:
        if name not in TASKS:
            top.wrong("unknown task", "tasks", f"{name!r}: expected some of {', '.join(TASKS)}")
    return names


def _adapter(top: Table) -> AdapterSpec:
    table = top.table("adapter")
    if table is None:
        top.wrong("missing", "adapter", "the table that says how the model is run")
        return AdapterSpec(kind=AdapterKind.OUTSIDE)
    word = table.take("kind", str, "", required=True)
    if word not in set(AdapterKind):
        if word:
            table.wrong("wrong value", "kind", f"expected one of {', '.join(AdapterKind)}, found {word!r}")
        return AdapterSpec(kind=AdapterKind.OUTSIDE)
    kind = AdapterKind(word)
    match kind:
        case AdapterKind.PYTHON:
            spec = AdapterSpec(
                kind=kind, entry=table.take("entry", str, "", required=True, fits=lambda e: bool(_ENTRY.fullmatch(e)))
            )
        case AdapterKind.SUBPROCESS:
            seconds = table.seconds("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)
            command = table.items("command", str, required=True)
            if not command:
                table.wrong("wrong value", "command", "no program is named")
            spec = AdapterSpec(kind=kind, command=command, timeout_seconds=seconds)
        case AdapterKind.DIRECTORY:
            spec = AdapterSpec(kind=kind, folder=table.take("folder", str, "", required=True, fits=bool))
        case AdapterKind.OUTSIDE | AdapterKind.REFERENCE:
            spec = AdapterSpec(kind=kind)
    table.finish()
    return spec


def _config(top: Table) -> dict[str, object]:
    config = _free(top, "config")
    try:
        fingerprint(config)
    except (TypeError, ValueError):
        top.wrong("wrong value", "config", "holds a date, a time, NaN or an infinity")
        return {}
    return config


def _free(top: Table, key: str) -> dict[str, object]:
    table = top.table(key)
    return {} if table is None else table.rest()


def _plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and Path(name).name == name


def _weights(top: Table) -> Weights | None:
    table = top.table("weights")
    if table is None:
        return None
    weights = Weights(
        file=table.take("file", str, "", required=True, fits=_plain_name),
        sha256=table.take("sha256", str, "", required=True, fits=is_digest),
        source=" ".join(filter(None, (table.take("url", str, ""), table.take("source", str, "")))),
    )
    table.finish()
    return weights


def _outside(top: Table, kind: AdapterKind) -> Outside | None:
    table = top.table("outside")
    if table is None:
        if kind is AdapterKind.OUTSIDE:
            top.wrong("missing", "outside", "a model that runs elsewhere says how")
        return None
    outside = Outside(
        how=table.take("how", str, "", required=True),
        import_from=table.take("import_from", str, ""),
        export_layout=table.take("export_layout", str, ""),
        published=table.items("published", str),
    )
    table.finish()
    return outside


def load_card(path: Path) -> Card:
    """The card in a ``card.toml``, or in the folder of one. Raises InputError with every fault."""
    return _load(path / CARD_FILE if path.is_dir() else path, shipped=False)


def _load(path: Path, *, shipped: bool) -> Card:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
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
