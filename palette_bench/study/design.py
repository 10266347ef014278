"""Who sees what, where and in which order: a pure function of a study and a seat.

Seats are numbered from 0; groups (a set at an exposure) take turns, so that a study that stops early is balanced. In a
group, row r of the seats sees item k (in an order drawn once) with model (k + r) mod M, a cyclic Latin square: every M
rows show every item with every model once. Sides alternate in blocks of M rows, so that 2 M rows show every item with
every model on both sides once, and within a row the real image is left as often as right (one more or less where the
count is odd).
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from palette_bench.common.bits import CounterBits
from palette_bench.study.definition import Assignment, Item, Study

RESHOWN = 10_000
"""Added to a trial's number when it is shown again."""


class Kind(StrEnum):
    """What a trial is for."""

    PLATE = "plate"
    PRACTICE = "practice"
    CATCH = "catch"
    MAIN = "main"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a seat: ``item`` is a place in the list of its kind, ``model`` None where no model is judged.

    ``number`` counts from 0 in the order shown. A colour plate has neither model nor sides.
    """

    number: int
    kind: Kind
    item: int
    model: int | None
    real_left: bool


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a rater sits: the set and exposure of the group, and the row in it."""

    number: int
    set: int
    exposure_ms: int
    row: int


def seat_count(study: Study) -> int:
    """All seats of a study."""
    models = len(study.models) if study.trials.assignment is Assignment.ONE_MODEL else 1
    return study.trials.sets * len(study.trials.exposure_ms) * study.trials.raters_per_set * models


def seat_of(study: Study, number: int) -> Seat:
    """The seat of that number."""
    sets, exposures = study.trials.sets, study.trials.exposure_ms
    group, row = number % (sets * len(exposures)), number // (sets * len(exposures))
    return Seat(number, group % sets + 1, exposures[group // sets], row)


def permutation(purpose: object, count: int) -> list[int]:
    """0 .. count - 1 in an order that is a pure function of ``purpose`` (Fisher and Yates by counter-based bits)."""
    order = list(range(count))
    bits = CounterBits(purpose)
    for last in range(count - 1, 0, -1):
        chosen = int(bits.integers(0, last + 1, 1)[0])
        order[last], order[chosen] = order[chosen], order[last]
    return order


def draw(purpose: object, population: int, count: int) -> list[int]:
    """``count`` different places of ``population``, in the order drawn."""
    return permutation(purpose, population)[:count]


def trials_of(study: Study, number: int) -> tuple[Trial, ...]:
    """All trials of a seat in the order shown: colour plates, practice, then the rest with catch trials among them."""
    seat = seat_of(study, number)
    plates = [Trial(0, Kind.PLATE, place, None, False) for place in range(study.trials.plates)]
    practice = [
        Trial(0, Kind.PRACTICE, place, None, left)
        for place, left in zip(
            permutation(["study practice", study.seed, number], len(study.practice)),
            _sides(["study practice sides", study.seed, number], len(study.practice)),
            strict=True,
        )
    ]
    main = [
        Trial(0, Kind.MAIN, place, model, real_left)
        for place, (model, real_left) in zip(_places(study, seat.set), _cells(study, seat), strict=True)
    ]
    main = [main[place] for place in permutation(["study order", study.seed, number], len(main))]
    catch_order = permutation(["study catch", study.seed, number], len(study.catch))
    catch_sides = _sides(["study catch sides", study.seed, number], len(study.catch))
    slots = _spread(["study catch places", study.seed, number], len(main), len(study.catch))
    for slot, place, left in sorted(zip(slots, catch_order, catch_sides, strict=True), reverse=True):
        main.insert(slot, Trial(0, Kind.CATCH, place, None, left))
    ordered = [*plates, *practice, *main]
    return tuple(Trial(n, t.kind, t.item, t.model, t.real_left) for n, t in enumerate(ordered))


class Design:
    """A study's trials by seat, each computed once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.seats = seat_count(study)
        self._trials: dict[int, tuple[Trial, ...]] = {}

    def trials(self, seat: int) -> tuple[Trial, ...]:
        """All trials of a seat in the order shown."""
        if seat not in self._trials:
            self._trials[seat] = trials_of(self.study, seat)
        return self._trials[seat]

    def trial(self, seat: int, number: int) -> Trial | None:
        """The trial of a number, which may be that of a second showing; None where there is none."""
        trials = self.trials(seat)
        number %= RESHOWN
        return trials[number] if 0 <= number < len(trials) else None


def item_of(study: Study, trial: Trial) -> Item:
    """The item of a trial that shows images."""
    lists = {Kind.MAIN: study.items, Kind.PRACTICE: study.practice, Kind.CATCH: study.catch}
    return lists[trial.kind][trial.item]


def images_of(study: Study, trial: Trial) -> dict[str, str]:
    """Digests of what a trial shows: ``left``, ``right`` and, where the layout has it, ``middle``."""
    item = item_of(study, trial)
    output = item.outputs[trial.model or 0]
    left, right = (item.reference, output) if trial.real_left else (output, item.reference)
    return {"left": left, "right": right} | ({"middle": item.condition} if item.condition else {})


def _places(study: Study, set_number: int) -> list[int]:
    """Places in ``study.items`` of a set's items, in the order that the square is laid over."""
    places = [place for place, item in enumerate(study.items) if item.set == set_number]
    return [places[k] for k in permutation(["study square", study.seed, set_number], len(places))]


def _cells(study: Study, seat: Seat) -> list[tuple[int, bool]]:
    """Model and side (real image left) of every item in the square's order, for one row of it."""
    count, models = study.trials.items_per_set, len(study.models)
    block, turn = divmod(seat.row, models)
    if study.trials.assignment is Assignment.ONE_MODEL:
        return [(turn, (block + k) % 2 == 0) for k in range(count)]
    # Items k, k + M, k + 2 M ... have one model in a row; sides alternate along them, and the first of neighbouring
    # runs differ, so that runs of odd length cancel.
    return [((k + turn) % models, (block + k // models + k % models) % 2 == 0) for k in range(count)]


def _sides(purpose: object, count: int) -> list[bool]:
    """As many left as right, in an order drawn."""
    return [place % 2 == 0 for place in permutation(purpose, count)]


def _spread(purpose: object, length: int, count: int) -> list[int]:
    """``count`` places to insert at in a list of ``length``: one in each of equal stretches, none at its very start."""
    if not count:
        return []
    edges = np.linspace(1, length, count + 1).round().astype(int)
    bits = CounterBits(purpose)
    return [int(bits.integers(int(low), max(int(high), int(low) + 1), 1)[0]) for low, high in pairwise(edges)]
