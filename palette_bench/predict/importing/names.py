"""Which item, and which sample of it, an output is: from its name, or from its place in a list."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.images.decode import IMAGE_SUFFIXES
from palette_bench.predict.importing.conventions import STEM, Convention
from palette_bench.prepare.export import file_names
from palette_bench.prepare.sources.labels import read_lines

BELONGS_NOWHERE = "belongs to no item"
_NUMBERED = re.compile(r"(?P<id>.+)[_/](?P<sample>\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """Where the outputs of each item are: ``places[index]`` one place for each sample, in order.

    A place is a path, or the row of an array. ``ignored`` says how many files were left out.
    """

    places: Mapping[int, tuple[str | int, ...]]
    problems: tuple[Problem, ...]
    ignored: int = 0

    @property
    def samples(self) -> int:
        """Samples an item."""
        return max(map(len, self.places.values()), default=1)


class Items:
    """The items of a set by everything that a file may be called."""

    def __init__(self, eval_set: EvalSet) -> None:
        self.items = eval_set.items
        self._by_id = {item.id: item.index for item in eval_set.items}
        try:
            flat = file_names(list(self._by_id), flat=True)
        except InputError:
            # Flat names that collide are nobody's.
            flat = {}
        self._by_name = {flat[item]: index for item, index in self._by_id.items() if item in flat} | self._by_id

    def exactly(self, text: str) -> int | None:
        """The item that is called so."""
        return self._by_name.get(text)

    def place(self, text: str) -> tuple[int, int] | None:
        """Item and sample of ``<id>``, ``<id>_<k>`` or ``<id>/<k>``, whatever folders are before it."""
        parts = text.split("/")
        for start in range(len(parts)):
            rest = "/".join(parts[start:])
            if (index := self.exactly(rest)) is not None:
                return index, 0
            if (match := _NUMBERED.fullmatch(rest)) and (index := self.exactly(match["id"])) is not None:
                return index, int(match["sample"])
        return None


def pattern_of(
    convention: Convention, pattern: str | None, strip_prefix: str | None, strip_suffix: str | None
) -> re.Pattern[str]:
    """The regular expression of names. Raises UsageError for one that is none, or has no group ``id``."""
    if pattern is not None and (strip_prefix is not None or strip_suffix is not None):
        raise UsageError("--pattern says it all", expected="--pattern, or what to strip", found="both")
    if strip_prefix is not None or strip_suffix is not None:
        suffixes = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
        before, after = re.escape(strip_prefix or ""), re.escape(strip_suffix or "")
        pattern = rf"(?P<folder>(?:.*/)?){before}(?P<id>[^/]+?){after}(?:{suffixes})"
    try:
        compiled = re.compile(pattern or convention.pattern, re.IGNORECASE)
    except re.error as error:
        raise UsageError("--pattern is not a regular expression", expected="one of Python's", found=error) from error
    if "id" not in compiled.groupindex:
        raise UsageError("--pattern has no group for the item", expected="a group (?P<id>...)", found=pattern)
    return compiled


def match_files(
    paths: Sequence[str], eval_set: EvalSet, convention: Convention, pattern: re.Pattern[str], *, exact: bool
) -> Found:
    """Files by name. ``exact``: the group ``id`` is an item's name as it stands, because the user wrote the pattern."""
    wanted = _without_clutter(paths, convention)
    items = Items(eval_set)
    placed: list[tuple[str | int, int, int]] = []
    problems: list[Problem] = []
    for path in wanted:
        place = _place(path, items, pattern, exact=exact)
        if place is None:
            problems.append(Problem("extra", path, BELONGS_NOWHERE))
        else:
            placed.append((path, *place))
    return _collect(placed, problems, eval_set, len(paths) - len(wanted))


def _without_clutter(paths: Sequence[str], convention: Convention) -> list[str]:
    wanted = list(paths)
    if convention.subfolder is not None:
        inside = [path for path in wanted if convention.subfolder in PurePosixPath(path).parts[:-1]]
        wanted = inside or wanted
    if convention.clutter is not None:
        clutter = re.compile(convention.clutter, re.IGNORECASE)
        wanted = [path for path in wanted if not clutter.fullmatch(path)]
    return wanted


def _place(path: str, items: Items, pattern: re.Pattern[str], *, exact: bool) -> tuple[int, int] | None:
    match = pattern.fullmatch(path)
    if match is None:
        return None
    groups = match.groupdict()
    name = (groups.get("folder") or "") + groups["id"]
    if not exact and groups.get("sample") is None:
        return items.place(name)
    index = items.exactly(name)
    sample = groups.get("sample") or "0"
    return None if index is None or not sample.isascii() or not sample.isdigit() else (index, int(sample))


def _collect(
    placed: Iterable[tuple[str | int, int, int]], problems: list[Problem], eval_set: EvalSet, ignored: int
) -> Found:
    """All outputs by item; samples may be numbered from 0 or from 1, but for all items alike."""
    found: defaultdict[int, dict[int, str | int]] = defaultdict(dict)
    for place, index, sample in placed:
        if sample in found[index]:
            problems.append(Problem("duplicate", str(place), f"the same output as {found[index][sample]}"))
        else:
            found[index][sample] = place
    numbers = sorted({sample for samples in found.values() for sample in samples})
    for item in eval_set.items:
        if item.index not in found:
            problems.append(Problem("missing", item.id, ""))
        elif sorted(found[item.index]) != numbers:
            have = ", ".join(map(str, sorted(found[item.index])[:8]))
            problems.append(Problem("missing-samples", item.id, f"others have {len(numbers)}, this one: {have}"))
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        problems.append(
            Problem("missing-samples", "all items", f"numbers {', '.join(map(str, numbers[:8]))} have gaps")
        )
    places = {index: tuple(samples[k] for k in sorted(samples)) for index, samples in sorted(found.items())}
    return Found(places, tuple(problems), ignored)


def read_order(path: Path, eval_set: EvalSet) -> list[int]:
    """The items that the lines of a file name, in its order. Raises InputError with all lines that name none.

    A line is an id or a file name, with or without folders before it, and maybe a label after it.
    """
    items = Items(eval_set)
    indices: list[int] = []
    problems: list[Problem] = []
    for number, line in enumerate(read_lines(path, kind="list of ids"), 1):
        index = _listed(line, items)
        if index is None:
            problems.append(Problem("unknown", f"line {number}", line))
        else:
            indices.append(index)
    if problems or not indices:
        raise InputError(
            "a list of ids names what is not in the set" if problems else "a list of ids is empty",
            where=path,
            expected=f"lines like {eval_set.items[0].id}",
            problems=problems,
            next_step="give the list that the outputs were made from; export writes one, list.txt",
        )
    return indices


def _listed(line: str, items: Items) -> int | None:
    for text in (line, line.split()[0]):
        parts = text.split("/")
        for start in range(len(parts)):
            rest = "/".join(parts[start:])
            stem = re.fullmatch(STEM, rest, re.IGNORECASE)
            for name in (rest, stem["id"] if stem else rest):
                if (index := items.exactly(name)) is not None:
                    return index
    return None


def match_rows(rows: Sequence[int], eval_set: EvalSet, order: Sequence[int], *, padded: bool) -> Found:
    """Rows of arrays by a list of ids; ``rows`` are the lengths of the parts.

    Where the convention pads its parts, an item that the list repeats at the end of a part is a repetition and left
    out. Raises InputError when there are not as many rows as lines.
    """
    count = sum(rows)
    if count != len(order):
        raise InputError(
            "there are not as many outputs as lines in the list",
            expected=f"{len(order)} outputs",
            found=f"{count}" + (f" in parts of {', '.join(map(str, rows))}" if len(rows) > 1 else ""),
            next_step="give the list that they were made from"
            + (", with the lines that the last batch repeats" if padded and count > len(order) else ""),
        )
    placed: list[tuple[str | int, int, int]] = []
    problems: list[Problem] = []
    seen: dict[int, int] = {}
    dropped = start = 0
    for length in rows:
        end = start + length
        last = end
        while padded and last > start and _repeats(order, last - 1):
            last -= 1
        dropped += end - last
        for row in range(start, last):
            if order[row] in seen:
                item = eval_set.items[order[row]].id
                problems.append(
                    Problem("duplicate", f"row {row}", f"the list names {item} in row {seen[order[row]]} too")
                )
            else:
                seen[order[row]] = row
                placed.append((row, order[row], 0))
        start = end
    return _collect(placed, problems, eval_set, dropped)


def _repeats(order: Sequence[int], row: int) -> bool:
    return order[row] in order[:row]


def match_sorted(paths: Sequence[str], eval_set: EvalSet, order: Sequence[int]) -> Found:
    """Image files whose names say nothing but their order, by a list of ids."""
    ranked = sorted(
        paths, key=lambda path: [(len(word), word) if word.isdigit() else (0, word) for word in _words(path)]
    )
    found = match_rows([len(ranked)], eval_set, order, padded=False)
    named = {index: tuple(ranked[row] for row in rows if isinstance(row, int)) for index, rows in found.places.items()}
    return Found(named, found.problems, found.ignored)


def _words(path: str) -> list[str]:
    return re.split(r"(\d+)", path)
