"""Which item, and which sample of it, an output is: from its name, or from its place in a list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.naming import Items, Matched, Placed, collect
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.images.decode import IMAGE_SUFFIXES
from palette_bench.predict.importing.conventions import STEM, Convention
from palette_bench.prepare.sources.labels import read_lines

IN_ORDER = Path("set")
"""In place of a list: the order of the set."""


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


@dataclass(frozen=True, slots=True)
class Rule:
    """How files are called: the pattern of their paths, whether a user wrote it, and what a user leaves out.

    With a pattern of the user's own the group ``id`` is an item's name as it stands, and files that it does not match
    are left out; else they are faults. ``exclude`` are shell patterns of a path, or of its last part.
    """

    pattern: re.Pattern[str]
    own: bool = False
    exclude: tuple[str, ...] = ()

    def chosen(self, paths: Sequence[str], convention: Convention) -> list[str]:
        """The files that are outputs. Raises UsageError for an ``exclude`` that matches nothing, or everything."""
        problems = [text for text in self.exclude if not any(_excluded(path, (text,)) for path in paths)]
        if problems:
            raise UsageError(
                "--exclude leaves out nothing", expected="a pattern of some files, as a shell has it", found=problems[0]
            )
        left = [path for path in _without_clutter(paths, convention) if not _excluded(path, self.exclude)]
        if self.own:
            left = [path for path in left if self.pattern.fullmatch(path)]
        if not left:
            raise UsageError(
                "no file is left of the outputs",
                expected="--pattern and --exclude that leave the outputs",
                found=f"{len(paths)} files, {paths[0]} the first",
            )
        return left


def _excluded(path: str, patterns: Sequence[str]) -> bool:
    parts = PurePosixPath(path).parts
    return any(fnmatchcase(path, pattern) or any(fnmatchcase(part, pattern) for part in parts) for pattern in patterns)


def match_files(paths: Sequence[str], eval_set: EvalSet, convention: Convention, rule: Rule) -> Matched:
    """Files by name."""
    requested = rule.chosen(paths, convention)
    items = Items(eval_set)
    placed: list[Placed] = []
    problems: list[Problem] = []
    for path in requested:
        known = _place(path, items, rule)
        if known is None:
            problems.append(Problem("extra", path, items.nearest(path)))
        else:
            placed.append(known)
    return collect(placed, problems, eval_set, len(paths) - len(requested))


def _without_clutter(paths: Sequence[str], convention: Convention) -> list[str]:
    left = list(paths)
    if convention.subfolder is not None:
        inside = [path for path in left if convention.subfolder in PurePosixPath(path).parts[:-1]]
        left = inside or left
    if convention.clutter is not None:
        clutter = re.compile(convention.clutter, re.IGNORECASE)
        left = [path for path in left if not clutter.fullmatch(path)]
    return left


def _place(path: str, items: Items, rule: Rule) -> Placed | None:
    found = rule.pattern.fullmatch(path)
    if found is None:
        return None
    groups = found.groupdict()
    name = (groups.get("folder") or "") + groups["id"]
    if not rule.own and groups.get("sample") is None:
        return items.place(path, name)
    index = items.exactly(name)
    sample = groups.get("sample") or "0"
    known = index is not None and sample.isascii() and sample.isdigit()
    return Placed(path, index, int(sample)) if known and index is not None else None


def read_order(path: Path, eval_set: EvalSet) -> list[int]:
    """The items that the lines of a file name, in its order; of ``IN_ORDER`` those of the set.

    Raises InputError with all lines that name none.

    A line is an id or a file name, with or without folders before it, and maybe a label after it.
    """
    if path == IN_ORDER:
        return list(range(eval_set.count))
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
        parts = text.replace("\\", "/").split("/")
        for start in range(len(parts)):
            rest = "/".join(parts[start:])
            without = re.fullmatch(STEM, rest, re.IGNORECASE)
            for name in (rest, without["id"] if without else rest):
                if (index := items.exactly(name)) is not None:
                    return index
    return None


def match_rows(rows: Sequence[int], eval_set: EvalSet, order: Sequence[int], *, padded: bool) -> Matched:
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
    placed: list[Placed] = []
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
                placed.append(Placed(row, order[row]))
        start = end
    return collect(placed, problems, eval_set, dropped)


def _repeats(order: Sequence[int], row: int) -> bool:
    return order[row] in order[:row]


def match_sorted(
    paths: Sequence[str], eval_set: EvalSet, convention: Convention, rule: Rule, order: Sequence[int]
) -> Matched:
    """Image files whose names say nothing but their order, by a list of ids.

    Numbers count as numbers. With a pattern of the user's own its group ``id`` is what is sorted by.
    """
    requested = rule.chosen(paths, convention)

    def place(path: str) -> list[tuple[int, str]]:
        own = rule.pattern.fullmatch(path) if rule.own else None
        text = path if own is None else own["id"]
        return [(len(word), word) if word.isdigit() else (0, word) for word in re.split(r"(\d+)", text)]

    ranked = sorted(requested, key=lambda path: (place(path), path))
    matched = match_rows([len(ranked)], eval_set, order, padded=False)
    places = {
        index: tuple(ranked[row] for row in rows if isinstance(row, int)) for index, rows in matched.places.items()
    }
    return Matched(places, matched.problems, matched.ignored + len(paths) - len(requested))
