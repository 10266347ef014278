"""Where the images of the known datasets are on this machine: said once, or in a place where others put them too."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palette_bench.common.errors import InputError, UsageError, did_you_mean
from palette_bench.common.files import read_json, write_json
from palette_bench.common.home import home
from palette_bench.protocol.definition import Family

VARIABLE = "PALETTE_BENCH_SOURCES"
SOURCES_FILE = "sources.json"
NAMES: Mapping[str, Family] = {"imagenet-val": Family.IMAGENET, "places365-val": Family.PLACES}
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "imagenet-val": (
        *("/data/imagenet/val", "/datasets/imagenet/val", "/data/ImageNet/val", "/mnt/imagenet/val"),
        *("~/data/imagenet/val", "~/datasets/imagenet/val", "data/imagenet/val", "data/val"),
        "/kaggle/input/imagenet-object-localization-challenge/ILSVRC/Data/CLS-LOC/val",
        "~/.cache/huggingface/hub/datasets--ILSVRC--imagenet-1k/snapshots/*",
    ),
    "places365-val": (
        *("/data/places365/val_256", "/datasets/places365/val_256", "~/data/places365/val_256"),
        *("data/places365/val_256", "data/val_256"),
    ),
}
"""Where torchvision's users, Kaggle and Hugging Face have them."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Where a dataset is, and what says so."""

    name: str
    path: Path
    said_by: str


def remember(name: str, path: Path) -> Path:
    """Keep where a dataset is; returns the absolute path. Raises UsageError for another name or an absent path."""
    _check_name(name)
    if not path.exists():
        raise UsageError(
            "there is nothing at this place", where=path, expected="a folder, .tar or .parquet", found="nothing"
        )
    write_json(home() / SOURCES_FILE, {**_kept(), name: str(path.absolute())})
    return path.absolute()


def forget(name: str) -> None:
    """Forget where a dataset is. Raises UsageError for a name that is not remembered."""
    _check_name(name)
    kept = _kept()
    if name not in kept:
        raise UsageError("this source is not remembered", expected=", ".join(kept) or "a remembered one", found=name)
    write_json(home() / SOURCES_FILE, {key: value for key, value in kept.items() if key != name})


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise UsageError(
            "no dataset of this name",
            expected=f"one of {', '.join(NAMES)}",
            found=name,
            next_step=did_you_mean(name, list(NAMES)),
        )


def _kept() -> dict[str, str]:
    path = home() / SOURCES_FILE
    if not path.is_file():
        return {}
    content = read_json(path, kind="sources", next_step="remove the file, and say where they are again")
    wrong = [name for name, value in content.items() if name not in NAMES or not isinstance(value, str)]
    if wrong:
        raise InputError(
            "a sources file names no dataset's place",
            where=path,
            expected=f"paths of {', '.join(NAMES)}",
            found=wrong[0],
            next_step="remove the file, and say where they are again",
        )
    return {name: str(value) for name, value in content.items()}


def _from_variable() -> dict[str, str]:
    """``NAME=PATH`` pairs, or a folder that holds folders of these names. Raises UsageError."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return {}
    if "=" not in text:
        folder = Path(text).expanduser()
        return {name: str(folder / name) for name in NAMES if (folder / name).exists()}
    pairs = dict(pair.split("=", 1) for pair in text.split(os.pathsep) if "=" in pair)
    if set(pairs) - set(NAMES):
        raise UsageError(
            "a variable names no dataset",
            where=VARIABLE,
            expected=f"{next(iter(NAMES))}=PATH, several with {os.pathsep} between, or one folder of such folders",
            found=", ".join(sorted(set(pairs) - set(NAMES))),
        )
    return pairs


def remembered() -> list[Remembered]:
    """Where the datasets are: as the variable says, else as `remember` was told, else in a place that is known."""
    variable, kept = _from_variable(), _kept()
    rows: list[Remembered] = []
    for name in NAMES:
        if name in variable:
            rows.append(Remembered(name, Path(variable[name]).expanduser(), VARIABLE))
        elif name in kept:
            rows.append(Remembered(name, Path(kept[name]), "palette-bench sources set"))
        elif (path := _known_place(name)) is not None:
            rows.append(Remembered(name, path, "a known place"))
    return rows


def _known_place(name: str) -> Path | None:
    for text in _KNOWN[name]:
        path = Path(text).expanduser()
        found = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
        for place in found:
            if place.exists():
                return place
    return None


def find_source(family: Family) -> Remembered | None:
    """Where the images of a family's protocols are, None where nothing says it."""
    return next((row for row in remembered() if NAMES[row.name] is family), None)
