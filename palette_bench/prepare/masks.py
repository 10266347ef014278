"""The free-form masks of a set's items: generated ones, and the files that the authors released."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palette_bench.common.canonical import file_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.freeform import freeform_masks
from palette_bench.images.types import HoleMask
from palette_bench.protocol.definition import Protocol, Rule
from palette_bench.protocol.tasks import FreeformBrush, Task, TaskKind


@dataclass(frozen=True, slots=True)
class ReleasedMasks:
    """A mask file that was released with the paper; mask k belongs to line k of the set's list."""

    file_name: str
    sha256: str
    set_name: str
    count: int


RELEASED = (
    ReleasedMasks(
        "imagenet_freeform_masks.npz",
        "e302a537d0c17ebeaf53e27c6cccb78cb0cc9c201916876e491e5ecc2e172626",
        "imagenet-ctest10k",
        10_000,
    ),
)


def recognise(path: Path, protocol: Protocol, known: Sequence[ReleasedMasks] = RELEASED) -> ReleasedMasks:
    """The released mask file that ``path`` is, for this protocol. Raises InputError or UsageError."""
    mine = [released for released in known if released.set_name == protocol.name]
    if not mine or protocol.selection.rule is Rule.LIST:
        raise UsageError(
            f"no mask file was released for {protocol.set_id}",
            expected=f"one of {', '.join(released.set_name for released in known)} with its own list",
            next_step="leave --released-masks out: masks are then generated",
        )
    digest = file_digest(path)
    for released in mine:
        if released.sha256 == digest:
            return released
    raise InputError(
        "this is not the released mask file",
        where=path,
        expected=f"sha256 {mine[0].sha256} ({mine[0].file_name})",
        found=f"sha256 {digest}",
        next_step="compare the file with its source, or leave --released-masks out: masks are then generated",
    )


def freeform_tasks(protocol: Protocol) -> list[Task]:
    """The tasks of a protocol whose holes are free-form."""
    return [task for task in protocol.tasks if task.kind is TaskKind.FREEFORM_HOLE]


def generate(protocol: Protocol, item_id: str, tasks: Sequence[Task]) -> list[HoleMask]:
    """The generated masks [size, size] of one item, one for each of ``tasks``."""
    if not tasks:
        return []
    brush = tasks[0].brush or FreeformBrush()
    # SCORE: what keys the bits of a mask.
    purpose = [protocol.name, protocol.version, "freeform", item_id]
    return freeform_masks(purpose, protocol.size, brush, [task.area_percent for task in tasks])
