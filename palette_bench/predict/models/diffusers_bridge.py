"""Samplers of diffusers (optional extra): its schedulers, on the noise schedule that Palette is trained with."""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from palette_bench.common.errors import UsageError
from palette_bench.predict.models.schedules import TRAINING

SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDPM", "DEISMultistep", "DPMSolverMultistep", "EulerAncestralDiscrete", "EulerDiscrete"),
        *("HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LMSDiscrete", "PNDM"),
        "UniPCMultistep",
    )
)
"""Those that take a schedule of one's own and whose randomness, if any, comes from a generator an image."""

FIXED = frozenset(
    {"beta_end", "beta_schedule", "beta_start", "num_train_timesteps", "prediction_type", "rescale_betas_zero_snr"}
    | {"trained_betas", "use_flow_sigmas", "variance_type"}
)
"""What the model decides and a card cannot."""


class Scheduler(Protocol):
    """What is used of a scheduler; ``step`` returns a tuple, the next sample first."""

    timesteps: Tensor
    init_noise_sigma: float | Tensor

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        """What the network is given, at the scale of training."""

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor,
        sample: Tensor,
        *,
        return_dict: bool,
        generator: list[torch.Generator] = ...,
    ) -> tuple[Tensor, ...]:
        """One step."""


def build_scheduler(name: str, steps: int, options: Mapping[str, object]) -> Scheduler:
    """A scheduler with its time steps set, trailing (from pure noise) unless ``options`` say otherwise.

    Raises UsageError when diffusers is not installed, for another scheduler, and for options that it does not take.
    """
    try:
        import diffusers
    except ImportError as error:
        raise UsageError(
            "this sampler needs diffusers", found=error, next_step="pip install 'palette-bench[diffusers]'"
        ) from error
    if name not in SCHEDULERS:
        raise UsageError("no such scheduler for this model", expected=", ".join(SCHEDULERS), found=name or "none")
    if taken := sorted(FIXED.intersection(options)):
        raise UsageError(
            "a scheduler's options that are not free", expected="the training's schedule", found=", ".join(taken)
        )
    ours = {"num_train_timesteps": TRAINING.steps, "trained_betas": TRAINING.betas, "prediction_type": "epsilon"}
    try:
        scheduler = getattr(diffusers, name)(**{"timestep_spacing": "trailing", **options, **ours})
        # diffusers rounds the schedule to float32: 1 - gamma of the first step comes out 1.3 % off.
        gammas = torch.from_numpy(TRAINING.gammas[1:])
        double = {
            "betas": torch.from_numpy(TRAINING.betas),
            "alphas": 1.0 - torch.from_numpy(TRAINING.betas),
            "alphas_cumprod": gammas,
            "alpha_t": gammas.sqrt(),
            "sigma_t": (1.0 - gammas).sqrt(),
            "lambda_t": 0.5 * torch.logit(gammas),
        }
        for attribute in double.keys() & vars(scheduler).keys():
            setattr(scheduler, attribute, double[attribute])
        scheduler.set_timesteps(steps)
    except Exception as error:
        raise UsageError(
            "diffusers does not take these settings of a sampler",
            where=name,
            found=f"{type(error).__name__}: {error}",
            next_step="see the scheduler's own documentation for its options",
        ) from error
    return cast(Scheduler, scheduler)


def sample_with_diffusers(
    scheduler: Scheduler,
    estimate_at: Callable[[Tensor, float], Tensor],
    noise: Callable[[], Tensor],
    keep: Callable[[Tensor], Tensor],
) -> Tensor:
    """``samplers.sample`` by a scheduler of diffusers. An image's later noise is seeded by its first.

    ``estimate_at(y, gamma)`` is the network's estimate of y_0 [n, 3, h, w].
    """
    first = noise()
    more = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        more["generator"] = [torch.Generator().manual_seed(_seed(image)) for image in first]
    y = first * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        gamma = gamma_at(float(t))
        # Some schedulers keep y at another scale than that of training.
        scaled = scheduler.scale_model_input(y, t)
        estimate = keep(estimate_at(scaled, gamma))
        predicted = (scaled - math.sqrt(gamma) * estimate) / math.sqrt(1.0 - gamma)
        y = scheduler.step(predicted, t, y, return_dict=False, **more)[0]
    return keep(y)


def gamma_at(t: float) -> float:
    """gamma at a time of diffusers, which counts from 0 and has fractions: even in the log signal-to-noise ratio."""
    gammas = TRAINING.gammas[1:]
    logsnr = np.interp(t, np.arange(TRAINING.steps), np.log(gammas) - np.log1p(-gammas))
    return float(1.0 / (1.0 + np.exp(-logsnr)))


def _seed(image: Tensor) -> int:
    data = image.detach().cpu().contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1
