"""From a reference to what a model is given, for every task."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.images.holes import fixed_hole, punch, punch_fixed
from palette_bench.images.types import GreyU8, HoleMask, ImageU8
from palette_bench.protocol.tasks import Task, TaskKind

RED, GREEN, BLUE = 19595, 38470, 7471


def luma(image: ImageU8) -> GreyU8:
    """Rec. 601 luma [H, W], rounded: (19595 R + 38470 G + 7471 B + 2**15) >> 16, the same as Pillow's mode ``L``."""
    wide = image.astype(np.uint32)
    # SCORE: weights and rounding.
    return ((wide[..., 0] * RED + wide[..., 1] * GREEN + wide[..., 2] * BLUE + 0x8000) >> 16).astype(np.uint8)


def encode_jpeg(image: ImageU8, quality: int) -> bytes:
    """Baseline JPEG of ``image`` at a libjpeg quality of 1..95, chroma 4:2:0, standard Huffman tables."""
    buffer = io.BytesIO()
    # SCORE: the encoder and its options.
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> ImageU8:
    """The pixels [H, W, 3] of a JPEG made by ``encode_jpeg``."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True, slots=True)
class Condition:
    """What a model is given for one item.

    ``hole`` [H, W] is True where the image is hidden (None: nothing is). ``jpeg`` are the file's bytes (JPEG tasks
    only). ``digest`` is over grey pixels [H, W], the image with its hole black, or the JPEG's bytes; ``parameters`` is
    what varies from item to item. ``pixels`` is the grey image [H, W] or the one with its hole black [H, W, 3].
    """

    pixels: NDArray[np.uint8] | None
    hole: HoleMask | None
    jpeg: bytes | None
    digest: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def image(self) -> ImageU8:
        """The condition as RGB [H, W, 3]: the grey image replicated, the holes black, or the JPEG decoded."""
        if self.jpeg is not None:
            return decode_jpeg(self.jpeg)
        if self.pixels is None:
            raise ValueError("a condition has neither pixels nor a file")
        return np.repeat(self.pixels[..., None], 3, axis=2) if self.pixels.ndim == 2 else self.pixels

    def row(self, item_id: str) -> dict[str, object]:
        """The line of conditions.jsonl."""
        return {"id": item_id, "sha256": self.digest, "parameters": dict(self.parameters)}


def hole_of(task: Task, size: int, freeform: HoleMask | None) -> HoleMask | None:
    """The hole of a task: a fixed one, the given free-form mask, or None."""
    match task.kind:
        case TaskKind.FIXED_HOLE:
            return fixed_hole(task.hole, size)
        case TaskKind.FREEFORM_HOLE:
            if freeform is None:
                raise ValueError(f"task {task.name} needs a mask")
            return freeform
        case _:
            return None


def make_condition(task: Task, reference: ImageU8, hole: HoleMask | None) -> Condition:
    """The condition of a reference [H, W, 3]; ``hole`` from ``hole_of``. A pure function."""
    match task.kind:
        case TaskKind.COLORIZE:
            grey = luma(reference)
            return Condition(grey, None, None, pixel_digest(grey))
        case TaskKind.JPEG:
            data = encode_jpeg(reference, task.quality)
            parameters: dict[str, object] = {"quality": task.quality, "bytes": len(data)}
            return Condition(None, None, data, bytes_digest(data), parameters)
        case _:
            if hole is None:
                raise ValueError(f"task {task.name} needs a mask")
            fixed = task.kind is TaskKind.FIXED_HOLE
            image = punch_fixed(reference, task.hole) if fixed else punch(reference, hole)
            parameters = {
                "hole_pixels": int(np.count_nonzero(hole)),
                "mask_sha256": bytes_digest(np.packbits(hole).tobytes()),
            }
            return Condition(image, hole, None, pixel_digest(image), parameters)
