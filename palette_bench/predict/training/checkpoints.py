"""Checkpoints: a folder a step, complete or not there; tensors as safetensors, the rest as JSON, no pickle.

``step-00001000/``: ``model.safetensors``, ``ema.safetensors``, ``optimizer.safetensors`` (Adam's two moments of every
parameter) and ``state.json`` (step, recipe, digests of the files, versions).
"""

import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import read_json, write_bytes, write_json
from palette_bench.common.version import __version__

SCHEMA = 1
STATE_FILE = "state.json"
MODEL, EMA, OPTIMIZER = "model.safetensors", "ema.safetensors", "optimizer.safetensors"
_NAME = re.compile(r"step-(\d{8})")
_RESUME = "remove this folder: the run goes on from the checkpoint before it"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run after ``step`` steps: weights, their average, and Adam's moments by parameter."""

    step: int
    recipe: Mapping[str, object]
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def folder_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def steps_of(run: Path) -> list[int]:
    """The steps that have a checkpoint, ascending."""
    folder = run / "checkpoints"
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(int(match[1]) for match in found if match)


def save(run: Path, checkpoint: Checkpoint, *, keep: int, keep_every: int = 0) -> Path:
    """Write a checkpoint, then remove all but the last ``keep`` and those at multiples of ``keep_every``."""
    folder = folder_of(run, checkpoint.step)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    digests = {}
    for name, tensors in ((MODEL, checkpoint.model), (EMA, checkpoint.ema), (OPTIMIZER, checkpoint.optimizer)):
        data = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
        write_bytes(temporary / name, data)
        digests[name] = bytes_digest(data)
    write_json(
        temporary / STATE_FILE,
        {
            "schema": SCHEMA,
            "step": checkpoint.step,
            "recipe": dict(checkpoint.recipe),
            "files": digests,
            "software": {
                "palette-bench": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
    )
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)
    for step in steps_of(run)[:-keep]:
        if not keep_every or step % keep_every:
            shutil.rmtree(folder_of(run, step))
    return folder


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint and check every file against its digest. Raises InputError for one that was cut short."""
    state = read_json(folder / STATE_FILE, kind="checkpoint", next_step=_RESUME)
    files, recipe, step = state.get("files"), state.get("recipe"), state.get("step")
    if state.get("schema") != SCHEMA or not (isinstance(files, dict) and isinstance(recipe, dict)):
        raise InputError(
            "a checkpoint of another version of the program",
            where=folder / STATE_FILE,
            expected=f"schema {SCHEMA}",
            found=f"schema {state.get('schema')}",
            next_step="start the run anew in another folder",
        )
    tensors: dict[str, dict[str, Tensor]] = {}
    problems = []
    for name in (MODEL, EMA, OPTIMIZER):
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            problems.append(Problem("unreadable", name, error.strerror or str(error)))
            continue
        if bytes_digest(data) != files.get(name):
            problems.append(Problem("damaged", name, f"{len(data)} bytes that are not the ones that were written"))
            continue
        tensors[name] = safetensors.torch.load(data)
    if problems or not isinstance(step, int):
        raise InputError("a checkpoint is damaged", where=folder, problems=problems, next_step=_RESUME)
    return Checkpoint(step, recipe, tensors[MODEL], tensors[EMA], tensors[OPTIMIZER])
