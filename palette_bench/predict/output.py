"""A folder of predictions: names of its files, its digest, and ``predictions.json``, which says what it is."""

import contextlib
import json
import os
import platform
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import read_json
from palette_bench.predict.card import Card
from palette_bench.predict.seeds import RULE
from palette_bench.prepare import canary
from palette_bench.prepare.frozen import FrozenSet
from palette_bench.prepare.predicted import FINISHED, PREDICTIONS_FILE, tree_digest
from palette_bench.protocol.tasks import Task

SCHEMA = 1
WORK_FOLDER = ".predict"
"""Below the predictions while they are made: locks, journals, half-written files. It goes when they are finished."""

RUNNING = "running"
COMPOSITE_KNOWN = "composite_known"
NEXT_CHANGED = "choose another --out, or run with the options that the folder was begun with"


def model_of(card: Card) -> dict[str, object]:
    """What ``predictions.json`` says of a model."""
    return {
        "name": card.name,
        "title": card.title,
        "kind": card.adapter.kind.value,
        "fingerprint": card.fingerprint(),
        "weights_sha256": None if card.weights is None else card.weights.sha256,
        "config": dict(card.config),
    }


def identity_of(
    opened: FrozenSet, task: Task, model: Mapping[str, object], *, seed: int | None, samples: int
) -> dict[str, object]:
    """What two runs must have in common to be one: the images, the task, the model, the run's seed, the samples.

    ``seed`` is None for outputs that were not made here.
    """
    return {
        "schema": SCHEMA,
        "set": opened.set_id,
        "version": opened.version,
        "set_fingerprint": opened.fingerprint,
        "data_digest": opened.data_digest,
        "task": task.name,
        "task_fingerprint": opened.task_fingerprint(task),
        "model": dict(model),
        "seed": seed,
        "samples": samples,
        "count": opened.count,
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
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"
    place(folder, PREDICTIONS_FILE, text.encode())


def place(folder: Path, name: str, data: bytes) -> None:
    """Put a whole file into a folder of predictions: half of one is only ever seen in ``WORK_FOLDER``."""
    work, target = folder / WORK_FOLDER, folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    temporary = work / f"{secrets.token_hex(8)}.tmp"
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(target)
        raise


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
