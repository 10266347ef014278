"""Label files: which image shows what, from every form in which people keep them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from palette_bench.common.canonical import lines_digest
from palette_bench.common.errors import InputError

WNID = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000
IMAGENET_VAL_IMAGES = 50_000
IMAGENET_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE)
DEVKIT_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
FORMS = "give lines 'name label', or the devkit's ground-truth file or folder"


def imagenet_name(number: int) -> str:
    """The file name of validation image ``number`` (1..50000)."""
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def labels_digest(labels: Mapping[str, int], names: Sequence[str]) -> str:
    """sha256 of ``name label`` lines, by name."""
    return lines_digest([f"{name} {labels[name]}" for name in sorted(names)])


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


def read_name_label_lines(path: Path) -> dict[str, str]:
    """``name label`` lines.

    Base name of the image -> label as text. Raises InputError for a bad line or a name twice.
    """
    labels: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, kind="label"), 1):
        parts = line.replace(",", " ").split()
        if len(parts) != 2:
            raise InputError(
                "a label file has a line that is not 'name label'",
                where=f"{path}, line {number}",
                expected="two words",
                found=line[:80],
                next_step="correct the line, or give another file",
            )
        name = PurePosixPath(parts[0]).name
        if name in labels:
            raise _twice(f"{path}, line {number}", name)
        labels[name] = parts[1]
    return labels


def _twice(where: object, name: str) -> InputError:
    return InputError(
        "a label file names an image twice",
        where=where,
        expected="every image once",
        found=name,
        next_step="remove one of the lines",
    )


def read_imagenet_labels(path: Path) -> dict[str, int]:
    """Labels of ImageNet val images by canonical name, classes numbered 0..999 by sorted wnid.

    ``path`` holds ``name label`` lines (label a class index or a wnid), or one number a line for images
    1..50000 (class indices 0..999, or the devkit's ILSVRC2012_IDs 1..1000 with its ``meta.mat`` beside it or in
    ``data``); or it is the devkit's folder. Raises InputError.
    """
    if path.is_dir():
        found = [p for p in (path / DEVKIT_TRUTH, path / "data" / DEVKIT_TRUTH) if p.is_file()]
        if not found:
            raise InputError(
                "a folder of labels is not the devkit's",
                where=path,
                expected=f"{DEVKIT_TRUTH} in it",
                found="no such file",
                next_step=FORMS,
            )
        path = found[0]
    lines = read_lines(path, kind="label")
    if lines and all(len(line.replace(",", " ").split()) == 1 for line in lines):
        return _numbered(path, lines)
    raw = read_name_label_lines(path)
    by_name: dict[str, str] = {}
    for name, label in raw.items():
        match = IMAGENET_NAME.fullmatch(name)
        if match is None:
            raise InputError(
                "a label file names something that is not an ImageNet val image",
                where=path,
                expected=imagenet_name(1),
                found=name,
                next_step=FORMS,
            )
        canonical = imagenet_name(int(match[1]))
        if canonical in by_name:
            raise _twice(path, name)
        by_name[canonical] = label
    values = set(by_name.values())
    if values and all(WNID.fullmatch(v) for v in values):
        return wnids_to_indices(by_name, where=path)
    return {name: _class_index(label, path, name) for name, label in by_name.items()}


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
    if len(lines) != IMAGENET_VAL_IMAGES:
        raise InputError(
            "a label file without names has the wrong number of lines",
            where=path,
            expected=f"{IMAGENET_VAL_IMAGES} lines, line k for image k",
            found=len(lines),
            next_step=FORMS,
        )
    values = []
    for number, line in enumerate(lines, 1):
        value = index_below(line, IMAGENET_VAL_IMAGES)
        if value is None:
            raise InputError(
                "a label file has a line that is no number",
                where=f"{path}, line {number}",
                expected="a class index, or an ILSVRC2012_ID of the devkit",
                found=line[:80],
                next_step=FORMS,
            )
        values.append(value)
    if min(values) >= 1 and max(values) == IMAGENET_CLASSES:
        devkit = _devkit_classes(path)
        values = [devkit[v] for v in values]
    return {
        imagenet_name(number): _class_index(str(value), path, imagenet_name(number))
        for number, value in enumerate(values, 1)
    }


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
