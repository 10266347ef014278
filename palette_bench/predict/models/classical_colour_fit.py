"""How the statistics of the classical colorizations are made.

``python -m palette_bench.predict.models.classical_colour_fit METHOD --out FILE`` writes the weights of a card and
prints the card's lines for them: from the train split of scenes32, or from any folder or .tar of images (``--source``).
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import numpy as np
import safetensors.numpy

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, UsageError
from palette_bench.common.files import write_bytes
from palette_bench.common.listing import list_files
from palette_bench.images.condition import luma
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.geometry import square_area
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.classical_colour import (
    LEVELS,
    Floats,
    Tensors,
    cumulative_histogram,
    resized,
)
from palette_bench.prepare.sources import scenes32
from palette_bench.prepare.sources.datasets import open_folder

PRIOR_PIXELS = 1_000
"""How many pixels of mean chroma every grey level starts with, so that a rare level is not judged by a handful."""

_CHUNK = 80


class Method(StrEnum):
    """What is fitted."""

    MEAN = "mean"
    BY_LUMINANCE = "by-luminance"
    RETRIEVAL = "retrieval"


IMAGES = {Method.MEAN: 2048, Method.BY_LUMINANCE: 2048, Method.RETRIEVAL: 256}
"""How many training images the shipped statistics are of."""


def fit(method: Method, images: Iterable[ImageU8], *, side: int = 16) -> Tensors:
    """The weights of a method from training images [H, W, 3] uint8. ``side`` is that of the retrieval's chroma.

    ``mean`` and ``by-luminance`` give a ``ChromaTable``, the first with one colour for all levels; every pixel counts
    once. Raises InputError without images.
    """
    if method is Method.RETRIEVAL:
        return _fit_retrieval(images, side)
    sums, counts = np.zeros((LEVELS, 2)), np.zeros(LEVELS)
    for image in images:
        level = luma(image).reshape(-1)
        ab = _chroma(image).reshape(-1, 2)
        counts += np.bincount(level, minlength=LEVELS)
        for k in (0, 1):
            sums[:, k] += np.bincount(level, weights=ab[:, k], minlength=LEVELS)
    if not counts.any():
        raise _no_images()
    mean = sums.sum(axis=0) / counts.sum()
    if method is Method.MEAN:
        return {"chroma": np.repeat(mean[None], LEVELS, axis=0).astype(np.float32)}
    chroma = (sums + PRIOR_PIXELS * mean) / (counts + PRIOR_PIXELS)[:, None]
    return {"chroma": chroma.astype(np.float32)}


def _fit_retrieval(images: Iterable[ImageU8], side: int) -> Tensors:
    cumulative, chroma = [], []
    for image in images:
        cumulative.append(cumulative_histogram(luma(image)))
        small = resized(_chroma(image).astype(np.float32), (side, side))
        chroma.append(np.clip(np.rint(small), -127, 127).astype(np.int8))
    if not chroma:
        raise _no_images()
    return {"cumulative": np.stack(cumulative), "chroma": np.stack(chroma)}


def _chroma(image: ImageU8) -> Floats:
    """(a, b) [H, W, 2] of an image."""
    from skimage.color import rgb2lab

    chroma: Floats = rgb2lab(image)[..., 1:]
    return chroma


def _no_images() -> InputError:
    return InputError("there are no training images", next_step="give --images 1 or more, and a --source that has some")


def training_images(source: Path | None, count: int, size: int) -> Iterator[ImageU8]:
    """``count`` training images: the first scenes of the train split, or evenly spaced files of a source.

    A source of fewer images gives all, as centred squares [size, size, 3]. Raises InputError, at the end, with every
    file that cannot be read.
    """
    if source is None:
        for start in range(0, count, _CHUNK):
            scenes, _ = scenes32.render(scenes32.Split.TRAIN, range(start, min(start + _CHUNK, count)))
            yield from scenes
        return
    eval_set = open_folder(list_files(source)).source
    names = sorted(eval_set.names())
    chosen = names if len(names) <= count else [names[k * len(names) // count] for k in range(count)]
    problems = []
    for name in chosen:
        try:
            pixels = decode(eval_set.read(name)).pixels
        except BadImageError as error:
            problems.append(Problem("undecodable", name, str(error)))
            continue
        yield square_area(pixels, size)
    if problems:
        raise InputError("some training images cannot be read", where=source, problems=problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m palette_bench.predict.models.classical_colour_fit",
        description="Fit a classical colorization and write its weights.",
    )
    parser.add_argument("method", choices=[method.value for method in Method])
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--source", type=Path, help="folder or .tar of images (default: the train split of scenes32)")
    parser.add_argument("--images", type=int, help="how many images to see (default: 2048, retrieval: 256)")
    parser.add_argument("--size", type=int, default=256, help="side that images of a --source are cut to (default 256)")
    parser.add_argument("--side", type=int, default=16, help="side of the retrieval's chroma (default 16)")
    return parser


def run(arguments: list[str] | None = None) -> None:
    """Fit, write the weights, and print their digest for the card."""
    options = _parser().parse_args(arguments)
    method = Method(options.method)
    count = options.images if options.images is not None else IMAGES[method]
    if count < 1 or options.size < 1 or options.side < 1:
        raise UsageError("sizes and counts are positive", found=f"{count}, {options.size}, {options.side}")
    data = safetensors.numpy.save(
        fit(method, training_images(options.source, count, options.size), side=options.side),
        metadata={"method": method.value},
    )
    write_bytes(options.out, data)
    sys.stdout.write(f'[weights]\nfile = "{options.out.name}"\nsha256 = "{bytes_digest(data)}"\n')


def main(arguments: list[str] | None = None) -> None:
    """``run`` as a program: a user's mistake is a message and an exit code."""
    try:
        run(arguments)
    except PaletteBenchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(int(error.exit_code)) from error
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(3) from error


if __name__ == "__main__":
    main()
