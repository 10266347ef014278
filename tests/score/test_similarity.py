import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from palette_bench.common.errors import InputError
from palette_bench.score.metrics import similarity
from palette_bench.score.metrics.similarity import ImageMaps, MsSsim
from tests.score.random_weights import random_images

Image = NDArray[np.uint8]


def maps(*images: Image, scales: int = 5) -> list[ImageMaps]:
    return [ImageMaps.of(image, scales=scales) for image in images]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Two alike, one that differs, one that is the negative of the first."""
    first, other = random_images(2, 192, seed=21)
    alike = np.clip(first.astype(np.int16) + np.random.default_rng(1).integers(-9, 10, first.shape), 0, 255)
    return np.stack([first, alike.astype(np.uint8), other, 255 - first])


def test_the_weights_are_wangs_and_fewer_sum_to_one() -> None:
    assert similarity.weights_for(5).weights == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert similarity.FIVE_SCALES.name == "wang2003"
    for scales in range(1, 5):
        definition = similarity.weights_for(scales)
        assert definition.name == f"wang2003-first{scales}"
        assert definition.scales == scales
        assert math.fsum(definition.weights) == pytest.approx(1.0, abs=1e-15)
        ratios = np.array(definition.weights) / similarity.WANG_2003[:scales]
        assert np.ptp(ratios) < 1e-12
    for scales in (0, 6, -1):
        with pytest.raises(InputError):
            similarity.weights_for(scales)


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [(10, 999, 0), (11, 11, 1), (20, 20, 1), (21, 40, 2), (32, 32, 2), (160, 300, 4), (161, 161, 5), (999, 161, 5)],
)
def test_scales_that_fit(height: int, width: int, scales: int) -> None:
    assert similarity.scales_that_fit(height, width) == scales
    image = np.zeros((height, width, 3), np.uint8)
    if scales:
        levels = ImageMaps.of(image, scales=scales).levels
        assert len(levels) == scales
        assert min(levels[-1].mean.shape[0], levels[-1].mean.shape[2]) >= 1
    if scales < 5:
        with pytest.raises(InputError, match="does not fit"):
            ImageMaps.of(image, scales=scales + 1)


@pytest.mark.parametrize(
    ("height", "width"), [(11, 11), (11, 40), (25, 26), (26, 42), (27, 43), (58, 33), (41, 100), (74, 12)]
)
def test_the_maps_are_those_of_a_plain_filter_at_every_size(height: int, width: int) -> None:
    image = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)
    (level,) = ImageMaps.of(image, scales=1).levels
    window = np.exp(-0.5 * np.square((np.arange(11) - 5) / 1.5))
    window /= window.sum()

    def plain(samples: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in (0, 2):
            samples = ndimage.correlate1d(samples, window, axis=axis)
        inside: NDArray[np.float64] = samples[5:-5, :, 5:-5]
        return inside

    samples = image.transpose(0, 2, 1).astype(np.float64)
    mean = plain(samples)
    np.testing.assert_allclose(level.mean + level.colour, mean, rtol=0, atol=1e-4)
    np.testing.assert_allclose(level.variance, plain(samples * samples) - mean**2, rtol=0, atol=2e-2)
    assert level.mean.dtype == level.variance.dtype == level.pixels.dtype == np.float32


def test_an_odd_side_has_its_last_row_or_column_doubled() -> None:
    image = np.random.default_rng(3).integers(0, 256, (45, 38, 3), np.uint8)
    fine, coarse = ImageMaps.of(image, scales=2).levels
    padded = np.concatenate([image, image[-1:]]).astype(np.float64)
    expected = padded.reshape(23, 2, 19, 2, 3).mean(axis=(1, 3)).transpose(0, 2, 1)
    np.testing.assert_array_equal(coarse.pixels + coarse.colour, expected.astype(np.float32))
    assert (coarse.colour == fine.colour).all()


def test_identity_scores_one_and_order_does_not_matter(images: NDArray[np.uint8]) -> None:
    of = maps(*images)
    for one in of:
        assert similarity.ms_ssim(one, one) == MsSsim(1.0, False)
        assert similarity.ssim(one, one) == 1.0
    again = maps(images[0].copy())[0]
    assert similarity.ms_ssim(of[0], again) == MsSsim(1.0, False)
    for first, second in combinations(of, 2):
        forth, back = similarity.ms_ssim(first, second), similarity.ms_ssim(second, first)
        assert forth.value == pytest.approx(back.value, abs=1e-7)
        assert forth.clamped == back.clamped
        assert forth.value < 1.0
        assert similarity.ssim(first, second) == pytest.approx(similarity.ssim(second, first), abs=1e-7)
    assert similarity.ms_ssim(of[0], of[1]).value > similarity.ms_ssim(of[0], of[2]).value


def test_channels_are_equals_and_turning_both_changes_nothing(images: NDArray[np.uint8]) -> None:
    expected = similarity.ms_ssim(*maps(images[0], images[1])).value
    swapped = similarity.ms_ssim(*maps(images[0][..., ::-1], images[1][..., ::-1])).value
    turned = similarity.ms_ssim(*maps(images[0].transpose(1, 0, 2), images[1].transpose(1, 0, 2))).value
    assert swapped == pytest.approx(expected, abs=1e-7)
    assert turned == pytest.approx(expected, abs=1e-6)
    assert similarity.ms_ssim(*maps(images[0], images[1][..., ::-1])).value != pytest.approx(expected, abs=1e-2)


def test_a_negative_is_clamped_to_zero_and_says_so(images: NDArray[np.uint8]) -> None:
    first, alike, _, negative = maps(*images)
    assert similarity.ms_ssim(first, negative) == MsSsim(0.0, True)
    assert similarity.ssim(first, negative) < -0.2
    assert not similarity.ms_ssim(first, alike).clamped
    one_channel = images[0].copy()
    one_channel[..., 1] = 255 - one_channel[..., 1]
    found = similarity.ms_ssim(first, maps(one_channel)[0])
    assert found.clamped
    assert found.value == pytest.approx(2 / 3, abs=1e-6), "the other channels keep their share"


def test_more_maps_than_needed_change_nothing(images: NDArray[np.uint8]) -> None:
    many, few = maps(*images[:2]), maps(*images[:2], scales=2)
    two = similarity.weights_for(2)
    assert similarity.ms_ssim(*many, weights=two) == similarity.ms_ssim(*few, weights=two)
    assert similarity.ssim(*many) == similarity.ssim(*few)
    assert similarity.ms_ssim(*many, weights=similarity.weights_for(1)).value == pytest.approx(
        similarity.ssim(*many), abs=1e-12
    )
    with pytest.raises(InputError, match="too few scales"):
        similarity.ms_ssim(*few)
    with pytest.raises(InputError, match="too few scales"):
        similarity.ms_ssim(many[0], few[1])


def test_flat_images_have_the_value_of_their_luminance() -> None:
    first, second = np.full((192, 192, 3), 255, np.uint8), np.full((192, 192, 3), 250, np.uint8)
    luminance = (2 * 255 * 250 + similarity.C1) / (255**2 + 250**2 + similarity.C1)
    assert similarity.ssim(*maps(first, second)) == pytest.approx(luminance, abs=1e-6)
    found = similarity.ms_ssim(*maps(first, second))
    assert found.value == pytest.approx(luminance**0.1333, abs=1e-6)


def test_psnr_is_exact_and_capped(images: NDArray[np.uint8]) -> None:
    for height, width in ((192, 192), (1, 1), (7, 31), (192, 85)):
        first, second = images[0, :height, :width], images[2, :height, :width]
        squares = int(np.square(first.astype(np.int64) - second.astype(np.int64)).sum())
        expected = 10 * math.log10(255**2 * first.size / squares)
        assert similarity.psnr(first, second) == pytest.approx(expected, rel=1e-14)
        assert similarity.psnr(first, second) == similarity.psnr(second, first)
    assert similarity.psnr(images[0], images[0]) == similarity.PSNR_CAP == 100.0
    nearly = images[0].copy()
    nearly[0, 0, 0] ^= 1
    assert 98.0 < similarity.psnr(images[0], nearly) < 100.0
    large, other = np.tile(images[0], (2, 2, 1)), np.tile(images[0], (2, 2, 1))
    other[-1, -1, -1] ^= 1
    assert similarity.psnr(large, other) == 100.0, "104.6 dB, above the cap"
    black, white = np.zeros((300, 200, 3), np.uint8), np.full((300, 200, 3), 255, np.uint8)
    assert similarity.psnr(black, white) == 0.0


def test_arguments_are_left_alone_and_need_not_be_contiguous(images: NDArray[np.uint8]) -> None:
    before = images.copy()
    strided = np.repeat(images[:2], 2, axis=2)[:, :, ::2]
    assert not strided.flags.c_contiguous
    first = maps(*images[:2])
    kept = first[0].levels[0].pixels.copy()
    assert similarity.ms_ssim(*maps(*strided)) == similarity.ms_ssim(*first)
    assert similarity.ssim(*first) == similarity.ssim(*first)
    assert similarity.psnr(strided[0], strided[1]) == similarity.psnr(images[0], images[1])
    np.testing.assert_array_equal(first[0].levels[0].pixels, kept)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((1, 64, 64, 3), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(wrong: Image) -> None:
    with pytest.raises(InputError, match="no image"):
        ImageMaps.of(wrong, scales=1)
    with pytest.raises(InputError, match="no image"):
        similarity.psnr(wrong, wrong)


def test_images_of_different_shapes_are_refused() -> None:
    wide, high = np.zeros((20, 24, 3), np.uint8), np.zeros((24, 20, 3), np.uint8)
    pair = maps(wide, high, scales=1)
    for compare in (
        lambda: similarity.ssim(*pair),
        lambda: similarity.ms_ssim(*pair, weights=similarity.weights_for(1)),
        lambda: similarity.psnr(wide, high),
    ):
        with pytest.raises(InputError, match="one shape"):
            compare()


def test_a_histogram_has_fixed_edges_and_holds_every_value() -> None:
    values = np.array([0.0, 0.019, 0.02, 0.5, 0.999, 1.0, 1.0])
    found = similarity.histogram(values)
    assert len(found.edges) == 51
    assert (found.edges[0], found.edges[25], found.edges[-1]) == (0.0, 0.5, 1.0)
    assert sum(found.counts) == len(values)
    assert (found.counts[0], found.counts[1], found.counts[25], found.counts[49]) == (2, 1, 1, 3)
    assert similarity.histogram(values[:1]).edges == found.edges
    assert similarity.histogram(values, bins=1).counts == (7,)
    assert similarity.histogram(np.zeros(0)).counts == (0,) * 50
    for wrong in (np.array([1.1]), np.array([-0.1]), np.array([math.nan]), np.zeros((2, 2))):
        with pytest.raises(InputError):
            similarity.histogram(wrong)
    with pytest.raises(InputError):
        similarity.histogram(values, bins=0)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, palette_bench.score.metrics.similarity as _; print({'torch', 'scipy', 'cv2'} & {*sys.modules})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"
