"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from palette_bench.cli import console
from palette_bench.common.progress import Progress, Silent

if TYPE_CHECKING:
    from palette_bench.common.parts import Part

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


_NETWORK_OPTIONS = (
    click.option(
        "--allow-other-weights", is_flag=True, help="Accept weights of another digest: comparable with nothing."
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
    click.option("--batch-size", type=click.IntRange(1), help="Images a batch: moves no number beyond rounding."),
    jobs,
)


def compute(function: _F) -> _F:
    """Options of how networks run, and ``--jobs``: the command takes them as one ``compute``.

    Under torchrun ``cuda`` becomes the rank's own GPU, and ranks of one machine share its processors.
    """

    @wraps(function)
    def with_compute(
        *arguments: object,
        allow_other_weights: bool,
        device: str,
        backend: str,
        bfloat16: bool,
        batch_size: int | None,
        jobs: int | None,
        **others: object,
    ) -> object:
        from palette_bench.score.backbones.base import Backend
        from palette_bench.score.engine import Compute, Precision

        made = Compute(
            device=device_of_rank(device),
            backend=Backend(backend),
            precision=Precision.BFLOAT16 if bfloat16 else Precision.FLOAT32,
            batch_size=batch_size,
            jobs=jobs or jobs_of_rank(),
            allow_other_weights=allow_other_weights,
        )
        return function(*arguments, compute=made, **others)

    decorated: Any = with_compute
    for option in reversed(_NETWORK_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def device_of_rank(device: str) -> str:
    """``cuda`` as the GPU of this rank."""
    from palette_bench.score import ranks

    group = ranks.of_this_process()
    return f"cuda:{group.local}" if device == "cuda" and not group.part.whole else device


def jobs_of_rank() -> int:
    """All processors, shared with the other ranks of this machine."""
    from palette_bench.common.workers import default_jobs
    from palette_bench.score import ranks

    return max(default_jobs() // ranks.of_this_process().local_count, 1)


def progress() -> Progress:
    """Bars from the first rank alone."""
    from palette_bench.score import ranks

    return console.progress() if ranks.of_this_process().first else Silent()


def part_of(shard: str | None) -> "Part | None":
    """``--shard``. Raises UsageError for a part of a rank."""
    from palette_bench.common.errors import UsageError
    from palette_bench.common.parts import parse_part
    from palette_bench.score import ranks

    if shard is None:
        return None
    part = parse_part(shard)
    if not ranks.of_this_process().part.whole:
        raise UsageError(
            "torchrun divides the work already", expected="torchrun or --shard", found="both", next_step="leave one out"
        )
    return part


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
