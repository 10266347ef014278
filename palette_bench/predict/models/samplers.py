"""From noise to an image: the paper's ancestral sampler and faster ones. Coefficients in float64, images in float32.

A sampler sees the network as ``denoise(y, gamma)``: the noise in y [n, 3, h, w], gamma a number. Fresh noise comes from
``noise()``, which returns the next [n, 3, h, w] draws of N(0, 1), each image's from its own generator, so that an
image does not depend on its batch. ``keep(y)`` puts the known pixels back (tasks with a hole), before every call of
the network and at the end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from palette_bench.common import schema
from palette_bench.common.errors import Problem, UsageError
from palette_bench.predict.models.diffusers_bridge import build_scheduler, sample_with_diffusers
from palette_bench.predict.models.schedules import (
    INFERENCE,
    SMALLEST_TRAINED,
    TRAINING,
    Floats,
    evenly_in_logsnr,
    evenly_in_sigma,
    noise_steps,
    respaced,
)

Denoise = Callable[[Tensor, float], Tensor]
Noise = Callable[[], Tensor]
Keep = Callable[[Tensor], Tensor]

DYNAMIC_QUANTILE = 0.995


class SamplerKind(StrEnum):
    """How one step is made."""

    ANCESTRAL = "ancestral"
    """The paper's (equation 9, Algorithm 2)."""
    DDIM = "ddim"
    DPMPP_2M = "dpmpp_2m"
    """DPM-Solver++ of second order, multistep (Lu et al. 2022)."""
    DPMPP_2M_SDE = "dpmpp_2m_sde"
    """The same solver for the equation with noise: ``eta`` 1 replaces all of it from step to step, 0 is none."""
    DIFFUSERS = "diffusers"
    """A scheduler of diffusers, named by ``scheduler``: `palette_bench.predict.models.diffusers_bridge`."""


class Spacing(StrEnum):
    """At which gammas the network is called."""

    PAPER = "paper"
    """Evenly spaced steps of the paper's schedule of 1000, which are all of them at ``steps`` = 1000."""
    TRAINING = "training"
    """Evenly spaced steps of the schedule of training."""
    LOGSNR = "logsnr"
    """Evenly in log(gamma / (1 - gamma)) over the range of training."""
    KARRAS = "karras"
    """Evenly in sigma^(1 / rho) from ``sigma_max`` to ``sigma_min``, sigma^2 = (1 - gamma) / gamma (Karras et al.
    2022): few calls, all of them where something is decided."""


class Variance(StrEnum):
    """The variance of the noise added after a step of ancestral sampling (A4)."""

    BETA = "beta"
    """1 - alpha_t: the paper's."""
    POSTERIOR = "posterior"


class Clip(StrEnum):
    """What is done to the estimate of y_0 at each step (A3)."""

    NONE = "none"
    """Nothing, as printed."""
    UNIT = "unit"
    """Clipped to [-1, 1]: the default."""
    DYNAMIC = "dynamic"
    """Clipped to the 99.5 % quantile of its magnitude and divided by it (Saharia et al. 2022, Imagen)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """A sampler. ``paper()`` is the one that is printed; the default clips.

    ``skip_noise_steps`` leaves out the steps of the paper's schedule with less signal than the network ever saw in
    training (532 of 1000): they cost half of the time, and with a clipped estimate they cannot move the noise that the
    others start from by more than 0.0067, sqrt(gamma_468). ``eta`` is the share of fresh noise of DDIM and of the
    solver with noise. ``scheduler`` and its ``options`` are of diffusers, which has spacing and clipping of its own.
    """

    FILE: ClassVar = schema.File("sampler", next_step="see docs/sampling.md")

    kind: SamplerKind = SamplerKind.ANCESTRAL
    steps: Annotated[int, Ge(1), Le(TRAINING.steps)] = 1000
    spacing: Spacing = Spacing.PAPER
    variance: Variance = Variance.BETA
    clip: Clip = Clip.UNIT
    skip_noise_steps: bool = False
    eta: Annotated[float, Ge(0), Le(1)] = 0.0
    sigma_max: Annotated[float, Ge(0.001), Le(150)] = 80.0
    sigma_min: Annotated[float, Ge(0.001), Le(150)] = 0.002
    rho: Annotated[float, Ge(1), Le(20)] = 7.0
    scheduler: str = ""
    options: Mapping[str, object] = field(default_factory=dict)

    def gammas(self) -> Floats:
        """gamma_0 = 1 and the gammas at which the network is called, descending; float64 [calls + 1]."""
        if self.spacing is Spacing.LOGSNR:
            return evenly_in_logsnr(float(TRAINING.gammas[1]), SMALLEST_TRAINED, self.steps)
        if self.spacing is Spacing.KARRAS:
            return evenly_in_sigma(self.sigma_max, self.sigma_min, self.rho, self.steps)
        if self.spacing is Spacing.TRAINING:
            return respaced(TRAINING.gammas, self.steps)
        every = INFERENCE.gammas
        if not self.skip_noise_steps:
            return respaced(every, self.steps)
        trained = every[: len(every) - noise_steps(INFERENCE)]
        return trained if self.steps == INFERENCE.steps else respaced(trained, self.steps)


def paper() -> SamplerConfig:
    """The paper's sampler as printed: 1000 ancestral steps, nothing clipped."""
    return SamplerConfig(clip=Clip.NONE)


_OWN = frozenset(SamplerKind) - {SamplerKind.DIFFUSERS}
_READ_BY = {
    "spacing": _OWN,
    "clip": _OWN,
    "skip_noise_steps": _OWN,
    "variance": frozenset({SamplerKind.ANCESTRAL}),
    "eta": frozenset({SamplerKind.DDIM, SamplerKind.DPMPP_2M_SDE}),
    "sigma_max": _OWN,
    "sigma_min": _OWN,
    "rho": _OWN,
    "scheduler": frozenset({SamplerKind.DIFFUSERS}),
    "options": frozenset({SamplerKind.DIFFUSERS}),
}
"""Settings that only some kinds look at; for others they would say something that is not so."""
_KARRAS = ("sigma_max", "sigma_min", "rho")
"""The settings of spacing karras."""


def read_sampler(table: Mapping[str, object]) -> SamplerConfig:
    """A sampler from a card's table.

    Raises InputError with everything that does not fit, UsageError for settings that mean nothing together.
    """
    config = schema.load(SamplerConfig, table, where="[config.sampler]")
    problems = [
        Problem("no such setting", name, f"kind {config.kind} has none")
        for name in table
        if name in _READ_BY and config.kind not in _READ_BY[name]
    ]
    if config.skip_noise_steps and config.spacing is not Spacing.PAPER:
        problems.append(Problem("no such setting", "skip_noise_steps", "only spacing paper has such steps"))
    if config.spacing is not Spacing.KARRAS:
        problems += [
            Problem("no such setting", name, "only spacing karras has a range of its own")
            for name in _KARRAS
            if name in table
        ]
    elif config.sigma_min >= config.sigma_max:
        detail = f"expected less than sigma_max {config.sigma_max}, found {config.sigma_min}"
        problems.append(Problem("wrong value", "sigma_min", detail))
    if problems:
        raise UsageError("a sampler's settings do not fit", problems=problems, next_step="see docs/sampling.md")
    if config.kind is SamplerKind.DIFFUSERS:
        build_scheduler(config.scheduler, config.steps, config.options)
    else:
        config.gammas()
    return config


def clipped(estimate: Tensor, clip: Clip) -> Tensor:
    """The estimate of y_0 [n, 3, h, w], clipped.

    Known pixels have to be in it as they are: what a network says of them is anything, and it would be among the
    magnitudes that dynamic clipping looks at.
    """
    match clip:
        case Clip.NONE:
            return estimate
        case Clip.UNIT:
            return estimate.clamp(-1.0, 1.0)
        case Clip.DYNAMIC:
            reach = torch.quantile(estimate.abs().flatten(1), DYNAMIC_QUANTILE, dim=1)
            reach = reach.clamp(min=1.0)[:, None, None, None]
            return estimate.clamp(-reach, reach) / reach


def sample(config: SamplerConfig, denoise: Denoise, noise: Noise, keep: Keep) -> Tensor:
    """An image [n, 3, h, w] float32, about [-1, 1]: from ``noise()`` down to gamma = 1."""
    match config.kind:
        case SamplerKind.ANCESTRAL:
            return _ancestral(config, denoise, noise, keep)
        case SamplerKind.DDIM:
            return _ddim(config, denoise, noise, keep)
        case SamplerKind.DPMPP_2M:
            return _dpmpp_2m(config, denoise, noise, keep, eta=0.0)
        case SamplerKind.DPMPP_2M_SDE:
            return _dpmpp_2m(config, denoise, noise, keep, eta=config.eta)
        case SamplerKind.DIFFUSERS:
            scheduler = build_scheduler(config.scheduler, config.steps, config.options)
            return sample_with_diffusers(
                scheduler, lambda y, gamma: estimate_of(y, denoise(keep(y), gamma), gamma), noise, keep
            )


def estimate_of(y: Tensor, predicted: Tensor, gamma: float) -> Tensor:
    """y_0 from a noisy image and the noise in it."""
    return (y - math.sqrt(1.0 - gamma) * predicted) / math.sqrt(gamma)


def _ancestral(config: SamplerConfig, denoise: Denoise, noise: Noise, keep: Keep) -> Tensor:
    gammas = config.gammas()
    y = keep(noise())
    for t in range(len(gammas) - 1, 0, -1):
        gamma, before = float(gammas[t]), float(gammas[t - 1])
        alpha = gamma / before
        predicted = denoise(y, gamma)
        if config.clip is Clip.NONE:
            # Equation 9, which never divides by sqrt(gamma): 1.2e-10 at the paper's first step.
            y = (y - (1.0 - alpha) / math.sqrt(1.0 - gamma) * predicted) / math.sqrt(alpha)
        else:
            start = clipped(keep(estimate_of(y, predicted, gamma)), config.clip)
            y = (math.sqrt(before) * (1.0 - alpha) * start + math.sqrt(alpha) * (1.0 - before) * y) / (1.0 - gamma)
        if t > 1:
            variance = 1.0 - alpha
            if config.variance is Variance.POSTERIOR:
                variance *= (1.0 - before) / (1.0 - gamma)
            y = y + math.sqrt(variance) * noise()
        y = keep(y)
    return y


def _ddim(config: SamplerConfig, denoise: Denoise, noise: Noise, keep: Keep) -> Tensor:
    gammas = config.gammas()
    y = keep(noise())
    for t in range(len(gammas) - 1, 0, -1):
        gamma, before = float(gammas[t]), float(gammas[t - 1])
        start = clipped(keep(estimate_of(y, denoise(y, gamma), gamma)), config.clip)
        direction = (y - math.sqrt(gamma) * start) / math.sqrt(1.0 - gamma)
        spread = config.eta * math.sqrt((1.0 - before) / (1.0 - gamma) * (1.0 - gamma / before))
        y = math.sqrt(before) * start + math.sqrt(max(1.0 - before - spread * spread, 0.0)) * direction
        if t > 1 and spread > 0.0:
            y = y + spread * noise()
        y = keep(y)
    return y


def _dpmpp_2m(config: SamplerConfig, denoise: Denoise, noise: Noise, keep: Keep, *, eta: float) -> Tensor:
    gammas = config.gammas()
    y = keep(noise())
    previous: tuple[Tensor, float] | None = None
    for t in range(len(gammas) - 1, 0, -1):
        gamma, before = float(gammas[t]), float(gammas[t - 1])
        start = clipped(keep(estimate_of(y, denoise(y, gamma), gamma)), config.clip)
        if t == 1:
            return keep(start)
        # Half of the log signal-to-noise ratio is the time in which the solver's steps are even.
        now, then = (0.5 * (math.log(g) - math.log1p(-g)) for g in (gamma, before))
        step, mixed = then - now, start
        if previous is not None:
            earlier, earlier_step = previous
            ratio = step / (2.0 * earlier_step)
            mixed = (1.0 + ratio) * start - ratio * earlier
        left = math.sqrt((1.0 - before) / (1.0 - gamma)) * math.exp(-eta * step)
        y = left * y - math.sqrt(before) * math.expm1(-(1.0 + eta) * step) * mixed
        if eta > 0.0:
            y = y + math.sqrt((1.0 - before) * -math.expm1(-2.0 * eta * step)) * noise()
        y = keep(y)
        previous = (start, step)
    raise AssertionError("a schedule without steps")
