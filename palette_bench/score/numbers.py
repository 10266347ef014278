"""Recipes applied: from features and pixel comparisons to numbers with their errors. Everything is float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from palette_bench.score.diversity import PairNumbers
from palette_bench.score.metrics import estimate
from palette_bench.score.metrics.accuracy import Accuracy, accuracy
from palette_bench.score.metrics.estimate import Estimate
from palette_bench.score.metrics.frechet import SquareRoot, frechet_distance, frechet_influence
from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score
from palette_bench.score.metrics.kid import kernel_distance, subset_kernel_distance
from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from palette_bench.score.metrics.prdc import NeighbourMetrics, neighbour_metrics
from palette_bench.score.metrics.similarity import PSNR_CAP
from palette_bench.score.recipes import Metric, Recipe, Reference
from palette_bench.score.statistics import ReferenceStatistics

FloatArray = NDArray[np.float64]
Outputs = Mapping[str, Mapping[str, NDArray[np.float32]]]
"""Backbone -> output -> [N, width], rows in item order."""

PER_ITEM = frozenset((Metric.ACCURACY, Metric.PERCEPTUAL, Metric.SIMILARITY, Metric.DIVERSITY))
"""Metrics that are a mean over items: those that a group of any size has."""


@dataclass(frozen=True, slots=True)
class Number:
    """A recipe's value with its error, and what else is worth knowing of it by name."""

    estimate: Estimate
    details: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Everything that recipes are functions of, rows in item order.

    ``labels`` [N] are the classes as the classifier numbers them, or why there are none; ``statistics`` those of the
    FID reference set by recipe; ``pixels`` comparisons with the reference [N] by output; ``diversity`` [N, pairs] by
    output.
    """

    predicted: Outputs
    references: Outputs
    labels: NDArray[np.int64] | str
    statistics: Mapping[str, ReferenceStatistics]
    pixels: Mapping[str, FloatArray]
    diversity: Mapping[str, PairNumbers]

    def only(self, rows: Sequence[int]) -> "Inputs":
        """The same for some items."""
        at = np.asarray(rows)
        return Inputs(
            predicted={b: {o: a[at] for o, a in outputs.items()} for b, outputs in self.predicted.items()},
            references={b: {o: a[at] for o, a in outputs.items()} for b, outputs in self.references.items()},
            labels=self.labels if isinstance(self.labels, str) else self.labels[at],
            statistics=self.statistics,
            pixels={name: values[at] for name, values in self.pixels.items()},
            diversity={name: PairNumbers(d.values[at], d.clamped[at]) for name, d in self.diversity.items()},
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """Values of recipes on one set of images, and what is known of each item."""

    values: dict[str, Number] = field(default_factory=dict)
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)


def compute(recipes: Sequence[Recipe], inputs: Inputs) -> Numbers:
    """Every recipe's number on the predictions, and the columns of the table of items."""
    numbers = Numbers()
    neighbours: dict[tuple[str, str], NeighbourMetrics] = {}
    for recipe in recipes:
        _COMPUTED[recipe.metric](recipe, inputs, numbers, neighbours)
    return numbers


def of_references(recipe: Recipe, inputs: Inputs) -> float | None:
    """What the untouched references of the evaluation set score; None where that says nothing."""
    match recipe.metric:
        case Metric.FRECHET:
            if needs_statistics(recipe):
                features = inputs.references[recipe.backbone][recipe.output]
                return frechet_distance(features, inputs.statistics[recipe.name].moments).value
            # A set is at distance 0 from itself.
            return 0.0
        case Metric.INCEPTION_SCORE:
            return _inception_score(recipe, inputs.references).estimate.value
        case Metric.ACCURACY:
            if isinstance(inputs.labels, str):
                return None
            return accuracy(inputs.references[recipe.backbone][recipe.output], inputs.labels).percent
        case Metric.PERCEPTUAL:
            return 0.0
        case Metric.SIMILARITY:
            return PSNR_CAP if recipe.output == "psnr" else 1.0
        case Metric.KERNEL | Metric.NEIGHBOURS | Metric.DIVERSITY:
            return None


def needs_statistics(recipe: Recipe) -> bool:
    """Whether a recipe compares with the FID reference set, and not with the evaluation set's references."""
    return recipe.metric is Metric.FRECHET and recipe.parameters["reference"] == Reference.REFERENCE_SET.value


_Neighbours = dict[tuple[str, str], NeighbourMetrics]


def _frechet(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    features = inputs.predicted[recipe.backbone][recipe.output]
    references = inputs.references[recipe.backbone][recipe.output]
    if recipe.parameters["square_root"] == SquareRoot.EIGENVALUES.value:
        value = frechet_distance(features, references, square_root=SquareRoot.EIGENVALUES).value
        numbers.values[recipe.name] = Number(Estimate(value, None, None, None))
        return
    if needs_statistics(recipe):
        found = frechet_influence(features, inputs.statistics[recipe.name].moments, paired=False)
    else:
        found = frechet_influence(features, references, paired=True)
    numbers.values[recipe.name] = Number(found.estimate, {"residual": found.distance.residual})
    numbers.columns[f"{recipe.name}_influence"] = found.influence


def _inception_score(recipe: Recipe, outputs: Outputs) -> Number:
    splits = int(recipe.parameters["splits"])
    found = inception_score(
        outputs[recipe.backbone][recipe.output], splits=splits, permutation_seed=PEER_SEED if splits > 1 else None
    )
    return Number(found.estimate, {"deviation_of_splits": found.deviation} if splits > 1 else {})


def _is(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    numbers.values[recipe.name] = _inception_score(recipe, inputs.predicted)


def _accuracy(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    if isinstance(inputs.labels, str):
        raise TypeError(inputs.labels)
    found: Accuracy = accuracy(inputs.predicted[recipe.backbone][recipe.output], inputs.labels)
    numbers.values[recipe.name] = Number(found.estimate)
    prefix = "" if recipe.headline else f"{recipe.name}_"
    numbers.columns[f"{prefix}top1"] = found.named
    numbers.columns[f"{prefix}correct"] = found.correct.astype(np.int64)
    numbers.columns[f"{prefix}confidence"] = found.confidence


def _perceptual(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    found = perceptual_distance(
        inputs.predicted[recipe.backbone][recipe.output],
        inputs.references[recipe.backbone][recipe.output],
        power=Power(int(recipe.parameters["power"])),
    )
    numbers.values[recipe.name] = Number(found.estimate)
    numbers.columns[recipe.name] = found.items


def _kernel(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    sides = inputs.predicted[recipe.backbone][recipe.output], inputs.references[recipe.backbone][recipe.output]
    if "subsets" in recipe.parameters:
        estimated = subset_kernel_distance(
            *sides,
            subsets=int(recipe.parameters["subsets"]),
            subset_size=int(recipe.parameters["subset_size"]),
            seed=PEER_SEED,
            paired=True,
        ).estimate
    else:
        estimated = kernel_distance(*sides, paired=True).estimate
    numbers.values[recipe.name] = Number(estimated)


def _neighbours(recipe: Recipe, inputs: Inputs, numbers: Numbers, done: _Neighbours) -> None:
    key = recipe.backbone, recipe.output
    if key not in done:
        done[key] = neighbour_metrics(
            inputs.predicted[recipe.backbone][recipe.output],
            inputs.references[recipe.backbone][recipe.output],
            paired=True,
        )
    number: Number = Number(getattr(done[key], str(recipe.parameters["quantity"])).estimate)
    numbers.values[recipe.name] = number


def _similarity(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    values = inputs.pixels[recipe.output]
    numbers.values[recipe.name] = Number(estimate.of_mean(values))
    numbers.columns[recipe.output] = values


def _diversity(recipe: Recipe, inputs: Inputs, numbers: Numbers, _: _Neighbours) -> None:
    pairs = inputs.diversity[recipe.output]
    details = {"pairs": float(pairs.values.size)}
    if recipe.output == "ms_ssim":
        details["clamped_share"] = float(pairs.clamped.mean())
    numbers.values[recipe.name] = Number(estimate.of_mean(pairs.values.mean(axis=1)), details)
    for number, column in enumerate(pairs.values.T, 1):
        numbers.columns[f"{recipe.output}_{number}"] = column


_COMPUTED: Mapping[Metric, Callable[[Recipe, Inputs, Numbers, _Neighbours], None]] = MappingProxyType(
    {
        Metric.FRECHET: _frechet,
        Metric.INCEPTION_SCORE: _is,
        Metric.ACCURACY: _accuracy,
        Metric.PERCEPTUAL: _perceptual,
        Metric.KERNEL: _kernel,
        Metric.NEIGHBOURS: _neighbours,
        Metric.SIMILARITY: _similarity,
        Metric.DIVERSITY: _diversity,
    }
)
