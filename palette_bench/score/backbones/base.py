"""What a backbone is: a fixed network that turns images into features, with a fingerprint of all that can move them.

`SPECS` says what each backbone does without loading anything; ``loading`` has the networks themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import fingerprint as digest_of
from palette_bench.common.errors import UsageError
from palette_bench.score.backbones import scenes32_weights, weights
from palette_bench.score.backbones.weights import WeightsFile

FORMAT = 1
BFLOAT16 = "bfloat16"


class Backend(StrEnum):
    """What runs a network. Features differ by rounding only, so that it is no part of a fingerprint.

    ``AUTO`` is ONNX Runtime on the CPU where the extra ``palette-bench[onnx]`` is installed, and PyTorch otherwise.
    scenes32 is run by PyTorch whatever is asked for.
    """

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"


class Network(Protocol):
    """What a network module's ``load`` returns: nothing but the computation."""

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 RGB to one [N, D] float32 array an output. Threads may call it at the same time."""


class Backbone(Protocol):
    """A network that is ready to run.

    ``outputs`` maps each output's name to its width. ``fingerprint`` is the sha256 of everything that can move an
    output.
    """

    @property
    def name(self) -> str:
        """The name in `SPECS`."""

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output."""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits."""

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 RGB to one [N, width] float32 array an output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """A backbone as a definition.

    ``definition`` holds everything that can move a number besides the weights: resize, crop, normalisation, pooling,
    precision. ``weights`` is None if the weights ship with the package.
    """

    name: str
    version: int
    weights: WeightsFile | None
    definition: Mapping[str, str | int]
    outputs: Mapping[str, int]

    def fingerprint(self, weights_sha256: str) -> str:
        """sha256 of name, version, definition, outputs and weights, 64 hexadecimal digits."""
        return digest_of(
            {
                "format": FORMAT,
                "backbone": self.name,
                "version": self.version,
                "definition": dict(self.definition),
                "outputs": dict(self.outputs),
                "weights_sha256": weights_sha256,
            }
        )

    def in_bfloat16(self) -> "BackboneSpec":
        """The same network with its convolutions and products in bfloat16: another definition."""
        return replace(self, definition={**self.definition, "precision": BFLOAT16})


# SCORE: every definition below is part of the fingerprints of the recipes that use it.
_INCEPTION_2015 = BackboneSpec(
    name="inception2015",
    version=1,
    weights=weights.INCEPTION_2015,
    definition={
        "network": "inception-2015-12-05 with the FID pooling: torch-fidelity FeatureExtractorInceptionV3",
        "input": "uint8 RGB",
        "resize": "TensorFlow 1 bilinear to 299x299, no half-pixel offset, no antialias",
        "normalisation": "(x - 128) / 128",
        "pooling": "global average after Mixed_7c",
        "logits": "1008; logits_unbiased leaves out the bias of the last layer",
        "precision": "float32",
    },
    outputs={"pool_3": 2048, "logits": 1008, "logits_unbiased": 1008},
)
_POOL_3_ONLY: Mapping[str, str] = {
    "network": "inception-2015-12-05 with the FID pooling",
    "input": "uint8 RGB",
    "pooling": "global average after Mixed_7c",
    "precision": "float32",
}
_INCEPTION_2015_HALF_PIXEL = BackboneSpec(
    name="inception2015-halfpixel",
    version=1,
    weights=weights.INCEPTION_2015,
    definition={
        **_POOL_3_ONLY,
        "resize": "bilinear to 299x299, half-pixel centres, no antialias: torch interpolate, as pytorch-fid",
        "normalisation": "2 * (x / 255) - 1",
    },
    outputs={"pool_3": 2048},
)
_INCEPTION_2015_CLEAN = BackboneSpec(
    name="inception2015-clean",
    version=1,
    weights=weights.INCEPTION_2015,
    definition={
        **_POOL_3_ONLY,
        "resize": "Pillow bicubic (antialiased) to 299x299 of each channel in float32, cut to 0..255, as clean-fid",
        "normalisation": "(x - 128) / 128",
    },
    outputs={"pool_3": 2048},
)
_CROP_224: Mapping[str, str] = {
    "input": "uint8 RGB",
    "resize": "short side to 256, Pillow bilinear (antialiased), on uint8; the identity for 256x256",
    "crop": "centre 224x224",
    "normalisation": "x / 255, mean .485 .456 .406, std .229 .224 .225",
    "precision": "float32",
}
_RESNET50_V1 = BackboneSpec(
    name="resnet50-v1",
    version=1,
    weights=weights.RESNET50_V1,
    definition={"network": "torchvision resnet50", **_CROP_224},
    outputs={"logits": 1000},
)
_RESNET50_V1_SQUEEZE_224 = BackboneSpec(
    name="resnet50-v1-squeeze224",
    version=1,
    weights=weights.RESNET50_V1,
    definition={
        **_CROP_224,
        "network": "torchvision resnet50",
        "resize": "the whole image to 224x224, Pillow bicubic (antialiased), on uint8",
        "crop": "none",
    },
    outputs={"logits": 1000},
)
_RESNET50_V1_NATIVE_256 = BackboneSpec(
    name="resnet50-v1-native256",
    version=1,
    weights=weights.RESNET50_V1,
    definition={**_CROP_224, "network": "torchvision resnet50", "crop": "none"},
    outputs={"logits": 1000},
)
_EFFICIENTNET_B0 = BackboneSpec(
    name="efficientnet-b0",
    version=1,
    weights=weights.EFFICIENTNET_B0,
    definition={
        **_CROP_224,
        "network": "torchvision efficientnet_b0",
        "resize": "short side to 256, Pillow bicubic (antialiased), on uint8; the identity for 256x256",
    },
    outputs={"logits": 1000},
)
_GOOGLENET = BackboneSpec(
    name="googlenet",
    version=1,
    weights=weights.GOOGLENET,
    definition={
        "network": "torchvision googlenet, transform_input, auxiliary heads dropped",
        **_CROP_224,
        "pooling": "global average after inception5b",
    },
    outputs={"pool": 1024},
)
_SCENES32 = BackboneSpec(
    name="scenes32",
    version=1,
    weights=None,
    definition={
        "network": "palette-bench Scenes32Classifier",
        "input": "uint8 RGB 32x32",
        "resize": "none",
        "normalisation": "x / 127.5 - 1",
        "precision": "float32",
    },
    outputs={"features": 64, "logits": 20},
)

SPECS: Mapping[str, BackboneSpec] = MappingProxyType(
    {
        s.name: s
        for s in (
            _INCEPTION_2015,
            _RESNET50_V1,
            _GOOGLENET,
            _SCENES32,
            _INCEPTION_2015_HALF_PIXEL,
            _INCEPTION_2015_CLEAN,
            _RESNET50_V1_SQUEEZE_224,
            _RESNET50_V1_NATIVE_256,
            _EFFICIENTNET_B0,
        )
    }
)
"""Every backbone by name."""


def spec_named(name: str) -> BackboneSpec:
    """The spec called ``name``; UsageError with all names otherwise."""
    try:
        return SPECS[name]
    except KeyError as error:
        raise UsageError("there is no backbone of this name", expected=", ".join(SPECS), found=name) from error


def canonical_fingerprint(name: str) -> str:
    """The fingerprint of a backbone under its published weights; needs no weights file."""
    spec = spec_named(name)
    return spec.fingerprint(scenes32_weights.WEIGHTS_SHA256 if spec.weights is None else spec.weights.sha256)
