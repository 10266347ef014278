"""The mean absolute error in grey levels, as a recipe.

A recipe that compares each prediction with its reference pixel by pixel needs a function of two images and a
description. Its fingerprint holds the name of this package, so the number never stands in a column beside others.
"""

import numpy as np
from numpy.typing import NDArray

from palette_bench.score.recipes.base import PIXELS, Direction, Recipe
from palette_bench.score.recipes.pixels import Pixels


def mean_absolute_error(prediction: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """The mean over pixels and channels of |prediction - reference|, 0 to 255; both [H, W, 3] uint8."""
    return float(np.abs(prediction.astype(np.int16) - reference).mean())


RECIPE = Recipe(
    name="mae-rgb",
    version=1,  # to be raised whenever the number changes
    metric=Pixels(mean_absolute_error, identical=0.0),
    backbone=PIXELS,
    output="mae",
    parameters={"error": "mean over pixels and channels", "average": "items"},
    title="MAE",
    unit="",
    direction=Direction.LOWER,
    digits=2,
    headline=False,
    doc="Mean over items of the mean absolute error of prediction and reference, in grey levels.",
)
