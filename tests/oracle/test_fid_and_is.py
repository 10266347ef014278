"""FID and Inception Score against torch-fidelity's own command, on the same folders and the same weights file.

Random weights calibrated as in ``tests.score.random_weights``; 16 predictions and 6 references. The command's matrix
square root costs it up to 1e-5 at so few images (docs/metrics.md), the fold of batch norm 1e-6.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from palette_bench.common.canonical import pixel_digest
from palette_bench.score.backbones import loading, weights
from palette_bench.score.features import FeatureStore, PixelItem, extract
from palette_bench.score.metrics.frechet import frechet_distance
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from palette_bench.score.recipes import catalogue
from tests.score.random_weights import random_images

TOLERANCE = 1e-5
"""Relative; 1e-4 is promised, 8e-7 (FID) and 2e-7 (IS) were measured. Every negative twin must be outside."""

PREDICTIONS, REFERENCES = 16, 6
CHANGED = 4
"""How many predictions a negative twin gets wrong; the others keep their features."""

SIZES = (64, 256, 512)

Images = NDArray[np.uint8]
Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    size: int
    predictions: Images
    references: Images
    prediction_features: Features
    reference_features: Features
    peer: dict[str, float]


def write_folder(folder: Path, images: Images) -> None:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:04d}.png")


def read_folder(folder: Path) -> list[PixelItem]:
    items = []
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path))
        items.append(PixelItem(pixel_digest(pixels), partial(np.asarray, pixels)))
    return items


def peer_command(predictions: Path, references: Path) -> dict[str, float]:
    """What ``fidelity`` prints for the two folders."""
    arguments = ["--input1", str(predictions), "--input2", str(references), "--isc", "--fid", "--json", "--silent"]
    arguments += ["--cpu", "--no-cache", "--batch-size", "8"]
    arguments += ["--feature-extractor-weights-path", str(weights.INCEPTION_2015.path)]
    command = [str(Path(sys.executable).with_name("fidelity")), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return {str(k): float(v) for k, v in json.loads(finished.stdout).items()}


@pytest.fixture(scope="module")
def inception(random_home: Path) -> loading.LoadedBackbone:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(random_home))
        return loading.load("inception2015", allow_other_weights=True)


@pytest.fixture(scope="module", params=SIZES)
def case(
    request: pytest.FixtureRequest,
    inception: loading.LoadedBackbone,
    random_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    size = int(request.param)
    folder = tmp_path_factory.mktemp(f"images-{size}")
    predictions = random_images(PREDICTIONS, size, seed=1)
    references = random_images(REFERENCES, size, seed=2)
    write_folder(folder / "predictions", predictions)
    write_folder(folder / "references", references)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(random_home))
        peer = peer_command(folder / "predictions", folder / "references")
    items = [*read_folder(folder / "predictions"), *read_folder(folder / "references")]
    found = extract(items, [inception], FeatureStore(folder / "features"))["inception2015"]
    return Case(
        size=size,
        predictions=predictions,
        references=references,
        prediction_features={o: v[:PREDICTIONS] for o, v in found.items()},
        reference_features={o: v[PREDICTIONS:] for o, v in found.items()},
        peer=peer,
    )


def fid(predictions: Features, references: Features) -> float:
    output = catalogue.named("fid-inception2015-tf1").output
    return frechet_distance(predictions[output], references[output]).value


def score(predictions: Features) -> tuple[float, float]:
    recipe = catalogue.named("is-inception2015-unbiased-10splits")
    found = inception_score(predictions[recipe.output], splits=10, permutation_seed=PEER_SEED)
    return found.value, found.deviation


def test_fid_equals_the_command(case: Case) -> None:
    found = fid(case.prediction_features, case.reference_features)
    assert found == pytest.approx(case.peer["frechet_inception_distance"], rel=TOLERANCE)


def test_inception_score_equals_the_command(case: Case) -> None:
    value, deviation = score(case.prediction_features)
    assert value == pytest.approx(case.peer["inception_score_mean"], rel=TOLERANCE)
    assert deviation == pytest.approx(case.peer["inception_score_std"], rel=TOLERANCE)
    assert value > 1.2, "random weights must give a score that can be wrong"


def resized(images: Images, *, half_pixel: bool) -> Images:
    """299x299 with a filter that is not TensorFlow 1's: half-pixel centres, or Pillow's antialiased bilinear."""
    if not half_pixel:
        return np.stack([np.asarray(Image.fromarray(i).resize((299, 299), Image.Resampling.BILINEAR)) for i in images])
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    values = torch.nn.functional.interpolate(tensor, (299, 299), mode="bilinear", align_corners=False)
    return np.ascontiguousarray(values.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def assert_differs(case: Case, features: Features) -> None:
    peer = case.peer
    assert fid(features, case.reference_features) != pytest.approx(peer["frechet_inception_distance"], rel=TOLERANCE)
    assert score(features)[0] != pytest.approx(peer["inception_score_mean"], rel=TOLERANCE)


def with_first(case: Case, changed: Features) -> Features:
    """The predictions' features with the first `CHANGED` rows replaced."""
    return {o: np.concatenate([changed[o], v[CHANGED:]]) for o, v in case.prediction_features.items()}


@pytest.mark.parametrize("half_pixel", [True, False], ids=["half-pixel", "antialiased"])
def test_another_resize_differs(case: Case, inception: loading.LoadedBackbone, half_pixel: bool) -> None:
    # Images of 299x299 pass TensorFlow 1's resize unchanged.
    wrong = resized(case.predictions[:CHANGED], half_pixel=half_pixel)
    assert_differs(case, with_first(case, inception.extract(wrong)))


def test_a_shifted_pixel_and_swapped_channels_differ(case: Case, inception: loading.LoadedBackbone) -> None:
    images = case.predictions[:CHANGED]
    assert_differs(case, with_first(case, inception.extract(np.roll(images, 1, axis=2))))
    assert_differs(case, with_first(case, inception.extract(images[..., ::-1])))


def test_a_dropped_image_differs(case: Case) -> None:
    assert_differs(case, {o: v[1:] for o, v in case.prediction_features.items()})


def test_the_biased_single_split_is_another_number(case: Case) -> None:
    recipe = catalogue.named("is-inception2015-biased-1split")
    value = inception_score(case.prediction_features[recipe.output], splits=1).value
    assert value != pytest.approx(case.peer["inception_score_mean"], rel=TOLERANCE)


@pytest.mark.parametrize("size", [256])
def test_outputs_and_pd_equal_a_plain_loop(inception: loading.LoadedBackbone, size: int) -> None:
    """One image at a time through torch-fidelity's extractor: 2e-5 of an output's largest value, PD 1e-5."""
    plain = FeatureExtractorInceptionV3(
        "plain", ["2048", "logits"], feature_extractor_weights_path=str(weights.INCEPTION_2015.path)
    )
    images = random_images(4, size, seed=3)
    pool, logits = [], []
    for image in images:
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        features, scores = plain(tensor)
        pool.append(features[0].numpy())
        logits.append(scores[0].numpy())
    found = inception.extract(images)
    bias = plain.fc.bias.numpy()
    assert_close(found["pool_3"], np.stack(pool))
    assert_close(found["logits"], np.stack(logits))
    assert_close(found["logits_unbiased"], np.stack(logits) - bias)
    distance = perceptual_distance(found["pool_3"][:2], found["pool_3"][2:], power=Power.L2_SQUARED).mean
    expected = float(np.mean([np.sum((pool[i].astype(np.float64) - pool[i + 2]) ** 2) for i in range(2)]))
    assert distance == pytest.approx(expected, rel=1e-5)
    swapped = inception.extract(images[..., ::-1])["pool_3"]
    wrong = perceptual_distance(swapped[:2], found["pool_3"][2:], power=Power.L2_SQUARED).mean
    assert wrong != pytest.approx(expected, rel=1e-3)


def assert_close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5 * float(np.abs(expected).max()), rtol=0)
