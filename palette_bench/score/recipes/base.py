"""What a recipe is: one exactly defined metric, with a fingerprint of everything that can move its number.

The paper leaves PD, the splits of IS and FID's reference open in places; every reading is a recipe of its own, never
a flag. Two numbers may stand in one column only if their recipes' fingerprints are equal.

What recipes of one kind share is a `Metric`: what they need, how they are computed, what untouched references score,
which columns of ``items.csv`` they leave. Each kind has a file beside this one, and nothing else knows its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, StrEnum, auto
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.record import FLOAT32
from palette_bench.common.canonical import fingerprint as digest_of
from palette_bench.score.backbones.base import canonical_fingerprint
from palette_bench.score.backbones.weights import ALEXNET
from palette_bench.score.metrics.estimate import Estimate
from palette_bench.score.metrics.frechet import Moments

FORMAT = 1
FloatArray = NDArray[np.float64]
Outputs = Mapping[str, Mapping[str, NDArray[np.float32]]]
"""Backbone -> output -> [N, width], rows in item order."""

PIXELS = "pixels"
"""The backbone of recipes that need no network: they compare pixels."""

LPIPS = "lpips-alexnet"
"""The backbone of LPIPS, which maps pairs of images to numbers."""

LPIPS_HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
"""sha256 of the linear heads in the lpips package."""

EVERY_SET = frozenset({"imagenet", "places", "scenes32"})
"""The families of sets that recipes are for."""


def lpips_fingerprint(weights_sha256: str) -> str:
    """sha256 of everything that can move LPIPS: its version, the weights of its network and of its linear heads."""
    return digest_of(["lpips v0.1 alexnet", 1, weights_sha256, LPIPS_HEADS_SHA256])


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"


class Reference(StrEnum):
    """What a recipe compares the set of predictions with: its ``reference`` parameter."""

    REFERENCE_SET = "reference-set"
    """The set's FID reference, for photographs the full validation set."""
    EVALUATION_SET = "evaluation-set"
    """The references of the evaluation set itself."""


class Column(StrEnum):
    """What a column of a paper's table measures."""

    FID = "fid"
    IS = "is"
    CA = "ca"
    PD = "pd"
    FOOL_RATE = "fool-rate"
    """Share of human raters who took the model's output for the photograph; nothing recomputes it."""
    LPIPS = "lpips"
    """Diversity of samples."""


class Needs(Flag):
    """What a metric is a function of."""

    FEATURES = auto()
    """Outputs of the recipe's backbone for predictions and references."""
    LABELS = auto()
    """The true classes."""
    PIXELS = auto()
    """Each prediction beside its reference, which the gate has before it."""
    PAIRS = auto()
    """Pairs of samples of one item."""


class ItemNumbers(Enum):
    """What the columns of a recipe in ``items.csv`` are to its number."""

    NOTHING = auto()
    """There are none: the number is a function of all features together."""
    MEAN = auto()
    """The number is their mean over items; differences of pairs of items are resampled."""
    SHARE = auto()
    """The number is the share of ones; two shares differ by the items on which they disagree."""
    INFLUENCE = auto()
    """How far each item moves the number; they sum to 0 and make its error, not its value."""


class Shown(Enum):
    """Where `score` shows a number."""

    TABLE = auto()
    """In the table, beside the paper's rows."""
    LINE = auto()
    """In a line below the table."""
    RECORD = auto()
    """In the record alone."""


@dataclass(frozen=True, slots=True)
class Number:
    """A recipe's value with its error, and what else is worth knowing of it by name."""

    estimate: Estimate
    details: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class PairNumbers:
    """Numbers [items, pairs] float64, one a pair, and which pairs were clamped."""

    values: NDArray[np.float64]
    clamped: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceStatistics:
    """Moments of a reference set's features under one backbone, and what they are of."""

    reference: str
    reference_fingerprint: str
    data_digest: str
    backbone_fingerprint: str
    output: str
    moments: Moments


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Everything that recipes are functions of, rows in item order.

    ``labels`` [N] are the classes as the classifier numbers them, or why there are none; ``statistics`` those of the
    FID reference set by recipe; ``pixels`` comparisons with the reference [N] by output; ``diversity`` [N, pairs] by
    output. ``shared`` is work that several recipes share, by whatever key they agree on.
    """

    predicted: Outputs
    references: Outputs
    labels: NDArray[np.int64] | str
    statistics: Mapping[str, ReferenceStatistics]
    pixels: Mapping[str, FloatArray]
    diversity: Mapping[str, PairNumbers]
    shared: dict[tuple[str, ...], object] = field(default_factory=dict, repr=False)

    def sides(self, recipe: "Recipe") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the recipe's output is of predictions and references: [N, width] each."""
        name, output = recipe.backbone, recipe.output
        return self.predicted[name][output], self.references[name][output]

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


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A recipe's number, the columns [N] of items that it leaves, and how its pairs are spread, where it has pairs."""

    number: Number
    columns: Mapping[str, NDArray[np.generic]] = field(default_factory=lambda: MappingProxyType({}))
    histogram: tuple[int, ...] | None = None


@dataclass(slots=True)
class Numbers:
    """Values of recipes on one set of images, and what is known of each item."""

    values: dict[str, Number] = field(default_factory=dict)
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    histogram: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """What decides which recipes a score computes.

    ``labels`` are the true classes or why there are none; ``reference_set`` whether FID has its reference set,
    ``grouped`` whether groups of items are asked for.
    """

    images: int
    size: int
    samples: int
    labels: NDArray[np.int64] | str
    reference_set: bool = True
    grouped: bool = False


class Metric(ABC):
    """What recipes of one kind share. Instances hold no state that moves a number but their parameters.

    ``name`` is part of the fingerprint. ``order`` is the place of the kind among columns, ``column`` the printed
    quantity it is, ``citation`` the key of the entry to cite. ``scale`` turns the mean of item columns into the number.
    ``of_samples`` says that a number is of all samples of an item, not of the first alone; ``judges_references`` that
    the untouched references' number says something of the choices a paper leaves open.
    """

    name: str
    needs: Needs = Needs.FEATURES
    order: int = 100
    column: Column | None = None
    citation: str | None = None
    items: ItemNumbers = ItemNumbers.NOTHING
    scale: float = 1.0
    of_samples: bool = False
    judges_references: bool = False

    @property
    def per_item(self) -> bool:
        """Whether a number is a mean over items, which a group of any size has."""
        return self.items in (ItemNumbers.MEAN, ItemNumbers.SHARE)

    @abstractmethod
    def compute(self, recipe: "Recipe", inputs: Inputs) -> Computed:
        """The number on the predictions, float64 throughout."""

    def ideal(self, recipe: "Recipe", inputs: Inputs) -> float | None:
        """What the untouched references of the evaluation set score; None where that says nothing."""
        return None

    def least_images(self, recipe: "Recipe") -> int:
        """The fewest images that have a number."""
        return 1

    def applies(self, recipe: "Recipe", setting: Setting) -> bool:
        """False where the recipe is left out without a word unless it is named."""
        return True

    def usual(self, recipe: "Recipe", setting: Setting) -> bool:
        """Whether it is computed without being named."""
        return not recipe.on_request

    def refusal(self, recipe: "Recipe", setting: Setting) -> str | None:
        """Why the recipe cannot be computed, besides what `Recipe.refusal` knows; None if it can."""
        return None

    def item_columns(self, recipe: "Recipe", samples: int) -> tuple[str, ...]:
        """The columns of ``items.csv`` whose mean is the item's number, for so many samples per item."""
        return ()

    def class_column(self, recipe: "Recipe") -> str | None:
        """The column with the class that each prediction is taken for; None for metrics that name no class."""
        return None

    def item_title(self, recipe: "Recipe", column: str) -> str:
        """What a column of items is called where it is shown."""
        return f"{recipe.title}, {recipe.unit}" if recipe.unit else recipe.title

    def item_digits(self, recipe: "Recipe") -> int:
        """Digits after the decimal point that are worth showing of an item's number."""
        return recipe.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One metric on one output of one backbone.

    ``parameters`` and the fields before it can move the number and are fingerprinted; ``title`` and what follows is
    how it is shown. ``digits`` are those after the decimal point. ``headline`` recipes stand in the paper's columns
    and need a complete set; those that are ``on_request`` are computed only if they are named. ``column`` is the
    printed column that the number stands in, ``quantity`` what it is called whatever its variant, ``sets`` the
    families of sets it is for. ``provider`` is the package it comes from, empty for ours: it is fingerprinted too.
    """

    name: str
    version: int
    metric: Metric
    backbone: str
    output: str
    parameters: Mapping[str, str | int]
    title: str
    unit: str
    direction: Direction
    digits: int
    headline: bool
    doc: str
    on_request: bool = False
    shown: Shown = Shown.LINE
    column: Column | None = None
    sets: frozenset[str] = EVERY_SET
    provider: str = ""

    @property
    def quantity(self) -> str:
        """The title without its variant, as ``FID`` of ``FID (clean)``."""
        return self.title.split(maxsplit=1)[0]

    @property
    def heading(self) -> str:
        """The title with an arrow that says which way is better."""
        return f"{self.title} {'↓' if self.direction is Direction.LOWER else '↑'}"

    @property
    def order(self) -> tuple[bool, int, str]:
        """What columns are sorted by: headlines first, FID first of all."""
        return not self.headline, self.metric.order, self.name

    @property
    def reference(self) -> Reference | None:
        """What the predictions as a set are compared with; None where each stands beside its own reference."""
        named = self.parameters.get("reference")
        return None if named is None else Reference(str(named))

    @property
    def needs_statistics(self) -> bool:
        """Whether it compares with the FID reference set, and not with the evaluation set's references."""
        return self.reference is Reference.REFERENCE_SET

    @property
    def published_network(self) -> str:
        """The fingerprint of its network under the published weights; needs no weights file."""
        if self.backbone == PIXELS:
            return PIXELS
        if self.backbone == LPIPS:
            return lpips_fingerprint(ALEXNET.sha256)
        return canonical_fingerprint(self.backbone)

    @property
    def published_fingerprint(self) -> str:
        """The fingerprint under the published weights; needs no weights file."""
        return self.fingerprint(self.published_network)

    def fingerprint(self, network: str) -> str:
        """sha256 of the recipe and the network it runs on, 64 hexadecimal digits; prose is left out."""
        return digest_of(
            {
                "format": FORMAT,
                "recipe": self.name,
                "version": self.version,
                "metric": self.metric.name,
                "backbone": network,
                "output": self.output,
                "parameters": dict(self.parameters),
                **({"provider": self.provider} if self.provider else {}),
            }
        )

    def refusal(self, setting: Setting) -> str | None:
        """Why it cannot be computed on a set, or None."""
        if self.needs_statistics and not setting.reference_set:
            return "it compares with FID's reference set, which --reference eval-set leaves out"
        least = self.metric.least_images(self)
        if setting.images < least:
            return f"it needs at least {least} images, and the set has {setting.images}"
        if Needs.LABELS in self.metric.needs and isinstance(setting.labels, str):
            return setting.labels
        return self.metric.refusal(self, setting)

    def is_usual(self, setting: Setting, *, all_of_them: bool = False) -> bool:
        """Whether a score computes it without being asked by name; with ``all_of_them``, wherever it applies."""
        if not self.metric.applies(self, setting) or (self.needs_statistics and not setting.reference_set):
            return False
        return all_of_them or self.metric.usual(self, setting)


def number_fingerprint(recipe: Recipe, network: str, reference: tuple[str, str] | None, data_digest: str) -> str:
    """The identity of a published number: sha256 of the recipe, its network and all it is compared with.

    ``network`` is the fingerprint of the backbone as it ran; ``reference`` the fingerprint and data digest of FID's
    reference set, which recipes that compare with it alone need; ``data_digest`` is that of the evaluation set. Numbers
    of two sets may be equal in this, for only what the recipe compares the predictions with is in it.
    """
    of_recipe = recipe.fingerprint(network)
    if recipe.reference is None:
        return of_recipe
    if recipe.reference is Reference.EVALUATION_SET:
        return digest_of([of_recipe, data_digest])
    if reference is None:
        raise ValueError(f"{recipe.name} compares with a reference set")
    return digest_of([of_recipe, *reference])


def incomparable(network: str, *, canonical: bool, precision: str) -> Iterator[str]:
    """Why numbers of a network compare with no others: other weights, another precision."""
    if not canonical:
        yield f"the weights of {network} are not the published ones"
    if precision != FLOAT32:
        yield f"{network} ran in {precision}"


def compute(recipes: Sequence[Recipe], inputs: Inputs) -> Numbers:
    """Every recipe's number on the predictions, and the columns of the table of items."""
    numbers = Numbers()
    for recipe in recipes:
        computed = recipe.metric.compute(recipe, inputs)
        numbers.values[recipe.name] = computed.number
        numbers.columns |= computed.columns
        numbers.histogram = numbers.histogram or computed.histogram
    return numbers
