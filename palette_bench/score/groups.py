"""Parts of a set whose numbers are wanted by themselves: classes, a list of categories, bands of hole size.

A group's FID compares its predictions with the evaluation set's references of the same items, never with the full
reference set: against that, a group would be charged with not being the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.prepare.sources import scenes32
from palette_bench.protocol.definition import Family
from palette_bench.score.gate import Checked

BAND_PERCENT = 5
"""Width of a band of hole size, in percent of the image."""


class Grouping(StrEnum):
    """How items are grouped."""

    CLASS = "class"
    HOLE_SIZE = "hole-size"
    CATEGORIES = "categories"


@dataclass(frozen=True, slots=True)
class Group:
    """Items ``rows``, by their places in protocol order, in ascending order."""

    grouping: Grouping
    name: str
    rows: tuple[int, ...]


def class_names(eval_set: EvalSet) -> tuple[str, ...]:
    """Names of the classes by label: a folder set's class folders, wnids, scenes32's; Places' are numbers."""
    if eval_set.family is Family.FOLDER:
        return eval_set.classes
    if eval_set.family is Family.SCENES32:
        return scenes32.CLASSES
    if eval_set.family is Family.IMAGENET:
        from timm.data import ImageNetInfo

        return tuple(ImageNetInfo("imagenet-1k").label_names())
    return ()


def by_class(eval_set: EvalSet) -> list[Group]:
    """A group for each class, in the order of labels. Raises UsageError for a set without labels."""
    if not eval_set.labelled:
        raise UsageError("the items of this set have no classes", where=eval_set.set_id, expected="a set with labels")
    names = class_names(eval_set)
    rows: dict[int, list[int]] = {}
    for item in eval_set.items:
        rows.setdefault(item.label or 0, []).append(item.index)
    return [
        Group(Grouping.CLASS, names[label] if label < len(names) else str(label), tuple(rows[label]))
        for label in sorted(rows)
    ]


def by_hole_size(checked: Sequence[Checked]) -> list[Group]:
    """A group for each band of `BAND_PERCENT` that holds items, smallest holes first; none where nothing is hidden."""
    rows: dict[int, list[int]] = {}
    for row in checked:
        if row.hole_share is not None:
            rows.setdefault(min(int(row.hole_share * 100 / BAND_PERCENT), 99 // BAND_PERCENT), []).append(row.index)
    return [
        Group(Grouping.HOLE_SIZE, f"{BAND_PERCENT * band}-{BAND_PERCENT * (band + 1)} %", tuple(rows[band]))
        for band in sorted(rows)
    ]


def of_categories(eval_set: EvalSet, path: Path) -> Group:
    """The items whose class is in the list at ``path``, one name or number a line; ``#`` begins a remark.

    Raises InputError with every line that is no class of the set, and for a list that matches nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("a list of categories cannot be read", where=path, found=error) from error
    names = class_names(eval_set)
    if not eval_set.labelled:
        raise UsageError("the items of this set have no classes", where=eval_set.set_id, expected="a set with labels")
    labels = {item.label for item in eval_set.items}
    known = {name: label for label, name in enumerate(names)} | {
        str(label): label for label in labels if label is not None
    }
    wanted: set[int] = set()
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if name and name not in known:
            problems.append(Problem("unknown class", f"line {number}", name))
        elif name:
            wanted.add(known[name])
    rows = tuple(item.index for item in eval_set.items if item.label in wanted)
    if problems or not rows:
        raise InputError(
            "a list of categories does not fit the set",
            where=path,
            expected=f"one class of {eval_set.set_id} a line, such as {names[0] if names else '0'}",
            found=f"{len(problems)} unknown of {len(lines)} lines" if problems else "no item of the set",
            problems=problems,
            next_step="correct the list",
        )
    return Group(Grouping.CATEGORIES, path.name.removesuffix(path.suffix), rows)
