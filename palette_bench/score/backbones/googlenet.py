"""torchvision's GoogLeNet (IMAGENET1K_V1), a port of the TF-slim Inception-v1: one reading of PD's network.

That it is the Inception-v1 of the Palette paper is plausible and not proven (docs/metrics.md). Its "5x5" branch is
3x3, as in the port.
"""

from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn

from palette_bench.score.backbones import torch_common


class GoogLeNet:
    """The network up to its global average pool, on a device."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = device

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 of any size to ``pool`` [N, 1024] of the centre crop."""
        with torch_common.exact_float32():
            features = self._network(torch_common.crop_224(images, self._device))
        return {"pool": torch_common.to_array(features)}


def load(path: Path, *, device: str = "cpu") -> GoogLeNet:
    """The network with the weights in ``path``; InputError if they are not weights of this network.

    The file holds auxiliary heads, which are checked as all the rest and then dropped.
    """
    target = torch_common.torch_device(device)
    with torch.device("meta"):
        # SCORE: transform_input re-maps ImageNet's normalisation to the (x - 0.5) / 0.5 of these weights.
        network = torchvision.models.GoogLeNet(transform_input=True, aux_logits=True, init_weights=False)
    torch_common.load_state(network, torch_common.read_state(path), path)
    network.aux_logits = False
    network.aux1 = None
    network.aux2 = None
    network.fc = nn.Identity()
    torch_common.fold_batch_norm(network)
    return GoogLeNet(torch_common.ready(network, target), target)
