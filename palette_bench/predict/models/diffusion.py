"""What Palette is trained to do: gamma, noise, the noisy image and the loss (section 2 of the paper).

Images are [n, 3, h, w] float32 in [-1, 1]; ``hole`` [n, 1, h, w] is 1 where the image is to be predicted, 0 where it is
known; a task without a hole has ones everywhere. MODEL_FACTS A1 to A7 number the choices.
"""

from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palette_bench.predict.models.schedules import TRAINING, Floats
from palette_bench.predict.models.unet import DATA_SPREAD, noisy_variance


class GammaDistribution(StrEnum):
    """How gamma is drawn in training (A1)."""

    PIECEWISE = "piecewise"
    """t uniform in 1..T, then gamma uniform in [gamma_t, gamma_(t-1)] (SR3): the default."""
    SQRT_PIECEWISE = "sqrt_piecewise"
    """The same with sqrt(gamma) uniform (WaveGrad)."""
    DISCRETE = "discrete"
    """gamma_t itself (DDPM)."""
    LOGNORMAL = "lognormal"
    """ln sigma normal, ``LOG_SIGMA``, sigma^2 = (1 - gamma) / gamma, within the range of training (Karras et al.
    2022): most examples have the noise at which edges, texture and colour are decided."""


LOG_SIGMA = NormalDist(-0.4, 1.3)
"""How ln sigma is distributed under ``GammaDistribution.LOGNORMAL``."""


class LossNorm(StrEnum):
    """The power p of |noise - predicted|^p."""

    L1 = "l1"
    L2 = "l2"


class LossTarget(StrEnum):
    """What the difference is measured in."""

    NOISE = "noise"
    """The noise, as the paper does. An error of the image counts by gamma / (1 - gamma), next to nothing where there is
    much noise. The default."""
    VELOCITY = "velocity"
    """sqrt(gamma) noise - sqrt(1 - gamma) image (Salimans and Ho, 2022): all noise levels count."""
    IMAGE = "image"
    """The image: an error counts the same wherever it is made, and hardly where next to nothing is hidden by noise."""
    EDM = "edm"
    """The image times 1 / c_out (Karras et al. 2022): an error of what the network itself gives under ``Output.EDM``
    counts the same at every noise level."""


class MaskNorm(StrEnum):
    """What the sum of the loss over the hole is divided by (A7)."""

    IMAGE = "image"
    """All pixels: the literal masked norm, in which small holes count little. The default."""
    HOLE = "hole"
    """The pixels of the hole."""


class KnownRegion(StrEnum):
    """What of the noisy image is outside the hole (A5)."""

    CLEAN = "clean"
    """The known pixels, in training and at every step of sampling. The default."""
    NOISED = "noised"
    """The known pixels with noise, and the prediction is composited at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig:
    """The choices of training."""

    loss: LossNorm = LossNorm.L2
    loss_target: LossTarget = LossTarget.NOISE
    gamma_distribution: GammaDistribution = GammaDistribution.PIECEWISE
    stratified: bool = False
    """Whether the t of a global batch are spread evenly (k-diffusion) and not drawn one by one."""
    mask_norm: MaskNorm = MaskNorm.IMAGE
    known: KnownRegion = KnownRegion.CLEAN


def gamma_of(draws: Floats, distribution: GammaDistribution) -> Floats:
    """gamma for uniform ``draws`` [n, 2] in [0, 1): the first picks t, the second the place within its segment; [n]."""
    gammas = TRAINING.gammas
    t = 1 + np.minimum((draws[:, 0] * TRAINING.steps).astype(np.int64), TRAINING.steps - 1)
    low, high = gammas[t], gammas[t - 1]
    gamma: Floats
    match distribution:
        case GammaDistribution.PIECEWISE:
            gamma = low + draws[:, 1] * (high - low)
        case GammaDistribution.SQRT_PIECEWISE:
            gamma = np.square(np.sqrt(low) + draws[:, 1] * (np.sqrt(high) - np.sqrt(low)))
        case GammaDistribution.DISCRETE:
            gamma = low
        case GammaDistribution.LOGNORMAL:
            places = np.clip(draws[:, 0], 1e-9, 1.0 - 1e-9)
            log_sigma = np.array([LOG_SIGMA.inv_cdf(place) for place in places.tolist()])
            gamma = np.clip(1.0 / (1.0 + np.exp(2.0 * log_sigma)), gammas[-1], gammas[1])
    return gamma


def gamma_quartile(gamma: Floats) -> NDArray[np.int64]:
    """Which quarter of the steps 1..T a gamma belongs to, [n] of 0 (least noise) to 3."""
    ends = TRAINING.gammas[[TRAINING.steps // 4, TRAINING.steps // 2, 3 * TRAINING.steps // 4]]
    quartile: NDArray[np.int64] = (gamma[:, None] < ends).sum(axis=1, dtype=np.int64)
    return quartile


def noisy_image(image: Tensor, noise: Tensor, gamma: Tensor, hole: Tensor, known: KnownRegion) -> Tensor:
    """sqrt(gamma) image + sqrt(1 - gamma) noise; ``gamma`` [n]. Outside the hole the image itself, unless noised."""
    g = gamma[:, None, None, None]
    mixed = g.sqrt() * image + (1.0 - g).sqrt() * noise
    return mixed if known is KnownRegion.NOISED else torch.where(hole > 0, mixed, image)


def loss_of(predicted: Tensor, target: Tensor, hole: Tensor, norm: LossNorm, divisor: MaskNorm) -> Tensor:
    """The loss of each image, [n] float32: the p-th power of the difference, summed over the hole and divided."""
    difference = (predicted.float() - target.float()) * hole
    power = difference.abs() if norm is LossNorm.L1 else difference.square()
    total = power.sum(dim=(1, 2, 3))
    if divisor is MaskNorm.IMAGE:
        return total / target[0].numel()
    return total / (hole.sum(dim=(1, 2, 3)) * target.shape[1]).clamp(min=1.0)


def weight_of(gamma: Tensor, target: LossTarget, norm: LossNorm) -> Tensor:
    """What the loss of each image in the noise is multiplied by to be the loss in ``target``; ``gamma`` [n], so [n].

    With the noisy image given, an error of the velocity is that of the noise over sqrt(gamma), one of the image that
    of the velocity times sqrt(1 - gamma).
    """
    match target:
        case LossTarget.NOISE:
            squared = torch.ones_like(gamma)
        case LossTarget.VELOCITY:
            squared = gamma.reciprocal()
        case LossTarget.IMAGE:
            squared = (1.0 - gamma) / gamma
        case LossTarget.EDM:
            squared = noisy_variance(gamma) / (DATA_SPREAD**2 * gamma)
    return squared.sqrt() if norm is LossNorm.L1 else squared
