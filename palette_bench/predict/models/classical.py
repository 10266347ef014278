"""What the classical methods share: one output from one input, their parameters, and their libraries as extras.

The methods are in ``classical_holes``, ``classical_jpeg`` and ``classical_colour``. None has a network: they are the
floor that a trained model has to beat. docs/baselines.md lists them with their sources.
"""

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, make_dataclass
from types import ModuleType
from typing import Annotated, Any, ClassVar

from annotated_types import Gt

from palette_bench.common import schema
from palette_bench.common.errors import UsageError
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.protocol.tasks import TaskKind


class OneByOne(ABC):
    """An adapter whose every output is a function of its own input alone.

    ``kinds`` are the kinds of task that it is for. Building it for another raises UsageError.
    """

    kinds: ClassVar[frozenset[TaskKind]] = frozenset(TaskKind)

    def __init__(self, setting: Setting) -> None:
        if setting.task.kind not in self.kinds:
            raise UsageError(
                f"{type(self).__name__} cannot do this task",
                expected=f"a task of kind {' or '.join(sorted(self.kinds))}",
                found=f"{setting.task.name}, of kind {setting.task.kind.value}",
            )

    def predict(self, inputs: Sequence[ModelInput]) -> list[ImageU8]:
        """One image for each input, in order."""
        return [self.one(given) for given in inputs]

    @abstractmethod
    def one(self, given: ModelInput) -> ImageU8:
        """The output [H, W, 3] of one input."""


class Input(OneByOne):
    """The condition itself: grey, with its hole black, or the JPEG decoded. What a task costs before any model."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        parameters(setting, {})

    def one(self, given: ModelInput) -> ImageU8:
        """A copy of the condition."""
        return given.image.copy()


def parameters(setting: Setting, defaults: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a method: ``defaults``, replaced by what the card's ``[config]`` says.

    All are positive and finite, and whole where the default is. Raises InputError with every fault.
    """
    kind = _parameters(tuple(defaults.items()))
    return asdict(schema.load(kind, dict(setting.config), where="[config]"))


@functools.cache
def _parameters(defaults: tuple[tuple[str, float], ...]) -> type[Any]:
    """The dataclass of a method's numbers."""
    named = [(name, Annotated[type(value), Gt(0)], value) for name, value in defaults]
    space = {"FILE": schema.File("classical method's [config]", next_step="mend the card")}
    return make_dataclass("Parameters", named, namespace=space, frozen=True, kw_only=True)


def library(module: str, extra: str) -> ModuleType:
    """The library that a method runs on. Raises UsageError that names the extra when it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "a library that this model runs on is not installed",
            expected=f"the module {module}",
            found=error,
            next_step=f"pip install 'palette-bench[{extra}]'",
        ) from error
