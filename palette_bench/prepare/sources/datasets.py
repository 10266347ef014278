"""Sources of the known datasets: ImageNet val, Places365 val, and any folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from palette_bench.common.errors import InputError, Problem
from palette_bench.common.listing import Listing, Source, list_files
from palette_bench.images.decode import HEAD_BYTES, IMAGE_SUFFIXES, format_of, is_readable
from palette_bench.prepare.sources.labels import (
    IMAGENET_CLASSES,
    IMAGENET_NAME,
    WNID,
    find_label_file,
    imagenet_name,
    read_imagenet_labels,
    read_places_labels,
    wnids_to_indices,
)
from palette_bench.prepare.sources.parquet import parquet_files, read_parquet
from palette_bench.protocol.definition import Family

PLACES_NAME = re.compile(r"Places365_val_(\d{8})\.jpe?g", re.IGNORECASE)
PLACES_CATEGORIES = 365
NEEDS_DECODER = frozenset((".heic", ".heif", ".avif"))
UNREAD_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".exr", ".svg", ".tga", ".ico"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
    )
)
PLACES_LABEL_FILE = "places365_val.txt"
PARENTS_WITH_LABELS = 4
"""How far above the images a label file of a usual name is looked for: Kaggle's lies four folders up."""


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source with what is known of its labels.

    ``labels`` may cover more images than the source holds, or fewer; ``labels_from`` names where they are from.
    ``classes`` are the class names of a folder's labels. ``images`` is the kind of files (``original``, ``val_256``).
    ``ignored`` are files that are no images, ``unread`` images of formats that are not read, ``left_out`` folders of
    thumbnails and deleted files.
    """

    source: Source
    labels: Mapping[str, int] = field(default_factory=dict)
    labels_from: Path | None = None
    classes: tuple[str, ...] = ()
    images: str = "original"
    ignored: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def open_source(family: Family, where: Path, labels: Path | None) -> LabelledSource:
    """The source at ``where`` for a set of ``family``. Raises InputError."""
    if family is Family.IMAGENET and (files := parquet_files(where)):
        source, paths, inside = read_parquet(where, files)
        labelled = label_imagenet(source, paths, labels)
        return labelled if labelled.labels else replace(labelled, labels=inside, labels_from=where)
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
    return label_imagenet(listing.source(paths), paths, label_file)


def label_imagenet(source: Source, paths: Mapping[str, str], label_file: Path | None) -> LabelledSource:
    """ImageNet val images, canonical name -> path, with the labels of a file, their folders or their names."""
    where = source.where
    wnids = {name: wnid for name, path in paths.items() if (wnid := _wnid_of(path)) is not None}
    if label_file is None:
        folder = where.absolute() if where.is_dir() else where.absolute().parent
        near = (folder, *list(folder.parents)[:PARENTS_WITH_LABELS])
        label_file = next((file for place in near if (file := find_label_file(place)) is not None), None)
    if label_file is None:
        if len(set(wnids.values())) == IMAGENET_CLASSES and len(wnids) == len(paths):
            return LabelledSource(source, wnids_to_indices(wnids, where=where), where)
        return LabelledSource(source)
    labels = read_imagenet_labels(label_file)
    if len(set(wnids.values())) == IMAGENET_CLASSES:
        folders = wnids_to_indices(wnids, where=where)
        contradictions = [
            Problem("contradiction", name, f"class folder says {folders[name]}, the label file {labels[name]}")
            for name in sorted(folders)
            if name in labels and labels[name] != folders[name]
        ]
        if contradictions:
            raise InputError(
                "the label file contradicts the class folders",
                where=label_file,
                expected=f"the classes of the folders of {where}",
                problems=contradictions,
                next_step="give the right label file, or none: the class folders say it all",
            )
    return LabelledSource(source, labels, label_file)


def _wnid_of(path: str) -> str | None:
    """The wnid in an image's name, or else that of its folder."""
    parts = PurePosixPath(path)
    if (match := IMAGENET_NAME.fullmatch(parts.name)) and match[2]:
        return match[2]
    return parts.parent.name if WNID.fullmatch(parts.parent.name) else None


def _places(listing: Listing, label_file: Path | None) -> LabelledSource:
    paths = _by_name(listing, PLACES_NAME)
    if not paths:
        raise _nothing_found(listing, "Places365_val_00000001.jpg")
    source = listing.source(paths)
    if label_file is None:
        folder = listing.where.parent if listing.is_tar else listing.where
        near = (folder / PLACES_LABEL_FILE, folder.parent / PLACES_LABEL_FILE)
        label_file = next((p for p in near if p.is_file()), None)
    if label_file is None and (labelled := _by_category(listing, source, paths)) is not None:
        return labelled
    if label_file is None:
        raise InputError(
            "the categories of the Places365 images are not known",
            where=listing.where,
            expected=f"{PLACES_LABEL_FILE} in the folder or beside it, or a folder for each of the 365 categories",
            next_step="give the file with --labels: it is in filelist_places365-standard.tar of the dataset's page",
        )
    labels = read_places_labels(label_file, PLACES_CATEGORIES)
    return LabelledSource(source, labels, label_file, images=_kind_of(listing, paths))


def _kind_of(listing: Listing, paths: Mapping[str, str]) -> str:
    return "val_large" if any("val_large" in part for part in (listing.where.name, *paths.values())) else "val_256"


def _by_category(listing: Listing, source: Source, paths: Mapping[str, str]) -> LabelledSource | None:
    """Labels of images in a folder for each category: ``apartment_building-outdoor``, or nested ``a/...``; else None.

    The dataset numbers its categories by name.
    """
    folders = {name: str(PurePosixPath(path).parent) for name, path in paths.items()}
    classes = sorted(set(folders.values()))
    if len(classes) != PLACES_CATEGORIES:
        return None
    index = {folder: number for number, folder in enumerate(classes)}
    labels = {name: index[folder] for name, folder in folders.items()}
    return LabelledSource(source, labels, listing.where, images=_kind_of(listing, paths))


def _common_folder(paths: Sequence[str]) -> str:
    """The folders, with a slash at the end, that all paths begin with."""
    least, most = min(paths).split("/")[:-1], max(paths).split("/")[:-1]
    count = next((k for k, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(len(least), len(most)))
    return "".join(f"{part}/" for part in least[:count])


def open_folder(listing: Listing) -> LabelledSource:
    """Any images, named by their relative path; labels are the first folders that differ, if every image is in one."""
    paths: dict[str, str] = {}
    ignored: list[str] = []
    unread: list[str] = []
    for path in listing.entries:
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES - NEEDS_DECODER:
            paths[path] = path
            continue
        # What is in a file decides, not what it is called.
        file_format = format_of(next(listing.heads([path], HEAD_BYTES)))
        if file_format is not None and is_readable(file_format):
            paths[path] = path
        elif file_format is not None or PurePosixPath(path).suffix.lower() in UNREAD_SUFFIXES:
            unread.append(path)
        else:
            ignored.append(path)
    if not paths:
        raise InputError(
            "the source holds no images",
            where=listing.where,
            expected=f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}",
            found=f"{len(ignored) + len(unread)} other files"
            if ignored or unread
            else f"an empty {'archive' if listing.is_tar else 'folder'}",
            next_step="point --source at the folder or .tar that holds the images",
        )
    source = listing.source(paths)
    without_labels = LabelledSource(source, ignored=tuple(ignored), unread=tuple(unread), left_out=listing.left_out)
    # A folder that holds everything, as archives often have, is no class.
    above = len(_common_folder(list(paths)))
    tops = {path: path[above:].split("/")[0] for path in paths if "/" in path[above:]}
    classes = tuple(sorted(set(tops.values())))
    if len(tops) < len(paths) or len(classes) < 2:
        return without_labels
    index = {name: i for i, name in enumerate(classes)}
    labels = {path: index[top] for path, top in tops.items()}
    return replace(without_labels, labels=labels, labels_from=listing.where, classes=classes)
