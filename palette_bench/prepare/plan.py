"""From what a user asks for to a plan that can be built."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.progress import Progress
from palette_bench.prepare.build import BuildPlan
from palette_bench.prepare.masks import recognise
from palette_bench.prepare.selection.select import select, with_list
from palette_bench.prepare.sources.datasets import LabelledSource, open_source
from palette_bench.prepare.sources.remembered import NAMES, find_source
from palette_bench.prepare.sources.scene_source import check_drawing, open_scenes
from palette_bench.prepare.sources.scenes32 import Split
from palette_bench.protocol.definition import (
    Family,
    GeometryName,
    MaskSource,
    Protocol,
    load_protocol,
    protocol_names,
)

SET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SIDE_MULTIPLE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user may choose of a set; None takes the protocol's own."""

    source: Path | None = None
    labels: Path | None = None
    list_file: Path | None = None
    geometry: GeometryName | None = None
    released_masks: Path | None = None
    name: str | None = None
    size: int | None = None


def make_plan(name: str, choices: Choices, *, progress: Progress) -> BuildPlan:
    """The plan of a set. Raises UsageError for choices that do not fit, InputError for a source that does not."""
    protocol = load_protocol(name)
    if protocol.family is Family.FOLDER:
        protocol = _folder_protocol(protocol, choices)
    elif choices.name is not None or choices.size is not None:
        raise UsageError("--name and --size are for folder sets", found=f"protocol {name}")
    if protocol.family is Family.SCENES32:
        return _scenes(protocol, choices)
    labelled = open_labelled(protocol, choices.source, choices.labels)
    if choices.source is None:
        progress.note(f"source: {labelled.source.where}")
    _say_left_out(labelled, progress)
    protocol = protocol.with_variant(geometry=choices.geometry, images=labelled.images)
    names: list[str] | None = None
    if choices.list_file is not None:
        protocol, names = with_list(protocol, choices.list_file)
    released = recognise(choices.released_masks, protocol) if choices.released_masks is not None else None
    if released is not None:
        protocol = protocol.with_variant(masks=MaskSource.RELEASED)
    items = select(protocol, labelled, names)
    return BuildPlan(
        protocol=protocol,
        items=tuple(items),
        source=labelled.source,
        classes=labelled.classes,
        released=released,
        released_path=choices.released_masks,
    )


def _say_left_out(labelled: LabelledSource, progress: Progress) -> None:
    """Name what of a source is not in the set, and why."""
    if labelled.ignored:
        count, what = len(labelled.ignored), by_suffix(labelled.ignored)
        progress.note(f"left out {count} files that are not images ({what}), {labelled.ignored[0]} the first")
    if labelled.unread:
        count, what = len(labelled.unread), by_suffix(labelled.unread)
        hint = "; HEIC needs the extra 'heif'" if any(is_heif(path) for path in labelled.unread) else ""
        progress.note(f"left out {count} images of formats that are not read ({what}{hint})")
    if labelled.left_out:
        progress.note(f"left out folders of thumbnails or deleted files: {', '.join(labelled.left_out[:10])}")


def by_suffix(paths: Sequence[str]) -> str:
    """How many files there are of each extension, the most frequent first."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "no extension" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(8))


def is_heif(path: str) -> bool:
    """Whether a name ends as phones' HEIC files do."""
    return PurePosixPath(path).suffix.lower() in (".heic", ".heif", ".hif")


def open_labelled(protocol: Protocol, source: Path | None, labels: Path | None) -> LabelledSource:
    """The source a user named, for this protocol, or else the remembered one. Raises UsageError when there is none."""
    if source is None and (known := find_source(protocol.family)) is not None:
        source = known.path
    if source is None:
        name = next((name for name, family in NAMES.items() if family is protocol.family), None)
        raise UsageError(
            f"{protocol.name} is made from image files",
            expected="--source with the folder or .tar that holds them",
            found="no --source",
            next_step=f"say once where they are: palette-bench sources set {name} PATH" if name else None,
        )
    return open_source(protocol.family, source, labels)


def _folder_protocol(protocol: Protocol, choices: Choices) -> Protocol:
    if choices.source is None:
        raise UsageError("a folder set is made from a folder", expected="--source DIR", found="no --source")
    folder = Path(os.path.realpath(choices.source)).name
    chosen = choices.name or re.sub(r"[^a-z0-9._-]+", "-", folder.lower()).strip("-.")
    if not SET_NAME.fullmatch(chosen):
        raise UsageError(
            "a folder set needs a name",
            expected="small letters, digits, '.', '_' and '-'",
            found=chosen or "nothing",
            next_step="choose one with --name",
        )
    if chosen != protocol.name and chosen in protocol_names():
        raise UsageError(
            "a folder set cannot have the name of a protocol",
            expected="a name of its own",
            found=chosen,
            next_step="choose another with --name",
        )
    size = choices.size or protocol.size
    if size % SIDE_MULTIPLE:
        raise UsageError("--size must be a multiple of 8, so that halves and quarters are whole", found=size)
    return replace(protocol, name=chosen, size=size)


def _scenes(protocol: Protocol, choices: Choices) -> BuildPlan:
    given = [
        option
        for option, value in (
            ("--source", choices.source),
            ("--labels", choices.labels),
            ("--list", choices.list_file),
            ("--geometry", choices.geometry),
            ("--released-masks", choices.released_masks),
        )
        if value is not None
    ]
    if given:
        raise UsageError(f"{protocol.name} is drawn by the program", expected="no options", found=", ".join(given))
    split = protocol.selection.split
    if split is None:
        raise InputError("the protocol names no split", where=protocol.name)
    check_drawing(Split(split))
    labelled = open_scenes(split)
    return BuildPlan(
        protocol=protocol,
        items=tuple(select(protocol, labelled)),
        source=labelled.source,
        classes=labelled.classes,
    )
