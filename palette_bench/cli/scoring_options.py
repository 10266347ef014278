"""Options that commands share that run networks, and how they become what scoring takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH
from palette_bench.common.progress import Progress, Silent

if TYPE_CHECKING:
    from palette_bench.common.parts import Part
    from palette_bench.score.ranks import Ranks

_F = TypeVar("_F", bound=Callable[..., Any])


def networks(function: _F) -> _F:
    """``--allow-other-weights``, ``--device``, ``--backend``, ``--bfloat16`` and ``--batch-size``."""
    for option in reversed(
        (
            click.option(
                "--allow-other-weights",
                is_flag=True,
                help="Accept weights of another digest: comparable with nothing.",
            ),
            click.option("--device", default="cpu", show_default=True, help="Where the networks run, e.g. cuda."),
            click.option(
                "--backend",
                type=click.Choice(["auto", "torch", "onnx"]),
                default="auto",
                show_default=True,
                help="What runs the networks; onnx needs the extra palette-bench[onnx].",
            ),
            click.option(
                "--bfloat16",
                is_flag=True,
                help="Networks in bfloat16 on a GPU: faster, features off by 1e-2, comparable with nothing else.",
            ),
            click.option(
                "--batch-size", type=click.IntRange(1), help="Images a batch: moves no number beyond rounding."
            ),
        )
    ):
        function = option(function)
    return function


def groups(function: _F) -> _F:
    """``--by`` and ``--categories``."""
    for option in reversed(
        (
            click.option(
                "--by",
                multiple=True,
                type=click.Choice(["class", "hole-size"]),
                help="Numbers of every class, or band of hole size; may be given twice.",
            ),
            click.option(
                "--categories",
                multiple=True,
                type=ANY_PATH,
                help="File of classes, one a line: the numbers of their items together.",
            ),
        )
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands: among torchrun's ranks, on a device, with so many processors."""

    ranks: "Ranks"
    device: str
    jobs: int

    def progress(self) -> Progress:
        """Bars from the first rank alone."""
        return console.progress() if self.ranks.first else Silent()


def place(device: str, jobs: int | None, part: "Part | None" = None) -> Place:
    """This process's place; ``cuda`` becomes the rank's own GPU. Raises UsageError for a part of a rank."""
    from palette_bench.common.errors import UsageError
    from palette_bench.common.workers import default_jobs
    from palette_bench.score import ranks

    group = ranks.of_this_process()
    if part is not None and not group.part.whole:
        raise UsageError(
            "torchrun divides the work already", expected="torchrun or --shard", found="both", next_step="leave one out"
        )
    if device == "cuda" and not group.part.whole:
        device = f"cuda:{group.local}"
    return Place(group, device, jobs or max(default_jobs() // group.local_count, 1))


def part_of(text: str | None) -> "Part | None":
    """``--shard``."""
    from palette_bench.common.parts import parse_part

    return None if text is None else parse_part(text)


def run_name(preds: Path) -> str:
    """What a run is called that was not given a name."""
    return preds.resolve().name.removesuffix(".npz")
