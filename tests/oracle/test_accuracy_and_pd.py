"""CA and GoogLeNet's PD against a plain torchvision loop: one image at a time, its own transform, its own modules."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from palette_bench.score.backbones import loading, weights
from palette_bench.score.backbones.torch_common import crop_224
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from tests.score.random_weights import make_efficientnet_b0_in, random_images

Images = NDArray[np.uint8]
Array = NDArray[np.float32]

TOLERANCE = 2e-5
"""Of an output's largest value; rounding of another memory layout and of the folded norms."""

SIZES = (64, 256, 512)
COUNT = 4


def transform(image: Image.Image) -> torch.Tensor:
    """The transform that ships with the weights of both networks."""
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    tensor: torch.Tensor = preset(image)
    return tensor


def plain_resnet50() -> Callable[[torch.Tensor], torch.Tensor]:
    network = torchvision.models.resnet50(weights=None).eval()
    network.load_state_dict(torch.load(weights.RESNET50_V1.path, weights_only=True))
    return lambda x: network(x)


def plain_googlenet() -> Callable[[torch.Tensor], torch.Tensor]:
    network = torchvision.models.googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False)
    network.load_state_dict(torch.load(weights.GOOGLENET.path, weights_only=True))
    network.eval()
    kept: list[torch.Tensor] = []
    network.avgpool.register_forward_hook(lambda _module, _inputs, output: kept.append(output.flatten(1)))

    def features(x: torch.Tensor) -> torch.Tensor:
        network(x)
        return kept.pop()

    return features


@cache
def backbone(name: str) -> loading.LoadedBackbone:
    return loading.load(name, allow_other_weights=True)


def loop(network: Callable[[torch.Tensor], torch.Tensor], images: Images) -> Array:
    with torch.no_grad():
        return np.concatenate([network(transform(Image.fromarray(image))[None]).numpy() for image in images])


def error(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def squeezed(images: Images) -> Images:
    """The whole image at 224x224 in the middle of 256x256, so that the crop takes all of it: another lineage's CA."""
    small = [np.asarray(Image.fromarray(i).resize((224, 224), Image.Resampling.BICUBIC)) for i in images]
    return np.pad(np.stack(small), ((0, 0), (16, 16), (16, 16), (0, 0)))


def not_antialiased(images: Images) -> Images:
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    resized = tvf.resize(tensor, [256], antialias=False)
    return np.ascontiguousarray(resized.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("size", [*SIZES, 255])
def test_the_transform_is_torchvisions_bit_for_bit(size: int) -> None:
    images = random_images(3, size, seed=4)
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    assert torch.equal(crop_224(images, torch.device("cpu")), expected)
    for wide in (images[:, :-20], images[:, :, :-33]):
        expected = torch.stack([transform(Image.fromarray(image)) for image in wide])
        assert torch.equal(crop_224(wide, torch.device("cpu")), expected)
    if size == 512:
        wrong = crop_224(not_antialiased(images), torch.device("cpu"))
        square = torch.stack([transform(Image.fromarray(image)) for image in images])
        assert not torch.allclose(wrong, square, atol=1e-2)


@pytest.mark.parametrize("size", SIZES)
def test_ca_equals_the_loop(size: int) -> None:
    images = random_images(COUNT, size, seed=5)
    expected = loop(plain_resnet50(), images)
    network = backbone("resnet50-v1")
    found = network.extract(images)["logits"]
    assert error(found, expected) < TOLERANCE
    named = torch.from_numpy(expected).argmax(dim=1).numpy()
    labels = named.copy()
    labels[0] = (labels[0] + 1) % 1000
    result = accuracy(found, labels)
    np.testing.assert_array_equal(result.named, named)
    assert result.percent == pytest.approx(100.0 * (COUNT - 1) / COUNT)
    np.testing.assert_allclose(result.confidence, torch.from_numpy(expected).softmax(1).amax(1).numpy(), rtol=1e-4)
    for wrong in (images[..., ::-1], np.roll(images, 1, axis=1), squeezed(images)):
        assert error(network.extract(wrong[:2])["logits"], expected[:2]) > 100 * TOLERANCE
    assert error(found[1:], expected[:-1]) > 100 * TOLERANCE


@pytest.mark.parametrize("size", SIZES)
def test_pd_equals_the_loop(size: int) -> None:
    predictions, references = random_images(COUNT, size, seed=6), random_images(COUNT, size, seed=7)
    plain = plain_googlenet()
    expected = [loop(plain, images).astype(np.float64) for images in (predictions, references)]
    network = backbone("googlenet")
    found = [network.extract(images)["pool"] for images in (predictions, references)]
    assert error(found[0], expected[0].astype(np.float32)) < TOLERANCE
    by_hand = np.sqrt(np.sum((expected[0] - expected[1]) ** 2, axis=1))
    distance = perceptual_distance(found[0], found[1], power=Power.L2)
    squared = perceptual_distance(found[0], found[1], power=Power.L2_SQUARED)
    np.testing.assert_allclose(distance.items, by_hand, rtol=1e-5)
    assert distance.mean == pytest.approx(by_hand.mean(), rel=1e-5)
    assert squared.mean == pytest.approx(np.mean(by_hand**2), rel=1e-5)
    for wrong in (predictions[..., ::-1], np.roll(predictions, 1, axis=1), squeezed(predictions)):
        changed = perceptual_distance(network.extract(wrong)["pool"], found[1], power=Power.L2)
        assert np.abs(changed.items / by_hand - 1).max() > 1e-3
    assert perceptual_distance(found[0][1:], found[1][:-1], power=Power.L2).mean != pytest.approx(
        by_hand.mean(), rel=1e-3
    )


def test_googlenets_heads_and_input_transform_matter() -> None:
    images = random_images(2, 256, seed=8)
    network = torchvision.models.googlenet(weights=None, transform_input=False, aux_logits=True, init_weights=False)
    network.load_state_dict(torch.load(weights.GOOGLENET.path, weights_only=True))
    network.fc = torch.nn.Identity()
    found = backbone("googlenet").extract(images)["pool"]
    assert error(loop(lambda x: network.eval()(x), images), found) > 100 * TOLERANCE


PIL_TO_RESNET = {
    "resnet50-v1-squeeze224": lambda image: image.resize((224, 224), Image.Resampling.BICUBIC),
    "resnet50-v1-native256": lambda image: tvf.resize(image, [256]),
}


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (512, 512), (256, 300)])
@pytest.mark.parametrize("name", PIL_TO_RESNET)
def test_other_crops_equal_the_loop(name: str, shape: tuple[int, int]) -> None:
    images = random_images(2, max(shape), seed=10)[:1, : shape[0], : shape[1]]
    inputs = [tvf.to_tensor(PIL_TO_RESNET[name](Image.fromarray(image))) for image in images]
    normalised = tvf.normalize(torch.stack(inputs), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = plain_resnet50()(normalised).numpy()
    assert error(backbone(name).extract(images)["logits"], expected) < TOLERANCE
    for other in {"resnet50-v1", *PIL_TO_RESNET} - {name}:
        assert error(backbone(other).extract(images)["logits"], expected) > 100 * TOLERANCE


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (512, 512), (200, 333)])
def test_efficientnets_transform_is_torchvisions_and_timms_bit_for_bit(shape: tuple[int, int]) -> None:
    images = random_images(1, max(shape), seed=11)[:, : shape[0], : shape[1]]
    preset = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
    timms = timm.data.create_transform((3, 224, 224), interpolation="bicubic", crop_pct=0.875)
    found = crop_224(images, torch.device("cpu"), interpolation=InterpolationMode.BICUBIC)
    for peer in (preset, timms):
        assert torch.equal(found, torch.stack([peer(Image.fromarray(image)) for image in images]))
    if 256 not in shape:
        assert not torch.allclose(found, crop_224(images, torch.device("cpu")), atol=1e-2)


def test_efficientnet_equals_the_loop(random_home: Path) -> None:
    make_efficientnet_b0_in(random_home)
    images = random_images(2, 300, seed=12)
    network = torchvision.models.efficientnet_b0(weights=None).eval()
    network.load_state_dict(torch.load(weights.EFFICIENTNET_B0.path, weights_only=True))
    preset = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        expected = network(torch.stack([preset(Image.fromarray(image)) for image in images])).numpy()
        bilinear = network(crop_224(images, torch.device("cpu"))).numpy()
    assert error(backbone("efficientnet-b0").extract(images)["logits"], expected) < TOLERANCE
    assert error(bilinear, expected) > 100 * TOLERANCE
    for wrong in (images[..., ::-1], np.roll(images, 1, axis=1), images[::-1]):
        assert error(backbone("efficientnet-b0").extract(wrong)["logits"], expected) > 100 * TOLERANCE
