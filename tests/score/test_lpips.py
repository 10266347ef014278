"""LPIPS against the package's own module on the same random trunk: no weights are downloaded here."""

import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from palette_bench.common.errors import InputError
from palette_bench.score.backbones import lpips_alexnet
from tests.score.random_weights import random_images

Images = NDArray[np.uint8]

TOLERANCE = 1e-5
"""Relative."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alexnet_state(*, gain: float = 1.0) -> dict[str, Tensor]:
    """Random weights of AlexNet under every name of the file; the classifier, which nothing reads, is one zero seen
    58 million times, and a zero again in a saved file.
    """
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in torchvision.models.AlexNet().state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    state = {}
    for key, shape in shapes.items():
        if key.startswith("classifier."):
            state[key] = torch.zeros(()).expand(shape)
        elif key.endswith("weight"):
            state[key] = gain * torch.randn(shape, generator=generator) * (2.0 / shape[1:].numel()) ** 0.5
        else:
            state[key] = 0.1 * torch.randn(shape, generator=generator)
    return state


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    path = folder / "alexnet.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(alexnet_state(), tmp_path_factory.mktemp("alexnet"))


@pytest.fixture(scope="module")
def network(weights_file: Path) -> lpips_alexnet.LpipsAlexNet:
    return lpips_alexnet.load(weights_file)


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    """The package's module with its own heads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        module: nn.Module = lpips.LPIPS(pnet_rand=True, net="alex", version="0.1", verbose=False)
    trunk = torchvision.models.AlexNet()
    trunk.load_state_dict(alexnet_state())
    features = trunk.features
    for index, layers in enumerate(([0], [3], [6], [8], [10]), start=1):
        for layer in layers:
            getattr(module.net, f"slice{index}").get_submodule(str(layer)).load_state_dict(features[layer].state_dict())
    return module


def peer_distance(peer: nn.Module, first: Images, second: Images, *, unit: bool = False) -> NDArray[np.float32]:
    """With images in -1 to 1, as the package wants them, or wrongly in 0 to 1."""
    tensors = [torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) for images in (first, second)]
    tensors = [tensor / 255.0 if unit else tensor / 127.5 - 1.0 for tensor in tensors]
    with torch.no_grad():
        values: NDArray[np.float32] = peer(*tensors).flatten().numpy()
    return values


def pairs(height: int = 64, width: int = 64) -> tuple[Images, Images]:
    size = max(height, width)
    first, other = random_images(4, size, seed=11), random_images(4, size, seed=12)
    close = np.clip(first.astype(np.int16) + np.random.default_rng(0).integers(-8, 9, first.shape), 0, 255)
    second = np.concatenate([other[:2], close[2:].astype(np.uint8)])
    return np.ascontiguousarray(first[:, :height, :width]), np.ascontiguousarray(second[:, :height, :width])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 65), (31, 31)])
def test_equals_the_package(network: lpips_alexnet.LpipsAlexNet, peer: nn.Module, height: int, width: int) -> None:
    first, second = pairs(height, width)
    expected = peer_distance(peer, first, second)
    found = network.distance(first, second)
    assert found.dtype == np.float32
    assert found.shape == (4,)
    assert (expected > 1e-4).all()
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


def test_other_ranges_channels_and_places_differ(network: lpips_alexnet.LpipsAlexNet, peer: nn.Module) -> None:
    first, second = pairs()
    found = network.distance(first, second)
    wrong = [
        peer_distance(peer, first, second, unit=True),
        peer_distance(peer, first[..., ::-1].copy(), second[..., ::-1].copy()),
        peer_distance(peer, np.roll(first, 1, axis=1), second),
        peer_distance(peer, first[::-1].copy(), second),
    ]
    for values in wrong:
        assert (np.abs(values / found - 1) > 100 * TOLERANCE).all()


def test_symmetric_zero_for_equal_images_and_independent_of_the_batch(network: lpips_alexnet.LpipsAlexNet) -> None:
    first, second = pairs()
    together = network.distance(first, second)
    np.testing.assert_allclose(network.distance(second, first), together, rtol=TOLERANCE)
    alone = np.concatenate([network.distance(first[i : i + 1], second[i : i + 1]) for i in range(len(first))])
    np.testing.assert_allclose(alone, together, rtol=TOLERANCE)
    assert (network.distance(first, first) == 0).all()
    assert (first == pairs()[0]).all()


def test_no_network_and_no_random_numbers(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lpips_alexnet.load(weights_file)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_file_is_an_input_error(tmp_path: Path) -> None:
    state = alexnet_state()
    lacking = {key: value for key, value in state.items() if key != "features.8.bias"}
    broken = state | {"features.0.bias": torch.full((64,), float("nan"))}
    slim = state | {"features.3.weight": torch.zeros(192, 64, 3, 3)}
    headless = {key: value for key, value in state.items() if key.startswith("features.")}
    for wrong in (lacking, broken, slim, headless):
        with pytest.raises(InputError, match="weights file cannot be used") as caught:
            lpips_alexnet.load(saved(wrong, tmp_path))
        assert str(tmp_path) in str(caught.value)
    (tmp_path / "alexnet.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="weights file cannot be used"):
        lpips_alexnet.load(tmp_path / "alexnet.pth")


def test_overflow_is_never_a_number(tmp_path: Path) -> None:
    network = lpips_alexnet.load(saved(alexnet_state(gain=1e20), tmp_path))
    with pytest.raises(InputError, match="not finite"):
        network.distance(*pairs())


def test_a_missing_package_says_what_to_install(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(InputError) as caught:
        lpips_alexnet.load(weights_file)
    assert "pip install palette-bench[lpips]" in str(caught.value)


def test_other_heads_are_refused(weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = tmp_path / "weights" / "v0.1" / "alex.pth"
    heads.parent.mkdir(parents=True)
    monkeypatch.setattr(lpips, "__file__", str(tmp_path / "__init__.py"))
    for content in (None, b"other heads"):
        if content is not None:
            heads.write_bytes(content)
        with pytest.raises(InputError, match="linear heads") as caught:
            lpips_alexnet.load(weights_file)
        assert str(heads) in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((1, 30, 64, 3), np.uint8), np.zeros((1, 30, 64, 3), np.uint8)),
        (np.zeros((1, 64, 64, 3), np.uint8), np.zeros((2, 64, 64, 3), np.uint8)),
        (np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 64, 64, 3), np.uint8)),
        (np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)),
        (np.zeros((1, 64, 64, 4), np.uint8), np.zeros((1, 64, 64, 4), np.uint8)),
        (np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, 64, 64, 3), np.uint8)),
    ],
)
def test_other_arrays_are_refused(network: lpips_alexnet.LpipsAlexNet, first: Images, second: Images) -> None:
    with pytest.raises(InputError, match="LPIPS cannot take"):
        network.distance(first, second)
