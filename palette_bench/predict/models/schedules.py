"""Noise schedules in float64: how much of the image is left (gamma) after each step.

beta_t is the variance added at step t = 1..T, alpha_t = 1 - beta_t, gamma_t the product of alpha_1..alpha_t, so that
y_t = sqrt(gamma_t) y_0 + sqrt(1 - gamma_t) noise. gamma_0 = 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearSchedule:
    """beta rises linearly from ``first`` at step 1 to ``last`` at step ``steps``."""

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        if not (0.0 < self.first <= self.last < 1.0 and self.steps >= 1):
            raise UsageError(
                "a noise schedule that is none",
                expected="0 < first <= last < 1 and at least one step",
                found=f"{self.first} to {self.last} in {self.steps} steps",
            )

    @property
    def betas(self) -> Floats:
        """beta_1..beta_T, [T]."""
        return np.linspace(self.first, self.last, self.steps, dtype=np.float64)

    @property
    def gammas(self) -> Floats:
        """gamma_0..gamma_T, [T + 1]; gamma_0 = 1."""
        return np.concatenate([[1.0], np.cumprod(1.0 - self.betas)])


TRAINING = LinearSchedule(1e-6, 0.01, 2000)
"""The paper's schedule for training: gamma_2000 = 4.38597823613321e-05."""
INFERENCE = LinearSchedule(1e-4, 0.09, 1000)
"""The paper's schedule for sampling: gamma_1000 = 6.604377303535892e-21."""

SMALLEST_TRAINED = float(TRAINING.gammas[-1])
"""The smallest gamma of training, and the least the network is told. 532 of the steps of ``INFERENCE`` are below."""


def noise_steps(schedule: LinearSchedule, smallest: float = SMALLEST_TRAINED) -> int:
    """How many steps of a schedule lie below the smallest gamma of training: the network was not trained for them."""
    return int(np.count_nonzero(schedule.gammas < smallest))


def respaced(gammas: Floats, steps: int) -> Floats:
    """Of gamma_0..gamma_T those at ``steps`` + 1 evenly spaced indices, both ends included; [steps + 1]."""
    if not 1 <= steps < len(gammas):
        raise UsageError("too many or too few steps", expected=f"1 to {len(gammas) - 1}", found=steps)
    chosen = np.rint(np.linspace(0, len(gammas) - 1, steps + 1)).astype(np.int64)
    return gammas[chosen]


def evenly_in_logsnr(largest: float, smallest: float, steps: int) -> Floats:
    """1, then ``steps`` gammas from ``largest`` to ``smallest``, even in log(gamma / (1 - gamma)); [steps + 1].

    A single step is one from ``smallest``.
    """
    if steps == 1:
        return np.array([1.0, smallest])
    ends = np.log([largest / (1.0 - largest), smallest / (1.0 - smallest)])
    logsnr = np.linspace(ends[0], ends[1], steps, dtype=np.float64)
    return np.concatenate([[1.0], 1.0 / (1.0 + np.exp(-logsnr))])


def evenly_in_sigma(largest: float, smallest: float, rho: float, steps: int) -> Floats:
    """1, then the gammas of ``steps`` sigmas from ``smallest`` to ``largest``, even in sigma^(1 / rho); [steps + 1].

    sigma^2 = (1 - gamma) / gamma (Karras et al. 2022, equation 5). A single step is one from ``largest``.
    """
    if steps == 1:
        return np.array([1.0, 1.0 / (1.0 + largest * largest)])
    sigma = np.linspace(smallest ** (1.0 / rho), largest ** (1.0 / rho), steps, dtype=np.float64) ** rho
    return np.concatenate([[1.0], 1.0 / (1.0 + sigma * sigma)])
