"""`prepare` against a plain Pillow loop, in turn, on the same images and as many processes.

    python -m benchmarks.prepare_speed /data/imagenet/val --images 512 --rounds 5 --jobs 2

The plain loop decodes, crops the centred square, resizes with a box filter and encodes a PNG as Pillow does by
default; `prepare` also computes an exact area mean, draws three masks and hashes the conditions of all thirteen
tasks.
"""

import argparse
import io
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from palette_bench.common.progress import Silent
from palette_bench.common.workers import run_chunks
from palette_bench.prepare import build
from palette_bench.prepare.plan import Choices, make_plan


def plain(job: tuple[list[Path], Path]) -> int:
    paths, out = job
    for path in paths:
        with Image.open(path) as picture:
            image = picture.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.BOX)
        buffer = io.BytesIO()
        square.save(buffer, "PNG")
        (out / f"{path.stem}.png").write_bytes(buffer.getvalue())
    return len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()

    plan = make_plan("imagenet-ctest10k", Choices(source=args.source), progress=Silent())
    plan = replace(plan, items=plan.items[: args.images])
    source = plan.source
    paths = [args.source / source.paths[item.name] for item in plan.items]  # type: ignore[attr-defined]
    for path in paths:
        path.read_bytes()

    ratios = []
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            start = time.perf_counter()
            parts = [(paths[i : i + build.CHUNK], out) for i in range(0, len(paths), build.CHUNK)]
            with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
                done = sum(pool.map(plain, parts))
            plain_rate = done / (time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            worker = build._Worker(plan.protocol, source, Path(folder), None, len(plan.items))
            start = time.perf_counter()
            results = run_chunks(
                partial(build.ChunkBuilder, worker), build._chunks(plan.items), size=1, processes=args.jobs
            )
            done = sum(count for count, _ in results)
            rate = done / (time.perf_counter() - start)
        ratios.append(rate / plain_rate)
        print(f"round {number + 1}: plain {plain_rate:6.1f} images/s   prepare {rate:6.1f} images/s   {ratios[-1]:.2f}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"prepare / plain: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"peak memory of the largest process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
