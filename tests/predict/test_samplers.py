"""Samplers against worlds in which the right answer is known.

An oracle knows the image and so the noise; a Gaussian world has a network in closed form, whose flow from noise to
image is a formula.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from palette_bench.common.errors import InputError, UsageError
from palette_bench.predict.models.samplers import (
    Clip,
    Denoise,
    SamplerConfig,
    SamplerKind,
    Spacing,
    Variance,
    clipped,
    paper,
    read_sampler,
    sample,
)
from palette_bench.predict.models.schedules import INFERENCE, SMALLEST_TRAINED, TRAINING, Floats

# diffusers on its newest dependencies.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
SHAPE = (2, 3, 4, 4)


def noise_of(seed: int, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    """A stream of draws of N(0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=generator, dtype=dtype)


def all_of(y: Tensor) -> Tensor:
    """What ``keep`` is where nothing is known."""
    return y


def image_of(seed: int = 5) -> Tensor:
    return noise_of(seed)().clamp(-1.5, 1.5) / 1.5


def oracle(image: Tensor, seen: list[tuple[float, Tensor]] | None = None) -> Denoise:
    """The noise in y, known because the image is; it notes what it was asked."""

    def denoise(y: Tensor, gamma: float) -> Tensor:
        if seen is not None:
            seen.append((gamma, y))
        return (y - math.sqrt(gamma) * image) / math.sqrt(1.0 - gamma)

    return denoise


def gaussian(mean: float, deviation: float) -> Denoise:
    """The perfect network of a world whose pixels are independent draws of N(mean, deviation^2)."""

    def denoise(y: Tensor, gamma: float) -> Tensor:
        gain = math.sqrt(gamma) * deviation**2 / (gamma * deviation**2 + 1.0 - gamma)
        estimate = mean + gain * (y - math.sqrt(gamma) * mean)
        return (y - math.sqrt(gamma) * estimate) / math.sqrt(1.0 - gamma)

    return denoise


# With an oracle.


OWN = [kind for kind in SamplerKind if kind is not SamplerKind.DIFFUSERS]


@pytest.mark.parametrize(("kind", "spacing", "clip"), list(itertools.product(OWN, Spacing, Clip)))
def test_with_the_noise_known_every_sampler_returns_the_image(kind: SamplerKind, spacing: Spacing, clip: Clip) -> None:
    image = image_of()
    on_paper = spacing is Spacing.PAPER
    for steps, variance, skip in ((1, Variance.BETA, on_paper), (9, Variance.POSTERIOR, False)):
        config = SamplerConfig(
            kind=kind, spacing=spacing, clip=clip, steps=steps, variance=variance, skip_noise_steps=skip
        )
        found = sample(config, oracle(image), noise_of(0), all_of)
        torch.testing.assert_close(found, image, rtol=0, atol=2e-3)
    wrong = sample(config, oracle(-image), noise_of(0), all_of)
    assert (wrong - image).abs().max() > 1


@pytest.mark.parametrize("clip", list(Clip))
def test_the_papers_thousand_steps_return_the_image(clip: Clip) -> None:
    image, seen = image_of(), list[tuple[float, Tensor]]()
    found = sample(replace(paper(), clip=clip), oracle(image, seen), noise_of(0), all_of)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-4)
    assert [gamma for gamma, _ in seen] == INFERENCE.gammas[:0:-1].tolist()


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_ddim_with_an_oracle_is_exact_at_every_step_and_ancestral_sampling_is_not(steps: int) -> None:
    image, seen = image_of().double(), list[tuple[float, Tensor]]()
    config = SamplerConfig(kind=SamplerKind.DDIM, steps=steps, spacing=Spacing.TRAINING, clip=Clip.NONE)
    found = sample(config, oracle(image, seen), noise_of(0, dtype=torch.float64), all_of)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-10)
    noise = oracle(image)(seen[0][1], seen[0][0])
    for gamma, y in seen:
        torch.testing.assert_close(y, math.sqrt(gamma) * image + math.sqrt(1 - gamma) * noise, rtol=0, atol=1e-10)
    seen.clear()
    sample(replace(config, kind=SamplerKind.ANCESTRAL, steps=7), oracle(image, seen), noise_of(0), all_of)
    gamma, y = seen[-1]
    assert (y - math.sqrt(gamma) * image - math.sqrt(1 - gamma) * noise).abs().max() > 0.01


def test_ddim_with_eta_one_is_ancestral_sampling_with_the_posterior_variance() -> None:
    config = SamplerConfig(kind=SamplerKind.DDIM, steps=25, eta=1.0)
    ancestral = SamplerConfig(kind=SamplerKind.ANCESTRAL, steps=25, variance=Variance.POSTERIOR)
    stream = noise_of(0, dtype=torch.float64), noise_of(0, dtype=torch.float64)
    one = sample(config, gaussian(0.1, 0.4), stream[0], all_of)
    other = sample(ancestral, gaussian(0.1, 0.4), stream[1], all_of)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    twin = sample(replace(ancestral, variance=Variance.BETA), gaussian(0.1, 0.4), noise_of(0), all_of)
    assert (twin - other).abs().max() > 0.01


# Steps in sigma, and a solver with noise.


def test_steps_in_sigma_are_those_of_karras() -> None:
    config = read_sampler({"spacing": "karras", "steps": 5, "sigma_max": 30, "sigma_min": 0.02, "rho": 5})
    gammas = config.gammas()
    ends = 30.0**0.2, 0.02**0.2
    expected = [(ends[0] + i / 4 * (ends[1] - ends[0])) ** 5 for i in range(5)]
    assert [math.sqrt((1 - g) / g) for g in gammas[:0:-1]] == pytest.approx(expected, rel=1e-6)
    assert gammas[0] == 1.0
    assert replace(config, steps=1).gammas().tolist() == [1.0, 1 / 901]


def test_the_solver_with_noise_is_the_one_without_at_eta_zero_and_has_the_worlds_spread_at_one() -> None:
    config = SamplerConfig(kind=SamplerKind.DPMPP_2M_SDE, spacing=Spacing.KARRAS, steps=60, clip=Clip.NONE, eta=1.0)
    shape = (64, 3, 16, 16)
    drawn = sample(config, gaussian(0.1, 0.4), noise_of(0, shape, torch.float64), all_of)
    assert float(drawn.mean()) == pytest.approx(0.1, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.4, abs=0.01)
    without = replace(config, kind=SamplerKind.DPMPP_2M, eta=0.0)
    still, plain = (sample(one, gaussian(0.1, 0.4), noise_of(0), all_of) for one in (replace(config, eta=0.0), without))
    assert torch.equal(still, plain)
    assert (sample(config, gaussian(0.1, 0.4), noise_of(0), all_of) - plain).abs().max() > 0.1


# The paper's sampler.


def test_equation_9_and_the_clipped_form_are_one_while_nothing_clips() -> None:
    def end(deviation: float, clip: Clip) -> Tensor:
        return sample(
            SamplerConfig(clip=clip, skip_noise_steps=True),
            gaussian(0.1, deviation),
            noise_of(0, dtype=torch.float64),
            all_of,
        )

    torch.testing.assert_close(end(0.1, Clip.UNIT), end(0.1, Clip.NONE), rtol=0, atol=1e-9)
    assert (end(2.0, Clip.UNIT) - end(2.0, Clip.NONE)).abs().max() > 0.1


@pytest.mark.parametrize("variance", list(Variance))
def test_ancestral_sampling_reproduces_a_gaussian_world(variance: Variance) -> None:
    shape = (1, 3, 64, 64)
    config = SamplerConfig(clip=Clip.NONE, variance=variance, skip_noise_steps=True)
    found = sample(config, gaussian(0.3, 0.5), noise_of(0, shape), all_of)
    assert float(found.mean()) == pytest.approx(0.3, abs=4 * 0.5 / math.sqrt(found.numel()))
    assert float(found.std()) == pytest.approx(0.5, rel=0.03)
    twin = sample(replace(config, steps=8), gaussian(0.3, 0.5), noise_of(0, shape), all_of)
    assert abs(float(twin.std()) / 0.5 - 1) > 0.03


def spread_before_the_last_step(variance: Variance) -> float:
    seen = list[tuple[float, Tensor]]()
    image = torch.zeros((1, 3, 40, 40))
    config = SamplerConfig(clip=Clip.NONE, variance=variance, skip_noise_steps=True)
    sample(config, oracle(image, seen), noise_of(0, (1, 3, 40, 40)), all_of)
    assert seen[-1][0] == INFERENCE.gammas[1]
    return float(seen[-1][1].std())


def test_the_posterior_variance_keeps_the_noise_of_training_and_the_papers_is_a_little_more() -> None:
    gammas, expected = INFERENCE.gammas, 1.0 - INFERENCE.gammas[468]
    for t in range(468, 1, -1):
        alpha = gammas[t] / gammas[t - 1]
        expected = alpha * ((1 - gammas[t - 1]) / (1 - gammas[t])) ** 2 * expected + 1 - alpha
    assert spread_before_the_last_step(Variance.POSTERIOR) == pytest.approx(math.sqrt(1e-4), rel=0.04)
    assert spread_before_the_last_step(Variance.BETA) == pytest.approx(math.sqrt(expected), rel=0.04)
    assert math.sqrt(expected) > 1.4 * math.sqrt(1e-4)


# Leaving out the steps that are all noise.


def shifted(value: float, seen: list[tuple[float, Tensor]]) -> Denoise:
    """A network whose estimate of every pixel is ``value`` while it is told less than it was trained for.

    From there on it is the perfect one of a Gaussian world, which moves two images no further apart.
    """
    world = gaussian(0.0, 0.5)

    def denoise(y: Tensor, gamma: float) -> Tensor:
        seen.append((gamma, y))
        if gamma >= SMALLEST_TRAINED:
            return world(y, gamma)
        return (y - math.sqrt(gamma) * value) / math.sqrt(1.0 - gamma)

    return denoise


def run_shifted(value: float, clip: Clip = Clip.UNIT) -> tuple[Tensor, Tensor]:
    """What is left after 532 steps, and the image."""
    seen = list[tuple[float, Tensor]]()
    image = sample(SamplerConfig(clip=clip), shifted(value, seen), noise_of(0, dtype=torch.float64), all_of)
    assert seen[532][0] == INFERENCE.gammas[468]
    return seen[532][1], image


def test_steps_below_the_noise_of_training_cannot_move_the_rest_by_more_than_they_may() -> None:
    bound = math.sqrt(INFERENCE.gammas[468])
    assert bound == pytest.approx(0.0067, abs=5e-5)
    noise, image = run_shifted(0.0)
    # Whatever the network says, 1e9 too, the estimate is clipped to -1..1.
    for value in (1.0, -1.0, 1e9):
        other, moved = run_shifted(value)
        assert float((other - noise).abs().max()) == pytest.approx(bound, rel=1e-3)
        assert float((other - noise).abs().max()) <= bound * (1 + 1e-9)
        assert float((moved - image).abs().max()) <= bound
    unclipped, _ = run_shifted(1e3, Clip.NONE)
    assert float((unclipped - noise).abs().max()) > 1.0


def test_what_they_leave_without_an_image_is_noise_of_the_deviation_of_training() -> None:
    gammas, variance = INFERENCE.gammas, 1.0
    for t in range(1000, 468, -1):
        alpha = gammas[t] / gammas[t - 1]
        variance = alpha * ((1 - gammas[t - 1]) / (1 - gammas[t])) ** 2 * variance + 1 - alpha
    assert math.sqrt(variance) == pytest.approx(1.0, abs=1e-4)


def test_skipping_starts_at_step_468() -> None:
    seen = list[tuple[float, Tensor]]()
    sample(SamplerConfig(skip_noise_steps=True), oracle(image_of(), seen), noise_of(0), all_of)
    assert [gamma for gamma, _ in seen] == INFERENCE.gammas[468:0:-1].tolist()
    assert torch.equal(seen[0][1], noise_of(0)())
    fewer = SamplerConfig(skip_noise_steps=True, steps=100).gammas()
    assert (len(fewer), fewer[-1]) == (101, INFERENCE.gammas[468])


# How fast the solvers converge.


def flow(noise: Tensor, gammas: Floats, mean: float, deviation: float) -> Tensor:
    """Where the probability flow of a Gaussian world takes ``noise``, and what the network says there."""
    last, first = float(gammas[-1]), float(gammas[1])
    spread = math.sqrt((first * deviation**2 + 1 - first) / (last * deviation**2 + 1 - last))
    y = math.sqrt(first) * mean + spread * (noise - math.sqrt(last) * mean)
    return (y - math.sqrt(1 - first) * gaussian(mean, deviation)(y, first)) / math.sqrt(first)


def error(kind: SamplerKind, steps: int) -> float:
    config = SamplerConfig(kind=kind, steps=steps, spacing=Spacing.LOGSNR, clip=Clip.NONE)
    noise = noise_of(0, dtype=torch.float64)()
    found = sample(config, gaussian(0.2, 0.5), lambda: noise, all_of)
    return float((found - flow(noise, config.gammas(), 0.2, 0.5)).abs().max())


def test_dpm_solver_is_of_second_order_and_ddim_of_first() -> None:
    second = [error(SamplerKind.DPMPP_2M, steps) for steps in (40, 80, 160)]
    first = [error(SamplerKind.DDIM, steps) for steps in (40, 80, 160)]
    for errors, ratio in ((second, 4.0), (first, 2.0)):
        assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.15)
        assert errors[1] / errors[2] == pytest.approx(ratio, rel=0.1)
    assert second[0] < first[0] / 3


# Known pixels.


def known_left(image: Tensor) -> Callable[[Tensor], Tensor]:
    hidden = torch.zeros(image.shape[-1], dtype=torch.bool)
    hidden[image.shape[-1] // 2 :] = True
    return lambda y: torch.where(hidden, y, image)


CONFIGS = [
    SamplerConfig(steps=20),
    SamplerConfig(steps=20, clip=Clip.NONE),
    SamplerConfig(kind=SamplerKind.DDIM, steps=10, spacing=Spacing.LOGSNR),
    SamplerConfig(kind=SamplerKind.DPMPP_2M, steps=10, spacing=Spacing.LOGSNR),
    SamplerConfig(kind=SamplerKind.DIFFUSERS, steps=10, scheduler="EulerDiscreteScheduler"),
    SamplerConfig(kind=SamplerKind.DIFFUSERS, steps=10, scheduler="UniPCMultistepScheduler"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind}-{config.clip}{config.scheduler}")
def test_known_pixels_are_clean_at_every_call_and_bit_exact_at_the_end(config: SamplerConfig) -> None:
    image, seen = image_of(), list[tuple[float, Tensor]]()
    found = sample(config, oracle(image, seen), noise_of(0), known_left(image))
    assert torch.equal(found[..., :2], image[..., :2])
    torch.testing.assert_close(found, image, rtol=0, atol=2e-3)
    for _, y in seen:
        assert torch.equal(y[..., :2], image[..., :2])
    assert all((y[..., 2:] != image[..., 2:]).any() for _, y in seen)


@pytest.mark.parametrize(
    "config",
    [
        *(SamplerConfig(kind=kind, steps=10, clip=Clip.DYNAMIC) for kind in list(SamplerKind)[:3]),
        SamplerConfig(
            kind=SamplerKind.DIFFUSERS,
            steps=10,
            scheduler="DDIMScheduler",
            options={"thresholding": True, "sample_max_value": 1e6},
        ),
    ],
    ids=lambda config: config.kind,
)
def test_what_a_network_says_of_known_pixels_does_not_reach_the_hole(config: SamplerConfig) -> None:
    image = image_of()

    def raving(y: Tensor, gamma: float) -> Tensor:
        right = oracle(image)(y, gamma)
        return torch.cat([right[..., :2] + 1e3, right[..., 2:]], dim=3)

    expected = sample(config, oracle(image), noise_of(0), known_left(image))
    torch.testing.assert_close(sample(config, raving, noise_of(0), known_left(image)), expected, rtol=0, atol=1e-3)
    # The twin: where nothing is known, it does.
    assert (sample(config, raving, noise_of(0), all_of) - expected)[..., 2:].abs().max() > 0.1


def test_clipping() -> None:
    estimate = torch.linspace(-4, 4, 1001).repeat(2, 3, 1, 1)
    estimate[1] /= 8
    assert torch.equal(clipped(estimate, Clip.NONE), estimate)
    assert torch.equal(clipped(estimate, Clip.UNIT), estimate.clamp(-1, 1))
    dynamic = clipped(estimate, Clip.DYNAMIC)
    # The 99.5 % quantile of a uniform magnitude up to 4.
    torch.testing.assert_close(dynamic[0], (estimate[0] / 3.98).clamp(-1, 1), rtol=0, atol=2e-3)
    assert torch.equal(dynamic[1], estimate[1])


# What a card says.


def test_a_samplers_defaults_and_the_papers() -> None:
    assert read_sampler({}) == SamplerConfig()
    assert SamplerConfig().clip is Clip.UNIT
    assert paper() == read_sampler({"kind": "ancestral", "steps": 1000, "clip": "none", "variance": "beta"})
    assert read_sampler({"kind": "ddim", "steps": 20, "spacing": "logsnr", "eta": 1}) == SamplerConfig(
        kind=SamplerKind.DDIM, steps=20, spacing=Spacing.LOGSNR, eta=1.0
    )
    assert read_sampler({"steps": 1000, "skip_noise_steps": True}).gammas().shape == (469,)


def test_everything_that_is_wrong_with_a_sampler_is_said_at_once() -> None:
    table = {
        "kind": "euler",
        "steps": 0,
        "spacing": 3,
        "clip": True,
        "eta": 1.5,
        "skip_noise_steps": 1,
        "scheduler": 2,
        "options": [],
        "stepz": 20,
    }
    with pytest.raises(InputError) as caught:
        read_sampler(table)
    assert {problem.where for problem in caught.value.problems} == set(table)
    assert "'ancestral', 'ddim', 'dpmpp_2m', 'dpmpp_2m_sde' or 'diffusers'" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"kind": "ddim", "variance": "beta"}, "variance: kind ddim has none"),
        ({"eta": 0.5}, "eta: kind ancestral has none"),
        ({"scheduler": "DDIMScheduler"}, "scheduler: kind ancestral has none"),
        ({"kind": "diffusers", "scheduler": "DDIMScheduler", "clip": "unit"}, "clip: kind diffusers has none"),
        ({"spacing": "logsnr", "skip_noise_steps": True}, "only spacing paper"),
        ({"steps": 1001}, "1 to 1000"),
        ({"steps": 469, "skip_noise_steps": True}, "1 to 468"),
        ({"steps": True}, "a whole number"),
        ({"sigma_max": 80.0}, "sigma_max: only spacing karras"),
        ({"spacing": "karras", "sigma_min": 100.0}, "sigma_min: expected less than sigma_max"),
        ({"spacing": "karras", "sigma_max": 0.001}, "sigma_min: expected less than sigma_max"),
        ({"spacing": "karras", "rho": 0}, "rho: expected at least 1"),
        ({"spacing": "karras", "sigma_max": 1000.0}, "sigma_max: expected at most 150"),
    ],
)
def test_settings_that_would_mean_nothing_are_refused(table: Mapping[str, object], match: str) -> None:
    with pytest.raises((InputError, UsageError), match=match):
        read_sampler(table)


def test_more_steps_than_the_papers_need_another_spacing() -> None:
    assert len(read_sampler({"spacing": "training", "steps": 2000}).gammas()) == len(TRAINING.gammas)
