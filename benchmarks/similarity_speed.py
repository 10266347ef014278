"""MS-SSIM, SSIM and PSNR of 256x256 RGB pairs against peers, in turn, CPU time of one thread.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks.similarity_speed --rounds 9

Every contender starts from uint8 images [H, W, 3] and pays for its own conversion. Freed memory is kept, as the workers
of `score` keep it: without, the system clears the same pages again and again for every contender.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytorch_msssim
import torch
from numpy.typing import NDArray
from skimage import metrics as skimage_metrics

from benchmarks.make_tensorflow_golden import pair, picture
from palette_bench.common import workers
from palette_bench.score.metrics import similarity
from palette_bench.score.metrics.similarity import ImageMaps

Image = NDArray[np.uint8]
Contenders = dict[str, Callable[[], object]]

BATCH = 16


def tensor(images: list[Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def ms_ssim(first: Image, second: Image) -> float:
    return similarity.ms_ssim(ImageMaps.of(first), ImageMaps.of(second)).value


def ssim(first: Image, second: Image) -> float:
    return similarity.ssim(ImageMaps.of(first, scales=1), ImageMaps.of(second, scales=1))


def shared(samples: list[Image]) -> list[float]:
    maps = [ImageMaps.of(sample) for sample in samples]
    return [similarity.ms_ssim(a, b).value for a, b in combinations(maps, 2)]


def peer_ssim(first: Image, second: Image) -> float:
    value = skimage_metrics.structural_similarity(
        first, second, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(value)


def measure(title: str, contenders: Contenders, rounds: int, unit: int = 1) -> None:
    """CPU milliseconds of each, over ``unit`` pairs a call, and ratios to the first, round by round."""
    milliseconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):
        for name, run in contenders.items():
            repeats = 4 if unit == 1 else 1
            start = time.process_time()
            for _ in range(repeats):
                run()
            milliseconds[name].append((time.process_time() - start) * 1e3 / repeats / unit)
    ours = next(iter(contenders))
    print(title)
    for name, values in milliseconds.items():
        ratio = statistics.median(value / own for value, own in zip(values, milliseconds[ours], strict=True))
        print(f"  {name:<34}{statistics.median(values):8.2f} ms   best {min(values):7.2f} ms   x {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    workers.keep_freed_memory()

    first, second = pair("blend", 256, 256)
    batch = tensor([first] * BATCH), tensor([second] * BATCH)
    samples = [picture(256, 256, f"sample {index}") for index in range(8)]
    with torch.inference_mode():
        measure(
            "MS-SSIM, a pair",
            {
                "palette-bench": lambda: ms_ssim(first, second),
                "pytorch-msssim, batch 1": lambda: pytorch_msssim.ms_ssim(
                    tensor([first]), tensor([second]), data_range=255
                ),
            },
            args.rounds,
        )
        measure(
            f"MS-SSIM, {BATCH} pairs, a pair",
            {
                "palette-bench": lambda: [ms_ssim(first, second) for _ in range(BATCH)],
                f"pytorch-msssim, batch {BATCH}": lambda: pytorch_msssim.ms_ssim(*batch, data_range=255),
            },
            args.rounds,
            BATCH,
        )
        measure(
            "SSIM and PSNR, a pair",
            {
                "palette-bench": lambda: (ssim(first, second), similarity.psnr(first, second)),
                "palette-bench, SSIM": lambda: ssim(first, second),
                "palette-bench, PSNR": lambda: similarity.psnr(first, second),
                "pytorch-msssim, SSIM": lambda: pytorch_msssim.ssim(tensor([first]), tensor([second]), data_range=255),
                "scikit-image float64, SSIM": lambda: peer_ssim(first, second),
                "scikit-image, PSNR": lambda: skimage_metrics.peak_signal_noise_ratio(first, second, data_range=255),
            },
            args.rounds,
        )
    for count in (4, 8):
        chosen = samples[:count]
        pairs = list(combinations(chosen, 2))

        def one_by_one(pairs: list[tuple[Image, Image]] = pairs) -> list[float]:
            return [ms_ssim(a, b) for a, b in pairs]

        def together(chosen: list[Image] = chosen) -> list[float]:
            return shared(chosen)

        measure(
            f"MS-SSIM of all pairs of {count} samples, a pair",
            {"shared maps": together, "pair by pair": one_by_one},
            args.rounds,
            len(pairs),
        )


if __name__ == "__main__":
    main()
