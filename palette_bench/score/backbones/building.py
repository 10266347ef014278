"""From a name and a weights file to a network that runs; the module that imports torch."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from palette_bench.score.backbones.base import Backend, Network
from palette_bench.score.backbones.torch_common import (
    TorchNetwork,
    Trunk,
    native_256,
    squeeze_224,
    torch_device,
)

_ONE_AT_A_TIME = threading.Lock()
"""The exporter keeps its state in globals, and torch its random numbers."""


def build(name: str, path: Path | None, *, device: str, backend: Backend, bfloat16: bool) -> Network:
    """The network called ``name`` with the weights in ``path``, None for those that ship with the package.

    Raises InputError if they are not weights of this network, UsageError for a device that is not there.
    """
    with _ONE_AT_A_TIME:
        if path is None:
            from palette_bench.score.backbones import scenes32

            return scenes32.load(device=device)
        trunk = _trunks()[name](path)
        if backend is Backend.ONNX:
            from palette_bench.score.backbones.onnx_runtime import OnnxNetwork

            return OnnxNetwork(trunk)
        return TorchNetwork(trunk, torch_device(device), bfloat16=bfloat16)


def _trunks() -> Mapping[str, Callable[[Path], Trunk]]:
    """How every network with a weights file is read; imports torchvision, which takes longer than torch."""
    from palette_bench.score.backbones import efficientnet_b0, googlenet, inception2015, resnet50

    inputs = inception2015.Input
    return {
        "inception2015": inception2015.load,
        "inception2015-halfpixel": partial(inception2015.load, preprocessing=inputs.HALF_PIXEL),
        "inception2015-clean": partial(inception2015.load, preprocessing=inputs.CLEAN),
        "resnet50-v1": resnet50.load,
        "resnet50-v1-squeeze224": partial(resnet50.load, to_input=squeeze_224),
        "resnet50-v1-native256": partial(resnet50.load, to_input=native_256),
        "efficientnet-b0": efficientnet_b0.load,
        "googlenet": googlenet.load,
    }
