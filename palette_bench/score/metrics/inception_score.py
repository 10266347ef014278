"""Inception Score: exp of the mean Kullback-Leibler divergence of p(y|x) from p(y)."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

PEER_SEED = 2020
"""torch-fidelity permutes the images with ``RandomState(2020)`` before it splits them; that stream is frozen by
NumPy.
"""


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """``value`` is the mean over ``splits``; ``deviation`` their population standard deviation, 0 for one split."""

    value: float
    deviation: float
    splits: int


def inception_score(
    logits: NDArray[np.float32] | NDArray[np.float64], *, splits: int = 1, permutation_seed: int | None = None
) -> InceptionScore:
    """The score of logits [n, classes] in item order, float64 throughout.

    With ``permutation_seed`` None the splits are consecutive items. ``splits=10, permutation_seed=PEER_SEED`` is
    torch-fidelity's definition and agrees with it to 1e-9 relative for equal logits. Raises InputError for fewer
    images than splits, where peers return NaN, and for logits that are not finite.
    """
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise InputError("these are no logits", expected="[n, classes]", found=list(logits.shape))
    count = len(logits)
    if splits < 1 or count < splits:
        raise InputError(
            "an Inception Score needs at least one image a split", expected=f">= {splits} images", found=count
        )
    if not np.isfinite(logits).all():
        raise InputError("logits are not finite", found="NaN or infinity")
    # SCORE: which images share a split.
    order = np.arange(count) if permutation_seed is None else np.random.RandomState(permutation_seed).permutation(count)
    bounds = [i * count // splits for i in range(splits + 1)]
    scores = [_score(logits[order[a:b]]) for a, b in pairwise(bounds)]
    return InceptionScore(value=float(np.mean(scores)), deviation=float(np.std(scores)), splits=splits)


def _score(logits: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """The score of one split.

    Marginals are summed as logarithms: a class that no image shows cannot give 0 times infinity.
    """
    log_p = log_softmax(logits)
    top = log_p.max(axis=0)
    log_marginal = top + np.log(np.exp(log_p - top).mean(axis=0))
    divergence = (np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean()
    return float(np.exp(divergence))


def log_softmax(logits: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the softmax over the last axis of [n, classes], float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
