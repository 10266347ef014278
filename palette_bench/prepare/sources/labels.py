"""Label files: which image shows what, from every form in which people keep them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from palette_bench.common.canonical import lines_digest
from palette_bench.common.errors import InputError

WNID = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000
IMAGENET_VAL_IMAGES = 50_000
IMAGENET_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?\.jpe?g", re.IGNORECASE)
"""As distributed, or as Hugging Face has them, with the wnid in the name."""
IMAGENET_LABELS_SHA256 = "4138c0cd92d2dffea9353a9339c9f352361b7c6c267d2ff989b366f154188257"
"""`labels_digest` of the labels of all 50,000 images, classes sorted by wnid."""
DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
LABEL_FILES = (DEVKIT_TRUTH, f"data/{DEVKIT_TRUTH}", "LOC_val_solution.csv", "val_labels.txt", "val.lst", "val.txt")
"""What label files are called in folders of ImageNet as it circulates."""
FORMS = "give lines with image and label, one label a line, or the devkit's ground-truth file or folder"

LISTED_IMAGENET = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?(?:\.[a-z]{3,4})?", re.IGNORECASE)
_LISTED_PLACES = re.compile(r"Places365_val_(\d{8})(?:\.[a-z]{3,4})?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(?:\.0*)?", re.ASCII)
_BETWEEN_FIELDS = re.compile(r"[,;\s]+")


def imagenet_name(number: int) -> str:
    """The file name of validation image ``number`` (1..50000)."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def places_name(number: int) -> str:
    """The file name of Places365 validation image ``number``."""
    return f"Places365_val_{number:08d}.jpg"


def labels_digest(labels: Mapping[str, int], names: Sequence[str]) -> str:
    """sha256 of ``name label`` lines, by name."""
    return lines_digest([f"{name} {labels[name]}" for name in sorted(names)])


def base_name(text: str) -> str:
    """The last part of a path of any system: both slashes separate."""
    return PureWindowsPath(text).name


def read_lines(path: Path, *, kind: str) -> list[str]:
    """The lines of a text file without blank ones. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"a {kind} file is not text",
            where=path,
            expected="UTF-8 text",
            found=error.reason,
            next_step="save it as plain UTF-8 text, or give another file",
        ) from error
    except OSError as error:
        raise InputError(
            f"a {kind} file cannot be read",
            where=path,
            expected="a text file",
            found=error.strerror or error,
            next_step=f"check the path of the {kind} file",
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a label file as words: where it stands, what it says, and the number of the image it names."""

    number: int
    text: str
    words: tuple[str, ...]
    image: int | None = None
    label: str | None = None


def _named(number: int, text: str, pattern: re.Pattern[str]) -> _Line:
    """A line, with the image that it names and its label: a wnid, or else a number, or else the next word.

    Labels follow the name (``name label``, CSV with or without a column of numbers before, Kaggle's boxes after), or
    stand before it at the end of the line (``val.lst``), or are in the name or its folder.
    """
    words = tuple(word for word in _BETWEEN_FIELDS.split(text.replace('"', " ").replace("'", " ")) if word)
    for place, word in enumerate(words):
        match = pattern.fullmatch(base_name(word))
        if match is None:
            continue
        after, before = words[place + 1 :], words[:place]
        folders = PureWindowsPath(word).parts[:-1]
        inside = [match[2]] if match.re.groups > 1 and match[2] else []
        choices = (
            [w for w in after if WNID.fullmatch(w)]
            or [w for w in after if _NUMBER.fullmatch(w)]
            or list(after[:1])
            or [w for w in before if WNID.fullmatch(w)]
            or [w for w in before[-1:] if _NUMBER.fullmatch(w)]
            or inside
            or [w for w in folders[-1:] if WNID.fullmatch(w)]
        )
        label = choices[0] if choices else None
        if label is not None and _NUMBER.fullmatch(label) and "." in label:
            label = label.partition(".")[0]
        return _Line(number, text, words, int(match[1]), label)
    return _Line(number, text, words)


def _lines_of(path: Path) -> list[str]:
    """The lines of a label file; of JSON, an object's pairs or a list's values."""
    lines = read_lines(path, kind="label")
    if not lines or lines[0][:1] not in "{[":
        return lines
    try:
        content = json.loads("\n".join(lines))
    except (ValueError, RecursionError) as error:
        raise InputError("a label file is not whole JSON", where=path, found=error, next_step=FORMS) from error
    if isinstance(content, dict):
        return [f"{name} {value[0] if isinstance(value, list) and value else value}" for name, value in content.items()]
    return [str(value) for value in content]


def _read_named(path: Path, lines: Sequence[str], pattern: re.Pattern[str], example: str, kind: str) -> dict[int, str]:
    """Label as text by number of the image. One line before the first that names an image may be a heading."""
    rows = [_named(number, text, pattern) for number, text in enumerate(lines, 1)]
    if len(rows) > 1 and rows[0].image is None and rows[1].image is not None:
        rows = rows[1:]
    labels: dict[int, str] = {}
    for row in rows:
        where = f"{path}, line {row.number}"
        if row.image is None and len(row.words) == 2 and "." in row.words[0]:
            raise InputError(
                f"a label file names something that is not {kind}",
                where=where,
                expected=example,
                found=row.words[0][:80],
                next_step=FORMS,
            )
        if row.image is None or row.label is None:
            raise InputError(
                "a label file has a line that is not 'name label'",
                where=where,
                expected="a name and a label",
                found=row.text[:80],
                next_step="correct the line, or give another file",
            )
        if row.image in labels:
            raise InputError(
                "a label file names an image twice",
                where=where,
                expected="every image once",
                found=row.text[:80],
                next_step="remove one of the lines",
            )
        labels[row.image] = row.label
    return labels


def read_places_labels(path: Path, categories: int) -> dict[str, int]:
    """Category indices of Places365 val images by name, from lines with name and number. Raises InputError."""
    labels: dict[str, int] = {}
    for number, text in _read_named(
        path, _lines_of(path), _LISTED_PLACES, places_name(1), "a Places365 val image"
    ).items():
        category = index_below(text, categories)
        if category is None:
            raise InputError(
                "a label file has a label that is no category",
                where=f"{path}: {places_name(number)}",
                expected=f"a category index 0..{categories - 1}",
                found=text[:80],
                next_step="give the places365_val.txt of the dataset with --labels",
            )
        labels[places_name(number)] = category
    return labels


def find_label_file(folder: Path) -> Path | None:
    """The label file of a folder of ImageNet, None where there is none of the usual names."""
    return next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)


def read_imagenet_labels(path: Path) -> dict[str, int]:
    """Labels of ImageNet val images by canonical name, classes numbered 0..999 by sorted wnid.

    ``path`` is a file with an image and its label in a line (text, CSV, ``.lst``, JSON; label a class index or a
    wnid), or with a label a line for images 1..50000 (wnids, class indices, or the devkit's ILSVRC2012_IDs 1..1000
    with its ``meta.mat`` beside it or in ``data``); or a folder that has one. Class indices that count from 1 are
    told from the devkit's by the digest of all labels. Raises InputError.
    """
    if path.is_dir():
        file = find_label_file(path)
        if file is None:
            raise InputError(
                "a folder of labels is not the devkit's, and has no other label file",
                where=path,
                expected=f"{', '.join(LABEL_FILES)} in it",
                found="no such file",
                next_step=FORMS,
            )
        path = file
    lines = _lines_of(path)
    first = [_named(0, line, LISTED_IMAGENET) for line in lines[:2]]
    if lines and all(row.image is None for row in first) and all(_is_label(row.words) for row in first[-1:]):
        return _numbered(path, lines)
    by_number = _read_named(path, lines, LISTED_IMAGENET, imagenet_name(1), "an ImageNet val image")
    by_name = {imagenet_name(number): label for number, label in by_number.items()}
    values = set(by_name.values())
    if values and all(WNID.fullmatch(v) for v in values):
        return wnids_to_indices(by_name, where=path)
    from_one = _counted_from_one(by_name)
    return from_one or {name: _class_index(label, path, name) for name, label in by_name.items()}


def _is_label(words: Sequence[str]) -> bool:
    return bool(words) and (WNID.fullmatch(words[0]) is not None or all(_NUMBER.fullmatch(word) for word in words))


def _counted_from_one(by_name: Mapping[str, str]) -> dict[str, int] | None:
    """Indices of labels 1..1000 that are those of ILSVRC 2012 when one is taken off, else None."""
    if len(by_name) != IMAGENET_VAL_IMAGES:
        return None
    numbers = {name: index_below(text, IMAGENET_CLASSES + 1) for name, text in by_name.items()}
    indices = {name: number - 1 for name, number in numbers.items() if number}
    if len(indices) != len(by_name) or labels_digest(indices, list(indices)) != IMAGENET_LABELS_SHA256:
        return None
    return indices


def wnids_to_indices(by_name: Mapping[str, str], *, where: Path) -> dict[str, int]:
    """wnid labels as indices into the sorted wnids, all 1000 of which must occur."""
    wnids = sorted(set(by_name.values()))
    if len(wnids) != IMAGENET_CLASSES:
        raise InputError(
            "class names do not make the 1000 classes",
            where=where,
            expected=f"{IMAGENET_CLASSES} different wnids",
            found=len(wnids),
            next_step="give a label file for all images with --labels",
        )
    index = {wnid: i for i, wnid in enumerate(wnids)}
    return {name: index[wnid] for name, wnid in by_name.items()}


def _class_index(text: str, path: Path, name: str) -> int:
    number = index_below(text, IMAGENET_CLASSES)
    if number is None:
        raise InputError(
            "a label file has a label that is no class",
            where=f"{path}: {name}",
            expected="a class index 0..999 (classes sorted by wnid) or a wnid",
            found=text[:80],
            next_step="labels counted from 1 are the devkit's own numbering: give its ground-truth file itself"
            if text == str(IMAGENET_CLASSES)
            else FORMS,
        )
    return number


def index_below(text: str, end: int) -> int | None:
    """The number 0..``end`` - 1 that ``text`` is in plain digits, or None."""
    plain = text.isascii() and text.isdigit() and len(text.lstrip("0")) <= len(str(end))
    return int(text) if plain and int(text) < end else None


def _numbered(path: Path, lines: Sequence[str]) -> dict[str, int]:
    """Labels by the number of the line; a heading may come first, a column that counts the lines too."""
    rows = [_BETWEEN_FIELDS.split(line.replace('"', " ").strip()) for line in lines]
    if len(rows) == IMAGENET_VAL_IMAGES + 1 and not _is_label(rows[0]):
        rows = rows[1:]
    if len(rows) != IMAGENET_VAL_IMAGES:
        raise InputError(
            "a label file without names has the wrong number of lines",
            where=path,
            expected=f"{IMAGENET_VAL_IMAGES} lines, line k for image k",
            found=len(rows),
            next_step=FORMS,
        )
    counted = all(len(row) == 2 and row[0] in (str(k), str(k + 1)) for k, row in enumerate(rows))
    texts = [row[1] if counted else row[0] for row in rows]
    by_name = {imagenet_name(number): text for number, text in enumerate(texts, 1)}
    if all(WNID.fullmatch(text) for text in texts):
        return wnids_to_indices(by_name, where=path)
    values: list[int] = []
    for number, text in enumerate(texts, 1):
        value = index_below(text, IMAGENET_VAL_IMAGES)
        if value is None:
            raise InputError(
                "a label file has a line that is no number",
                where=f"{path}, line {number}",
                expected="a class index, or an ILSVRC2012_ID of the devkit",
                found=text[:80],
                next_step=FORMS,
            )
        values.append(value)
    if min(values) >= 1 and max(values) == IMAGENET_CLASSES:
        if (from_one := _counted_from_one(by_name)) is not None:
            return from_one
        devkit = _devkit_classes(path)
        values = [devkit[v] for v in values]
    return {name: _class_index(str(value), path, name) for name, value in zip(by_name, values, strict=True)}


def _devkit_classes(truth: Path) -> dict[int, int]:
    """ILSVRC2012_ID 1..1000 -> index of its wnid in sorted order, from the devkit's ``meta.mat``."""
    candidates = [truth.parent / "meta.mat", truth.parent / "data" / "meta.mat"]
    meta = next((p for p in candidates if p.is_file()), None)
    if meta is None:
        raise InputError(
            "the devkit numbers its classes in an order of its own, and its meta.mat is not here",
            where=truth,
            expected="meta.mat beside the ground-truth file",
            found="labels 1..1000",
            next_step="give the devkit's data folder as it was unpacked: --labels ILSVRC2012_devkit_t12",
        )
    from scipy.io import loadmat

    # A damaged file may raise anything.
    try:
        synsets = loadmat(meta, squeeze_me=True, struct_as_record=True)["synsets"]
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:
        raise InputError(
            "the devkit's meta.mat cannot be read",
            where=meta,
            expected="the table 'synsets' with ILSVRC2012_ID and WNID",
            found=f"{type(error).__name__}: {error}",
            next_step="unpack the devkit again",
        ) from error
    leaves = {number: wnids[number] for number in range(1, IMAGENET_CLASSES + 1) if number in wnids}
    if len(set(leaves.values())) != IMAGENET_CLASSES:
        raise InputError(
            "the devkit's meta.mat lacks classes",
            where=meta,
            expected=IMAGENET_CLASSES,
            found=len(set(leaves.values())),
            next_step="unpack the devkit again",
        )
    order = {wnid: i for i, wnid in enumerate(sorted(leaves.values()))}
    return {number: order[wnid] for number, wnid in leaves.items()}
