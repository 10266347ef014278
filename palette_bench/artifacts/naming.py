"""Which item, and which sample of it, a file of outputs is: one reading of names for all commands."""

import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.listing import Listing
from palette_bench.images.decode import HEAD_BYTES, IMAGE_SUFFIXES, is_lfs_pointer

BELONGS_NOWHERE = "belongs to no item"
FIRST_LOOKED_AT = 16
_QUALITIES = frozenset(range(5, 100, 5))
_WORD = r"(?:samples?|seed|run|rep|out|output|s|k|n|v)?"
_SAMPLE_AT_END = re.compile(rf"(?:[_/.\- ]+{_WORD}[_\-# ]*(\d{{1,9}})| ?\((\d{{1,9}})\))$", re.ASCII | re.IGNORECASE)
_SAMPLE_FOLDER = re.compile(rf"{_WORD}[_\-# ]*(\d{{1,9}})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Placed:
    """An output with the item it is of. ``sample`` is None where its name has no number; ``folder`` is its folder's.

    ``bare`` is whether the folder's name is the number alone, which may be anything: a sample, or a JPEG quality.
    """

    place: str | int
    index: int
    sample: int | None = None
    folder: int | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """The outputs of each item: ``places[index]`` has one for each sample, in order; and all faults of the names.

    A place is a path, or the row of an array. ``ignored`` says how many files were left out.
    """

    places: Mapping[int, tuple[str | int, ...]]
    problems: tuple[Problem, ...]
    ignored: int = 0

    @property
    def samples(self) -> int:
        """Samples per item."""
        return max(map(len, self.places.values()), default=1)


def file_names(ids: Sequence[str], *, flat: bool) -> dict[str, str]:
    """What the file of each item is called. In a flat layout ``/`` becomes ``__``. Raises InputError if two collide."""
    names = {item: item.replace("/", "__") if flat else item for item in ids}
    seen: dict[str, str] = {}
    problems = []
    for item, name in names.items():
        if seen.setdefault(name, item) != item:
            problems.append(Problem("same-name", item, f"would be called {name}, as {seen[name]}"))
    if problems:
        raise InputError(
            "some items would have the same file name in one folder",
            expected="ids that differ when / is written as __",
            problems=problems,
            next_step="use --layout plain",
        )
    return names


def stem(path: str) -> str:
    """A path without the extension of an image; both slashes separate, letters are composed (NFC)."""
    text = unicodedata.normalize("NFC", path.replace("\\", "/"))
    return str(PurePosixPath(text).with_suffix("")) if PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES else text


class Items:
    """The items of a set by everything that a file may be called."""

    def __init__(self, eval_set: EvalSet) -> None:
        self.items = eval_set.items
        self._by_id = {unicodedata.normalize("NFC", item.id): item.index for item in eval_set.items}
        try:
            flat = file_names(list(self._by_id), flat=True)
        except InputError:
            # Flat names that collide are nobody's.
            flat = {}
        self._by_name = {flat[item]: index for item, index in self._by_id.items() if item in flat} | self._by_id
        self._folded = {name.casefold(): name for name in self._by_id}

    def exactly(self, text: str) -> int | None:
        """The item that is called so, whatever the form of its letters; the extension of its source may follow."""
        text = unicodedata.normalize("NFC", text)
        index = self._by_name.get(text)
        return self._by_name.get(stem(text)) if index is None else index

    def place(self, path: str, name: str) -> Placed | None:
        """The item and sample of ``<id>``, ``<id>_<k>`` or ``<id>/<k>``, whatever folders are before it.

        ``name`` is what is left of the path ``path`` of a file without its extension. Numbers may be those of seeds,
        and may have a word before them.
        """
        parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
        for start in range(len(parts)):
            rest = "/".join(parts[start:])
            folder = _SAMPLE_FOLDER.fullmatch(parts[start - 1]) if start else None
            in_folder = int(folder[1]) if folder else None
            bare = folder is not None and folder[0].isdigit()
            if (index := self.exactly(rest)) is not None:
                return Placed(path, index, None, in_folder, bare)
            if (match := _SAMPLE_AT_END.search(rest)) and (index := self.exactly(rest[: match.start()])) is not None:
                return Placed(path, index, int(match[1] or match[2]), in_folder, bare)
        return None

    def nearest(self, path: str) -> str:
        """What is wrong with the name of a file of no item."""
        near = self._folded.get(stem(path).casefold())
        return f"differs from item {near} in letter case" if near is not None else BELONGS_NOWHERE


def match(paths: Sequence[str], eval_set: EvalSet) -> Matched:
    """Files by the items that they are called after, and everything wrong with their names and number."""
    items = Items(eval_set)
    placed: list[Placed] = []
    problems: list[Problem] = []
    for path in paths:
        known = items.place(path, stem(path))
        if known is None:
            problems.append(Problem("extra", path, items.nearest(path)))
        else:
            placed.append(known)
    return collect(placed, problems, eval_set, 0)


def collect(placed: Sequence[Placed], problems: list[Problem], eval_set: EvalSet, ignored: int) -> Matched:
    """All outputs by item. Samples may be numbered in any way, but all items' alike.

    Where files in several folders have one name, and the folders have numbers, these are the samples. Bare ``10`` and
    ``20`` are more likely JPEG qualities, and which one is meant is not guessed.
    """
    by_item: defaultdict[int, dict[int, str | int]] = defaultdict(dict)
    unnumbered = [output for output in placed if output.sample is None]
    folders = sorted({-1 if output.folder is None else output.folder for output in unnumbered})
    qualities = any(output.bare for output in unnumbered) and _QUALITIES.issuperset(folders)
    in_folders = len({output.index for output in unnumbered}) < len(unnumbered) and folders[0] >= 0 and not qualities
    for output in placed:
        number = output.sample if output.sample is not None else output.folder if in_folders else 0
        samples = by_item[output.index]
        if number in samples:
            problems.append(Problem("duplicate", str(output.place), f"the same output as {samples[number]}"))
        else:
            samples[number or 0] = output.place
    counts = Counter(tuple(sorted(samples)) for samples in by_item.values())
    numbers = list(max(counts.items(), key=lambda row: (row[1], len(row[0])))[0]) if counts else []
    for item in eval_set.items:
        if item.index not in by_item:
            problems.append(Problem("missing", item.id, ""))
        elif sorted(by_item[item.index]) != numbers:
            have = ", ".join(map(str, sorted(by_item[item.index])[:8]))
            expected = f"{', '.join(map(str, numbers[:8]))}{' ...' if len(numbers) > 8 else ''}"
            problems.append(Problem("missing-samples", item.id, f"expected samples {expected}, found {have}"))
    places = {index: tuple(samples[k] for k in sorted(samples)) for index, samples in sorted(by_item.items())}
    return Matched(places, tuple(problems), ignored)


def refuse_pointers(listing: Listing, paths: Sequence[str]) -> None:
    """Raise InputError if files of outputs are git-lfs pointers and not images; the first few tell."""
    if not any(map(is_lfs_pointer, listing.heads(paths[:FIRST_LOOKED_AT], HEAD_BYTES))):
        return
    raise InputError(
        "these files are git-lfs pointers, not the images",
        where=listing.where,
        expected="images",
        found=f"{sum(map(is_lfs_pointer, listing.heads(paths, HEAD_BYTES)))} pointers of {len(paths)} files",
        next_step="the repository was cloned without git-lfs: git lfs pull",
    )


def ready_command(where: Path, paths: Sequence[str], eval_set: EvalSet, task: str) -> str | None:
    """The ``import`` command that reads outputs all of whose names are wrong; None where no rule is seen in them.

    What comes before and after the ids is looked for, then a numbering of as many files as there are items.
    """
    stems = sorted(PurePosixPath(stem(path)).name for path in paths)
    if not stems:
        return None
    # --order set: the order of the numbers is that of the set.
    options = _stripping(stems, eval_set) or ("--order set" if _numbered(stems, eval_set.count) else None)
    if options is None:
        return None
    words = f"--from generic --set {eval_set.set_id} --task {task} {options} --out PREDS"
    return f"palette-bench import {shlex.quote(str(where))} {words}"


def _stripping(stems: Sequence[str], eval_set: EvalSet) -> str | None:
    """``--strip-prefix`` and ``--strip-suffix`` that make the stems the ids, if such there are."""
    names = [unicodedata.normalize("NFC", item.id) for item in eval_set.items]
    last = {PurePosixPath(name).name for name in names}
    ids = sorted(last | {name.replace("/", "__") for name in names}, key=len, reverse=True)
    first = stems[0]
    known = frozenset(ids)
    for item in (item for item in ids if item in first):
        start = first.index(item)
        before, after = first[:start], first[start + len(item) :]
        if all(
            text.startswith(before) and text.endswith(after) and text[len(before) : len(text) - len(after)] in known
            for text in stems
        ):
            parts = (("--strip-prefix", before), ("--strip-suffix", after))
            return " ".join(f"{option}={shlex.quote(text)}" for option, text in parts if text)
    return None


def _numbered(stems: Sequence[str], count: int) -> bool:
    """Whether as many stems as there are items differ in a number only, which counts them."""
    before = _common_start(stems).rstrip("0123456789")
    after = _common_start([text[::-1] for text in stems]).rstrip("0123456789")
    middle = [text[len(before) : len(text) - len(after)] for text in stems]
    if len(middle) != count or not all(text.isascii() and text.isdigit() for text in middle):
        return False
    numbers = sorted(map(int, middle))
    return numbers == list(range(numbers[0], numbers[0] + count))


def _common_start(texts: Sequence[str]) -> str:
    least, most = min(texts), max(texts)
    return next((least[:k] for k in range(len(least)) if least[k] != most[k : k + 1]), least)
