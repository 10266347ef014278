"""What TensorFlow itself computes, written down once for tests/oracle/test_tensorflow.py; measures nothing.

TensorFlow is no dependency: run by hand, from the checkout, in an environment of its own that has it and NumPy.

    pip install tensorflow-cpu
    python -m benchmarks.make_tensorflow_golden

Images are made again from their names wherever they are needed, with the same bits on every machine; the file holds
values, digests of the images, and a few rows of each resized image with the sha256 of all of it.
"""

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.bits import CounterBits, sincos
from palette_bench.common.canonical import pixel_digest

FILE = Path(__file__).parent.parent / "tests" / "oracle" / "golden" / "tensorflow.npz"

SIZES = ((256, 256), (192, 256), (181, 203))
KINDS = ("noise", "blur", "blend", "brighter", "unrelated", "negative")
RESIZED = ((64, 64), (256, 256), (512, 512), (181, 203))
TARGET = 299
ROWS = (0, 1, 149, 297, 298)

Image = NDArray[np.uint8]


def picture(height: int, width: int, purpose: str) -> Image:
    """Coloured waves, a hard edge and a little noise, [height, width, 3] uint8."""
    draws = CounterBits(["tensorflow golden", purpose, height, width])
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.full((height, width, 3), 128.0)
    for scale in (3.0, 9.0, 27.0, 60.0):
        directions, colours = 2.0 * draws.uniform(3) - 1.0, 90.0 * draws.uniform(3) - 45.0
        wave = sincos((directions[0] * x + directions[1] * y) / scale + 6.0 * directions[2])[0]
        image += wave[..., None] * colours
    corner = draws.uniform(2)
    image += np.where((x > corner[0] * width) ^ (y > corner[1] * height), 25.0, -25.0)[..., None]
    return rounded(image + 6.0 * draws.normal(height * width * 3).reshape(height, width, 3))


def rounded(image: NDArray[np.float64]) -> Image:
    samples: Image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return samples


def pair(kind: str, height: int, width: int) -> tuple[Image, Image]:
    """Two images that differ in a way that has a name in `KINDS`."""
    first = picture(height, width, "first")
    values = first.astype(np.float64)
    if kind == "noise":
        draws = CounterBits(["tensorflow golden", "noise", height, width])
        return first, rounded(values + 20.0 * draws.normal(first.size).reshape(first.shape))
    if kind == "blur":
        padded = np.pad(values, ((2, 2), (2, 2), (0, 0)), mode="edge")
        shifted = [padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
        return first, rounded(sum(shifted, np.zeros(first.shape)) / 25.0)
    if kind == "blend":
        return first, rounded(0.7 * values + 0.3 * picture(height, width, "second"))
    if kind == "brighter":
        return first, rounded(0.9 * values + 40.0)
    if kind == "unrelated":
        return first, picture(height, width, "second")
    if kind == "negative":
        return first, rounded(255.0 - values)
    raise ValueError(kind)


def sha256(values: NDArray[np.float32]) -> str:
    """Of the samples of [299, 299, 3] float32 in C order, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()


def similarity_values(tf: ModuleType) -> dict[str, object]:
    names, digests, multiscale, single = [], [], [], []
    for height, width in SIZES:
        for kind in KINDS:
            first, second = pair(kind, height, width)
            names.append(f"{kind} {height} {width}")
            digests.append(f"{pixel_digest(first)} {pixel_digest(second)}")
            # Floats of 0 to 255, because TensorFlow rescales uint8 to 0 to 1 and loses a digit.
            tensors = [tf.constant(image.astype(np.float32)) for image in (first, second)]
            multiscale.append(float(tf.image.ssim_multiscale(*tensors, max_val=255.0)))
            single.append(float(tf.image.ssim(*tensors, max_val=255.0)))
    return {"pairs": names, "pair_digests": digests, "ms_ssim": multiscale, "ssim": single}


def resized_values(tf: ModuleType) -> dict[str, object]:
    digests, rows, hashes = [], [], []
    for height, width in RESIZED:
        image = picture(height, width, "resized")
        output = tf.compat.v1.image.resize_bilinear(
            image[None].astype(np.float32), [TARGET, TARGET], align_corners=False, half_pixel_centers=False
        ).numpy()[0]
        digests.append(pixel_digest(image))
        rows.append(output[list(ROWS)])
        hashes.append(sha256(output))
    return {"resized_digests": digests, "resized_rows": np.stack(rows), "resized_sha256": hashes}


def main() -> None:
    tf = importlib.import_module("tensorflow")
    contents = {**similarity_values(tf), **resized_values(tf), "tensorflow": tf.__version__}
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **{name: np.asarray(value) for name, value in contents.items()})  # type: ignore[arg-type]
    print(f"{FILE}: TensorFlow {tf.__version__}, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
