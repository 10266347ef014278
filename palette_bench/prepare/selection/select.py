"""From a protocol and a source to the items of a set, in protocol order, every digest checked."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from palette_bench.common.canonical import lines_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import name_fault
from palette_bench.images.decode import IMAGE_SUFFIXES
from palette_bench.prepare.selection.ctest10k import ctest10k
from palette_bench.prepare.selection.tfds_order import tfds_order
from palette_bench.prepare.sources.datasets import PLACES_CATEGORIES, LabelledSource
from palette_bench.prepare.sources.labels import (
    IMAGENET_VAL_IMAGES,
    LISTED_IMAGENET,
    base_name,
    imagenet_name,
    labels_digest,
    read_lines,
)
from palette_bench.protocol.definition import Family, Protocol, Rule, Selection

REFERENCE_SUFFIXES = frozenset((".png", ".jpg"))
"""What follows the id in the file names of references and conditions."""

UNSAFE_CHARACTERS = frozenset('\\:*?"<>|')


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a set. ``name`` is the source's, ``id`` names files; ``label`` is a class index or None."""

    id: str
    name: str
    label: int | None


def item_id(name: str) -> str:
    """The name without its extension, if it has that of an image: what conditions and predictions are called."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def with_list(protocol: Protocol, list_file: Path) -> tuple[Protocol, list[str]]:
    """The protocol with the list of a file in place of its own rule, and the names in the file's order."""
    names = [_listed_name(protocol.family, line) for line in _lines(list_file)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            "a list names images twice",
            where=list_file,
            expected="every image once",
            problems=[Problem("duplicate", name, "") for name in twice],
            next_step="remove the lines that repeat",
        )
    selection = Selection(rule=Rule.LIST, count=len(names), list_sha256=lines_digest(names))
    return protocol.with_variant(selection=selection), names


def _listed_name(family: Family, line: str) -> str:
    """The name of an image as its source has it; a list may have paths of any system, and of ImageNet labels too."""
    if family is Family.FOLDER:
        return line.replace("\\", "/").removeprefix("./")
    if family is Family.IMAGENET and (match := LISTED_IMAGENET.search(line)):
        return imagenet_name(int(match[1]))
    return base_name(line)


def _lines(list_file: Path) -> list[str]:
    names = read_lines(list_file, kind="list")
    if not names:
        raise InputError(
            "a list is empty",
            where=list_file,
            expected="one image name a line",
            found="no line",
            next_step="write the names into it, or leave --list out",
        )
    return names


def select(protocol: Protocol, labelled: LabelledSource, listed: Sequence[str] | None = None) -> list[Item]:
    """The items of the set, in protocol order. Raises InputError with everything that is wrong."""
    selection = protocol.selection
    names = list(listed) if listed is not None else _names(protocol.family, selection, labelled)
    _check_list(selection, names, labelled)
    _check_present(names, labelled)
    if selection.item_labels_sha256 is not None:
        _check_item_labels(selection.item_labels_sha256, names, labelled)
    items = [Item(item_id(name), name, labelled.labels.get(name)) for name in names]
    _check_ids(items, labelled.source.where)
    return items


def select_reference(protocol: Protocol, reference: str, labelled: LabelledSource) -> list[str]:
    """Names of the images of a FID reference set, in its order. Raises InputError when one is missing."""
    selection = protocol.references[reference]
    names = _names(protocol.family, selection, labelled)
    _check_list(selection, names, labelled)
    _check_present(names, labelled)
    return names


def _names(family: Family, selection: Selection, labelled: LabelledSource) -> list[str]:
    match selection.rule:
        case Rule.TFDS_RANGE:
            every = tfds_order(imagenet_name(n) for n in range(1, IMAGENET_VAL_IMAGES + 1))
            return every[selection.start : selection.start + (selection.count or 0)]
        case Rule.CTEST10K:
            return _ctest10k(selection, labelled)
        case Rule.LOWEST_NUMBERS:
            return _lowest_numbers(selection, labelled)
        case Rule.ALL if family is Family.IMAGENET:
            return [imagenet_name(n) for n in range(1, IMAGENET_VAL_IMAGES + 1)]
        case Rule.ALL if family is Family.PLACES:
            return sorted(labelled.labels)
        case _:
            return sorted(labelled.source.names())


def _ctest10k(selection: Selection, labelled: LabelledSource) -> list[str]:
    labels = labelled.labels
    if len(labels) == IMAGENET_VAL_IMAGES:
        if labels_digest(labels, list(labels)) != selection.labels_sha256:
            raise InputError(
                "the labels are not those of ILSVRC 2012",
                where=labelled.labels_from,
                expected=f"sha256 {selection.labels_sha256} over 'name label' lines, classes sorted by wnid",
                found=labels_digest(labels, list(labels)),
                next_step="a usual cause is another class order or an offset of one; "
                "the devkit's ground-truth file and class folders are read as they are",
            )
        numbers = {number: labels[imagenet_name(number)] for number in range(1, IMAGENET_VAL_IMAGES + 1)}
        chosen = {
            imagenet_name(n) for n in ctest10k(numbers, excluded=selection.excluded_numbers, count=selection.count or 0)
        }
    else:
        chosen = set(labelled.source.names())
        if lines_digest(sorted(chosen)) != selection.sorted_list_sha256:
            raise InputError(
                "the labels of all 50,000 images are needed to select ctest10k",
                where=labelled.labels_from or labelled.source.where,
                expected="class folders with all images, or exactly those of ctest10k, or a label file for all images",
                found=f"{len(chosen)} images, {len(labels)} labels",
                next_step="give a label file with --labels: lines 'name label', or the devkit's ground-truth file",
            )
    return [name for name in tfds_order(imagenet_name(n) for n in range(1, IMAGENET_VAL_IMAGES + 1)) if name in chosen]


def _lowest_numbers(selection: Selection, labelled: LabelledSource) -> list[str]:
    by_category: defaultdict[int, list[str]] = defaultdict(list)
    for name in sorted(labelled.labels):
        by_category[labelled.labels[name]].append(name)
    short = [
        Problem("short-category", str(category), f"{len(by_category[category])} images")
        for category in range(PLACES_CATEGORIES)
        if len(by_category[category]) < selection.per_category
    ]
    if short:
        raise InputError(
            "the label file lacks images of some categories",
            where=labelled.labels_from,
            expected=f"at least {selection.per_category} images for each of {PLACES_CATEGORIES} categories",
            problems=short,
            next_step="give the whole label file of the dataset with --labels",
        )
    return sorted(name for names in by_category.values() for name in names[: selection.per_category])


def _check_list(selection: Selection, names: Sequence[str], labelled: LabelledSource) -> None:
    if selection.count is not None and len(names) != selection.count:
        raise InputError(
            "the selection has the wrong number of images",
            where=labelled.labels_from or labelled.source.where,
            expected=selection.count,
            found=len(names),
        )
    if selection.list_sha256 is not None and (digest := lines_digest(list(names))) != selection.list_sha256:
        raise InputError(
            "the computed list is not the published one",
            where=labelled.labels_from or labelled.source.where,
            expected=f"sha256 {selection.list_sha256}",
            found=digest,
            next_step="the labels are wrong: give the label file of ILSVRC 2012",
        )


def _check_present(names: Sequence[str], labelled: LabelledSource) -> None:
    held = set(labelled.source.names())
    missing = [Problem("missing", name, "") for name in names if name not in held]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} images are not in the source",
            where=labelled.source.where,
            expected=f"{len(names)} images",
            found=len(names) - len(missing),
            problems=missing,
            next_step="complete the source, or check --source and --list",
        )


def _check_item_labels(expected: str, names: Sequence[str], labelled: LabelledSource) -> None:
    unlabelled = [Problem("unlabelled", name, "") for name in names if name not in labelled.labels]
    if unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(names)} images have no label",
            where=labelled.labels_from or labelled.source.where,
            expected="a class for every image",
            problems=unlabelled,
            next_step="give a label file with --labels: lines 'name label', or the devkit's ground-truth file",
        )
    if (digest := labels_digest(labelled.labels, names)) != expected:
        raise InputError(
            "the labels of the selected images are not those of ILSVRC 2012",
            where=labelled.labels_from,
            expected=f"sha256 {expected} over 'name label' lines, classes sorted by wnid",
            found=digest,
            next_step="a usual cause is another class order or an offset of one",
        )


def _check_ids(items: Sequence[Item], where: Path) -> None:
    """Ids become file names: they must be safe, and unique even where letter case is ignored."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    ids = {item.id for item in items}
    for item in items:
        if not item.id.isprintable() or UNSAFE_CHARACTERS & set(item.id):
            problems.append(Problem("unsafe-name", repr(item.name), "has characters that file systems refuse"))
        elif (fault := name_fault(item.id)) is not None:
            problems.append(Problem("unsafe-name", repr(item.name), fault))
        above = [folder for folder in PurePosixPath(item.id).parents if folder.suffix in REFERENCE_SUFFIXES]
        if any(str(folder.with_suffix("")) in ids for folder in above):
            problems.append(Problem("unsafe-name", item.name, "its folder is called like another image's file"))
        folded = unicodedata.normalize("NFC", item.id).casefold()
        if folded in seen:
            problems.append(Problem("duplicate", item.name, f"the same id as {seen[folded]}"))
        seen[folded] = item.name
    if problems:
        raise InputError(
            "some images would get the same or an impossible file name",
            where=where,
            expected="names that differ in more than letter case and extension",
            problems=problems,
            next_step="rename or remove them",
        )
