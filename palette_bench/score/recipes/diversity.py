"""How much several samples of one item differ: MS-SSIM of the first with each of the rest, LPIPS of neighbours."""

import importlib.util

from palette_bench.score.metrics import estimate
from palette_bench.score.metrics.similarity import histogram, scales_that_fit
from palette_bench.score.recipes.base import (
    LPIPS,
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
)

MS_SSIM = "ms_ssim"
"""The output of MS-SSIM's recipes: the measure of pairs that `score.diversity` computes."""


class Diversity(Metric):
    """A mean over items of the mean over pairs of samples (the paper, Fig. 8)."""

    name = "diversity"
    needs = Needs.PAIRS
    order = 7
    citation = "wang2003multiscale"
    items = ItemNumbers.MEAN
    of_samples = True

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The mean, a column for each pair, and of MS-SSIM how its pairs are spread and how many are clamped."""
        pairs = inputs.diversity[recipe.output]
        details = {"pairs": float(pairs.values.size)}
        spread = None
        if recipe.output == MS_SSIM:
            details["clamped_share"] = float(pairs.clamped.mean())
            spread = histogram(pairs.values.ravel()).counts
        number = Number(estimate.of_mean(pairs.values.mean(axis=1)), details)
        columns = {f"{recipe.output}_{number}": column for number, column in enumerate(pairs.values.T, 1)}
        return Computed(number, columns, spread)

    def applies(self, recipe: Recipe, setting: Setting) -> bool:
        """Only to several samples."""
        return setting.samples > 1

    def refusal(self, recipe: Recipe, setting: Setting) -> str | None:
        """One sample, images that hold too few scales, an extra that is missing."""
        if setting.samples < 2:
            return "it needs at least two samples an item"
        scales = int(recipe.parameters.get("scales", 0))
        if scales_that_fit(setting.size, setting.size) < scales:
            return f"images of {setting.size} pixels are too small for {scales} scales"
        if recipe.backbone == LPIPS and importlib.util.find_spec("lpips") is None:
            return "it needs the extra: pip install 'palette-bench[lpips]'"
        return None

    def item_columns(self, recipe: Recipe, samples: int) -> tuple[str, ...]:
        """A column for each pair."""
        return tuple(f"{recipe.output}_{pair}" for pair in range(1, samples))

    def item_title(self, recipe: Recipe, column: str) -> str:
        """Which pair."""
        number = column.rpartition("_")[2]
        return f"MS-SSIM of samples 0 and {number}" if recipe.output == MS_SSIM else f"LPIPS, pair {number}"

    def item_digits(self, recipe: Recipe) -> int:
        """Three."""
        return 3


DIVERSITY = Diversity()


def _ms_ssim(name: str, scales: int, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=DIVERSITY,
        backbone=PIXELS,
        output=MS_SSIM,
        parameters={
            "scales": scales,
            "window": "Gaussian 11, sigma 1.5, valid",
            "negative": "clamped at 0",
            "pairs": "the first sample with each of the rest",
        },
        title="MS-SSIM of samples",
        unit="",
        direction=Direction.LOWER,
        digits=3,
        headline=False,
        doc=doc,
    )


# SCORE: everything below but titles, units, digits and docs.
MS_SSIM_5 = _ms_ssim(
    "diversity-msssim-5scales",
    5,
    "Diversity of several samples an item: mean over items of the mean MS-SSIM of the first sample with each of the "
    "rest (the paper, Fig. 8); five scales with the powers of Wang et al. 2003, product over scales per channel, mean "
    "over channels: tf.image.ssim_multiscale's definition. Lower is more diverse. Pairs whose similarity is negative "
    "at a scale count as 0; their share is reported.",
)
MS_SSIM_2 = _ms_ssim(
    "diversity-msssim-2scales",
    2,
    "As diversity-msssim-5scales, for images of 32x32, where only two scales hold the 11x11 window: the first two "
    "powers, renormalised to sum 1. Not comparable with five scales.",
)
LPIPS_ALEXNET = Recipe(
    name="diversity-lpips-alexnet",
    version=1,
    metric=DIVERSITY,
    backbone=LPIPS,
    output="lpips",
    parameters={"network": "LPIPS v0.1, AlexNet, linear heads", "pairs": "consecutive samples"},
    title="LPIPS of samples",
    unit="",
    direction=Direction.HIGHER,
    digits=3,
    headline=False,
    doc="Diversity of several samples an item: mean over items of the mean LPIPS (Zhang et al. 2018; version 0.1, "
    "AlexNet) of consecutive samples, as the paper's second version has it. Higher is more diverse. Needs the extra "
    "palette-bench[lpips].",
    on_request=True,
)
