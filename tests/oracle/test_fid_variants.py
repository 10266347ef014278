"""The other inputs of FID's network: pytorch-fid's, clean-fid's and torchmetrics', each against the package itself."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from numpy.typing import NDArray
from pytorch_fid import inception as pytorch_fid
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from palette_bench.score.backbones import loading, resize, weights
from palette_bench.score.metrics.frechet import frechet_distance
from tests.score.random_weights import random_images

Images = NDArray[np.uint8]
Array = NDArray[np.float32]

TOLERANCE = 1e-5
"""Relative, of features (Frobenius) and of FID. Every negative twin is at least `FAR` times outside."""

FAR = 30
SHAPES = [(64, 64), (256, 256), (512, 512), (150, 260)]


def images_of(shape: tuple[int, int], *, seed: int, count: int = 2) -> Images:
    return np.ascontiguousarray(random_images(count, max(shape), seed=seed)[:, : shape[0], : shape[1]])


def deviation(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@cache
def pytorch_fid_network(path: Path) -> nn.Module:
    """pytorch-fid's network with the weights at ``path``."""
    state = torch.load(path, weights_only=True)
    with mock.patch.object(pytorch_fid, "load_state_dict_from_url", return_value=state):
        network: nn.Module = pytorch_fid.InceptionV3([3])
    return network.eval()


def run(inputs: torch.Tensor, *, prepared: bool) -> Array:
    """Features of pytorch-fid's network; ``prepared`` inputs are neither resized nor scaled by it."""
    network = pytorch_fid_network(weights.INCEPTION_2015.path)
    with (
        torch.no_grad(),
        mock.patch.object(network, "resize_input", not prepared),
        mock.patch.object(network, "normalize_input", not prepared),
    ):
        values: Array = network(inputs)[0][:, :, 0, 0].numpy()
    return values


def pytorch_fid_features(images: Images) -> Array:
    """As pytorch-fid's command: ToTensor, then its network resizes and scales."""
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return run(inputs, prepared=False)


def clean_fid_features(images: Images) -> Array:
    """As clean-fid's ``InceptionV3W`` on images of its own resizer; its network is a download, so this is another."""
    resizer = build_resizer("clean")
    inputs = torch.from_numpy(np.stack([resizer(image) for image in images])).permute(0, 3, 1, 2)
    return run((inputs - 128) / 128, prepared=True)


@cache
def torchmetrics_metric(path: Path, *, antialias: bool) -> FrechetInceptionDistance:
    return FrechetInceptionDistance(feature=2048, antialias=antialias, feature_extractor_weights_path=str(path))


def torchmetrics_features(images: Images, *, antialias: bool) -> Array:
    metric = torchmetrics_metric(weights.INCEPTION_2015.path, antialias=antialias)
    with torch.no_grad():
        values: Array = metric.inception(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    return values


@cache
def backbone(name: str) -> loading.LoadedBackbone:
    return loading.load(name, allow_other_weights=True)


def ours(name: str, images: Images) -> Array:
    return backbone(name).extract(images)["pool_3"]


def assert_same_fid(name: str, peer: Callable[[Images], Array], images: Images, found: Array, expected: Array) -> None:
    references = images_of(images.shape[1:3], seed=12)
    distance = frechet_distance(found, ours(name, references)).value
    assert distance == pytest.approx(frechet_distance(expected, peer(references)).value, rel=TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
def test_halfpixel_is_pytorch_fids(shape: tuple[int, int]) -> None:
    images = images_of(shape, seed=11, count=2 if shape == SHAPES[0] else 1)
    expected = pytorch_fid_features(images)
    found = ours("inception2015-halfpixel", images)
    assert deviation(found, expected) < TOLERANCE
    if shape == SHAPES[0]:
        assert_same_fid("inception2015-halfpixel", pytorch_fid_features, images, found, expected)
    for other in ("inception2015", "inception2015-clean"):
        assert deviation(ours(other, images[:1]), expected[:1]) > FAR * TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_is_clean_fids(shape: tuple[int, int]) -> None:
    images = images_of(shape, seed=13, count=2 if shape == SHAPES[0] else 1)
    resizer = build_resizer("clean")
    resized = np.stack([resizer(image) for image in images]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(resize.clean_bicubic(images), resized)
    assert np.abs(resize.half_pixel_bilinear(images) - resized).max() > 1.0
    assert np.abs(resize.tf1_bilinear(images) - resized).max() > 1.0
    expected = clean_fid_features(images)
    found = ours("inception2015-clean", images)
    assert deviation(found, expected) < TOLERANCE
    if shape == SHAPES[0]:
        assert_same_fid("inception2015-clean", clean_fid_features, images, found, expected)
    for other in ("inception2015", "inception2015-halfpixel"):
        assert deviation(ours(other, images[:1]), expected[:1]) > FAR * TOLERANCE


@pytest.mark.parametrize("size", [64, 256, 512])
def test_torchmetrics_is_tf1_only_without_antialias(size: int) -> None:
    images = images_of((size, size), seed=14, count=1)
    plain = torchmetrics_features(images, antialias=False)
    assert deviation(ours("inception2015", images), plain) < TOLERANCE
    default = torchmetrics_features(images, antialias=True)
    for name in ("inception2015", "inception2015-clean"):
        assert deviation(ours(name, images), default) > FAR * TOLERANCE
    if size > resize.SIZE:
        assert deviation(ours("inception2015-halfpixel", images), default) > FAR * TOLERANCE


def test_a_wrong_image_is_seen() -> None:
    images = images_of((64, 64), seed=15)
    expected = pytorch_fid_features(images)
    for wrong in (images[..., ::-1], np.roll(images, 1, axis=1), images[::-1]):
        found = ours("inception2015-halfpixel", wrong[:1])
        assert deviation(found, expected[:1]) > FAR * TOLERANCE
