"""A whole scoring pass against the peers one after another: CPU seconds on one thread, in turn, median ratios.

python -m benchmarks.score_speed [--images 48] [--rounds 5]

Ours decodes each 256x256 prediction once and gets the features of Inception, ResNet-50 and GoogLeNet, with PyTorch
alone and with ONNX Runtime, and then FID, Inception Score, CA and both PD. The peers are torch-fidelity's
``calculate_metrics`` (FID and IS, the statistics of the reference kept) and plain torchvision loops for ResNet-50 and
GoogLeNet; each decodes with Pillow. All have the same random weights files, the features of the references, and
networks that are built before the clock starts. torch-fidelity's eigenvalues cost seconds however few images there
are: ratios are given with and without its Fréchet distance. The rate of a float32 matrix product of the same round
says what the processor can do; `GFLOP_AN_IMAGE` of it are an image's convolutions.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch_fidelity  # noqa: E402
import torch_fidelity.metrics  # noqa: E402
import torchvision  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402

from palette_bench.common.canonical import pixel_digest  # noqa: E402
from palette_bench.common.home import HOME_VARIABLE  # noqa: E402
from palette_bench.score.backbones import loading, weights  # noqa: E402
from palette_bench.score.backbones.base import Backend  # noqa: E402
from palette_bench.score.backbones.loading import LoadedBackbone  # noqa: E402
from palette_bench.score.features import PixelItem, extract  # noqa: E402
from palette_bench.score.metrics.accuracy import accuracy  # noqa: E402
from palette_bench.score.metrics.frechet import frechet_distance  # noqa: E402
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score  # noqa: E402
from palette_bench.score.metrics.perceptual import Power, perceptual_distance  # noqa: E402
from tests.score.random_weights import make_all, random_images  # noqa: E402

GFLOP_AN_IMAGE = 22.6
"""Inception at 299x299, ResNet-50 and GoogLeNet at 224x224; two a multiplication and addition."""

NETWORKS = ("inception2015", "resnet50-v1", "googlenet")
SIZE = 256
FIDELITY_BATCH, LOOP_BATCH = 64, 16
"""torch-fidelity's default, and the batch at which torchvision's loops are about fastest."""

PRODUCT = 4096

Features = dict[str, dict[str, NDArray[np.float32]]]
Numbers = dict[str, float]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where predictions and references are, as PNG files of the same names."""

    predictions: Path
    references: Path
    cache: Path


@dataclass(slots=True)
class Times:
    """CPU seconds of each round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """Keep one."""
        self.seconds.setdefault(what, []).append(seconds)

    def median(self, what: str) -> float:
        """The middle one."""
        return statistics.median(self.seconds[what])

    def ratio(self, slow: Callable[[int], float], fast: str) -> tuple[float, float, float]:
        """Median, least and greatest of ``slow(round)`` over ``fast``."""
        ratios = [slow(index) / seconds for index, seconds in enumerate(self.seconds[fast])]
        return statistics.median(ratios), min(ratios), max(ratios)


def cpu_seconds() -> float:
    """CPU time of this process, all its threads and its finished children."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def decoded(path: Path) -> NDArray[np.uint8]:
    """The pixels of a file."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def items_of(folder: Path) -> list[PixelItem]:
    """The files as items whose digests are known, as they are after the gate."""
    return [PixelItem(pixel_digest(decoded(path)), partial(decoded, path)) for path in sorted(folder.iterdir())]


def our_numbers(found: Features, kept: Features, labels: NDArray[np.int64]) -> Numbers:
    """FID, IS, CA and PD of predictions against the features of the references."""
    inception, reference = found["inception2015"], kept["inception2015"]
    pools = found["googlenet"]["pool"], kept["googlenet"]["pool"]
    return {
        "fid": frechet_distance(inception["pool_3"], reference["pool_3"]).value,
        "is": inception_score(inception["logits_unbiased"], splits=10, permutation_seed=PEER_SEED).value,
        "ca": accuracy(found["resnet50-v1"]["logits"], labels).percent,
        "pd": perceptual_distance(*pools, power=Power.L2).mean,
        "pd_pool_3": perceptual_distance(inception["pool_3"], reference["pool_3"], power=Power.L2).mean,
    }


class Peers:
    """The peers with their networks built."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._inception = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(weights.INCEPTION_2015.path),
        )
        self._resnet50 = torchvision.models.resnet50(weights=None).eval()
        self._resnet50.load_state_dict(torch.load(weights.RESNET50_V1.path, weights_only=True))
        self._googlenet = torchvision.models.googlenet(
            weights=None, transform_input=True, aux_logits=True, init_weights=False
        ).eval()
        self._googlenet.load_state_dict(torch.load(weights.GOOGLENET.path, weights_only=True))
        self._googlenet.fc = nn.Identity()

    def fidelity(self, times: Times | None) -> Numbers:
        """FID and IS by torch-fidelity; the seconds of its Fréchet distance apart."""
        formula = torch_fidelity.metrics.fid_statistics_to_metric

        def timed(*arguments: object) -> Numbers:
            start = cpu_seconds()
            result: Numbers = formula(*arguments)
            if times is not None:
                times.add("torch-fidelity's Fréchet distance", cpu_seconds() - start)
            return result

        with (
            mock.patch.object(torch_fidelity.metrics, "create_feature_extractor", return_value=self._inception),
            mock.patch.object(torch_fidelity.metrics, "fid_statistics_to_metric", timed),
        ):
            found = torch_fidelity.calculate_metrics(
                input1=str(self._folders.predictions),
                input2=str(self._folders.references),
                input2_cache_name="references",
                cache_root=str(self._folders.cache),
                fid=True,
                isc=True,
                cuda=False,
                batch_size=FIDELITY_BATCH,
                save_cpu_ram=True,
                verbose=False,
            )
        return {"fid": found["frechet_inception_distance"], "is": found["inception_score_mean"]}

    def half_right(self) -> NDArray[np.int64]:
        """Labels of the predictions of which ResNet-50 names every other."""
        named = self._loop(self._resnet50, self._folders.predictions).argmax(1)
        return np.asarray((named + np.arange(len(named)) % 2) % 1000, dtype=np.int64)

    def resnet50(self, labels: NDArray[np.int64]) -> Numbers:
        """CA by a loop."""
        named = self._loop(self._resnet50, self._folders.predictions).argmax(1)
        return {"ca": float(100 * (named == labels).mean())}

    def googlenet(self, references: NDArray[np.float32]) -> Numbers:
        """PD by a loop."""
        features = self._loop(self._googlenet, self._folders.predictions)
        return {"pd": float(np.linalg.norm(features - references, axis=1).mean())}

    def reference_pool(self) -> NDArray[np.float32]:
        """GoogLeNet's features of the references."""
        return self._loop(self._googlenet, self._folders.references)

    @staticmethod
    def _loop(network: nn.Module, folder: Path) -> NDArray[np.float32]:
        transform = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
        paths = sorted(folder.iterdir())
        values: list[NDArray[np.float32]] = []
        with torch.no_grad():
            for start in range(0, len(paths), LOOP_BATCH):
                images = [transform(Image.open(path).convert("RGB")) for path in paths[start : start + LOOP_BATCH]]
                values.append(network(torch.stack(images)).numpy())
        return np.concatenate(values)


def product_rate() -> float:
    """GFLOP a CPU second of a float32 matrix product, the best of two."""
    matrix = np.random.default_rng(0).standard_normal((PRODUCT, PRODUCT), np.float32)
    best = float("inf")
    for _ in range(2):
        start = cpu_seconds()
        matrix @ matrix
        best = min(best, cpu_seconds() - start)
    return 2 * PRODUCT**3 / best / 1e9


def timed(times: Times, what: str, run: Callable[[], Numbers]) -> Numbers:
    """The numbers of ``run``, its seconds kept."""
    start = cpu_seconds()
    numbers = run()
    times.add(what, cpu_seconds() - start)
    return numbers


def write_images(folders: Folders, count: int) -> None:
    """Noisy PNG files: predictions, and references that differ from them."""
    for folder, seed in ((folders.predictions, 1), (folders.references, 2)):
        folder.mkdir()
        for index, image in enumerate(random_images(count, SIZE, seed=seed)):
            Image.fromarray(image).save(folder / f"{index:05d}.png")


def measure(folders: Folders, rounds: int) -> tuple[Times, list[float], dict[str, Numbers]]:
    """Seconds, GFLOP a second, and the numbers of each variant, from ``rounds`` rounds."""
    backbones: dict[Backend, list[LoadedBackbone]] = {
        backend: [loading.load(n, allow_other_weights=True, backend=backend) for n in NETWORKS]
        for backend in (Backend.TORCH, Backend.ONNX)
    }
    times, rates, numbers = Times(), list[float](), dict[str, Numbers]()
    for backend, networks in backbones.items():
        start = cpu_seconds()
        for network in networks:
            network.prepare()
        print(f"{backend}: networks built in {cpu_seconds() - start:.1f} CPU seconds")
    predictions, references = items_of(folders.predictions), items_of(folders.references)
    kept = extract(references, backbones[Backend.ONNX], None)
    peers = Peers(folders)
    labels = peers.half_right()
    pool = peers.reference_pool()
    peers.fidelity(None)
    for _ in range(rounds):
        rates.append(product_rate())
        for backend, networks in backbones.items():
            numbers[backend] = timed(
                times,
                f"ours, {backend}",
                lambda networks=networks: our_numbers(extract(predictions, networks, None), kept, labels),  # type: ignore[misc]
            )
        found = timed(times, "torch-fidelity", lambda: peers.fidelity(times))
        found |= timed(times, "ResNet-50 loop", lambda: peers.resnet50(labels))
        found |= timed(times, "GoogLeNet loop", lambda: peers.googlenet(pool))
        numbers["peers"] = found
    return times, rates, numbers


def report(times: Times, rates: list[float], numbers: dict[str, Numbers], count: int) -> None:
    """Print medians and ratios."""
    for what in times.seconds:
        print(f"{what}: {1000 * times.median(what) / count:.1f} ms an image")
    seconds = times.seconds
    formula = seconds["torch-fidelity's Fréchet distance"]
    whole = [
        sum(seconds[w][i] for w in ("torch-fidelity", "ResNet-50 loop", "GoogLeNet loop")) for i in range(len(rates))
    ]
    print(f"float32 product: {statistics.median(rates):.1f} GFLOP/s, {min(rates):.1f} to {max(rates):.1f}")
    for backend in (Backend.TORCH, Backend.ONNX):
        ours = f"ours, {backend}"
        networks = times.ratio(lambda i: whole[i] - formula[i], ours)
        everything = times.ratio(lambda i: whole[i], ours)
        share = times.ratio(lambda i: count * GFLOP_AN_IMAGE / rates[i], ours)
        print(
            f"{ours}: {networks[0]:.2f} times the images a second of the peers without torch-fidelity's Fréchet "
            f"distance ({networks[1]:.2f} to {networks[2]:.2f}), {everything[0]:.2f} with it; "
            f"{share[0]:.2f} of the product's rate ({share[1]:.2f} to {share[2]:.2f})"
        )
        for metric, value in numbers["peers"].items():
            print(f"  {metric}: {numbers[backend][metric]:.9g}, peers {value:.9g}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48, help="at least 10")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        make_all(Path(folder) / "weights")
        folders = Folders(Path(folder) / "predictions", Path(folder) / "references", Path(folder) / "cache")
        write_images(folders, options.images)
        times, rates, numbers = measure(folders, options.rounds)
    report(times, rates, numbers, options.images)


if __name__ == "__main__":
    main()
