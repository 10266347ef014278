"""Grey from colour."""

import numpy as np

from palette_bench.prepare.images import GreyU8, ImageU8

RED, GREEN, BLUE = 19595, 38470, 7471


def luma(image: ImageU8) -> GreyU8:
    """Rec. 601 luma [H, W], rounded: (19595 R + 38470 G + 7471 B + 2**15) >> 16, the same as Pillow's mode ``L``."""
    wide = image.astype(np.uint32)
    # SCORE: weights and rounding.
    return ((wide[..., 0] * RED + wide[..., 1] * GREEN + wide[..., 2] * BLUE + 0x8000) >> 16).astype(np.uint8)
