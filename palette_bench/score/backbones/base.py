"""What a backbone is: a fixed network that turns images into features, with a fingerprint of all that can move them.

`SPECS` says what each backbone does without loading anything; `load` builds one. torch is imported only by `load`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import fingerprint as digest_of
from palette_bench.common.errors import InputError, UsageError
from palette_bench.score.backbones import weights
from palette_bench.score.backbones.weights import WeightsFile

FORMAT = 1


class Network(Protocol):
    """What a network module's ``load`` returns: nothing but the computation."""

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 RGB to one [N, D] float32 array an output."""


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
    {s.name: s for s in (_INCEPTION_2015, _RESNET50_V1, _GOOGLENET, _SCENES32)}
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
    return spec.fingerprint(_embedded_sha256() if spec.weights is None else spec.weights.sha256)


@dataclass(frozen=True, slots=True)
class LoadedBackbone:
    """A `Backbone` with the weights it runs on.

    ``canonical`` is False if they are not the published ones: what is computed is then comparable with nothing.
    """

    spec: BackboneSpec
    weights_sha256: str
    canonical: bool
    network: Network

    @property
    def name(self) -> str:
        """The name in `SPECS`."""
        return self.spec.name

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output."""
        return self.spec.outputs

    @property
    def fingerprint(self) -> str:
        """sha256 over the spec and the digest of these weights."""
        return self.spec.fingerprint(self.weights_sha256)

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Images [N, H, W, 3] uint8 RGB, N >= 1, to one [N, width] float32 array an output.

        InputError if the network computes a number that is not finite: that is never passed on.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
            raise InputError(
                f"images that {self.name} cannot take",
                expected="uint8 RGB [N, H, W, 3]",
                found=f"{images.dtype} {list(images.shape)}",
            )
        values = self.network.extract(images)
        for output, width in self.outputs.items():
            if values[output].shape != (len(images), width) or values[output].dtype != np.float32:
                raise ValueError(
                    f"{self.name}.{output}: {values[output].dtype} {values[output].shape}, expected float32 "
                    f"{(len(images), width)}"
                )
            if not np.isfinite(values[output]).all():
                raise InputError(
                    f"{self.name} computed numbers that are not finite",
                    where=f"output {output}",
                    found=f"weights of sha256 {self.weights_sha256}",
                    next_step="use the published weights",
                )
        return {output: values[output] for output in self.outputs}


def load(name: str, *, device: str = "cpu", allow_other_weights: bool = False) -> LoadedBackbone:
    """Build the backbone called ``name`` on ``device`` (a torch device string).

    Raises UsageError for an unknown name or a device that is not there, InputError if the weights file is missing,
    not the published one (unless ``allow_other_weights``), or not weights of this network.
    """
    spec = spec_named(name)
    if spec.weights is None:
        return _load_embedded(spec, device)
    located = weights.locate(spec.weights, allow_other=allow_other_weights)
    return LoadedBackbone(spec, located.sha256, located.canonical, _loader(name)(located.path, device=device))


class _Loader(Protocol):
    def __call__(self, path: Path, *, device: str) -> Network: ...


def _loader(name: str) -> _Loader:
    """The ``load`` of a network's module; imported here and not above because the modules import torch."""
    if name == _INCEPTION_2015.name:
        from palette_bench.score.backbones import inception2015

        return inception2015.load
    if name == _RESNET50_V1.name:
        from palette_bench.score.backbones import resnet50

        return resnet50.load
    from palette_bench.score.backbones import googlenet

    return googlenet.load


def _load_embedded(spec: BackboneSpec, device: str) -> LoadedBackbone:
    from palette_bench.score.backbones import scenes32

    build: Callable[..., Network] = scenes32.load
    return LoadedBackbone(spec, scenes32.WEIGHTS_SHA256, True, build(None, device=device))


def _embedded_sha256() -> str:
    from palette_bench.score.backbones import scenes32

    return scenes32.WEIGHTS_SHA256
