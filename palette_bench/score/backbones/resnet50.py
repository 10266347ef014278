"""torchvision's ResNet-50 with the weights of 2016 (IMAGENET1K_V1): the classifier of CA."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from palette_bench.score.backbones import torch_common
from palette_bench.score.backbones.torch_common import Trunk


def load(path: Path, *, to_input: Callable[[NDArray[np.uint8], torch.device], Tensor] = torch_common.crop_224) -> Trunk:
    """The network with the weights in ``path``; InputError if they are not weights of this network."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.resnet50(weights=None)
    torch_common.load_state(network, torch_common.read_state(path), path)
    torch_common.fold_batch_norms(network)
    return Trunk(network, to_input, ("logits",))
