"""Holes that depend on the image size alone."""

import math
from functools import lru_cache

import numpy as np

from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.protocol.tasks import Hole


@lru_cache(maxsize=32)
def fixed_hole(hole: Hole, size: int) -> HoleMask:
    """The mask [size, size] of a fixed hole, read-only.

    ``centre-half``: rows and columns size/4 .. 3 size/4 - 1 (64..191 of 256). Halves: exactly size/2 rows or columns.
    ``outside-centred-square``: all but the largest square of at most half the area (181 of 256), centred, the smaller
    margin first.
    """
    mask = np.zeros((size, size), dtype=np.bool_)
    half, quarter = size // 2, size // 4
    match hole:
        case Hole.CENTRE:
            mask[quarter : quarter + half, quarter : quarter + half] = True
        case Hole.RIGHT:
            mask[:, half:] = True
        case Hole.LEFT:
            mask[:, :half] = True
        case Hole.TOP:
            mask[:half] = True
        case Hole.BOTTOM:
            mask[half:] = True
        case Hole.BORDER:
            kept = math.isqrt(size * size // 2)
            start = (size - kept) // 2
            mask[:] = True
            mask[start : start + kept, start : start + kept] = False
        case Hole.NONE:
            pass
    mask.setflags(write=False)
    return mask


def punch(image: ImageU8, mask: HoleMask) -> ImageU8:
    """``image`` with the hole black."""
    kept = (~mask).view(np.uint8)
    punched = np.empty_like(image)
    for channel in range(3):
        np.multiply(image[..., channel], kept, out=punched[..., channel])
    return punched


def punch_fixed(image: ImageU8, hole: Hole) -> ImageU8:
    """``punch`` with a fixed hole, without looking at the mask pixel by pixel."""
    return image * _kept_samples(hole, image.shape[0])


@lru_cache(maxsize=16)
def _kept_samples(hole: Hole, size: int) -> ImageU8:
    return np.repeat((~fixed_hole(hole, size)).view(np.uint8)[..., None], 3, axis=2)


def composited(prediction: ImageU8, reference: ImageU8, hole: HoleMask | None) -> tuple[ImageU8, float | None]:
    """The prediction with the known pixels put back, and how far it had changed them, in grey levels of 0..255.

    ``reference`` may be the condition: the two are equal outside the hole. The change is the mean absolute difference
    there; None where nothing is hidden, or nothing known.
    """
    if hole is None:
        return prediction, None
    known = ~hole
    change = float(np.abs(prediction[known].astype(np.int16) - reference[known]).mean()) if known.any() else None
    # SCORE: the known region comes from the reference, as the paper has it.
    return composite(prediction, reference, hole), change


def composite(prediction: ImageU8, reference: ImageU8, mask: HoleMask) -> ImageU8:
    """The prediction in the hole, the reference everywhere else."""
    return np.where(mask[..., None], prediction, reference)
