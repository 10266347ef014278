"""Who is best: ranks of comparable numbers, and which of their differences the error bars do not decide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.score.recipes.base import Direction

SURE = 1.96
"""A difference counts when it exceeds this many joint standard errors."""


class Place(StrEnum):
    """How a ranked number is set off."""

    BEST = "best"
    SECOND = "second"
    OTHER = ""


@dataclass(frozen=True, slots=True)
class Contender:
    """A number that may be ranked. ``error`` is None where none is known; ``rounding`` is half a unit of its last digit
    where only printed digits are known, else 0."""

    value: float
    error: float | None
    rounding: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Rank from 1, equal for equal values; ``undecided`` are the indices of those ahead that it may well equal."""

    rank: int
    undecided: tuple[int, ...]
    place: Place


def undecided(one: Contender, other: Contender) -> bool:
    """Whether a difference lies within ``SURE`` joint standard errors and the rounding of printed digits.

    An unknown error counts as none: then the other's alone decides. Where neither is known nothing can be said, and
    printed digits stand as they are.
    """
    if one.error is None and other.error is None:
        return False
    margin = SURE * math.hypot(one.error or 0.0, other.error or 0.0) + one.rounding + other.rounding
    return abs(one.value - other.value) <= margin


def standings(numbers: Sequence[Contender | None], direction: Direction) -> list[Standing | None]:
    """The standing of each number among all; None for None.

    One number alone is not called best, nor the lesser of two second.
    """
    sign = 1.0 if direction is Direction.LOWER else -1.0
    present = [(index, number) for index, number in enumerate(numbers) if number is not None]
    found: list[Standing | None] = [None] * len(numbers)
    for index, number in present:
        ahead = [(place, other) for place, other in present if sign * other.value < sign * number.value]
        rank = len(ahead) + 1
        place = Place.OTHER
        if rank == 1 and len(present) > 1:
            place = Place.BEST
        elif rank == 2 and len(present) > 2:
            place = Place.SECOND
        found[index] = Standing(rank, tuple(place for place, other in ahead if undecided(number, other)), place)
    return found
