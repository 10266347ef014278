"""Sources of the known datasets: ImageNet val, Places365 val, and any folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from palette_bench.common.errors import InputError, Problem
from palette_bench.common.listing import Listing, Source, list_files
from palette_bench.images.decode import IMAGE_SUFFIXES
from palette_bench.prepare.sources.labels import (
    IMAGENET_CLASSES,
    IMAGENET_NAME,
    WNID,
    imagenet_name,
    index_below,
    read_imagenet_labels,
    read_name_label_lines,
    wnids_to_indices,
)
from palette_bench.protocol.definition import Family

PLACES_NAME = re.compile(r"Places365_val_(\d{8})\.jpe?g", re.IGNORECASE)
PLACES_CATEGORIES = 365
PLACES_LABEL_FILE = "places365_val.txt"
IMAGENET_LABEL_FILE = "val_labels.txt"


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source with what is known of its labels.

    ``labels`` may cover more images than the source holds, or fewer; ``labels_from`` names where they are from.
    ``classes`` are the class names of a folder's labels. ``images`` is the kind of files (``original``, ``val_256``).
    ``ignored`` are files that are no images.
    """

    source: Source
    labels: Mapping[str, int] = field(default_factory=dict)
    labels_from: Path | None = None
    classes: tuple[str, ...] = ()
    images: str = "original"
    ignored: tuple[str, ...] = ()


def open_source(family: Family, where: Path, labels: Path | None) -> LabelledSource:
    """The source at ``where`` for a set of ``family``. Raises InputError."""
    listing = list_files(where)
    match family:
        case Family.IMAGENET:
            return _imagenet(listing, labels)
        case Family.PLACES:
            return _places(listing, labels)
        case _:
            return open_folder(listing)


def _by_name(listing: Listing, pattern: re.Pattern[str], rename: Mapping[str, str] | None = None) -> dict[str, str]:
    """Canonical name -> path of the entries whose base name matches; a name twice is an error."""
    paths: dict[str, str] = {}
    problems: list[Problem] = []
    for path in listing.entries:
        base = PurePosixPath(path).name
        if not pattern.fullmatch(base):
            continue
        name = rename.get(base, base) if rename else base
        if name in paths:
            problems.append(Problem("duplicate", path, f"the same image as {paths[name]}"))
        paths[name] = path
    if problems:
        raise InputError(
            "the source holds images twice",
            where=listing.where,
            expected="every image once",
            problems=problems,
            next_step="remove one of each, or point --source at one copy",
        )
    return paths


def _nothing_found(listing: Listing, example: str) -> InputError:
    inner = sorted({path.split("/")[0] for path in listing.entries if "/" in path})
    return InputError(
        "the source holds no image of this dataset",
        where=listing.where,
        expected=f"files named like {example}",
        found=f"{len(listing.entries)} other files" + (f" in {', '.join(inner[:5])}" if inner else ""),
        next_step="point --source at the folder or .tar that holds the validation images",
    )


def _imagenet(listing: Listing, label_file: Path | None) -> LabelledSource:
    rename = {}
    for path in listing.entries:
        base = PurePosixPath(path).name
        if match := IMAGENET_NAME.fullmatch(base):
            rename[base] = imagenet_name(int(match[1]))
    paths = _by_name(listing, IMAGENET_NAME, rename)
    if not paths:
        raise _nothing_found(listing, imagenet_name(1))
    source = listing.source(paths)
    wnids = {name: parent for name, path in paths.items() if WNID.fullmatch(parent := PurePosixPath(path).parent.name)}
    if label_file is None:
        beside = (listing.where.parent if listing.is_tar else listing.where) / IMAGENET_LABEL_FILE
        label_file = beside if beside.is_file() else None
    if label_file is None:
        if len(set(wnids.values())) == IMAGENET_CLASSES and len(wnids) == len(paths):
            return LabelledSource(source, wnids_to_indices(wnids, where=listing.where), listing.where)
        return LabelledSource(source)
    labels = read_imagenet_labels(label_file)
    if len(set(wnids.values())) == IMAGENET_CLASSES:
        folders = wnids_to_indices(wnids, where=listing.where)
        contradictions = [
            Problem("contradiction", name, f"class folder says {folders[name]}, the label file {labels[name]}")
            for name in sorted(folders)
            if name in labels and labels[name] != folders[name]
        ]
        if contradictions:
            raise InputError(
                "the label file contradicts the class folders",
                where=label_file,
                expected=f"the classes of the folders of {listing.where}",
                problems=contradictions,
                next_step="give the right label file, or none: the class folders say it all",
            )
    return LabelledSource(source, labels, label_file)


def _places(listing: Listing, label_file: Path | None) -> LabelledSource:
    paths = _by_name(listing, PLACES_NAME)
    if not paths:
        raise _nothing_found(listing, "Places365_val_00000001.jpg")
    source = listing.source(paths)
    if label_file is None:
        folder = listing.where.parent if listing.is_tar else listing.where
        near = (folder / PLACES_LABEL_FILE, folder.parent / PLACES_LABEL_FILE)
        label_file = next((p for p in near if p.is_file()), None)
    if label_file is None:
        raise InputError(
            "the categories of the Places365 images are not known",
            where=listing.where,
            expected=f"{PLACES_LABEL_FILE} in the folder or beside it",
            next_step="give the file with --labels",
        )
    labels: dict[str, int] = {}
    for name, label in read_name_label_lines(label_file).items():
        category = index_below(label, PLACES_CATEGORIES)
        if category is None:
            raise InputError(
                "a label file has a label that is no category",
                where=f"{label_file}: {name}",
                expected=f"a category index 0..{PLACES_CATEGORIES - 1}",
                found=label[:80],
                next_step=f"give the {PLACES_LABEL_FILE} of the dataset with --labels",
            )
        labels[name] = category
    kind = "val_large" if any("val_large" in part for part in (listing.where.name, *paths.values())) else "val_256"
    return LabelledSource(source, labels, label_file, images=kind)


def open_folder(listing: Listing) -> LabelledSource:
    """Any images, named by their relative path; labels are the first-level folders if every image is in one."""
    paths: dict[str, str] = {}
    ignored: list[str] = []
    for path in listing.entries:
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
            paths[path] = path
        else:
            ignored.append(path)
    if not paths:
        raise InputError(
            "the source holds no images",
            where=listing.where,
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
            found=f"{len(ignored)} other files" if ignored else f"an empty {'archive' if listing.is_tar else 'folder'}",
            next_step="point --source at the folder or .tar that holds the images",
        )
    source = listing.source(paths)
    tops = {path: path.split("/")[0] for path in paths if "/" in path}
    classes = tuple(sorted(set(tops.values())))
    if len(tops) < len(paths) or len(classes) < 2:
        return LabelledSource(source, ignored=tuple(ignored))
    index = {name: i for i, name in enumerate(classes)}
    labels = {path: index[top] for path, top in tops.items()}
    return LabelledSource(source, labels, listing.where, classes, ignored=tuple(ignored))
