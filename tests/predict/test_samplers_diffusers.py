"""The bridge to diffusers: its schedulers with our networks, and as judges of our own samplers."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from palette_bench.common.errors import UsageError
from palette_bench.predict.models.diffusers_bridge import SCHEDULERS, build_scheduler, gamma_at
from palette_bench.predict.models.samplers import (
    Clip,
    SamplerConfig,
    SamplerKind,
    Spacing,
    read_sampler,
    sample,
)
from palette_bench.predict.models.schedules import TRAINING
from tests.predict.test_samplers import all_of, gaussian, image_of, noise_of, oracle

pytestmark = [
    # diffusers on its newest dependencies.
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]


def bridge(scheduler: str, steps: int = 20, **options: object) -> SamplerConfig:
    return SamplerConfig(kind=SamplerKind.DIFFUSERS, scheduler=scheduler, steps=steps, options=options)


def end(config: SamplerConfig, network: Callable[[Tensor, float], Tensor] | None = None) -> Tensor:
    return sample(config, network or gaussian(0.2, 0.5), noise_of(0), all_of)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_with_the_noise_known_every_scheduler_returns_the_image(scheduler: str) -> None:
    image, levels = image_of(), list[tuple[float, Tensor]]()
    # Those that end at the first noise level of training leave its noise, 0.001 a pixel.
    torch.testing.assert_close(end(bridge(scheduler), oracle(image, levels)), image, rtol=0, atol=5e-3)
    gammas = [gamma for gamma, _ in levels]
    assert gammas[0] == pytest.approx(TRAINING.gammas[-1], rel=1e-6)
    assert min(gammas) >= TRAINING.gammas[-1] * (1 - 1e-6)
    # What the network is shown has the noise that it is told of, at the scale of training.
    for gamma, y in levels[:1]:
        assert float((y - gamma**0.5 * image).std()) == pytest.approx((1 - gamma) ** 0.5, rel=0.25)


def test_our_ddim_is_theirs() -> None:
    ours = SamplerConfig(kind=SamplerKind.DDIM, steps=50, spacing=Spacing.TRAINING, clip=Clip.NONE)
    theirs = bridge("DDIMScheduler", 50, clip_sample=False)
    torch.testing.assert_close(end(ours), end(theirs), rtol=0, atol=2e-5)
    torch.testing.assert_close(end(replace(ours, clip=Clip.UNIT)), end(bridge("DDIMScheduler", 50)), rtol=0, atol=2e-5)
    for twin in (
        bridge("DDIMScheduler", 40, clip_sample=False),
        replace(theirs, scheduler="UniPCMultistepScheduler", options={}),
    ):
        assert (end(ours) - end(twin)).abs().max() > 1e-3


@pytest.mark.parametrize("steps", [10, 40])
def test_our_dpm_solver_is_theirs_of_order_two(steps: int) -> None:
    ours = end(SamplerConfig(kind=SamplerKind.DPMPP_2M, steps=steps, spacing=Spacing.TRAINING, clip=Clip.NONE))
    theirs = end(bridge("DPMSolverMultistepScheduler", steps, lower_order_final=steps >= 15))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    for order in (1, 3):
        twin = end(bridge("DPMSolverMultistepScheduler", steps, solver_order=order))
        assert (ours - twin).abs().max() > 1e-3


def test_the_schedule_of_training_reaches_a_scheduler_in_float64() -> None:
    scheduler = build_scheduler("DDIMScheduler", 10, {})
    gammas: Tensor = scheduler.alphas_cumprod  # type: ignore[attr-defined]
    np.testing.assert_array_equal(gammas.numpy(), TRAINING.gammas[1:])
    # As diffusers computes it, the least noise is more than one per cent off.
    rounded = torch.cumprod(1.0 - torch.tensor(TRAINING.betas, dtype=torch.float32), dim=0)
    assert abs(float((1 - rounded[0]) / 1e-6) - 1) > 0.01


def test_times_between_two_steps_have_gammas_between_theirs() -> None:
    assert gamma_at(0) == pytest.approx(TRAINING.gammas[1], rel=1e-12)
    assert gamma_at(1999) == pytest.approx(TRAINING.gammas[2000], rel=1e-12)
    low, middle, high = gamma_at(501), gamma_at(500.5), gamma_at(500)
    assert low < middle < high
    ratios = [gamma / (1 - gamma) for gamma in (low, middle, high)]
    assert ratios[1] ** 2 == pytest.approx(ratios[0] * ratios[2], rel=1e-9)


@pytest.mark.parametrize(
    "config",
    [
        bridge("DDPMScheduler"),
        bridge("EulerAncestralDiscreteScheduler"),
        bridge("DDIMScheduler"),
        bridge("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
    ],
    ids=lambda config: config.scheduler,
)
def test_an_images_noise_is_its_own(config: SamplerConfig) -> None:
    def run(*first: Tensor) -> Tensor:
        stack = torch.stack(first)
        return sample(config, gaussian(0.2, 0.5), lambda: stack, all_of)

    one, two, three = noise_of(0, (3, 3, 4, 4))()
    together, swapped = run(one, two), run(three, one)
    assert torch.equal(together[0], swapped[1])
    assert torch.equal(together, run(one, two))
    torch.manual_seed(1)
    assert torch.equal(together, run(one, two))
    assert (together[1] != swapped[0]).any()


def test_ancestral_noise_differs_from_image_to_image() -> None:
    """Images that begin alike are alike, others are not: their randomness is not one draw for all."""
    first = noise_of(0)()
    moved = first.clone()
    moved[1] = first[0] + 1e-6
    config = bridge("DDPMScheduler", 50, clip_sample=False)
    found = sample(config, gaussian(0.2, 0.5), lambda: moved, all_of)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_a_card_names_a_scheduler_and_its_options() -> None:
    table = {"kind": "diffusers", "scheduler": "UniPCMultistepScheduler", "steps": 12, "options": {"solver_order": 3}}
    assert read_sampler(table) == bridge("UniPCMultistepScheduler", 12, solver_order=3)


@pytest.mark.parametrize(
    ("scheduler", "options", "match"),
    [
        ("", {}, "found: +none"),
        ("FlowMatchEulerDiscreteScheduler", {}, "no such scheduler"),
        ("UniPCMultistepScheduler", {"trained_betas": [0.1]}, "not free"),
        ("UniPCMultistepScheduler", {"solver_orden": 3}, "solver_orden"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "guess"}, "does not take"),
    ],
)
def test_what_diffusers_cannot_do_is_a_usage_error(scheduler: str, options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read_sampler({"kind": "diffusers", "scheduler": scheduler, "steps": 10, "options": options})


def test_without_diffusers_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UsageError, match=r"palette-bench\[diffusers\]"):
        read_sampler({"kind": "diffusers", "scheduler": "DDIMScheduler", "steps": 10})
    assert read_sampler({"kind": "ddim", "steps": 10}).steps == 10
