"""Scoring the same predictions again: seconds from the feature cache, images recomputed after a change, memory.

Makes a folder set of 256x256 images and predictions for it, and puts features drawn from a normal distribution into the
cache, because computing them would take hours and their values do not matter here; weights are random ones of the right
shapes. Everything else is the program as a user runs it, in processes of its own.

    python -m benchmarks.rescore --images 10000
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256
TASK = "uncrop"
SET = "rescore"
WIDTH_OF_ROWS = 1024


def draw(folder: Path, offset: int, number: int) -> None:
    """One image: smooth waves and a little noise, about as large as a photograph's PNG."""
    rng = np.random.default_rng([number, offset])
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = sum(
        np.sin(2 * np.pi * (rng.uniform(1, 9) * x + rng.uniform(1, 9) * y + rng.uniform()))[..., None]
        * rng.normal(0, 40, 3)
        for _ in range(3)
    )
    image = np.clip(128 + waves + rng.normal(0, 3, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(image).save(folder / f"{number:05d}.png", compress_level=1)


def program(home: Path, *arguments: object) -> tuple[float, float, float]:
    """Seconds, CPU seconds, and the most megabytes all processes held together."""
    before = os.times()
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "palette_bench", *map(str, arguments)],
        env={**os.environ, "PALETTE_BENCH_HOME": str(home)},
        stdout=subprocess.DEVNULL,
    )
    most = 0.0
    stop = threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.05):
            most = max(most, memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    stop.set()
    watcher.join()
    if code != 0:
        raise SystemExit(f"palette-bench ended with {code}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - start, cpu, most


def memory(root: int) -> float:
    """Megabytes that a process and its descendants hold, shared pages counted once."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    family, total = {root}, 0.0
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue
    return total


def fill_cache(home: Path, predictions: Path) -> None:
    """Features of all predictions and references, and the statistics of a reference set."""
    os.environ["PALETTE_BENCH_HOME"] = str(home)
    from palette_bench.artifacts.evalset import open_set
    from palette_bench.common.home import features_folder
    from palette_bench.common.progress import Silent
    from palette_bench.score import statistics as of_reference
    from palette_bench.score.backbones.loading import load
    from palette_bench.score.features import FeatureStore
    from palette_bench.score.gate import admit, examine
    from palette_bench.score.metrics.frechet import moments
    from palette_bench.score.recipes.base import ReferenceStatistics

    eval_set = open_set(SET)
    admitted = admit(
        eval_set, predictions, [examine(eval_set, eval_set.task(TASK), predictions, jobs=2, progress=Silent())]
    )
    rng = np.random.default_rng(0)
    store = FeatureStore(features_folder())
    mixing = rng.normal(size=(64, 2048)).astype(np.float32)
    for name in ("inception2015", "resnet50-v1", "googlenet"):
        backbone = load(name, allow_other_weights=True)
        for digests in ([row.scored_digest for row in admitted.rows], [i.reference_digest for i in eval_set.items]):
            for start in range(0, len(digests), WIDTH_OF_ROWS):
                part = digests[start : start + WIDTH_OF_ROWS]
                values = {
                    output: (
                        rng.normal(size=(len(part), 64)).astype(np.float32) @ mixing[:, :width]
                        + rng.normal(size=(len(part), width)).astype(np.float32)
                    )
                    for output, width in backbone.outputs.items()
                }
                store.write(backbone, part, values, progress=Silent())
        if name == "inception2015":
            features = rng.normal(size=(20_000, 64)).astype(np.float32) @ mixing
            features += rng.normal(size=features.shape).astype(np.float32)
            of_reference._save(
                eval_set,
                ReferenceStatistics(
                    reference=of_reference.OWN_FOLDER,
                    reference_fingerprint="0" * 64,
                    data_digest="0" * 64,
                    backbone_fingerprint=backbone.fingerprint,
                    output="pool_3",
                    moments=moments(features),
                ),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Where to work; kept.  [default: a temporary folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        home, source, predictions = folder / "home", folder / "source", folder / "preds"
        score = (
            "score",
            *("--set", SET, "--task", TASK, "--preds", predictions, "--out", folder / "record"),
            *("--allow-other-weights", "--json"),
        )
        if not (home / "sets" / SET).exists():
            from tests.score import random_weights

            random_weights.make_all(home / "weights")
            with ProcessPoolExecutor(2) as pool:
                for number, where in enumerate((source, predictions)):
                    where.mkdir(parents=True, exist_ok=True)
                    list(pool.map(partial(draw, where, number), range(arguments.images), chunksize=64))
            program(home, "prepare", "folder", "--source", source, "--name", SET)
            fill_cache(home, predictions)
        shutil.rmtree(home / "features" / "gate", ignore_errors=True)
        for label in ("first time from cached features", *(f"again {n + 1}" for n in range(arguments.rounds))):
            seconds, cpu, most = program(home, *score)
            print(f"{label}: {seconds:.1f} s, {cpu:.1f} CPU-seconds, {most:.0f} MB", flush=True)
        times = [program(home, *score)[0] for _ in range(arguments.rounds)]
        print(f"{arguments.images} predictions again: median {statistics.median(times):.1f} s of {arguments.rounds}")
        draw(predictions, 7, 5)
        seconds, cpu, most = program(home, *score)
        print(f"after one change, with networks: {seconds:.1f} s, {cpu:.1f} CPU-seconds, {most:.0f} MB")
        for number in range(64):
            draw(predictions, 8, number)
        seconds, cpu, most = program(home, *score)
        print(f"after 64 changes, with networks: {seconds:.1f} s, {cpu:.1f} CPU-seconds, {most:.0f} MB")


if __name__ == "__main__":
    main()
