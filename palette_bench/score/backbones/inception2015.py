"""The Inception network of FID and Inception Score, of 2015-12-05, through torch-fidelity's extractor.

The extractor's own preprocessing is used: TensorFlow 1's bilinear resize to 299x299 and (x - 128) / 128, bit-exact on
the CPU (docs/metrics.md).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from palette_bench.score.backbones import torch_common

_OUTPUTS = {"2048": "pool_3", "logits_unbiased": "logits_unbiased", "logits": "logits"}
"""torch-fidelity's names of the outputs, in the order it returns them, and ours."""


class Inception2015:
    """The extractor on a device."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = device

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 of any size to ``pool_3`` [N, 2048], ``logits`` and ``logits_unbiased`` [N,
        1008].
        """
        with torch_common.exact_float32():
            # SCORE: the resize happens inside, on the whole image.
            values = self._network(torch_common.to_tensor(images, self._device))
        return {ours: torch_common.to_array(v) for ours, v in zip(_OUTPUTS.values(), values, strict=True)}


def load(path: Path, *, device: str = "cpu") -> Inception2015:
    """The network with the weights in ``path``; InputError if they are not weights of this network.

    torch-fidelity unpickles its weights file without restrictions, so it is given a file of our own that holds the
    vetted tensors and nothing else.
    """
    target = torch_common.torch_device(device)
    state = torch_common.read_state(path)
    # The constructor draws initial weights; the caller's random numbers are not its business.
    with torch.random.fork_rng(devices=[]), torch_common.rejected(path):
        network: nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            list(_OUTPUTS),
            feature_extractor_weights_path=torch_common.plain_pickle(state),
        )
    torch_common.fold_batch_norm(network)
    return Inception2015(torch_common.ready(network, target), target)
