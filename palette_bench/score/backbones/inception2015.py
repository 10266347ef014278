"""The Inception network of FID and Inception Score, of 2015-12-05: torch-fidelity's modules, our preprocessing.

There are three ways in (docs/metrics.md): TensorFlow 1's resize, which the original has and which equals
torch-fidelity's in every bit on the CPU, pytorch-fid's and clean-fid's.
"""

from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from palette_bench.score.backbones import resize, torch_common
from palette_bench.score.backbones.torch_common import Trunk


class Input(Enum):
    """How images become the network's input."""

    TF1 = "tf1"
    HALF_PIXEL = "half-pixel"
    CLEAN = "clean"


class Inception2015(nn.Module):
    """[n, 3, 299, 299] in [-1, 1] to pool_3 [n, 2048], and with ``logits`` to logits with and without bias too, [n,
    1008] each.
    """

    def __init__(self, network: nn.Module, *, logits: bool) -> None:
        super().__init__()
        *trunk, last = network.children()
        if not isinstance(last, nn.Linear):
            raise TypeError(f"the last module is a {type(last).__name__}")
        self.trunk = nn.Sequential(*trunk, nn.Flatten())
        self.last = last if logits else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the order of `_OUTPUTS`."""
        pool_3 = self.trunk(x)
        if self.last is None:
            return (pool_3,)
        # SCORE: the product first and the bias added to it, as torch-fidelity does.
        unbiased = pool_3 @ self.last.weight.T
        return pool_3, unbiased + self.last.bias, unbiased


_OUTPUTS = ("pool_3", "logits", "logits_unbiased")


def load(path: Path, *, preprocessing: Input = Input.TF1) -> Trunk:
    """The network with the weights in ``path``; InputError if they are not weights of this network.

    torch-fidelity unpickles its weights file without restrictions, so it is given a file of our own that holds the
    vetted tensors and nothing else. Logits come with TensorFlow 1's input only.
    """
    state = torch_common.read_state(path)
    # The constructor draws initial weights; the caller's random numbers are not its business.
    with torch.random.fork_rng(devices=[]), torch_common.rejected(path):
        network: nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=torch_common.plain_pickle(state)
        )
    torch_common.fold_batch_norms(network)
    logits = preprocessing is Input.TF1
    return Trunk(
        Inception2015(network, logits=logits),
        partial(_to_input, preprocessing=preprocessing),
        _OUTPUTS if logits else _OUTPUTS[:1],
    )


def _to_input(images: NDArray[np.uint8], device: torch.device, *, preprocessing: Input) -> Tensor:
    """Images [n, H, W, 3] uint8 of any size to [n, 3, 299, 299] float32 in [-1, 1]."""
    # SCORE: the resize takes the whole image.
    if preprocessing is Input.CLEAN:
        resized = torch.from_numpy(resize.clean_bicubic(images)).to(device)
        return resized.sub_(128).div_(128)
    tensor = torch_common.to_tensor(images, device)
    if preprocessing is Input.HALF_PIXEL:
        return resize.half_pixel_bilinear_tensor(tensor).div_(255).mul_(2).sub_(1)
    return resize.tf1_bilinear_tensor(tensor).sub_(128).div_(128)
