"""Random weights of the right shapes for the pretrained networks, so that no test needs a download.

Batch norms are calibrated on random images, so that activations neither vanish nor explode and features differ
between images; last layers are scaled so that logits spread over classes. Equal seeds give equal files.
"""

import io
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from palette_bench.score.backbones import weights
from palette_bench.score.backbones.torch_common import crop_224

CALIBRATION_SIZES = (64, 256, 512)
CALIBRATION_IMAGES_A_SIZE = 2
LOGIT_DEVIATION = 1.5


def random_images(count: int, size: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """``count`` different images [count, size, size, 3] uint8: coloured waves of random direction, two edges and
    noise.
    """
    rng = np.random.default_rng([seed, count, size])
    grid = np.linspace(0.0, 1.0, size)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    images = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        waves = np.zeros((size, size, 3))
        for _ in range(4):
            angle, frequency = rng.uniform(0, 2 * np.pi), 2.0 ** rng.uniform(0, 5)
            phase = 2 * np.pi * (frequency * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform())
            waves += np.sin(phase)[..., None] * rng.normal(0, 40, 3)
        waves += np.where((x > rng.uniform()) ^ (y > rng.uniform()), 1.0, -1.0)[..., None] * rng.normal(0, 30, 3)
        noise = rng.normal(0, rng.uniform(1, 25), (size, size, 3))
        images[index] = np.clip(128 + rng.normal(0, 20, 3) + waves + noise, 0, 255).round()
    return images


def make_inception2015(path: Path, *, seed: int = 0) -> None:
    """A random file in the layout of pt_inception-2015-12-05."""
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    keep_initial = mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict")
    with keep_initial, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=empty)
    images = torch.from_numpy(_calibration_images(299, seed)).permute(0, 3, 1, 2)
    _initialise(network, seed)
    features = _calibrate(network, lambda: network(images)[0])
    _spread(network.fc, features, seed)
    _save(network, path)


def make_resnet50(path: Path, *, seed: int = 0) -> None:
    """A random file in the layout of resnet50-0676ba61."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = torchvision.models.resnet50(weights=None)
    inputs = crop_224(_calibration_images(256, seed), torch.device("cpu"))
    _initialise(network, seed)
    head, network.fc = network.fc, nn.Identity()
    features = _calibrate(network, lambda: network(inputs))
    network.fc = head
    _spread(network.fc, features, seed)
    _save(network, path)


def make_googlenet(path: Path, *, seed: int = 0) -> None:
    """A random file in the layout of googlenet-1378be20, auxiliary heads included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = torchvision.models.GoogLeNet(transform_input=True, aux_logits=True, init_weights=False)
    inputs = crop_224(_calibration_images(256, seed), torch.device("cpu"))
    _initialise(network, seed)
    head, network.fc = network.fc, nn.Identity()
    _calibrate(network, lambda: network(inputs))
    network.fc = head
    _save(network, path)


def make_efficientnet_b0(path: Path, *, seed: int = 0) -> None:
    """A random file in the layout of efficientnet_b0_rwightman-7f5810bc."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = torchvision.models.efficientnet_b0(weights=None)
    inputs = crop_224(_calibration_images(256, seed), torch.device("cpu"))
    _initialise(network, seed)
    head, network.classifier = network.classifier, nn.Identity()
    features = _calibrate(network, lambda: network(inputs))
    network.classifier = head
    _spread(network.get_submodule("classifier.1"), features, seed)
    _save(network, path)


MAKERS: dict[str, Callable[[Path], None]] = {
    weights.INCEPTION_2015.name: make_inception2015,
    weights.RESNET50_V1.name: make_resnet50,
    weights.GOOGLENET.name: make_googlenet,
}


def make_all(folder: Path) -> None:
    """The files that are not optional under their published names; ``folder`` is a weights folder,
    ``$PALETTE_BENCH_HOME/weights``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MAKERS.items():
        _on_one_thread(make, folder / weights.FILES[name].file_name)


def make_efficientnet_b0_in(home: Path) -> None:
    """Add EfficientNet-B0's file to a home of `shared_home`'s, unless it is there: few tests need it."""
    path = home / "weights" / weights.EFFICIENTNET_B0.file_name
    if not path.exists():
        _on_one_thread(make_efficientnet_b0, path)


_SHARED: list[Path] = []


def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose ``weights`` are `make_all`'s, made once a test process whoever asks."""
    if not _SHARED:
        home = tmp_path_factory.mktemp("random-weights")
        make_all(home / "weights")
        _SHARED.append(home)
    return _SHARED[0]


def _on_one_thread(make: Callable[[Path], None], path: Path) -> None:
    """Threads that wait for each other take ten times as long where others use the processor too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make(path)
    torch.set_num_threads(threads)


def _calibration_images(size: int, seed: int) -> NDArray[np.uint8]:
    """Images drawn at all of `CALIBRATION_SIZES`, [n, size, size, 3]: a norm that knows one explodes at another."""
    drawn = [i for s in CALIBRATION_SIZES for i in random_images(CALIBRATION_IMAGES_A_SIZE, s, seed=seed + 1)]
    return np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BILINEAR)) for i in drawn])


def _initialise(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0.0, (2.0 / fan) ** 0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            # Mostly linear: a rectifier at the mean makes a deep random network chaotic, and outliers explode.
            module.weight.data.uniform_(0.4, 0.8, generator=generator)
            module.bias.data.normal_(1.0, 0.3, generator=generator)


def _calibrate(network: nn.Module, forward: Callable[[], Tensor]) -> Tensor:
    """Set running statistics to those of one forward pass and return the features [n, d] of a second one."""
    network.eval()
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        forward()
        network.eval()
        return forward()


def _spread(layer: object, features: Tensor, seed: int) -> None:
    """Give a last layer weights under which each logit has a standard deviation of `LOGIT_DEVIATION` over
    ``features`` and mean 0.
    """
    if not isinstance(layer, nn.Linear):
        raise TypeError(type(layer).__name__)
    generator = torch.Generator().manual_seed(seed + 2)
    drawn = torch.randn(layer.weight.shape, generator=generator)
    mean = features.mean(dim=0)
    drawn -= torch.outer(drawn @ mean, mean) / mean.dot(mean)
    spread = (features @ drawn.T).std(dim=0, keepdim=True)
    layer.weight.data.copy_(drawn * (LOGIT_DEVIATION / spread.T))
    layer.bias.data.normal_(0.0, 1.0, generator=generator)


def _save(network: nn.Module, path: Path) -> None:
    torch.save({key: value.contiguous() for key, value in network.state_dict().items()}, path)
