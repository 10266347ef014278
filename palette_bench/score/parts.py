"""How items are divided among machines and ranks, so that whatever computes a part computes the same chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from palette_bench.common.errors import UsageError

PART_CHUNK = 64
"""Consecutive items that stay together, so that batches are the same however many parts there are."""

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Part:
    """Part ``number`` of ``count``, from 1: every ``count``-th chunk of `PART_CHUNK` items."""

    number: int = 1
    count: int = 1

    def of(self, rows: Sequence[_Row]) -> list[_Row]:
        """The rows of this part, in order."""
        return [row for place, row in enumerate(rows) if place // PART_CHUNK % self.count == self.number - 1]

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
