"""Classification accuracy: how often a classifier names the true class of the reference when it is shown the
prediction.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.score.metrics.estimate import Estimate, of_share
from palette_bench.score.metrics.inception_score import log_softmax


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """Per item [n]: the class named, whether it is the true one, and the probability the classifier gives it."""

    named: NDArray[np.int64]
    correct: NDArray[np.bool_]
    confidence: NDArray[np.float64]

    @property
    def percent(self) -> float:
        """Share of correct items, 0 to 100."""
        return 100.0 * int(self.correct.sum()) / len(self.correct)

    @property
    def estimate(self) -> Estimate:
        """``percent`` with its error and Wilson's interval."""
        share = of_share(int(self.correct.sum()), len(self.correct), scale=100.0)
        # The last bit of a published number does not depend on the order of a product.
        return replace(share, value=self.percent)


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Accuracy:
    """Top-1 accuracy of logits [n, classes] for true classes [n] in 0..classes-1.

    Of equal logits the lowest class is named, as PyTorch and NumPy do on the CPU. Raises InputError for no items,
    labels of another number or range, and logits that are not finite.
    """
    if logits.ndim != 2 or logits.size == 0:
        raise InputError("these are no logits", expected="[n, classes]", found=list(logits.shape))
    if labels.shape != (len(logits),):
        raise InputError("there must be one label an item", expected=[len(logits)], found=list(labels.shape))
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(
            "labels are not classes of this network",
            expected=f"0 to {logits.shape[1] - 1}",
            found=f"{labels.min()} to {labels.max()}",
        )
    if not np.isfinite(logits).all():
        raise InputError("logits are not finite", found="NaN or infinity")
    named = logits.argmax(axis=1).astype(np.int64)
    confidence = np.exp(log_softmax(logits).max(axis=1))
    return Accuracy(named=named, correct=named == labels, confidence=confidence)
