"""Recipes that compare each prediction with its reference pixel by pixel: PSNR and SSIM.

The gate, which has both before it, runs the ``measure`` of every one of them and knows no names. Another is a recipe
whose metric is another `Pixels`: in `RECIPES` here, or in a package of its own (the entry point group
``palette_bench.recipes``).
"""

from collections.abc import Callable
from dataclasses import dataclass

from palette_bench.images.types import ImageU8
from palette_bench.score.metrics import estimate, similarity
from palette_bench.score.recipes.base import (
    PIXELS,
    Computed,
    Direction,
    Inputs,
    ItemNumbers,
    Metric,
    Needs,
    Number,
    Recipe,
    Setting,
    Shown,
)


@dataclass(frozen=True, slots=True, eq=False)
class Pixels(Metric):
    """The mean over items of ``measure(prediction, reference)``, two images [H, W, 3] uint8 of one shape.

    Images whose side is below ``smallest`` have no number. Equal images score ``identical``.
    """

    measure: Callable[[ImageU8, ImageU8], float]
    identical: float
    smallest: int = 1

    name = "similarity"
    needs = Needs.PIXELS
    order = 6
    items = ItemNumbers.MEAN

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The mean, and every item's number."""
        values = inputs.pixels[recipe.output]
        return Computed(Number(estimate.of_mean(values)), {recipe.output: values})

    def ideal(self, recipe: Recipe, inputs: Inputs) -> float | None:
        """What equal images score."""
        return self.identical

    def refusal(self, recipe: Recipe, setting: Setting) -> str | None:
        """Images that are too small."""
        if setting.size < self.smallest:
            return f"images of {setting.size} pixels are smaller than its window of {self.smallest}"
        return None

    def item_columns(self, recipe: Recipe, samples: int) -> tuple[str, ...]:
        """A column by the name of the output."""
        return (recipe.output,)


def _ssim(first: ImageU8, second: ImageU8) -> float:
    maps = [similarity.ImageMaps.of(side, scales=1) for side in (first, second)]
    return similarity.ssim(maps[0], maps[1])


_NOT_HEADLINE = (
    "Kept out of the headline table: the paper avoids PSNR and SSIM, which on tasks that require hallucination prefer "
    "blurry regression outputs and do not correlate well with human judgement (its section 4)."
)

# SCORE: everything below but titles, units, digits and docs.
RECIPES = (
    Recipe(
        name="psnr-rgb",
        version=1,
        metric=Pixels(similarity.psnr, identical=similarity.PSNR_CAP),
        backbone=PIXELS,
        output="psnr",
        parameters={"peak": 255, "error": "mean over pixels and channels", "identical": "100 dB", "average": "items"},
        title="PSNR",
        unit="dB",
        direction=Direction.HIGHER,
        digits=2,
        headline=False,
        doc="Mean over items of 10 log10(255² / MSE) of prediction and reference; identical images count as 100 dB. "
        + _NOT_HEADLINE,
        shown=Shown.RECORD,
    ),
    Recipe(
        name="ssim-gauss11-rgb",
        version=1,
        metric=Pixels(_ssim, identical=1.0, smallest=similarity.WINDOW),
        backbone=PIXELS,
        output="ssim",
        parameters={
            "window": "Gaussian 11, sigma 1.5, valid",
            "k1": "0.01",
            "k2": "0.03",
            "average": "channels, items",
        },
        title="SSIM",
        unit="",
        direction=Direction.HIGHER,
        digits=4,
        headline=False,
        doc="Mean over items of the structural similarity of prediction and reference (Wang et al. 2004) with an 11x11 "
        "Gaussian window, mean over channels: tf.image.ssim's definition. " + _NOT_HEADLINE,
        shown=Shown.RECORD,
    ),
)
