"""What the classical methods share: one output from one input, their parameters, and their libraries as extras.

The methods are in ``classical_holes``, ``classical_jpeg`` and ``classical_colour``. None has a network: they are the
floor that a trained model has to beat. docs/baselines.md lists them with their sources.
"""

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import ClassVar

from palette_bench.common.errors import InputError, Problem, UsageError
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
    chosen = dict(defaults)
    problems = []
    for key, value in setting.config.items():
        if key not in defaults:
            problems.append(Problem("unknown key", key, f"known: {', '.join(defaults) or 'none'}"))
            continue
        whole = isinstance(defaults[key], int)
        good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not good or not isinstance(value, (int, float)) or not (0 < value < math.inf):
            wanted = "a positive whole number" if whole else "a positive number"
            problems.append(Problem("wrong value", key, f"expected {wanted}, found {value!r}"))
            continue
        chosen[key] = value
    if problems:
        raise InputError(
            "a classical method is configured wrongly", where="[config]", problems=problems, next_step="mend the card"
        )
    return chosen


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
