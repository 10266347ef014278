"""Noise schedules, what the network is trained on, and its loss: golden numbers and formulas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palette_bench.common.errors import UsageError
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.diffusion import (
    DiffusionConfig,
    GammaDistribution,
    KnownRegion,
    LossNorm,
    LossTarget,
    MaskNorm,
    gamma_of,
    gamma_quartile,
    loss_of,
    noisy_image,
    weight_of,
)
from palette_bench.predict.models.schedules import (
    INFERENCE,
    SMALLEST_TRAINED,
    TRAINING,
    Floats,
    LinearSchedule,
    evenly_in_logsnr,
    noise_steps,
    respaced,
)
from palette_bench.predict.training.degradations import Family
from palette_bench.predict.training.examples import ExampleStream

# Schedules.


def test_the_schedules_are_the_papers_in_float64() -> None:
    assert TRAINING.gammas.dtype == np.float64
    assert TRAINING.gammas.shape == (2001,)
    assert INFERENCE.gammas.shape == (1001,)
    assert TRAINING.gammas[0] == INFERENCE.gammas[0] == 1.0
    assert TRAINING.gammas[2000] == SMALLEST_TRAINED == pytest.approx(4.38597823613321e-05, rel=1e-13)
    assert 1.0 - TRAINING.gammas[1] == pytest.approx(1e-6, rel=1e-10)
    assert INFERENCE.gammas[1000] == pytest.approx(6.604377303535892e-21, rel=1e-12)
    expected = [0.9999, 0.9997100290, 0.9994301302, 0.9990603711]
    np.testing.assert_allclose(INFERENCE.gammas[1:5], expected, rtol=0, atol=5e-11)
    # float32 would not do: the first step of training would come out more than one per cent off.
    single = np.float32(1) - np.float32(1 - 1e-6)
    assert abs(float(single) / 1e-6 - 1) > 0.01


def test_more_than_half_of_the_steps_of_sampling_are_below_the_noise_of_training() -> None:
    assert noise_steps(INFERENCE) == 532
    assert INFERENCE.gammas[468] > SMALLEST_TRAINED > INFERENCE.gammas[469]
    assert noise_steps(TRAINING) == 0
    assert noise_steps(INFERENCE, 0.0) == 0


def logsnr(gammas: Floats) -> Floats:
    values: Floats = np.log(gammas) - np.log1p(-gammas)
    return values


def test_steps_and_training_mass_by_signal_to_noise_ratio() -> None:
    bands = [-6.0, -3.0, 0.0, 3.0, 6.0, np.inf]
    steps, _ = np.histogram(logsnr(INFERENCE.gammas[1:]), bands)
    assert steps.tolist() == [104, 135, 91, 26, 6]
    mass, _ = np.histogram(logsnr(TRAINING.gammas[1:]), bands)
    np.testing.assert_allclose(mass / 20, [22.2, 28.9, 19.3, 5.4, 1.5], rtol=0, atol=0.08)


def test_the_two_variances_differ_in_the_last_steps_alone() -> None:
    gammas = INFERENCE.gammas
    steps = np.array([2, 3, 5, 10, 20, 50])
    ratio = (1 - gammas[steps - 1]) / (1 - gammas[steps])
    np.testing.assert_allclose(ratio, [0.345, 0.509, 0.672, 0.820, 0.906, 0.963], rtol=0, atol=5e-4)
    deviation = np.sqrt(1 - gammas[2] / gammas[1]) * np.array([1.0, np.sqrt(ratio[0])])
    np.testing.assert_allclose(deviation, [0.0138, 0.0081], rtol=0, atol=5e-5)


@pytest.mark.parametrize(("first", "last", "steps"), [(0.0, 0.1, 10), (0.2, 0.1, 10), (0.1, 1.0, 10), (0.1, 0.2, 0)])
def test_what_is_no_schedule_is_refused(first: float, last: float, steps: int) -> None:
    with pytest.raises(UsageError, match="noise schedule"):
        LinearSchedule(first, last, steps)


def test_respacing_keeps_both_ends() -> None:
    gammas = TRAINING.gammas
    np.testing.assert_array_equal(respaced(gammas, 2000), gammas)
    np.testing.assert_array_equal(respaced(gammas, 20), gammas[::100])
    np.testing.assert_array_equal(respaced(gammas, 1), gammas[[0, 2000]])
    for steps in (0, 2001):
        with pytest.raises(UsageError, match="steps"):
            respaced(gammas, steps)


def test_even_steps_in_signal_to_noise_ratio_go_from_the_end_of_training_to_its_beginning() -> None:
    gammas = evenly_in_logsnr(float(TRAINING.gammas[1]), SMALLEST_TRAINED, 20)
    assert gammas[0] == 1.0
    assert gammas[1] == pytest.approx(TRAINING.gammas[1], rel=1e-15)
    assert gammas[-1] == pytest.approx(SMALLEST_TRAINED, rel=1e-12)
    np.testing.assert_allclose(np.diff(logsnr(gammas[1:])), np.diff(logsnr(gammas[1:]))[0], rtol=1e-6)
    # One step has to start from noise.
    np.testing.assert_allclose(evenly_in_logsnr(0.9, 1e-4, 1), [1.0, 1e-4], rtol=1e-12)


# Which noise levels are trained.


ON_THE_SCHEDULE = [one for one in GammaDistribution if one is not GammaDistribution.LOGNORMAL]


def grid(segments: int, places: int) -> Floats:
    """Every segment ``places`` times, evenly within it."""
    t = (np.repeat(np.arange(segments), places) + 0.5) / segments
    return np.stack([t, np.tile((np.arange(places) + 0.5) / places, segments)], axis=1)


def test_gamma_is_a_function_of_the_draws_and_each_example_has_its_own() -> None:
    draws = np.array([[0.0, 0.0], [0.0, 0.999999], [0.5, 0.25], [np.nextafter(1.0, 0.0), 0.0]])
    gammas = TRAINING.gammas
    for distribution in ON_THE_SCHEDULE:
        gamma = gamma_of(draws, distribution)
        np.testing.assert_array_equal(gamma, gamma_of(draws, distribution))
        one_by_one = [gamma_of(draw[None], distribution)[0] for draw in draws]
        np.testing.assert_array_equal(gamma, one_by_one)
        assert len(set(gamma.tolist())) >= 3
        # t = 1 is there, and with it images without noise; so is t = T.
        assert gammas[1] <= gamma[0] <= 1.0
        assert gamma[-1] == pytest.approx(SMALLEST_TRAINED, rel=1e-9)
    piecewise = gamma_of(draws, GammaDistribution.PIECEWISE)
    assert piecewise[1] == pytest.approx(1.0, abs=1e-11)
    assert piecewise[2] == pytest.approx(gammas[1001] + 0.25 * (gammas[1000] - gammas[1001]), rel=1e-14)


def test_gamma_is_uniform_within_a_segment_and_segments_are_equally_likely() -> None:
    draws = grid(2000, 8)
    gammas = TRAINING.gammas
    piecewise = gamma_of(draws, GammaDistribution.PIECEWISE).reshape(2000, 8)
    fractions = (piecewise - gammas[1:, None]) / (gammas[:-1] - gammas[1:])[:, None]
    np.testing.assert_allclose(fractions, np.tile((np.arange(8) + 0.5) / 8, (2000, 1)), rtol=0, atol=1e-7)
    counts, _ = np.histogram(gamma_of(draws, GammaDistribution.PIECEWISE), gammas[::-100])
    assert counts.tolist() == [100 * 8] * 20


def test_the_three_distributions_hardly_differ() -> None:
    means = {
        distribution: gamma_of(grid(2000, 200), distribution).reshape(2000, 200).mean(axis=1)
        for distribution in ON_THE_SCHEDULE
    }
    piecewise = means[GammaDistribution.PIECEWISE]
    difference = np.abs(means[GammaDistribution.SQRT_PIECEWISE] / piecewise - 1)
    assert 3e-6 < difference.max() < 4.5e-6
    # The twin: gamma_t itself is off by half a segment, 0.5 % at the end.
    assert 4e-3 < np.abs(means[GammaDistribution.DISCRETE] / piecewise - 1).max() < 6e-3


def test_under_the_lognormal_distribution_ln_sigma_is_normal_within_the_range_of_training() -> None:
    gamma = gamma_of(grid(20_000, 1), GammaDistribution.LOGNORMAL)
    log_sigma = 0.5 * np.log((1 - gamma) / gamma)
    assert (np.diff(log_sigma) >= 0).all()
    assert log_sigma.mean() == pytest.approx(-0.4, abs=1e-3)
    assert log_sigma.std() == pytest.approx(1.3, rel=2e-3)
    # Where edges and texture are decided, sigma 0.1 to 2, is most of it; the schedule has a fifth there.
    assert ((np.exp(log_sigma) > 0.1) & (np.exp(log_sigma) < 2)).mean() == pytest.approx(0.727, abs=0.01)
    ends = gamma_of(np.array([[0.0, 0.0], [np.nextafter(1.0, 0.0), 0.0]]), GammaDistribution.LOGNORMAL)
    assert TRAINING.gammas[1] >= ends[0] > ends[1] >= SMALLEST_TRAINED


def test_quartiles_are_quarters_of_the_steps() -> None:
    quartile = gamma_quartile(gamma_of(grid(2000, 2), GammaDistribution.PIECEWISE))
    np.testing.assert_array_equal(quartile, np.repeat([0, 1, 2, 3], 1000))
    assert gamma_quartile(np.array([1.0, SMALLEST_TRAINED])).tolist() == [0, 3]


@dataclass(frozen=True)
class Grey:
    """A source of grey images: only the noise levels matter here."""

    def images(self, indices: Sequence[int]) -> list[ImageU8]:
        return [np.full((8, 8, 3), 128, dtype=np.uint8) for _ in indices]

    def identity(self) -> Mapping[str, object]:
        return {}


def levels_of(indices: range, *, stratified: bool) -> Floats:
    stream = ExampleStream(Grey(), {Family.COLORIZE: 1.0}, DiffusionConfig(stratified=stratified), 3, 40)
    return stream.batch(indices).gamma


def test_each_example_draws_its_own_noise_level() -> None:
    gamma = levels_of(range(40), stratified=False)
    assert len(set(gamma.tolist())) == 40
    np.testing.assert_array_equal(gamma[7:9], levels_of(range(7, 9), stratified=False))
    # Forty draws from forty bins leave a third of them empty.
    assert len(set(strata(gamma).tolist())) < 35


def test_stratified_noise_levels_fill_every_fortieth_of_the_steps_once_in_a_batch_of_forty() -> None:
    for start in (0, 40):
        np.testing.assert_array_equal(strata(levels_of(range(start, start + 40), stratified=True)), np.arange(40))
    assert (levels_of(range(40), stratified=True) != levels_of(range(40, 80), stratified=True)).all()


def strata(gamma: Floats) -> NDArray[np.int64]:
    """Which fortieth of the steps a noise level is in."""
    return np.searchsorted(-TRAINING.gammas[::50], -gamma, side="left").astype(np.int64) - 1


# The noisy image.


def images(seed: int, count: int = 2) -> Tensor:
    return torch.randn((count, 3, 4, 4), generator=torch.Generator().manual_seed(seed))


def hole_of(pixels: int, count: int = 2) -> Tensor:
    """The first ``pixels`` of 16 are hidden."""
    hole = torch.zeros((count, 1, 16))
    hole[..., :pixels] = 1
    return hole.reshape(count, 1, 4, 4)


def test_a_noisy_image_has_each_examples_own_noise_level_and_clean_known_pixels() -> None:
    image, noise, gamma, hole = images(1), images(2), torch.tensor([0.81, 0.19]), hole_of(5)
    mixed = torch.stack([0.9 * image[0] + 0.19**0.5 * noise[0], 0.19**0.5 * image[1] + 0.9 * noise[1]])
    torch.testing.assert_close(noisy_image(image, noise, gamma, hole, KnownRegion.NOISED), mixed)
    clean = noisy_image(image, noise, gamma, hole, KnownRegion.CLEAN)
    hidden = (hole > 0).expand_as(image)
    torch.testing.assert_close(clean[hidden], mixed[hidden])
    assert torch.equal(clean[~hidden], image[~hidden])
    assert (mixed[~hidden] != image[~hidden]).all()


# The loss.


@pytest.mark.parametrize(("norm", "power"), [(LossNorm.L1, 1), (LossNorm.L2, 2)])
def test_the_loss_is_the_sum_over_the_hole_over_all_pixels_or_those_of_the_hole(norm: LossNorm, power: int) -> None:
    predicted, target = images(1), images(2)
    hole = torch.cat([hole_of(4, 1), hole_of(16, 1)])
    total = ((predicted - target).abs() ** power * hole).sum((1, 2, 3))
    torch.testing.assert_close(loss_of(predicted, target, hole, norm, MaskNorm.IMAGE), total / 48)
    torch.testing.assert_close(
        loss_of(predicted, target, hole, norm, MaskNorm.HOLE), total / torch.tensor([12.0, 48.0])
    )


def test_an_empty_hole_has_no_loss() -> None:
    for divisor in MaskNorm:
        assert loss_of(images(1), images(2), hole_of(0), LossNorm.L2, divisor).tolist() == [0.0, 0.0]


def test_the_loss_is_computed_in_float32() -> None:
    predicted, target = images(1).to(torch.bfloat16), images(2)
    loss = loss_of(predicted, target, hole_of(16), LossNorm.L2, MaskNorm.IMAGE)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, loss_of(predicted.float(), target, hole_of(16), LossNorm.L2, MaskNorm.IMAGE))


@pytest.mark.parametrize(
    ("norm", "derivative"),
    [(LossNorm.L1, torch.sign), (LossNorm.L2, lambda difference: 2 * difference)],
)
def test_gradients_of_the_loss_are_those_of_its_power_and_none_leave_the_hole(
    norm: LossNorm, derivative: Callable[[Tensor], Tensor]
) -> None:
    predicted, target, hole = images(1).requires_grad_(), images(2), hole_of(6)
    (gradient,) = torch.autograd.grad(loss_of(predicted, target, hole, norm, MaskNorm.IMAGE).sum(), predicted)
    torch.testing.assert_close(gradient, derivative(predicted.detach() - target) * hole / 48)
    hidden = (hole > 0).expand_as(target)
    assert (gradient[~hidden] == 0).all()
    assert (gradient[hidden] != 0).all()


@pytest.mark.parametrize("norm", list(LossNorm))
def test_the_loss_in_velocity_is_that_of_the_velocity_and_in_the_image_that_of_the_image(norm: LossNorm) -> None:
    draw = torch.Generator().manual_seed(3)
    image, noise, wrong = (torch.randn(4, 3, 8, 8, generator=draw) for _ in range(3))
    gamma, hole = torch.tensor([0.999, 0.5, 0.01, 1e-4]), torch.ones(4, 1, 8, 8)
    g = gamma[:, None, None, None]
    noisy = noisy_image(image, noise, gamma, hole, KnownRegion.CLEAN)
    # What a network that is off by `wrong` in the velocity says of the noise.
    velocity = g.sqrt() * noise - (1 - g).sqrt() * image
    said = g.sqrt() * (velocity + wrong) + (1 - g).sqrt() * noisy
    of_velocity = loss_of(velocity + wrong, velocity, hole, norm, MaskNorm.IMAGE)
    of_noise = loss_of(said, noise, hole, norm, MaskNorm.IMAGE)
    torch.testing.assert_close(of_noise * weight_of(gamma, LossTarget.VELOCITY, norm), of_velocity, rtol=2e-4, atol=0.0)
    assert not torch.allclose(of_noise, of_velocity, rtol=0.1)
    # Of the image such a network is off by sqrt(1 - gamma) times as much.
    of_image = loss_of(image - (1 - g).sqrt() * wrong, image, hole, norm, MaskNorm.IMAGE)
    torch.testing.assert_close(of_noise * weight_of(gamma, LossTarget.IMAGE, norm), of_image, rtol=2e-3, atol=0.0)
    assert not torch.allclose(of_velocity, of_image, rtol=0.1)
    assert torch.equal(weight_of(gamma, LossTarget.NOISE, norm), torch.ones(4))
    # Karras et al.: the image's squared error times (sigma^2 + 0.25) / (0.5 sigma)^2.
    sigma = ((1 - gamma.double()) / gamma.double()).sqrt()
    squared = sigma.square() * (sigma.square() + 0.25) / (0.5 * sigma).square()
    expected = squared if norm is LossNorm.L2 else squared.sqrt()
    torch.testing.assert_close(weight_of(gamma, LossTarget.EDM, norm).double(), expected, rtol=1e-5, atol=0.0)
