"""LPIPS v0.1 with AlexNet (Zhang et al. 2018): a learned distance of image pairs.

Definition and linear heads are those of the optional ``lpips`` package, whose heads file is vetted by digest; the trunk
is torchvision's AlexNet (IMAGENET1K_V1) from a weights file, of which only ``features`` is used. The package itself
would download the trunk, and unpickle the heads without a look at them; here neither happens.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from palette_bench.common.canonical import file_digest
from palette_bench.common.errors import InputError
from palette_bench.score.backbones import torch_common

# SCORE: the heads of version 0.1 as every release of the package has shipped them.
HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"

SMALLEST_SIDE = 31
"""Pixels; below, the trunk's second pooling has no window left."""


class LpipsAlexNet:
    """The distance on a device."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = device

    def distance(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pairs of images [n, H, W, 3] uint8 RGB, n >= 1, sides of `SMALLEST_SIDE` or more, to distances [n] float32.

        0 for equal images, and symmetric. Agrees with the package's own module on the same weights to 1e-5 relative
        (tests/score/test_lpips.py). Raises InputError for arrays that are no such pairs, and for weights under which a
        distance is not finite.
        """
        _check(first, second)
        with torch_common.exact_float32():
            values = self._network(self._scaled(first), self._scaled(second))
        distances = torch_common.to_array(values.flatten())
        if not np.isfinite(distances).all():
            raise InputError(
                "LPIPS computed numbers that are not finite", found="NaN or infinity", next_step="use published weights"
            )
        return distances

    def _scaled(self, images: NDArray[np.uint8]) -> Tensor:
        # SCORE: -1 to 1; the package's own normalisation, which follows, expects it.
        return torch_common.to_tensor(images, self._device).to(torch.float32).div_(127.5).sub_(1.0)


def load(path: Path, *, device: str = "cpu") -> LpipsAlexNet:
    """The distance with the trunk's weights in ``path``, the file alexnet-owt-7be5be79 or one of its layout.

    InputError if they are not weights of AlexNet, or if the package is missing or its heads are others. No network is
    touched.
    """
    target = torch_common.torch_device(device)
    network, heads = _package()
    with torch.device("meta"):
        trunk = torchvision.models.AlexNet()
    torch_common.load_state(trunk, torch_common.read_state(path), path)
    features = trunk.features.state_dict()
    # The trunk's slices keep the indices of ``features``: net.slice2.3.weight is features.3.weight.
    weights = {key: features[key.split(".", 2)[2]] for key in network.state_dict() if key.startswith("net.")}
    state = torch_common.read_state(heads)
    state |= {f"lins.{key[3:]}": value for key, value in state.items()}
    state |= {key: value for key, value in network.state_dict().items() if key.startswith("scaling_layer.")}
    torch_common.load_state(network, state | weights, heads)
    return LpipsAlexNet(torch_common.ready(network, target), target)


def _package() -> tuple[nn.Module, Path]:
    """The package's network, of which only the input's normalisation has numbers yet, and its vetted heads file."""
    try:
        import lpips
    except ImportError as error:
        raise InputError(
            "LPIPS needs an optional package",
            expected="the package lpips",
            found=str(error),
            next_step="pip install palette-bench[lpips]",
        ) from error
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
    found = file_digest(heads) if heads.is_file() else "no file"
    if found != HEADS_SHA256:
        raise InputError(
            "the linear heads of LPIPS are not the published ones",
            where=heads,
            expected=f"sha256 {HEADS_SHA256}",
            found=found,
            next_step="install the package lpips again",
        )
    # On the meta device nothing is drawn at random. torchvision warns of the way the package asks for a bare trunk.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network: nn.Module = lpips.LPIPS(pretrained=False, pnet_rand=True, net="alex", version="0.1", verbose=False)
    return network, heads


def _check(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    fits = (
        first.dtype == np.uint8
        and second.dtype == np.uint8
        and first.ndim == 4
        and first.shape == second.shape
        and first.shape[3] == 3
        and len(first) > 0
        and min(first.shape[1:3]) >= SMALLEST_SIDE
    )
    if not fits:
        raise InputError(
            "pairs of images that LPIPS cannot take",
            expected=f"uint8 RGB [n, H, W, 3] twice, sides of {SMALLEST_SIDE} pixels or more",
            found=f"{first.dtype} {list(first.shape)} and {second.dtype} {list(second.shape)}",
        )
