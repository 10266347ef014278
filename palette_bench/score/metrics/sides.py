"""What metrics of two sets of features ask of them."""

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

Features = NDArray[np.float32] | NDArray[np.float64]
"""[n, D], one row an image."""


def check_sides(predictions: Features, references: Features, *, fewest: int, needs: str, paired: bool) -> None:
    """InputError unless both are finite [n, D] of one D with ``fewest`` images, and of one n where they are paired.

    ``needs`` says what so many images are needed for.
    """
    for name, side in (("predictions", predictions), ("references", references)):
        if side.ndim != 2 or side.shape[1] == 0:
            raise InputError("these are no features", where=name, expected="[n, D]", found=list(side.shape))
        if len(side) < fewest:
            raise InputError(needs, where=name, expected=f">= {fewest}", found=len(side))
        if not np.isfinite(side).all():
            raise InputError("features are not finite", where=name, found="NaN or infinity")
    if predictions.shape[1] != references.shape[1]:
        raise InputError(
            "features of different networks cannot be compared",
            expected=references.shape[1],
            found=predictions.shape[1],
        )
    if paired and len(predictions) != len(references):
        raise InputError(
            "pairs need as many predictions as references", expected=len(references), found=len(predictions)
        )
