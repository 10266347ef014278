"""What every command prints with: progress on stderr, results on stdout."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from palette_bench.common.progress import Progress, Silent, Task

if TYPE_CHECKING:
    from rich.table import Table as Drawn

    from palette_bench.publish.tables.table import Table


class _BarTask:
    def __init__(self, bar: "object", number: int) -> None:
        self._bar = bar
        self._number = number

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self._bar.advance(self._number, count)  # type: ignore[attr-defined]


class Terminal:
    """Progress bars with rate and time left, on stderr."""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        """Draw a bar until the block ends."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.progress import Task as BarTask
        from rich.text import Text

        class RateColumn(ProgressColumn):
            def render(self, task: BarTask) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:.1f} {unit}/s" if speed else "")

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn())
        with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
            yield _BarTask(bar, bar.add_task(label, total=total))

    def note(self, message: str) -> None:
        """One line on stderr."""
        click.echo(message, err=True)


class _Notes(Silent):
    """No bars, but notes: for output that nobody watches."""

    def note(self, message: str) -> None:
        """One line on stderr."""
        click.echo(message, err=True)


def progress() -> Progress:
    """Bars when stderr is a terminal, notes alone otherwise."""
    return Terminal() if sys.stderr.isatty() else _Notes()


def print_json(value: object) -> None:
    """A result for programs."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))


def print_table(table: "Table | Drawn") -> None:
    """A result for people; as wide as it needs when stdout is not a terminal."""
    from rich.console import Console

    from palette_bench.publish.tables.render import terminal
    from palette_bench.publish.tables.table import Table

    shown = Console() if sys.stdout.isatty() else Console(width=200)
    if not isinstance(table, Table):
        shown.print(table)
        return
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for part in terminal(table, width=shown.width, styled=styled):
        if isinstance(part, str):
            click.echo(part)
        else:
            shown.print(part)


@contextmanager
def refreshed(draw: "Callable[[], Drawn]", *, seconds: float = 2.0) -> Iterator[None]:
    """Keep a table at the bottom of stderr while the block runs, drawn anew; nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    import threading

    from rich.console import Console
    from rich.live import Live

    stop = threading.Event()
    with Live(console=Console(stderr=True), auto_refresh=False) as live:

        def redraw() -> None:
            while not stop.wait(seconds):
                live.update(draw(), refresh=True)

        thread = threading.Thread(target=redraw, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
