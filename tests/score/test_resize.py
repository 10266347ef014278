"""The resizes to 299x299 against torch-fidelity's and PyTorch's own, bit for bit."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from palette_bench.score.backbones import resize
from tests.score.random_weights import random_images

Images = NDArray[np.uint8]

SHAPES = [(64, 64), (256, 256), (299, 299), (512, 512), (96, 200), (333, 130), (1, 2)]


def images_of(shape: tuple[int, int], *, count: int = 2) -> Images:
    return np.ascontiguousarray(random_images(count, max(shape))[:, : shape[0], : shape[1]])


def planes(images: Images) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def peer(images: Images) -> NDArray[np.float32]:
    values = interpolate_bilinear_2d_like_tensorflow1x(planes(images), size=(299, 299), align_corners=False)
    array: NDArray[np.float32] = values.numpy()
    return array


@pytest.mark.parametrize("shape", SHAPES)
def test_tf1_equals_torch_fidelitys_in_every_bit(shape: tuple[int, int]) -> None:
    images = images_of(shape)
    found = resize.tf1_bilinear(images)
    assert found.dtype == np.float32
    assert found.shape == (2, 3, 299, 299)
    np.testing.assert_array_equal(found, peer(images))
    alone = np.concatenate([resize.tf1_bilinear(image[None]) for image in images])
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("size", [64, 256, 512])
def test_other_resizes_are_not_tf1s(size: int) -> None:
    images = images_of((size, size))
    expected = peer(images)
    for other in (resize.half_pixel_bilinear(images), resize.clean_bicubic(images)):
        assert np.abs(other - expected).max() > 1.0
    y_first = resize.tf1_bilinear(np.ascontiguousarray(images.transpose(0, 2, 1, 3))).transpose(0, 1, 3, 2)
    np.testing.assert_allclose(y_first, expected, atol=1e-4)
    assert not np.array_equal(y_first, expected), "the order of the axes must be visible in the bits"


def test_tf1_of_an_image_of_this_size_is_the_image() -> None:
    images = images_of((299, 299))
    np.testing.assert_array_equal(resize.tf1_bilinear(images), images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_half_pixel_equals_pytorchs_in_every_bit(shape: tuple[int, int]) -> None:
    images = images_of(shape)
    expected = functional.interpolate(planes(images), size=(299, 299), mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(resize.half_pixel_bilinear(images), expected.numpy())


def test_clean_stays_within_grey_levels() -> None:
    edges = np.zeros((1, 16, 16, 3), np.uint8)
    edges[:, 4:12] = 255
    found = resize.clean_bicubic(edges)
    assert found.min() == 0.0
    assert found.max() == 255.0
