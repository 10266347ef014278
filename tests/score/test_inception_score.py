import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch_fidelity.metric_isc import isc_features_to_metric

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score


@st.composite
def logits(draw: st.DrawFn) -> NDArray[np.float32]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, classes = draw(st.integers(10, 60)), draw(st.integers(1, 30))
    values: NDArray[np.float64] = rng.normal(size=(count, classes)) * 10.0 ** draw(st.floats(-2, 1.5))
    return values.astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(logits())
def test_equals_torch_fidelitys_function(values: NDArray[np.float32]) -> None:
    ten = inception_score(values, splits=10, permutation_seed=PEER_SEED)
    peer = isc_features_to_metric(torch.from_numpy(values), splits=10, shuffle=True, rng_seed=2020)
    if np.isfinite(peer["inception_score_mean"]):
        assert ten.value == pytest.approx(peer["inception_score_mean"], rel=1e-9)
        assert ten.deviation == pytest.approx(peer["inception_score_std"], rel=1e-7, abs=1e-9)
    one = inception_score(values)
    peer = isc_features_to_metric(torch.from_numpy(values), splits=1, shuffle=False)
    if np.isfinite(peer["inception_score_mean"]):
        assert one.value == pytest.approx(peer["inception_score_mean"], rel=1e-9)
    assert one.deviation == 0.0


@settings(max_examples=100, deadline=None)
@given(logits(), st.integers(0, 2**32 - 1))
def test_laws(values: NDArray[np.float32], seed: int) -> None:
    found = inception_score(values).value
    assert 1.0 - 1e-12 <= found <= values.shape[1] * (1 + 1e-12)
    shuffled = np.random.default_rng(seed).permutation(values)
    assert inception_score(shuffled).value == pytest.approx(found, rel=1e-12)
    shifted = values.astype(np.float64) + np.arange(len(values))[:, None]
    assert inception_score(shifted).value == pytest.approx(found, rel=1e-9)


def test_extremes() -> None:
    certain = np.eye(8) * 1e4
    assert inception_score(certain).value == pytest.approx(8.0)
    assert inception_score(np.zeros((8, 8))).value == pytest.approx(1.0)
    assert inception_score(np.repeat(certain[:1], 5, axis=0)).value == pytest.approx(1.0)


def test_permutation_and_splits_matter() -> None:
    values = np.random.default_rng(1).normal(size=(40, 10)) * 3
    ten = inception_score(values, splits=10, permutation_seed=PEER_SEED).value
    assert inception_score(values, splits=10).value != pytest.approx(ten, rel=1e-4)
    assert inception_score(values, splits=1).value != pytest.approx(ten, rel=1e-4)
    assert inception_score(values[1:], splits=10, permutation_seed=PEER_SEED).value != pytest.approx(ten, rel=1e-4)


def test_too_few_images_and_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="at least one image a split"):
        inception_score(np.zeros((9, 4)), splits=10)
    with pytest.raises(InputError, match="at least one image a split"):
        inception_score(np.zeros((0, 4)))
    with pytest.raises(InputError, match="not finite"):
        inception_score(np.full((3, 4), np.nan))


def test_blocks_of_rows_and_the_order_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(103, 10)) * 3
    whole = inception_score(values, splits=3, permutation_seed=PEER_SEED)
    monkeypatch.setattr(sys.modules[inception_score.__module__], "BLOCK_ROWS", 8)
    parts = inception_score(values, splits=3, permutation_seed=PEER_SEED)
    np.testing.assert_allclose(parts.divergences, whole.divergences, rtol=1e-12)
    assert parts.value == pytest.approx(whole.value, rel=1e-13)
    assert inception_score(values).value == pytest.approx(np.exp(inception_score(values).divergences.mean()), rel=1e-13)


def test_memory_is_a_few_blocks() -> None:
    values = np.zeros((6000, 1008), np.float32)
    tracemalloc.start()
    inception_score(values, splits=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One copy of all rows in float64 would be 48 MB.
    assert peak < 40e6


def test_one_item_has_a_score_and_no_error() -> None:
    found = inception_score(np.ones((1, 5)))
    assert found.value == found.estimate.value == pytest.approx(1.0)
    assert found.estimate.standard_error is None
