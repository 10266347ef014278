"""From a reference to what a model is given, for every task."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.prepare.degrade import jpeg
from palette_bench.prepare.degrade.colorize import luma
from palette_bench.prepare.degrade.holes import fixed_hole, punch, punch_fixed
from palette_bench.prepare.images import HoleMask, ImageU8
from palette_bench.protocol.tasks import Task, TaskKind


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
            return jpeg.decode(self.jpeg)
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
            data = jpeg.encode(reference, task.quality)
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
