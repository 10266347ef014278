"""How many raters and items a study needs."""

import math
from dataclasses import dataclass

from palette_bench.study.estimates import planned_half_width

ITEM_COUNTS = (50, 100, 150, 200, 300, 400, 600, 1000, 2000, 5000, 10_000)
MOST_RATERS = 10_000
ITEMS_PER_RATER = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A design that is precise enough; ``half_width`` of a 95 % interval, 0 to 1."""

    items: int
    raters: int
    items_per_rater: int
    trials: int
    half_width: float

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


def plans(half_width: float, *, models: int, rater_sd: float, item_sd: float) -> list[Plan]:
    """For each number of items the fewest raters that reach ``half_width``, a rater seeing at most 50 items."""
    found = []
    for items in ITEM_COUNTS:
        each = min(items, ITEMS_PER_RATER)

        def width(raters: int, items: int = items, each: int = each) -> float:
            trials = raters * each / models
            return planned_half_width(items, raters, math.floor(trials) or 1, rater_sd=rater_sd, item_sd=item_sd)

        if width(MOST_RATERS) > half_width:
            continue
        low, high = 1, MOST_RATERS
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if width(middle) <= half_width else (middle + 1, high)
        found.append(Plan(items=items, raters=low, items_per_rater=each, trials=low * each, half_width=width(low)))
    return found
