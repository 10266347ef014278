"""Whether the intervals of fool rates cover: studies are simulated, and the intervals that hold the truth are counted.

python -m benchmarks.coverage fool-rate --repetitions 1000

Raters and items have rates of their own, normal around the truth with standard deviations 0.10 and 0.18 (between the
published values of dgm-eval's raters and what SR3's appendix shows of items); a trial is a coin with the sum of both.
The truth is the mean over all raters and items that could have been drawn. The Monte Carlo error of a coverage c over R
repetitions is sqrt(c (1 - c) / R).
"""

from dataclasses import dataclass

import numpy as np

from palette_bench.study.estimates import difference, rate

RATER_SD, ITEM_SD = 0.10, 0.18
_POPULATION = 400_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of intervals that held the truth, and the mean half width of the two-way one."""

    two_way: float
    binomial: float
    differences: float
    half_width: float


def coverage(*, items: int, raters: int, sets: int, repetitions: int, seed: int, truth: float = 0.4) -> Coverage:
    """``sets`` sets of ``items`` items, each seen by ``raters`` raters of its own; two models share both."""
    rng = np.random.default_rng(seed)
    held = naive = paired = 0
    widths = []
    population = np.clip(truth + rng.normal(0, np.hypot(RATER_SD, ITEM_SD), _POPULATION), 0, 1).mean()
    who, what = (grid.ravel() for grid in np.meshgrid(np.arange(raters), np.arange(items), indexing="ij"))
    raters_of = np.concatenate([who + raters * s for s in range(sets)])
    items_of = np.concatenate([what + items * s for s in range(sets)])
    # A Latin square of two models: everybody sees half the items with each.
    first = (raters_of + items_of) % 2 == 0
    for _ in range(repetitions):
        by_rater = rng.normal(0, RATER_SD, raters * sets)
        by_item = rng.normal(0, ITEM_SD, items * sets)
        share = np.clip(truth + by_rater[raters_of] + by_item[items_of], 0, 1)
        fooled = (rng.uniform(size=len(share)) < share).astype(np.float64)
        found = rate(fooled, raters_of, items_of)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= population <= found.high
        naive += found.naive_low <= population <= found.naive_high
        widths.append((found.high - found.low) / 2)
        gap = difference(
            (fooled[first], raters_of[first], items_of[first]), (fooled[~first], raters_of[~first], items_of[~first])
        )
        assert gap is not None
        assert gap.low is not None
        assert gap.high is not None
        paired += gap.low <= 0.0 <= gap.high
    return Coverage(held / repetitions, naive / repetitions, paired / repetitions, float(np.mean(widths)))


def show(repetitions: int) -> None:
    """Print a line for each design; the second is the paper's."""
    print("items x raters x sets   two-way   binomial   differences   half width")
    for items, raters, sets in ((100, 50, 1), (50, 50, 2), (100, 20, 1), (20, 100, 1), (50, 10, 2)):
        found = coverage(items=items, raters=raters, sets=sets, repetitions=repetitions, seed=1)
        print(
            f"{items:5} x {raters:3} x {sets}       {100 * found.two_way:6.1f} %   {100 * found.binomial:6.1f} %"
            f"   {100 * found.differences:6.1f} %      {100 * found.half_width:6.2f} points"
        )
