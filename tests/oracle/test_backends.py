"""Both backends against the plain networks: eager PyTorch, norms not folded, channels first, one batch."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from palette_bench.score.backbones import loading, torch_common, weights
from palette_bench.score.backbones.base import Backend
from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.metrics.frechet import frechet_distance
from palette_bench.score.metrics.inception_score import inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from tests.score.random_weights import make_efficientnet_b0_in, random_images

Images = NDArray[np.uint8]
Features = dict[str, NDArray[np.float32]]

TOLERANCE = 1e-5
"""Relative, of features (Frobenius) and metrics; 3e-7 to 5e-6 was measured."""

FAR = 30
PREDICTIONS, REFERENCES, SIZE = 4, 2, 256
NAMES = ["inception2015", "resnet50-v1", "googlenet", "efficientnet-b0"]


def deviation(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@cache
def images() -> Images:
    """Predictions, then references."""
    return random_images(PREDICTIONS + REFERENCES, SIZE, seed=21)


def read(file: weights.WeightsFile) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(file.path, weights_only=True)
    return state


def plain(name: str, home: Path) -> Features:
    """Outputs of `images` by the modules of torchvision and torch-fidelity as they are."""
    pixels = torch.from_numpy(images())
    if name == "inception2015":
        outputs = ["2048", "logits", "logits_unbiased"]
        extractor = FeatureExtractorInceptionV3(
            "plain", outputs, feature_extractor_weights_path=str(weights.INCEPTION_2015.path)
        )
        values = extractor(pixels.permute(0, 3, 1, 2).contiguous())
        return dict(zip(["pool_3", "logits", "logits_unbiased"], [v.numpy() for v in values], strict=True))
    to_input = torch_common.crop_224
    if name == "googlenet":
        network = torchvision.models.googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False)
        network.load_state_dict(read(weights.GOOGLENET))
        network.fc = nn.Identity()
    elif name == "resnet50-v1":
        network = torchvision.models.resnet50(weights=None)
        network.load_state_dict(read(weights.RESNET50_V1))
    else:
        make_efficientnet_b0_in(home)
        network = torchvision.models.efficientnet_b0(weights=None)
        network.load_state_dict(read(weights.EFFICIENTNET_B0))
    with torch.no_grad():
        inputs = to_input(images(), torch.device("cpu")).contiguous()
        return {"pool" if name == "googlenet" else "logits": network.eval()(inputs).numpy()}


_kept: dict[tuple[str, str], Features] = {}


def expected(name: str, home: Path) -> Features:
    if (name, "plain") not in _kept:
        _kept[name, "plain"] = plain(name, home)
    return _kept[name, "plain"]


def found(name: str, backend: Backend) -> Features:
    if (name, backend) not in _kept:
        network = loading.load(name, allow_other_weights=True, backend=backend)
        assert network.backend is backend
        _kept[name, backend] = network.extract(images())
    return _kept[name, backend]


@pytest.mark.parametrize("backend", [Backend.TORCH, Backend.ONNX])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_plain_network(name: str, backend: Backend, random_home: Path) -> None:
    right = expected(name, random_home)
    ours = found(name, backend)
    assert set(ours) == set(right)
    for output, values in right.items():
        assert deviation(ours[output], values) < TOLERANCE
        assert deviation(ours[output][1:], values[:-1]) > FAR * TOLERANCE


def test_rounded_weights_are_seen(random_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that computed in bfloat16, or with other weights by a thousandth, would not pass."""
    right = expected("googlenet", random_home)["pool"][:1]
    rounded = {k: v.bfloat16().to(v.dtype) if v.is_floating_point() else v for k, v in read(weights.GOOGLENET).items()}
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path))
    weights.GOOGLENET.path.parent.mkdir()
    torch.save(rounded, weights.GOOGLENET.path)
    for backend in (Backend.TORCH, Backend.ONNX):
        network = loading.load("googlenet", allow_other_weights=True, backend=backend)
        assert deviation(network.extract(images()[:1])["pool"], right) > FAR * TOLERANCE


def metrics(inception: Features, resnet: Features, googlenet: Features) -> dict[str, float]:
    """FID, Inception Score, mean confidence and both PDs of the predictions."""
    predicted = {o: v[:PREDICTIONS] for o, v in inception.items()}
    pool = googlenet["pool"]
    distance = partial(perceptual_distance, power=Power.L2)
    return {
        "fid": frechet_distance(predicted["pool_3"], inception["pool_3"][PREDICTIONS:]).value,
        "is": inception_score(predicted["logits"]).value,
        "confidence": float(accuracy(resnet["logits"], np.zeros(len(images()), np.int64)).confidence.mean()),
        "pd-googlenet": distance(pool[:REFERENCES], pool[PREDICTIONS:]).mean,
        "pd-pool_3": distance(predicted["pool_3"][:REFERENCES], inception["pool_3"][PREDICTIONS:]).mean,
    }


@pytest.mark.parametrize("backend", [Backend.TORCH, Backend.ONNX])
def test_metrics_are_those_of_the_plain_networks(backend: Backend, random_home: Path) -> None:
    right = metrics(*(expected(name, random_home) for name in NAMES[:3]))
    ours = metrics(*(found(name, backend) for name in NAMES[:3]))
    assert ours == pytest.approx(right, rel=TOLERANCE)
    named = [found("resnet50-v1", backend)["logits"], expected("resnet50-v1", random_home)["logits"]]
    np.testing.assert_array_equal(*(logits.argmax(axis=1) for logits in named))
    shifted = {name: {o: np.roll(v, 1, axis=0) for o, v in found(name, backend).items()} for name in NAMES[:3]}
    wrong = metrics(*shifted.values())
    for metric in ("fid", "is", "pd-googlenet", "pd-pool_3"):
        assert wrong[metric] != pytest.approx(right[metric], rel=FAR * TOLERANCE)
