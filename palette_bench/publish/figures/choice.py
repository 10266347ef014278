"""Which items of a set a figure shows, and how they were chosen: the caption and the account say it."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.artifacts.evalset import EvalItem, EvalSet
from palette_bench.common.errors import Problem, UsageError

DEFAULT_COUNT = 5
MOST_NAMED = 12
"""Ids in a caption; the account has all."""


class How(StrEnum):
    """How items came into a figure."""

    SPREAD = "spread"
    """Evenly over the set in protocol order: nobody looked."""
    BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Choice:
    """The items in the order of their rows."""

    items: tuple[EvalItem, ...]
    how: How
    of: int

    @property
    def rule(self) -> str:
        """The rule from which anybody gets the same items."""
        if self.how is How.BY_HAND:
            return "named by whoever made the figure"
        return f"item floor(i * {self.of} / {len(self.items)}) of the protocol order, i = 0..{len(self.items) - 1}"

    @property
    def sentence(self) -> str:
        """What a caption says of it."""
        ids = ", ".join(item.id for item in self.items[:MOST_NAMED])
        if len(self.items) > MOST_NAMED:
            ids += f" and {len(self.items) - MOST_NAMED} more"
        how = "chosen by hand" if self.how is How.BY_HAND else "spread evenly over the set in protocol order"
        return f"{len(self.items)} of {self.of:,} items, {how}: {ids}."

    def as_json(self) -> dict[str, object]:
        """Plain data for the account."""
        return {"how": self.how.value, "rule": self.rule, "of": self.of}


def choose(eval_set: EvalSet, *, ids: Sequence[str] = (), count: int | None = None) -> Choice:
    """The items of these ids, or ``count`` spread evenly (``DEFAULT_COUNT`` or all, where neither is given).

    Raises UsageError for ids that the set does not have or that come twice, for more items than there are, for both.
    """
    if ids and count is not None:
        raise UsageError("two ways to choose items", expected="ids or a count", found="both")
    if ids:
        return Choice(_named(eval_set, ids), How.BY_HAND, eval_set.count)
    count = min(DEFAULT_COUNT, eval_set.count) if count is None else count
    if not 1 <= count <= eval_set.count:
        raise UsageError("no such number of items", where=eval_set.set_id, expected=f"1..{eval_set.count}", found=count)
    return Choice(
        tuple(eval_set.items[i * eval_set.count // count] for i in range(count)),
        How.SPREAD,
        eval_set.count,
    )


def _named(eval_set: EvalSet, ids: Sequence[str]) -> tuple[EvalItem, ...]:
    by_id = {item.id: item for item in eval_set.items}
    problems: list[Problem] = []
    for place, name in enumerate(ids):
        if name not in by_id:
            near = difflib.get_close_matches(name, by_id, 1)
            problems.append(Problem("unknown", name, f"did you mean {near[0]}?" if near else ""))
        elif name in ids[:place]:
            problems.append(Problem("named twice", name, ""))
    if problems:
        raise UsageError(
            "these items cannot be drawn",
            where=eval_set.set_id,
            expected=f"ids of the set's manifest, such as {eval_set.items[0].id}, each once",
            problems=problems,
        )
    return tuple(by_id[name] for name in ids)
