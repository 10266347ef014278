"""A folder of predictions: names of its files, its digest, and ``predictions.json``, which says what it is."""

import contextlib
import json
import platform
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.naming import match, ready_command, refuse_pointers
from palette_bench.artifacts.record import Origin
from palette_bench.artifacts.seeds import RULE
from palette_bench.common import schema
from palette_bench.common.canonical import lines_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import atomic_writer, below, json_bytes, read_json
from palette_bench.common.listing import list_files
from palette_bench.common.schema import Digest
from palette_bench.images import canary
from palette_bench.images.decode import IMAGE_SUFFIXES, DecodedImage, decode
from palette_bench.protocol.tasks import Task

PREDICTIONS_FILE = "predictions.json"
FINISHED = "finished"
"""The ``status`` of a folder that lacks nothing."""


def output_name(item_id: str, sample: int, samples: int) -> str:
    """The path of one output in its folder: ``<id>.png``, or ``<id>/<k>.png`` where there are several samples."""
    return f"{item_id}.png" if samples == 1 else f"{item_id}/{sample}.png"


def tree_digest(digests: Mapping[str, str]) -> str:
    """sha256 over the sorted lines ``path sha256``: relative paths of all images and digests of their pixels."""
    return lines_digest(sorted(f"{path} {digest}" for path, digest in digests.items()))


SCHEMA = 1
WORK_FOLDER = ".predict"
"""Below the predictions while they are made: locks, journals, half-written files. It goes when they are finished."""

RUNNING = "running"
COMPOSITE_KNOWN = "composite_known"
NEXT_CHANGED = "choose another --out, or run with the options that the folder was begun with"


def identity_of(
    eval_set: EvalSet, task: Task, model: Mapping[str, object], *, seed: int | None, samples: int
) -> dict[str, object]:
    """What two runs must have in common to be one: the images, the task, the model, the run's seed, the samples.

    ``seed`` is None for outputs that were not made here.
    """
    return {
        "schema": SCHEMA,
        "set": eval_set.set_id,
        "version": eval_set.version,
        "set_fingerprint": eval_set.fingerprint,
        "data_digest": eval_set.data_digest,
        "task": task.name,
        "task_fingerprint": eval_set.task_fingerprint(task),
        "model": dict(model),
        "seed": seed,
        "samples": samples,
        "count": eval_set.count,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What is known of a folder when all its images are there.

    ``digests`` are of the pixels, by path. ``post_processing`` is what was done to the model's outputs, in order, one
    ``{"step": name, ...}`` each. ``more`` are further facts, such as what an import was told.
    """

    digests: Mapping[str, str]
    stochastic: bool | None
    post_processing: Sequence[Mapping[str, object]] = ()
    more: Mapping[str, object] = field(default_factory=dict)


def begin(folder: Path, identity: Mapping[str, object]) -> None:
    """Write ``predictions.json`` before the first image."""
    _write(folder, {**identity, "status": RUNNING, "seed_rule": RULE})


def finish(folder: Path, identity: Mapping[str, object], made: Made) -> dict[str, object]:
    """Write ``predictions.json`` after the last image, and return what is in it."""
    described: dict[str, object] = {
        **identity,
        "status": FINISHED,
        "seed_rule": RULE,
        "stochastic": made.stochastic,
        "post_processing": [dict(step) for step in made.post_processing],
        "tree_sha256": tree_digest(made.digests),
        "software": software(),
        **made.more,
    }
    _write(folder, described)
    return described


def _write(folder: Path, value: Mapping[str, object]) -> None:
    place(folder, PREDICTIONS_FILE, json_bytes(value))


def place(folder: Path, name: str, data: bytes) -> None:
    """Put a whole file into a folder of predictions: half of one is only ever seen in ``WORK_FOLDER``."""
    with atomic_writer(below(folder, name), beside=folder / WORK_FOLDER, flush=False) as stream:
        stream.write(data)


def read(folder: Path) -> dict[str, object] | None:
    """What ``predictions.json`` says, None where there is none. Raises InputError when it cannot be read."""
    if not (folder / PREDICTIONS_FILE).exists():
        return None
    return read_json(
        folder / PREDICTIONS_FILE, kind="predictions", next_step="remove the folder, or choose another --out"
    )


def check_same(folder: Path, described: Mapping[str, object], identity: Mapping[str, object]) -> None:
    """Raise InputError with every field in which a folder's run is not the one that is wanted."""
    there, wanted = _flat(described), _flat(identity)
    there = {name: value for name, value in there.items() if name in wanted or name.startswith("model.")}
    problems = [
        Problem("differs", name, f"the folder has {_shown(there, name)}, this command {_shown(wanted, name)}")
        for name in sorted({*there, *wanted})
        if there.get(name) != wanted.get(name) or (name in there) != (name in wanted)
    ]
    if problems:
        raise InputError(
            "this folder holds predictions of another run",
            where=folder / PREDICTIONS_FILE,
            problems=problems,
            next_step=NEXT_CHANGED,
        )


def _shown(values: Mapping[str, object], name: str) -> str:
    return json.dumps(values[name]) if name in values else "nothing"


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as one, keys joined by dots."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            # Tuples and lists are one thing in JSON.
            flat[prefix + key] = json.loads(json.dumps(value))
    return flat


def software() -> dict[str, str]:
    """Versions of the program, of what makes files of pixels, and of torch if it is installed."""
    versions = {**canary.software(), "python": platform.python_version(), "platform": sys.platform}
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions["torch"] = metadata.version("torch")
    return versions


NPZ_KEY = "arr_0"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Located predictions.

    ``files[index]`` are the samples of item ``index``, paths relative to ``where``; or an array.
    """

    where: Path
    files: Mapping[int, tuple[str, ...]]
    array: NDArray[np.uint8] | None = None

    @property
    def samples(self) -> int:
        """Samples an item."""
        return 1 if self.array is not None else len(next(iter(self.files.values()), ()))

    def read(self, index: int, sample: int) -> bytes:
        """The bytes of one prediction: its file, or its pixels where there is an array. Raises OSError."""
        if self.array is not None:
            return bytes(self.array[index].tobytes())
        return (self.where / self.files[index][sample]).read_bytes()

    def decode(self, data: bytes) -> DecodedImage:
        """A prediction from its bytes. Raises BadImageError."""
        if self.array is not None:
            return DecodedImage(np.frombuffer(data, np.uint8).reshape(self.array.shape[1:]), (), "NPZ", False)
        return decode(data)

    def name(self, index: int, sample: int) -> str:
        """What to call one prediction in a message."""
        return f"{NPZ_KEY}[{index}]" if self.array is not None else self.files[index][sample]


def locate(where: Path, eval_set: EvalSet, task: Task | None = None) -> tuple[Predictions, list[Problem]]:
    """The predictions at ``where`` and everything wrong with their names and number.

    Raises InputError when there is nothing to look at, or no name is an item's: the command that imports such files
    for ``task`` is said.
    """
    if where.suffix == ".npz" and where.is_file():
        return _locate_npz(where, eval_set)
    if where.is_file():
        raise InputError(
            "the predictions are a single file",
            where=where,
            expected="a folder of images, or an .npz with arr_0",
            found=where.suffix or "a file without extension",
            next_step="unpack it, or give the folder that it lies in",
        )
    if not where.is_dir():
        raise InputError(
            "there are no predictions here",
            where=where,
            expected="a folder or .npz",
            found="nothing",
            next_step="check --preds",
        )
    listing = list_files(where)
    images = [path for path in listing.entries if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise InputError(
            "there are no predictions here",
            where=where,
            expected=f"{eval_set.count} images named like {eval_set.items[0].id}.png",
            found=f"{len(listing.entries)} other files" if listing.entries else "an empty folder",
            next_step="check --preds; palette-bench export writes the list of ids",
        )
    refuse_pointers(listing, images)
    matched = match(images, eval_set)
    if not matched.places:
        command = ready_command(where, images, eval_set, "TASK" if task is None else task.name)
        raise InputError(
            "no file here is called after an item of the set",
            where=where,
            expected=f"{eval_set.count} images named like {eval_set.items[0].id}.png",
            found=f"{len(images)} images, {images[0]} the first",
            next_step=f"import them: {command}"
            if command
            else "name them like the ids, or palette-bench import --help",
        )
    files = {index: tuple(map(str, places)) for index, places in matched.places.items()}
    return Predictions(where, files), list(matched.problems)


@dataclass(frozen=True, slots=True)
class Described:
    """What ``predictions.json`` says of a folder: what made the images, and the digest of the folder they made."""

    origin: Origin
    tree_sha256: Digest


def described(where: Path, eval_set: EvalSet, task: Task) -> tuple[Described | None, list[str]]:
    """What made the predictions at ``where``, if their folder says so, and warnings where it says it badly.

    Raises InputError for predictions that were made for other images or for another task.
    """
    path = where / PREDICTIONS_FILE
    if not path.is_file():
        return None, []
    content = read_json(path, kind="predictions", next_step="restore the file, or remove it: it is not needed to score")
    wanted = {"data_digest": eval_set.data_digest, "task_fingerprint": eval_set.task_fingerprint(task)}
    differing = [name for name, value in wanted.items() if content.get(name, value) != value]
    if differing:
        raise InputError(
            "these predictions were made for other conditions",
            where=path,
            expected=f"{eval_set.set_id}, {task.name}",
            found=f"{content.get('set')}, {content.get('task')} ({' and '.join(differing)} differ)",
            next_step="score them with --set and --task of their conditions",
        )
    if content.get("status") != FINISHED:
        return None, [f"{PREDICTIONS_FILE} says that the predictions are not finished: the record names no model"]
    model = content.get("model")
    facts = dict(model) if isinstance(model, Mapping) else {}
    origin = {name: facts.get(name) for name in ("title", "kind", "fingerprint", "weights_sha256")}
    origin |= {name: content.get(name) for name in ("seed", "stochastic", "post_processing")}
    said = {"origin": {"model": facts.get("name"), **origin}, "tree_sha256": content.get("tree_sha256")}
    try:
        return schema.load(Described, said, where=path), []
    except InputError as error:
        return None, [f"{PREDICTIONS_FILE} cannot be read: the record names no model ({error.problems[0]})"]


def _locate_npz(where: Path, eval_set: EvalSet) -> tuple[Predictions, list[Problem]]:
    expected = (eval_set.count, eval_set.size, eval_set.size, 3)
    next_step = f"write it with numpy.savez({where.name!r}, {NPZ_KEY}=images), or give a folder of images"
    array: NDArray[np.uint8] | None = None
    # A damaged file may raise anything.
    try:
        shape, dtype = _npz_header(where)
        if dtype == np.uint8 and shape == expected:
            with np.load(where, allow_pickle=False) as archive:
                array = archive[NPZ_KEY]
    except Exception as error:
        raise InputError(
            "an .npz of predictions cannot be read",
            where=where,
            expected=f"an array {NPZ_KEY}",
            found=f"{type(error).__name__}: {error}",
            next_step=next_step,
        ) from error
    if array is None:
        raise InputError(
            "an .npz of predictions has the wrong content",
            where=where,
            expected=f"uint8 {list(expected)}, RGB, in protocol order",
            found=f"{dtype} {list(shape)}",
            next_step=next_step,
        )
    return Predictions(where, {}, array), []


def _npz_header(where: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of the array, without the array: a file may promise more than there is memory."""
    with zipfile.ZipFile(where) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if NPZ_KEY not in names:
            raise ValueError(f"arrays {', '.join(names) or 'none'}")
        with archive.open(f"{NPZ_KEY}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(member)
            return shape, dtype
