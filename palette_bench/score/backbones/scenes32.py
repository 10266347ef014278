"""The network that judges scenes32: a small classifier of the world's 20 classes, shipped with its weights.

It plays every part that Inception and ResNet-50 play for photographs: the 64 features are for FID and PD, the 20
logits for IS and CA. Half of the features are content, read from the last layer; half are surface, the mean responses
of an early one. It was trained by ``scenes32_training`` to name the class and, from the same features, what else is in
the picture (texture, light, hues, noise), so that they see more than outlines.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from palette_bench.common.errors import InputError
from palette_bench.prepare.sources.scenes32 import CLASSES, SIZE
from palette_bench.score.backbones.base import spec_named
from palette_bench.score.backbones.scenes32_weights import WEIGHTS_SHA256, read_weights
from palette_bench.score.backbones.torch_common import exact_float32, to_array, torch_device

FEATURES = 64
_BATCH = 32


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity: [n, c, h, w] to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same shape."""
        inner = torch.relu(self.first_norm(self.first(x)))
        inner = self.second_norm(self.second(inner))
        return torch.relu(x + inner)


class Scenes32Classifier(nn.Module):
    """Images [n, 3, 32, 32] float32 in [-1, 1] to features [n, 64] and logits [n, 20]; 0.34 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.at_16 = nn.Sequential(*_convolution(3, 32, kernel=5), ResidualBlock(32))
        self.at_8 = nn.Sequential(*_convolution(32, 64, kernel=3), ResidualBlock(64))
        self.at_4 = nn.Sequential(*_convolution(64, 96, kernel=3), ResidualBlock(96))
        self.content = nn.Linear(96 * 2, FEATURES - 32, bias=False)
        # Without gain and offset: every feature has unit variance while training, so no one feature rules a distance.
        self.features_norm = nn.BatchNorm1d(FEATURES, affine=False)
        self.dropout = nn.Dropout(0.1)
        self.logits = nn.Linear(FEATURES, len(CLASSES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 3, 32, 32] to features [n, 64] and logits [n, 20]."""
        x = self.at_16(images)  # [n, 32, 16, 16]
        # A network of shapes is blind to a surface that is too smooth; its early responses are not.
        surface = x.mean(dim=(2, 3))  # [n, 32]
        x = self.at_8(x)  # [n, 64, 8, 8]
        x = self.at_4(x)  # [n, 96, 4, 4]
        content = self.content(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))  # [n, 32]
        features = self.features_norm(torch.cat([surface, content], dim=1))  # [n, 64]
        return features, self.logits(self.dropout(features))


def _convolution(inputs: int, outputs: int, *, kernel: int) -> tuple[nn.Module, ...]:
    """A convolution that halves height and width, its norm and a rectifier."""
    return (
        nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """uint8 RGB [n, 32, 32, 3] to what the network takes: float32 [n, 3, 32, 32] in [-1, 1], channels last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0


class Scenes32Backbone:
    """The network with its shipped weights, ready to run; a `palette_bench.score.backbones.base.Backbone`."""

    def __init__(self, network: Scenes32Classifier, *, device: torch.device) -> None:
        self._spec = spec_named("scenes32")
        self._device = device
        self._network = network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """``scenes32``."""
        return self._spec.name

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of ``features`` and ``logits``."""
        return self._spec.outputs

    @property
    def fingerprint(self) -> str:
        """sha256 over the definition and the digest of the shipped weights."""
        return self._spec.fingerprint(WEIGHTS_SHA256)

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [n, 32, 32, 3] uint8 RGB to ``features`` [n, 64] and ``logits`` [n, 20], both float32.

        Raises InputError for images of another size.
        """
        if images.dtype != np.uint8 or images.shape[1:] != (SIZE, SIZE, 3):
            raise InputError(
                "images that scenes32 cannot take",
                expected=f"uint8 RGB [n, {SIZE}, {SIZE}, 3]",
                found=f"{images.dtype} {list(images.shape)}",
            )
        features = np.empty((len(images), FEATURES), dtype=np.float32)
        logits = np.empty((len(images), len(CLASSES)), dtype=np.float32)
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            # SCORE: a short batch is filled up, because kernels round differently at other lengths.
            full = np.zeros((_BATCH, SIZE, SIZE, 3), dtype=np.uint8)
            full[: len(part)] = part
            with exact_float32():
                outputs = self._network(to_input(full).to(self._device))
            features[start : start + len(part)] = to_array(outputs[0])[: len(part)]
            logits[start : start + len(part)] = to_array(outputs[1])[: len(part)]
        return {"features": features, "logits": logits}


def load(path: Path | None = None, *, device: str = "cpu") -> Scenes32Backbone:
    """The backbone with the shipped weights, or with a copy of them at ``path``.

    Raises InputError if the file cannot be read or is not, byte for byte, the one whose digest is ``WEIGHTS_SHA256``,
    UsageError for a device that is not there.
    """
    network = Scenes32Classifier()
    network.load_state_dict(safetensors.torch.load(read_weights(path)))
    return Scenes32Backbone(network, device=torch_device(device))
