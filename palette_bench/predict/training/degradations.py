"""What training takes away from an image: the paper's distributions of masks, crops and compression.

Every draw comes from the generator that is passed in, in a fixed order, so an example is a function of its generator.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.images.condition import decode_jpeg, encode_jpeg, luma
from palette_bench.images.freeform import freeform_mask, words_per_candidate
from palette_bench.images.holes import fixed_hole
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.protocol.tasks import FreeformBrush, Hole

FREEFORM_RATE = 0.6
"""How often an inpainting mask is free-form; otherwise rectangles (Appendix B)."""
RECTANGLES = (1, 5)
RECTANGLE_AREA = (0.1, 0.3)
"""How many rectangles, and what part of the image their union covers (A22); version 2 of the paper has 0.1 to 0.4."""
BORDER_RATE = 0.5
"""How often uncropping hides all four sides; otherwise one side (A20)."""
QUALITIES = np.arange(5, 31)
QUALITY_DECAY = 10.0
"""JPEG quality factors Q are drawn with probability proportional to exp(-Q / 10)."""

_SIDES = (Hole.LEFT, Hole.RIGHT, Hole.TOP, Hole.BOTTOM)
_BRUSH = FreeformBrush()


class Family(StrEnum):
    """The four things that the paper trains."""

    COLORIZE = "colorize"
    INPAINT = "inpaint"
    UNCROP = "uncrop"
    JPEG = "jpeg"

    @property
    def masked(self) -> bool:
        """Whether part of the image is hidden and only that part is predicted."""
        return self in (Family.INPAINT, Family.UNCROP)


def quality_probabilities() -> NDArray[np.float64]:
    """The probability of each of ``QUALITIES``: 0.1028 for 5, 0.0623 for 10, 0.0229 for 20."""
    weights = np.exp(-QUALITIES / QUALITY_DECAY)
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


_QUALITY_CUMULATED = np.cumsum(quality_probabilities())


def draw_quality(generator: np.random.Generator) -> int:
    """A JPEG quality of 5..30."""
    return int(QUALITIES[min(int(np.searchsorted(_QUALITY_CUMULATED, generator.random())), len(QUALITIES) - 1)])


def draw_rectangles(generator: np.random.Generator, size: int, area: tuple[float, float] = RECTANGLE_AREA) -> HoleMask:
    """One to five rectangles [size, size] whose union covers a part of the image within ``area``, by rejection."""
    count = int(generator.integers(RECTANGLES[0], RECTANGLES[1] + 1))
    low, high = area
    longest = max(2, round(size * high**0.5 * 1.5))
    while True:
        mask = np.zeros((size, size), dtype=np.bool_)
        for _ in range(count):
            height, width = generator.integers(1, min(longest, size) + 1, size=2).tolist()
            top, left = int(generator.integers(0, size - height + 1)), int(generator.integers(0, size - width + 1))
            mask[top : top + height, left : left + width] = True
        if low <= mask.mean() <= high:
            return mask


def draw_inpainting_hole(
    generator: np.random.Generator, size: int, rectangle_area: tuple[float, float] = RECTANGLE_AREA
) -> HoleMask:
    """A free-form mask or rectangles, [size, size]."""
    if generator.random() < FREEFORM_RATE:
        words = generator.integers(0, 1 << 32, size=words_per_candidate(_BRUSH), dtype=np.uint32)
        return freeform_mask(words, size, _BRUSH)
    return draw_rectangles(generator, size, rectangle_area)


def draw_uncropping_hole(generator: np.random.Generator, size: int) -> HoleMask:
    """All four sides or one of them, half of the image, [size, size]."""
    if generator.random() < BORDER_RATE:
        return fixed_hole(Hole.BORDER, size)
    return fixed_hole(_SIDES[int(generator.integers(0, len(_SIDES)))], size)


def degrade(
    family: Family,
    image: ImageU8,
    generator: np.random.Generator,
    *,
    rectangle_area: tuple[float, float] = RECTANGLE_AREA,
) -> tuple[ImageU8, HoleMask | None]:
    """The condition [H, W, 3] uint8 (a hole is not yet filled) and the hole [H, W], None where all is predicted."""
    match family:
        case Family.COLORIZE:
            return np.repeat(luma(image)[..., None], 3, axis=2), None
        case Family.JPEG:
            return decode_jpeg(encode_jpeg(image, draw_quality(generator))), None
        case Family.INPAINT:
            return image, draw_inpainting_hole(generator, image.shape[0], rectangle_area)
        case Family.UNCROP:
            return image, draw_uncropping_hole(generator, image.shape[0])
