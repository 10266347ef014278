"""torchvision's GoogLeNet (IMAGENET1K_V1), a port of the TF-slim Inception-v1: one reading of PD's network.

That it is the Inception-v1 of the Palette paper is plausible and not proven (docs/metrics.md). Its "5x5" branch is
3x3, as in the port.
"""

from pathlib import Path

import torch
import torchvision
from torch import nn

from palette_bench.score.backbones import torch_common
from palette_bench.score.backbones.torch_common import Trunk


def load(path: Path) -> Trunk:
    """The network with the weights in ``path``; InputError if they are not weights of this network.

    The file holds auxiliary heads, which are checked as all the rest and then dropped.
    """
    with torch.device("meta"):
        # SCORE: transform_input re-maps ImageNet's normalisation to the (x - 0.5) / 0.5 of these weights.
        network = torchvision.models.GoogLeNet(transform_input=True, aux_logits=True, init_weights=False)
    torch_common.load_state(network, torch_common.read_state(path), path)
    network.aux_logits = False
    network.aux1 = None
    network.aux2 = None
    network.fc = nn.Identity()
    torch_common.fold_batch_norms(network)
    return Trunk(network, torch_common.crop_224, ("pool",))
