"""A training small enough for tests: a network of 16 and 8 pixels, batches of four scenes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palette_bench.common.progress import Silent
from palette_bench.predict.models.unet import NetworkConfig
from palette_bench.predict.training import checkpoints
from palette_bench.predict.training.checkpoints import Checkpoint
from palette_bench.predict.training.examples import TrainingSource
from palette_bench.predict.training.loop import Options, Trained, train
from palette_bench.predict.training.recipe import Recipe, read_recipe
from palette_bench.predict.training.sources import SceneStream

TINY = NetworkConfig(
    size=32, channels=16, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=16, groups=4, patch=2
)

EACH_STEP = Options(log_every=1)

TABLE: dict[str, Any] = {
    "network": "tiny",
    "tasks": {"inpaint": 1.0, "jpeg": 1.0},
    "steps": 6,
    "batch": 4,
    "learning_rate": 1e-3,
    "warm_up": 3,
    "ema": 0.9,
    "epsilon": 1e-6,
}


def recipe(**changes: object) -> Recipe:
    """The recipe of ``TABLE`` with some values changed."""
    return read_recipe(TABLE | changes, where=Path("card.toml"))


def run(what: Recipe, out: Path, options: Options | None = None, source: TrainingSource | None = None) -> Trained:
    """Train in this process, a line of metrics a step."""
    return train(what, source or SceneStream(), out, options or EACH_STEP, progress=Silent())


def last(out: Path) -> Checkpoint:
    """The last checkpoint of a run, read and checked."""
    return checkpoints.load(checkpoints.folder_of(out, checkpoints.steps_of(out)[-1]))


def digests(out: Path) -> Mapping[str, str]:
    """The digests of weights, average and optimiser of a run's last checkpoint: equal if all bits are."""
    state = json.loads((checkpoints.folder_of(out, checkpoints.steps_of(out)[-1]) / "state.json").read_text())
    files: Mapping[str, str] = state["files"]
    return files


def metrics(out: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
