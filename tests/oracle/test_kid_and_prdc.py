"""Kernel distance and neighbour metrics against torch-fidelity, torchmetrics and prdc, on the same features.

Features of float32 precision are given to the peers in float64, so that nothing but the definition is compared.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prdc import compute_prdc
from torch_fidelity.defaults import DEFAULTS
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.kid import poly_mmd

from palette_bench.score.metrics import prdc
from palette_bench.score.metrics.kid import (
    PEER_SEED,
    PEER_SUBSET_SIZE,
    PEER_SUBSETS,
    kernel_distance,
    subset_kernel_distance,
)
from palette_bench.score.metrics.prdc import PRECISION_NEIGHBOURS, NeighbourMetrics, neighbour_metrics

Features = NDArray[np.float32]

KID_TOLERANCE = 1e-9
"""Relative; 5e-15 was measured."""

COUNT_TOLERANCE = 1e-12
"""Absolute: every count is equal. torch-fidelity rounds its shares to float32."""

FLOAT32_TOLERANCE = 1e-7


def features(count: int, width: int, seed: int, *, scale: float = 1.0, shift: float = 0.0) -> Features:
    """Non-negative and correlated, as pooled features are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    values = np.maximum(rng.normal(size=(count, width)) @ mixing * scale + shift, 0.0)
    return np.asarray(values, dtype=np.float32)


PREDICTIONS = features(240, 48, 1, scale=1.1, shift=0.1)
REFERENCES = features(210, 48, 2)


def tensor(values: Features) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64))


def fidelity_kid(predictions: Features, references: Features, **options: float) -> tuple[float, float]:
    options = {"kid_subsets": 20, "kid_subset_size": 100, **options}
    found = kid_features_to_metric(tensor(predictions), tensor(references), verbose=False, **options)
    return float(found["kernel_inception_distance_mean"]), float(found["kernel_inception_distance_std"])


def kid(predictions: Features, references: Features) -> tuple[float, float]:
    found = subset_kernel_distance(predictions, references, paired=False, subsets=20, subset_size=100)
    return found.value, found.deviation


def test_kid_over_subsets_equals_torch_fidelity() -> None:
    assert kid(PREDICTIONS, REFERENCES) == pytest.approx(fidelity_kid(PREDICTIONS, REFERENCES), rel=KID_TOLERANCE)


def test_the_defaults_are_torch_fidelitys() -> None:
    assert tuple(DEFAULTS[name] for name in ("kid_subsets", "kid_subset_size", "rng_seed")) == (
        PEER_SUBSETS,
        PEER_SUBSET_SIZE,
        PEER_SEED,
    )
    assert DEFAULTS["prc_neighborhood"] == PRECISION_NEIGHBOURS


def test_pairs_change_the_error_and_not_the_value() -> None:
    paired = subset_kernel_distance(PREDICTIONS[:210], REFERENCES, paired=True, subsets=20, subset_size=100)
    peer = fidelity_kid(PREDICTIONS[:210], REFERENCES)
    assert (paired.value, paired.deviation) == pytest.approx(peer, rel=KID_TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [
        {"kid_kernel_poly_degree": 2},
        {"kid_kernel_poly_gamma": 1.0},
        {"kid_kernel_poly_coef0": 0},
        {"kid_subset_size": 99},
        {"kid_subsets": 21},
        {"rng_seed": 2021},
    ],
)
def test_another_definition_of_kid_does_not_agree(options: dict[str, float]) -> None:
    peer = fidelity_kid(PREDICTIONS, REFERENCES, **options)
    assert kid(PREDICTIONS, REFERENCES)[0] != pytest.approx(peer[0], rel=1e4 * KID_TOLERANCE)


def test_swapped_sides_draw_other_subsets() -> None:
    peer = fidelity_kid(PREDICTIONS, REFERENCES)
    assert kid(REFERENCES, PREDICTIONS)[0] != pytest.approx(peer[0], rel=1e4 * KID_TOLERANCE)


@pytest.mark.parametrize("paired", [False, True])
def test_kid_over_all_images_equals_torchmetrics(paired: bool) -> None:
    predictions = PREDICTIONS[:210]
    found = kernel_distance(predictions, REFERENCES, paired=paired).value
    peer = float(poly_mmd(tensor(REFERENCES), tensor(predictions)))
    assert found == pytest.approx(peer, rel=KID_TOLERANCE)
    for degree, coef in ((2, 1.0), (3, 0.0)):
        other = float(poly_mmd(tensor(REFERENCES), tensor(predictions), degree=degree, coef=coef))
        assert found != pytest.approx(other, rel=1e4 * KID_TOLERANCE)


def test_the_biased_distance_does_not_agree() -> None:
    def mean_kernel(first: Features, second: Features) -> float:
        return float(np.mean((first.astype(np.float64) @ second.T.astype(np.float64) / first.shape[1] + 1) ** 3))

    biased = mean_kernel(PREDICTIONS, PREDICTIONS) + mean_kernel(REFERENCES, REFERENCES)
    biased -= 2 * mean_kernel(PREDICTIONS, REFERENCES)
    found = kernel_distance(PREDICTIONS, REFERENCES, paired=False).value
    assert found != pytest.approx(biased, rel=1e4 * KID_TOLERANCE)
    assert found < biased


@pytest.fixture(autouse=True, scope="module")
def _few_blocks() -> Iterator[None]:
    """Errors are not compared here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prdc, "BLOCK_FREEDOM", 3)
        yield


def found_in(predictions: Features, references: Features, k: int) -> NeighbourMetrics:
    return neighbour_metrics(predictions, references, precision_neighbours=k, density_neighbours=k, paired=False)


def fidelity_precision_recall(predictions: Features, references: Features, k: int) -> tuple[float, float]:
    found = prc_features_to_metric(tensor(predictions), tensor(references), prc_neighborhood=k, verbose=False)
    return float(found["precision"]), float(found["recall"])


def prdc_density_coverage(predictions: Features, references: Features, k: int) -> tuple[float, float]:
    found = compute_prdc(references.astype(np.float64), predictions.astype(np.float64), nearest_k=k)
    return float(found["density"]), float(found["coverage"])


@pytest.fixture(scope="module", params=[1, 3, 5, 8])
def neighbours(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_precision_and_recall_equal_torch_fidelity(neighbours: int) -> None:
    found = found_in(PREDICTIONS, REFERENCES, neighbours)
    peer = fidelity_precision_recall(PREDICTIONS, REFERENCES, neighbours)
    assert (found.precision.value, found.recall.value) == pytest.approx(peer, abs=FLOAT32_TOLERANCE)
    assert found.precision.value * len(PREDICTIONS) == round(peer[0] * len(PREDICTIONS))
    assert found.recall.value * len(REFERENCES) == pytest.approx(round(peer[1] * len(REFERENCES)), abs=COUNT_TOLERANCE)
    assert 0.0 < found.precision.value < 1.0
    assert 0.0 < found.recall.value < 1.0


def test_density_and_coverage_equal_prdc(neighbours: int) -> None:
    found = found_in(PREDICTIONS, REFERENCES, neighbours)
    peer = prdc_density_coverage(PREDICTIONS, REFERENCES, neighbours)
    assert (found.density.value, found.coverage.value) == pytest.approx(peer, abs=COUNT_TOLERANCE)
    assert 0.0 < found.coverage.value < 1.0


def precise(found: NeighbourMetrics) -> tuple[float, float]:
    return found.precision.value, found.recall.value


def dense(found: NeighbourMetrics) -> tuple[float, float]:
    return found.density.value, found.coverage.value


@pytest.mark.parametrize(
    ("peer", "pick"), [(fidelity_precision_recall, precise), (prdc_density_coverage, dense)], ids=["prc", "prdc"]
)
def test_another_k_and_swapped_roles_do_not_agree(
    peer: Callable[[Features, Features, int], tuple[float, float]],
    pick: Callable[[NeighbourMetrics], tuple[float, float]],
) -> None:
    expected = peer(PREDICTIONS, REFERENCES, 3)
    least = 0.9 / len(PREDICTIONS)
    for predictions, references, k in (
        (PREDICTIONS, REFERENCES, 4),
        (PREDICTIONS, REFERENCES, 2),
        (REFERENCES, PREDICTIONS, 3),
    ):
        wrong = pick(found_in(predictions, references, k))
        assert all(abs(one - other) > least for one, other in zip(wrong, expected, strict=True))
