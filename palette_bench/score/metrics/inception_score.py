"""Inception Score: exp of the mean Kullback-Leibler divergence of p(y|x) from p(y)."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, with_error

Logits = NDArray[np.float32] | NDArray[np.float64]
"""[n, classes], one row an image."""

PEER_SEED = 2020
"""torch-fidelity permutes the images with ``RandomState(2020)`` before it splits them; that stream is frozen by
NumPy.
"""

BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class InceptionScore:
    """``value`` is the mean over ``splits``; ``deviation`` their population standard deviation, 0 for one split.

    ``divergences`` [n] float64, in nats, is every item's divergence from the mean distribution of its split, in the
    order of the items. ``deviation`` says how the splits differ; the sampling error is in ``estimate``.
    """

    value: float
    deviation: float
    splits: int
    divergences: NDArray[np.float64]
    estimate: Estimate


def inception_score(logits: Logits, *, splits: int = 1, permutation_seed: int | None = None) -> InceptionScore:
    """The score of logits [n, classes] in item order, float64 throughout, by blocks of rows.

    With ``permutation_seed`` None the splits are consecutive items. ``splits=10, permutation_seed=PEER_SEED`` is
    torch-fidelity's definition and agrees with it to 1e-9 relative for equal logits. Raises InputError for fewer
    images than splits, where peers return NaN, and for logits that are not finite.

    The influence of an item on the logarithm of its split's score is its divergence minus their mean: what it does to
    the mean distribution cancels (docs/uncertainty.md). Splits are independent, so the variance of the mean is the sum
    of theirs over the square of their number; it is None where a split has a single item.
    """
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise InputError("these are no logits", expected="[n, classes]", found=list(logits.shape))
    count = len(logits)
    if splits < 1 or count < splits:
        raise InputError(
            "an Inception Score needs at least one image a split", expected=f">= {splits} images", found=count
        )
    if not all(np.isfinite(logits[start : start + BLOCK_ROWS]).all() for start in range(0, count, BLOCK_ROWS)):
        raise InputError("logits are not finite", found="NaN or infinity")
    # SCORE: which images share a split.
    order = np.arange(count) if permutation_seed is None else np.random.RandomState(permutation_seed).permutation(count)
    bounds = [i * count // splits for i in range(splits + 1)]
    divergences = np.empty(count)
    scores, variances = [], []
    for start, stop in pairwise(bounds):
        members = order[start:stop]
        divergences[members] = found = _divergences(logits, members)
        scores.append(math.exp(found.mean()))
        if len(found) > 1:
            variances.append(scores[-1] ** 2 * float(found.var(ddof=1)) / len(found))
    value = float(np.mean(scores))
    estimate = Estimate(value, None, None, None)
    if len(variances) == splits:
        estimate = with_error(value, math.sqrt(sum(variances)) / splits, least=1.0, most=float(logits.shape[1]))
    return InceptionScore(
        value=value, deviation=float(np.std(scores)), splits=splits, divergences=divergences, estimate=estimate
    )


def _divergences(logits: Logits, members: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divergence of each of the rows ``members`` from their mean distribution."""
    blocks = [members[start : start + BLOCK_ROWS] for start in range(0, len(members), BLOCK_ROWS)]
    marginal = np.zeros(logits.shape[1])
    negentropies = []
    for block in blocks:
        log_p = log_softmax(logits[block])
        p = np.exp(log_p)
        marginal += p.sum(axis=0)
        negentropies.append((p * log_p).sum(axis=1))
    marginal /= len(members)
    # A class that no image shows has no part in any divergence: 0 times a finite number.
    log_marginal = np.log(marginal, where=marginal > 0.0, out=np.zeros_like(marginal))
    crosses = [np.exp(log_softmax(logits[block])) @ log_marginal for block in blocks]
    divergences: NDArray[np.float64] = np.concatenate(negentropies) - np.concatenate(crosses)
    return divergences


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Logarithms of the softmax over the last axis of [n, classes], float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
