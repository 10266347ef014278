"""The images of a study: drawn from an evaluation set and predictions, checked, and written as PNG of equal size."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from palette_bench.common.canonical import lines_digest, pixel_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import write_bytes
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.types import ImageU8
from palette_bench.study.definition import STIMULI_FOLDER, Study

_STORED = 65_535
MOSAIC_BLOCKS = 10


def encode_png(image: ImageU8) -> bytes:
    """An RGB PNG of an image [H, W, 3] without compression: its length depends on H and W alone.

    A compressed PNG of a model's output is usually smaller than one of a photograph, and would give it away.
    """
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = image.reshape(height, 3 * width)
    raw = rows.tobytes()
    blocks = [raw[start : start + _STORED] for start in range(0, len(raw), _STORED)]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def enlarge(image: ImageU8, factor: int) -> ImageU8:
    """Every pixel of [H, W, 3] as a square of ``factor`` pixels."""
    return image if factor == 1 else np.ascontiguousarray(image.repeat(factor, 0).repeat(factor, 1))


def mosaic(image: ImageU8) -> ImageU8:
    """An obvious fake of [S, S, 3]: ``MOSAIC_BLOCKS`` squares each way, each of its mean colour, channels exchanged."""
    size = image.shape[0]
    edges = np.linspace(0, size, min(MOSAIC_BLOCKS, size) + 1).round().astype(int)
    fake = np.empty_like(image)
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            mean = image[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
            fake[top:bottom, left:right] = np.rint(mean[[2, 0, 1]]).astype(np.uint8)
    return fake


@dataclass(slots=True)
class StimulusWriter:
    """Writes images into a study's folder, each once, under the digest of its pixels."""

    folder: Path
    factor: int

    def put(self, image: ImageU8) -> str:
        """Write an image and return its digest."""
        shown = enlarge(image, self.factor)
        digest = pixel_digest(shown)
        path = stimulus_path(self.folder, digest)
        if not path.exists():
            write_bytes(path, encode_png(shown))
        return digest


def stimulus_path(folder: Path, digest: str) -> Path:
    """Where an image of a study lies."""
    return folder / STIMULI_FOLDER / f"{digest}.png"


def read_stimulus(folder: Path, digest: str) -> ImageU8:
    """The pixels [H, W, 3] of a study's image. Raises InputError when they are not those of its digest."""
    path = stimulus_path(folder, digest)
    try:
        pixels = decode(path.read_bytes()).pixels
    except (OSError, BadImageError) as error:
        raise InputError(
            "an image of the study cannot be read", where=path, found=error, next_step="make the study again"
        ) from error
    if (found := pixel_digest(pixels)) != digest:
        raise InputError("an image of the study was changed", where=path, expected=digest, found=found, next_step=AGAIN)
    return pixels


AGAIN = "make the study again with palette-bench study new: its images are part of it"


def read_stimuli(folder: Path, study: Study) -> dict[str, bytes]:
    """The PNG of every image of a study, by digest. Raises InputError with every image that is missing or changed."""
    problems: list[Problem] = []
    found: dict[str, bytes] = {}
    for digest in sorted(study.digests):
        try:
            found[digest] = encode_png(read_stimulus(folder, digest))
        except InputError as error:
            problems.append(Problem("image", f"{digest[:16]}", error.what))
    if problems:
        raise InputError("images of the study are missing or changed", where=folder, problems=problems, next_step=AGAIN)
    sizes = {len(data) for data in found.values()}
    if len(sizes) > 1:
        raise InputError(
            "the images of a study differ in size", where=folder, expected="one size", found=f"{len(sizes)} sizes"
        )
    return found


def outputs_digest(outputs: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    """sha256 over the sorted lines ``item id, digest`` of a model's outputs."""
    pairs = outputs.items() if isinstance(outputs, Mapping) else outputs
    return lines_digest(sorted(f"{item} {digest}" for item, digest in pairs))
