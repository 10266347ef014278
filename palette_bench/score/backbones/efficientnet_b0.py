"""torchvision's EfficientNet-B0 (IMAGENET1K_V1): the classifier that the second version of the paper names."""

from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import nn

from palette_bench.score.backbones import torch_common
from palette_bench.score.backbones.torch_common import Trunk


def load(path: Path) -> Trunk:
    """The network with the weights in ``path``; InputError if they are not weights of this network."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.efficientnet_b0(weights=None)
    torch_common.load_state(network, torch_common.read_state(path), path)
    torch_common.fold_batch_norms(network)
    # SCORE: these weights come with a bicubic resize, unlike those of ResNet-50.
    return Trunk(network, partial(torch_common.crop_224, interpolation="bicubic"), ("logits",))
