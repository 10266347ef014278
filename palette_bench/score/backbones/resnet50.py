"""torchvision's ResNet-50 with the weights of 2016 (IMAGENET1K_V1): the classifier of CA."""

from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from palette_bench.score.backbones import torch_common


class ResNet50:
    """The classifier on a device."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = device

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 of any size to ``logits`` [N, 1000] of the centre crop."""
        with torch_common.exact_float32():
            logits = self._network(torch_common.crop_224(images, self._device))
        return {"logits": torch_common.to_array(logits)}


def load(path: Path, *, device: str = "cpu") -> ResNet50:
    """The network with the weights in ``path``; InputError if they are not weights of this network."""
    target = torch_common.torch_device(device)
    with torch.device("meta"):
        network: nn.Module = torchvision.models.resnet50(weights=None)
    torch_common.load_state(network, torch_common.read_state(path), path)
    return ResNet50(torch_common.ready(network, target), target)
