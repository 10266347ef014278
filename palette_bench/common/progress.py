"""How long work reports its progress, without knowing who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work that is under way."""

    def advance(self, count: int = 1) -> None:
        """``count`` more units are done."""


class Progress(Protocol):
    """Somebody who shows progress: a terminal's bar, a log, nobody."""

    def task(self, label: str, total: int, unit: str) -> AbstractContextManager[Task]:
        """Start showing work of ``total`` units named ``unit``."""

    def note(self, message: str) -> None:
        """Show one line that is not a result."""


class _SilentTask:
    def advance(self, count: int = 1) -> None:
        """Nobody is told."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Nothing is drawn."""
        yield _SilentTask()

    def note(self, message: str) -> None:
        """Nothing is printed."""
