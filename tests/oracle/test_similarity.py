"""MS-SSIM, SSIM and PSNR against the definition written out in float64, scikit-image and pytorch-msssim.

torchmetrics is no oracle: it joins the channels before the product over scales, which shows where images are unlike.
"""

from enum import Enum

import numpy as np
import pytest
import pytorch_msssim
import torch
import torchmetrics.functional.image as torchmetrics_image
from numpy.typing import NDArray
from scipy import ndimage
from skimage import metrics as skimage_metrics

from benchmarks.make_tensorflow_golden import KINDS, SIZES, pair
from palette_bench.score.metrics import similarity
from palette_bench.score.metrics.similarity import ImageMaps

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

TOLERANCE = 2e-6
"""Absolute, to float64. 1e-7 was measured on these pairs."""

PEER_TOLERANCE = 1e-5
"""Absolute, to pytorch-msssim, which is itself up to 7e-6 from float64 on these pairs."""

UNLIKE = ("blend", "unrelated")


class Pool(Enum):
    """How a side of odd length is halved."""

    DOUBLED_EDGE = "doubled edge"
    ZEROS = "zeros"
    DROPPED = "dropped"


def window_means(image: Array, deviation: float) -> Array:
    weights = np.exp(-0.5 * np.square((np.arange(11) - 5) / deviation))
    weights /= weights.sum()
    for axis in (0, 1):
        image = ndimage.correlate1d(image, weights, axis=axis)
    inside: Array = image[5:-5, 5:-5]
    return inside


def halved(image: Array, pool: Pool) -> Array:
    odd = (image.shape[0] % 2, image.shape[1] % 2)
    if pool is Pool.DOUBLED_EDGE:
        image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
    elif pool is Pool.ZEROS:
        image = np.pad(image, ((odd[0], odd[0]), (odd[1], odd[1]), (0, 0)))
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    image = image[:height, :width]
    means: Array = image.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    return means


def reference(
    first: Image,
    second: Image,
    weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333),
    *,
    deviation: float = 1.5,
    peak: float = 255.0,
    pool: Pool = Pool.DOUBLED_EDGE,
    joined: bool = False,
) -> tuple[float, float]:
    """MS-SSIM and SSIM in float64, as written in the papers; ``joined`` means channels before the product."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    factors, single = [], 0.0
    for scale in range(len(weights)):
        mean_a, mean_b = window_means(a, deviation), window_means(b, deviation)
        variances = window_means(a * a, deviation) - mean_a**2 + window_means(b * b, deviation) - mean_b**2
        covariance = window_means(a * b, deviation) - mean_a * mean_b
        structure = (2 * covariance + c2) / (variances + c2)
        full = structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        single = float(full.mean()) if scale == 0 else single
        values = (full if scale == len(weights) - 1 else structure).mean(axis=(0, 1))
        factors.append(np.full(3, values.mean()) if joined else values)
        a, b = halved(a, pool), halved(b, pool)
    powers = np.maximum(np.stack(factors), 0.0) ** np.array(weights)[:, None]
    return float(powers.prod(axis=0).mean()), single


def ours(first: Image, second: Image) -> tuple[float, float]:
    maps = ImageMaps.of(first), ImageMaps.of(second)
    return similarity.ms_ssim(*maps).value, similarity.ssim(*maps)


@pytest.fixture(scope="module")
def pairs() -> dict[tuple[str, int, int], tuple[Image, Image]]:
    return {(kind, *size): pair(kind, *size) for kind in KINDS for size in SIZES}


def all_pairs() -> list[tuple[str, int, int]]:
    return [(kind, *size) for kind in KINDS for size in SIZES]


@pytest.mark.parametrize("name", all_pairs(), ids=str)
def test_equals_the_definition_in_float64(
    pairs: dict[tuple[str, int, int], tuple[Image, Image]], name: tuple[str, int, int]
) -> None:
    assert ours(*pairs[name]) == pytest.approx(reference(*pairs[name]), abs=TOLERANCE)


def test_two_flat_extremes_are_the_worst_case_of_float32() -> None:
    first, second = np.full((256, 256, 3), 255, np.uint8), np.full((256, 256, 3), 250, np.uint8)
    first[:, :128], second[:, :128] = 0, 3
    found, expected = ours(first, second), reference(first, second)
    assert found == pytest.approx(expected, abs=5e-5), "TensorFlow is 4e-5 off"


@pytest.mark.parametrize("kind", KINDS)
def test_two_scales_at_32_pixels_equal_the_definition(kind: str) -> None:
    first, second = pair(kind, 32, 32)
    weights = similarity.weights_for(2)
    assert weights.weights == pytest.approx((0.0448 / 0.3304, 0.2856 / 0.3304), rel=1e-12)
    maps = [ImageMaps.of(image, scales=2) for image in (first, second)]
    found = similarity.ms_ssim(maps[0], maps[1], weights=weights).value
    assert found == pytest.approx(reference(first, second, weights.weights)[0], abs=TOLERANCE)
    published = similarity.WANG_2003[:2]
    if kind not in ("negative", "brighter"):
        assert found != pytest.approx(reference(first, second, published)[0], abs=100 * TOLERANCE)


def test_wrong_variants_are_told_apart(pairs: dict[tuple[str, int, int], tuple[Image, Image]]) -> None:
    for kind in UNLIKE:
        first, second = pairs[kind, 181, 203]
        found = ours(first, second)
        for wrong in (
            reference(first, second, deviation=1.6),
            reference(first, second, peak=1.0),
            reference(np.roll(first, 1, axis=1), second),
        ):
            assert abs(wrong[0] - found[0]) > 100 * TOLERANCE
            assert abs(wrong[1] - found[1]) > 100 * TOLERANCE
        for multiscale in (
            reference(first, second, joined=True)[0],
            reference(first, second, pool=Pool.ZEROS)[0],
            reference(first, second, pool=Pool.DROPPED)[0],
        ):
            assert abs(multiscale - found[0]) > 5 * TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ssim_and_psnr_equal_scikit_image(
    pairs: dict[tuple[str, int, int], tuple[Image, Image]], kind: str, size: tuple[int, int]
) -> None:
    first, second = pairs[(kind, *size)]

    def peer(deviation: float) -> float:
        value = skimage_metrics.structural_similarity(
            first.astype(np.float64),
            second.astype(np.float64),
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=deviation,
            use_sample_covariance=False,
        )
        return float(value)

    found = ours(first, second)[1]
    assert found == pytest.approx(peer(1.5), abs=TOLERANCE)
    if kind in UNLIKE and size == (192, 256):
        assert abs(found - peer(1.6)) > 100 * TOLERANCE
    ratio = similarity.psnr(first, second)
    assert ratio == pytest.approx(
        skimage_metrics.peak_signal_noise_ratio(first, second, data_range=255), rel=1e-12, abs=0
    )
    assert abs(ratio - similarity.psnr(np.roll(first, 1, axis=1), second)) > 1e-3


def as_tensors(*images: Image) -> list[torch.Tensor]:
    return [torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] for image in images]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_equals_pytorch_msssim(
    pairs: dict[tuple[str, int, int], tuple[Image, Image]], kind: str, size: tuple[int, int]
) -> None:
    tensors = as_tensors(*pairs[(kind, *size)])
    found = ours(*pairs[(kind, *size)])
    assert found[0] == pytest.approx(float(pytorch_msssim.ms_ssim(*tensors, data_range=255)), abs=PEER_TOLERANCE)
    assert found[1] == pytest.approx(float(pytorch_msssim.ssim(*tensors, data_range=255)), abs=PEER_TOLERANCE)
    if kind in UNLIKE:
        wrong = float(pytorch_msssim.ms_ssim(*tensors, data_range=255, win_sigma=1.6))
        assert abs(wrong - found[0]) > 5 * PEER_TOLERANCE


def test_torchmetrics_is_another_number_where_images_are_unlike(
    pairs: dict[tuple[str, int, int], tuple[Image, Image]],
) -> None:
    def distance(kind: str) -> float:
        images = pairs[kind, 256, 256]
        peer = torchmetrics_image.multiscale_structural_similarity_index_measure(*as_tensors(*images), data_range=255.0)
        return abs(float(peer) - ours(*images)[0])

    assert distance("noise") < 6e-3, "its own tests look at such pairs, and tolerate 6e-3"
    assert distance("unrelated") > 0.01, "the value itself is 0.012"
