"""Classical methods: what fills a hole without having learnt anything. The floor that a trained model has to beat."""

from collections.abc import Callable

import numpy as np

from palette_bench.prepare.degrade.condition import Condition
from palette_bench.prepare.images import ImageU8

Method = Callable[[Condition], ImageU8]
"""From a condition to a prediction [H, W, 3] uint8."""


def _known_side(condition: Condition) -> int:
    """How many columns from the left are known. The hole must be the right part of the image."""
    hole = condition.hole
    if hole is None or not (hole == hole[0]).all() or (np.diff(hole[0].astype(np.int8)) < 0).any():
        raise ValueError("this method extends an image to the right: task uncrop")
    return int(np.count_nonzero(~hole[0]))


def mirror(condition: Condition) -> ImageU8:
    """Uncropping by reflection: the known part again, as in a mirror at the border."""
    known = _known_side(condition)
    width = condition.image.shape[1]
    return np.pad(condition.image[:, :known], ((0, 0), (0, width - known), (0, 0)), mode="symmetric")


def edge(condition: Condition) -> ImageU8:
    """Uncropping by repetition of the last known column."""
    known = _known_side(condition)
    width = condition.image.shape[1]
    return np.pad(condition.image[:, :known], ((0, 0), (0, width - known), (0, 0)), mode="edge")


def biharmonic(condition: Condition) -> ImageU8:
    """Smooth filling: the biharmonic equation with the known pixels as its border (scikit-image), clipped to 0..255."""
    from skimage.restoration import inpaint_biharmonic

    if condition.hole is None:
        raise ValueError("this method fills holes: inpainting and uncropping")
    filled = inpaint_biharmonic(condition.image.astype(np.float64) / 255.0, condition.hole.copy(), channel_axis=-1)
    prediction: ImageU8 = np.rint(np.clip(filled, 0.0, 1.0) * 255.0).astype(np.uint8)
    return prediction


METHODS: dict[str, Method] = {"mirror": mirror, "edge": edge, "biharmonic": biharmonic}
