"""The metrics as pure functions of arrays: features, logits, images; float64, with standard errors.

Nothing here reads a file, knows a recipe or loads a network.
"""

from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.frechet import frechet_distance, frechet_influence, moments
from palette_bench.score.metrics.inception_score import inception_score
from palette_bench.score.metrics.kid import kernel_distance, subset_kernel_distance
from palette_bench.score.metrics.perceptual import perceptual_distance
from palette_bench.score.metrics.prdc import neighbour_metrics
from palette_bench.score.metrics.similarity import ImageMaps, ms_ssim, psnr, ssim

__all__ = [
    "ImageMaps",
    "accuracy",
    "frechet_distance",
    "frechet_influence",
    "inception_score",
    "kernel_distance",
    "moments",
    "ms_ssim",
    "neighbour_metrics",
    "perceptual_distance",
    "psnr",
    "ssim",
    "subset_kernel_distance",
]
