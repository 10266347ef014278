"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
ANY_PATH = click.Path(path_type=Path)


def jobs(function: _F) -> _F:
    """``--jobs N``."""
    return click.option(
        "--jobs", type=click.IntRange(1, 256), default=None, help="Processes to use.  [default: all processors]"
    )(function)


def as_json(function: _F) -> _F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result for programs, as JSON.")(function)


def replace_record(function: _F) -> _F:
    """``--replace``."""
    return click.option("--replace", is_flag=True, help="Write over a record of other predictions.")(function)
