"""Array types of images, and what can be said about a decoded file."""

import numpy as np
from numpy.typing import NDArray

ImageU8 = NDArray[np.uint8]
"""RGB image [H, W, 3], uint8, sRGB as stored, rows from the top."""

GreyU8 = NDArray[np.uint8]
"""Grey image [H, W], uint8."""

HoleMask = NDArray[np.bool_]
"""Mask [H, W]; True where the image is hidden from the model."""
