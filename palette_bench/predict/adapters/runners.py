"""From a card to something that turns a batch of inputs into images, whatever kind of adapter it is."""

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError
from palette_bench.images.decode import IMAGE_SUFFIXES, BadImageError
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import Adapter, Place, Runner, Setting, Wanted, read_image
from palette_bench.predict.adapters.checks import checked_outputs, items_of
from palette_bench.predict.adapters.subprocess_runner import SubprocessRunner
from palette_bench.predict.card import AdapterKind, Card

SHOWN_FRAMES = 3


def build_runner(card: Card, place: Place) -> Runner:
    """The runner of a card. Raises what ``check_runnable`` and building the model raise."""
    check_runnable(card)
    match card.adapter.kind:
        case AdapterKind.SUBPROCESS:
            return SubprocessRunner(card, place)
        case AdapterKind.DIRECTORY:
            return DirectoryRunner(card, place)
        case _:
            return PythonRunner(card, place)


def check_runnable(card: Card) -> None:
    """Raise UsageError for a model that runs elsewhere, with how that is done."""
    if card.adapter.kind is not AdapterKind.OUTSIDE:
        return
    outside = card.outside
    steps = [outside.how.strip()] if outside else []
    if outside and outside.export_layout:
        steps.append(f"its inputs: palette-bench export --layout {outside.export_layout}")
    if outside and outside.import_from:
        steps.append(f"its outputs: palette-bench import --from {outside.import_from}")
    raise UsageError(
        f"{card.name} does not run here",
        expected="a model that palette-bench can run",
        found="a model whose outputs are imported",
        next_step="\n            ".join(steps) or None,
    )


class PythonRunner:
    """A class in this process."""

    def __init__(self, card: Card, place: Place) -> None:
        self._card = card
        _search(card, place)
        kind = _adapter_class(card)
        setting = Setting(
            task=place.task, size=place.size, device=place.device, config=dict(card.config), weights=place.weights
        )
        with _told(card, "cannot be built", place.task.name):
            self._adapter: Adapter = kind(setting)
        if not callable(getattr(self._adapter, "predict", None)):
            raise InputError(
                f"model {card.name} is no adapter", where=card.adapter.entry, expected="a method predict(inputs)"
            )
        if place.device == "cpu" and (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)

    def run(self, batch: Sequence[Wanted]) -> list[ImageU8]:
        """What the class's ``predict`` returns, checked."""
        inputs = [wanted.given for wanted in batch]
        with _told(self._card, "failed", items_of(inputs)):
            outputs = self._adapter.predict(inputs)
            # A generator does its work here.
            if isinstance(outputs, Iterator):
                outputs = list(outputs)
        return checked_outputs(self._card.name, inputs, outputs)

    def close(self) -> None:
        """Call the adapter's ``close`` if it has one."""
        close = getattr(self._adapter, "close", None)
        if callable(close):
            with contextlib.suppress(Exception):
                close()


def _search(card: Card, place: Place) -> None:
    """Let modules beside a user's card be found; for a class without a card, those of the current folder."""
    folder = place.search if card.folder is None else card.folder
    if folder is not None and not card.shipped and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _adapter_class(card: Card) -> type:
    module_name, _, class_name = card.adapter.entry.partition(":")
    next_step = f"pip install 'palette-bench[{card.extra}]'" if card.extra else "check the name, and PYTHONPATH"
    with _told(card, "cannot be imported", card.adapter.entry, next_step):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                raise UsageError(
                    "no such model", expected="a module that can be imported", found=module_name, next_step=next_step
                ) from error
            raise
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise UsageError(
            "no such model",
            where=getattr(module, "__file__", None) or module_name,
            expected=f"a class {class_name}",
            found="nothing of this name" if found is None else type(found).__name__,
        )
    return found


@contextmanager
def _told(card: Card, what: str, where: str, next_step: str | None = None) -> Iterator[None]:
    """Whatever a model raises becomes an error that names the model, the items and the line."""
    try:
        yield
    except PaletteBenchError:
        raise
    except Exception as error:
        raise InputError(
            f"model {card.name} {what}",
            where=where,
            found=_account(error),
            next_step=next_step or "finished work is kept; palette-bench adapter check tries a model on a few images",
        ) from error


def _account(error: Exception) -> str:
    """An exception and the innermost lines that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__] or frames
    lines = [f"{type(error).__name__}: {error}"]
    lines += [f"    {frame.filename}:{frame.lineno} in {frame.name}" for frame in own[-SHOWN_FRAMES:]]
    return "\n            ".join(lines)


class DirectoryRunner:
    """Finished outputs in a folder: ``<id>.png`` or ``<id>/<k>.png``, or another format of still images.

    ``{set}`` and ``{task}`` in the folder's name stand for those of the run.
    """

    def __init__(self, card: Card, place: Place) -> None:
        self._card = card
        self._samples = place.samples
        name = card.adapter.folder.replace("{set}", place.set_id).replace("{task}", place.task.name)
        self._folder = (card.folder or Path.cwd()) / name
        if not self._folder.is_dir():
            raise InputError(
                f"the outputs of model {card.name} are not here",
                where=self._folder,
                expected="a folder of images",
                found="nothing",
                next_step="put the outputs there, or correct `folder` in the card",
            )

    def run(self, batch: Sequence[Wanted]) -> list[ImageU8]:
        """The files of a batch, decoded and checked."""
        images: list[ImageU8] = []
        problems: list[Problem] = []
        for wanted in batch:
            stem = wanted.given.id if self._samples == 1 else f"{wanted.given.id}/{wanted.sample}"
            try:
                images.append(read_image(self._find(stem)))
            except FileNotFoundError:
                problems.append(Problem("missing", f"{stem}.png", ""))
            except (OSError, BadImageError) as error:
                problems.append(Problem("undecodable", stem, str(error)))
        if problems:
            raise InputError(
                f"the outputs of model {self._card.name} are not complete",
                where=self._folder,
                expected="an image for each item and sample",
                problems=problems,
                next_step="complete the folder and run the same command again",
            )
        return checked_outputs(self._card.name, [wanted.given for wanted in batch], images)

    def _find(self, stem: str) -> Path:
        paths = (self._folder / f"{stem}{suffix}" for suffix in (".png", *sorted(IMAGE_SUFFIXES - {".png"})))
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(stem)
        return path

    def close(self) -> None:
        """Nothing was started."""
