"""How work is divided among machines, and among the processes of one torchrun."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from palette_bench.common.errors import UsageError

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Part:
    """Part ``number`` of ``count``, from 1."""

    number: int = 1
    count: int = 1

    def of(self, rows: Sequence[_Row], *, together: int = 1) -> list[_Row]:
        """The rows of this part, in order: every ``count``-th run of ``together`` consecutive rows.

        Runs are the same however many parts there are, so whoever does a part sees the batches that all would see.
        """
        return [row for place, row in enumerate(rows) if place // together % self.count == self.number - 1]

    @property
    def whole(self) -> bool:
        """Whether this part is everything."""
        return self.count == 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Part()


def parse_part(text: str) -> Part:
    """``2/4`` as a `Part`; UsageError for anything else."""
    number, _, count = text.partition("/")
    if not (number.isascii() and number.isdigit() and count.isascii() and count.isdigit()) or not (
        1 <= int(number) <= int(count)
    ):
        raise UsageError("this is no part of the work", expected="I/N with I from 1 to N, for example 2/4", found=text)
    return Part(int(number), int(count))


@dataclass(frozen=True, slots=True)
class Rank:
    """This process among those of a torchrun; ``local`` is its place on this machine of ``local_count``."""

    part: Part = WHOLE
    local: int = 0
    local_count: int = 1


def rank_of_this_process() -> Rank:
    """What torchrun says of this process in its environment, without torch; a process alone without it."""
    size = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" not in os.environ or size == "1":
        return Rank()
    return Rank(
        Part(int(os.environ["RANK"]) + 1, int(size)),
        local=int(os.environ["LOCAL_RANK"]),
        local_count=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
