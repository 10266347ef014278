"""What every backbone keeps to: nothing is loaded early, nothing depends on batches, threads or the backend."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.score.backbones import base, loading, torch_common, weights
from palette_bench.score.backbones.base import Backend
from palette_bench.score.backbones.loading import LoadedBackbone
from palette_bench.score.backbones.torch_common import TorchNetwork, Trunk
from tests.score.random_weights import random_images

FINGERPRINTS = {
    "inception2015": "7f5abc3dbc95710c1af299ea4f45b80de19825acdcb7a18a0406e8eb8ed28b7d",
    "resnet50-v1": "968c1fea1b2a72ef2e48e20264c625b8558826656a523f20da1e1e11e37c5763",
    "googlenet": "372588702d3b30215d701068aebca23adf639d811a2cd9d428dec3db4de5e75d",
    "scenes32": "d8a2a975302421b2a29ca91ca2c26d481e26403f8bd19c47d67e1690c31be97f",
    "inception2015-halfpixel": "f74923079161250972df6875179a50345d0cd5fbb13b8c9b3d31791a876e8fde",
    "inception2015-clean": "b33b0d7b15db9a3a7c6b6639309403ecaf96304d450ac1f79b4e857f8bde525f",
    "resnet50-v1-squeeze224": "2a4e0133b68e46eac160fd10896c7557834723ead059e8c911d000d40bb27aa2",
    "resnet50-v1-native256": "32ba49967e87a47ec06ab977af85a93c7711788474df6fdb1bfebff0dd179405",
    "efficientnet-b0": "76e2f94db4553cb9296b48166acabffd6a75ee0bbd454abb6545510568394c07",
}

SMALL = 64
BACKENDS = (Backend.TORCH, Backend.ONNX)

Images = NDArray[np.uint8]
Features = dict[str, NDArray[np.float32]]


@pytest.fixture
def home(random_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(random_home))
    return random_home


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


_loaded: dict[tuple[str, Backend], LoadedBackbone] = {}


def loaded(name: str, backend: Backend) -> LoadedBackbone:
    """A backbone on random weights, built once for all tests."""
    if (name, backend) not in _loaded:
        _loaded[name, backend] = loading.load(name, allow_other_weights=True, backend=backend)
    return _loaded[name, backend]


def equal(found: Features, expected: Features) -> bool:
    return all(np.array_equal(found[output], values) for output, values in expected.items())


def deviation(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", base.SPECS)
def test_fingerprints_are_frozen(name: str) -> None:
    assert base.canonical_fingerprint(name) == FINGERPRINTS[name], "a published definition changed: raise its version"


def test_fingerprints_are_distinct() -> None:
    assert set(FINGERPRINTS) == set(base.SPECS)
    assert len(set(FINGERPRINTS.values())) == len(FINGERPRINTS)
    for spec in base.SPECS.values():
        assert spec.in_bfloat16().fingerprint("0" * 64) != spec.fingerprint("0" * 64)


def test_loading_imports_no_network_library(home: Path) -> None:
    script = (
        "import sys\n"
        "from palette_bench.score.backbones import base, loading\n"
        "for name in ('inception2015', 'resnet50-v1', 'googlenet', 'scenes32'):\n"
        "    for backend in base.Backend:\n"
        "        found = loading.load(name, allow_other_weights=True, backend=backend)\n"
        "        found.fingerprint, found.outputs, found.backend\n"
        "sys.exit(bool({'torch', 'onnx', 'onnxruntime', 'torchvision'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_which_backend_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(name: str = "googlenet", **options: object) -> Backend:
        return loading.load(name, allow_other_weights=True, **options).backend  # type: ignore[arg-type]

    assert chosen() is chosen(backend=Backend.ONNX) is Backend.ONNX
    assert chosen(bfloat16=True) is chosen(device="meta") is chosen(backend=Backend.TORCH) is Backend.TORCH
    assert {chosen("scenes32", backend=backend) for backend in Backend} == {Backend.TORCH}
    with pytest.raises(UsageError, match="CPU in float32 only"):
        chosen(backend=Backend.ONNX, bfloat16=True)
    with pytest.raises(UsageError, match="CPU in float32 only"):
        chosen(backend=Backend.ONNX, device="meta")
    with pytest.raises(UsageError, match="float32 only"):
        chosen("scenes32", bfloat16=True)
    monkeypatch.setattr(loading, "onnx_available", lambda: False)
    assert chosen() is Backend.TORCH
    with pytest.raises(UsageError, match="not installed"):
        chosen(backend=Backend.ONNX)


def test_the_fingerprint_follows_precision_and_not_the_backend(home: Path) -> None:
    torch_one, onnx_one = (loaded("googlenet", backend) for backend in BACKENDS)
    assert torch_one.fingerprint == onnx_one.fingerprint
    rough = loading.load("googlenet", allow_other_weights=True, bfloat16=True)
    assert rough.fingerprint != torch_one.fingerprint
    assert rough.spec.definition["precision"] == "bfloat16"
    images = random_images(1, SMALL)
    expected = torch_one.extract(images)["pool"]
    assert 1e-4 < deviation(rough.extract(images)["pool"], expected) < 0.2


def test_many_threads_build_one_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    class Ones:
        def extract(self, images: Images) -> Features:
            return {"pool": np.ones((len(images), 1024), np.float32)}

    def build(spec: base.BackboneSpec, plan: object) -> base.Network:
        time.sleep(0.05)
        built.append(threading.get_ident())
        return Ones()

    monkeypatch.setattr(loading, "_build", build)
    backbone = loading.load("googlenet", allow_other_weights=True)
    assert built == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(backbone.extract, [random_images(1, SMALL)] * 16))
    backbone.prepare()
    assert len(built) == 1


def test_a_file_without_weights_is_an_error_each_time(home: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path))
        weights.GOOGLENET.path.parent.mkdir()
        weights.GOOGLENET.path.write_bytes(b"weights")
        backbone = loading.load("googlenet", allow_other_weights=True)
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be used"):
            backbone.extract(random_images(1, SMALL))


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("inception2015", Backend.TORCH),
        ("resnet50-v1", Backend.TORCH),
        ("googlenet", Backend.TORCH),
        ("googlenet", Backend.ONNX),
    ],
)
def test_a_row_depends_on_its_image_alone(home: Path, name: str, backend: Backend) -> None:
    network = loaded(name, backend)
    images = random_images(5, SMALL, seed=3)
    expected = network.extract(images)
    assert equal(network.extract(images[1:2]), {o: v[1:2] for o, v in expected.items()})
    order = np.array([4, 0, 3])
    assert equal(network.extract(images[order]), {o: v[order] for o, v in expected.items()})
    assert not equal({o: v[1:] for o, v in expected.items()}, {o: v[:-1] for o, v in expected.items()})


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_disturb_each_other(home: Path, backend: Backend) -> None:
    network = loaded("googlenet", backend)
    batches = [random_images(count, SMALL, seed=count) for count in (1, 2, 3, 4)]
    expected = [network.extract(batch) for batch in batches]
    with ThreadPoolExecutor(3, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(network.extract, batches))
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))


def _switches() -> tuple[bool, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, torch.backends.cuda.matmul.allow_tf32


class _Watching(nn.Module):
    """Notes torch's switches while it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool, bool, bool]] = []
        self.autocast: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(_switches())
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        time.sleep(0.01)
        return x.flatten(1)[:, :5]


def _watching(*, bfloat16: bool = False) -> tuple[_Watching, TorchNetwork]:
    module = _Watching()
    network = TorchNetwork(
        Trunk(module, torch_common.imagenet_normalised, ("first",)), torch.device("cpu"), bfloat16=bfloat16
    )
    return module, network


def test_exact_float32_holds_inside_and_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    matmul = torch.backends.cuda.matmul
    matmul_before, matmul.allow_tf32 = matmul.allow_tf32, True
    try:
        before = _switches()
        module, network = _watching()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(network.extract, [random_images(2, 8)] * 16))
        assert set(module.seen) == {(False, False, True, False)}
        assert _switches() == before == (True, True, False, True)
    finally:
        matmul.allow_tf32 = matmul_before
    assert set(module.autocast) == {False}
    rough, network = _watching(bfloat16=True)
    network.extract(random_images(2, 8))
    assert rough.autocast == [True]
    assert not torch.is_autocast_enabled("cpu")


def test_networks_get_batches_of_one_length() -> None:
    lengths: list[int] = []

    class Lengths(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            lengths.append(len(x))
            return x.flatten(1)[:, :5]

    network = TorchNetwork(Trunk(Lengths(), torch_common.imagenet_normalised, ("first",)), torch.device("cpu"))
    images = random_images(7, 8)
    found = network.extract(images)["first"]
    assert set(lengths) == {torch_common.BATCH_ON_CPU}
    assert found.shape == (7, 5)
    np.testing.assert_array_equal(found, np.concatenate([network.extract(i[None])["first"] for i in images]))


def test_images_may_be_views() -> None:
    network = _watching()[1]
    images = random_images(3, 8)
    for view in (images[::-1], images[::-1][:1], images[:, ::-1], images[..., ::-1], images[:, :, 2:7]):
        expected = network.extract(np.array(view.tolist(), np.uint8))["first"]
        np.testing.assert_array_equal(network.extract(view)["first"], expected)


def test_every_norm_must_be_folded() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1, bias=False)
            self.second = nn.BatchNorm2d(4)

    with pytest.raises(ValueError, match="not beside its convolution"):
        torch_common.fold_batch_norms(Odd())
    with pytest.raises(ValueError, match="without bias"):
        torch_common.fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        expected = network(x)
        torch_common.fold_batch_norms(network)
        torch.testing.assert_close(network(x), expected)
