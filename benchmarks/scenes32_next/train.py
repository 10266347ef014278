"""Trains the networks of scenes32, version 2, with the program's own trainer: one thread, resumable.

python -m benchmarks.scenes32_next.train palette-colorize regression-colorize --out runs --minutes 120

Palette and regression have one network, one optimiser and as many samples: 23,000 steps of 32. The networks share the
time that is given; the same command goes on, and one that is done is left alone. Scenes are drawn once, into --out.
"""

import argparse
import io
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.scenes32_next import world
from palette_bench.common.files import write_bytes
from palette_bench.common.progress import Silent
from palette_bench.images.types import ImageU8
from palette_bench.predict.training.loop import Options, train
from palette_bench.predict.training.recipe import Recipe, read_recipe
from palette_bench.prepare.sources.scenes32 import Split

FAST = {
    "network": "small32",
    "steps": 23_000,
    "cool_down": 9_000,
    "batch": 32,
    "learning_rate": 0.003,
    "optimizer": "muon",
    "muon_rate": 0.02,
    "betas": [0.9, 0.99],
    "warm_up": 100,
    "ema": 0.999,
    "ema_warm_up": True,
    "mask_norm": "hole",
}
PALETTE = {
    "output": "edm",
    "noisy_input": "unit",
    "loss_target": "edm",
    "gamma_distribution": "lognormal",
    "stratified": True,
}
A_CHUNK = 4096


class Stream:
    """The train split of version 2: scene i for index i, drawn once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.chunks: dict[int, NDArray[np.uint8]] = {}

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        return [self._chunk(index // A_CHUNK)[index % A_CHUNK] for index in indices]

    def _chunk(self, number: int) -> NDArray[np.uint8]:
        if number not in self.chunks:
            path = self.folder / f"scenes32-{world.WORLD_VERSION}-train-{number:07d}.npy"
            if not path.is_file():
                images, _ = world.render(Split.TRAIN, number * A_CHUNK + np.arange(A_CHUNK))
                stream = io.BytesIO()
                np.save(stream, images)
                write_bytes(path, stream.getvalue())
            self.chunks = {number: np.load(path, mmap_mode="r")}
        return self.chunks[number]

    def identity(self) -> Mapping[str, object]:
        return {"kind": "scenes32", "version": world.WORLD_VERSION}


def recipe_of(name: str) -> Recipe:
    """The recipe of ``palette-colorize``, ``regression-uncrop`` and so on."""
    kind, task = name.split("-")
    table = FAST | (PALETTE if kind == "palette" else {}) | {"kind": kind, "tasks": {task: 1.0}}
    return read_recipe(table, where=Path(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="palette- or regression-, then colorize, inpaint, uncrop or jpeg")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--plain", action="store_true", help="no bfloat16, no torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((options.out / "compiled").absolute()))
    how = Options(compile=not options.plain, bfloat16=not options.plain, checkpoint_every=500, checkpoint_minutes=5.0)
    for name in options.names:
        # The trainer ends at a signal, after it has saved.
        alarm = threading.Timer(
            60.0 * options.minutes / len(options.names), os.kill, args=(os.getpid(), signal.SIGTERM)
        )
        alarm.start()
        trained = train(recipe_of(name), Stream(options.out / "scenes"), options.out / name, how, progress=Silent())
        alarm.cancel()
        print(f"{name}: step {trained.step}", flush=True)


if __name__ == "__main__":
    main()
