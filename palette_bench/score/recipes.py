"""Recipes: each one exactly defined metric, with a fingerprint of everything that can move its number.

The paper leaves PD, the splits of IS and FID's reference open in places; every reading is a recipe of its own, never
a flag. Two numbers may stand in one column only if their recipes' fingerprints are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from palette_bench.common.canonical import fingerprint as digest_of
from palette_bench.common.errors import UsageError

FORMAT = 1


class Metric(StrEnum):
    """The functions recipes are made of; see ``palette_bench.score.metrics``."""

    FRECHET = "frechet"
    INCEPTION_SCORE = "inception-score"
    ACCURACY = "accuracy"
    PERCEPTUAL = "perceptual"


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"


class Reference(StrEnum):
    """What FID compares with: the ``reference`` parameter of Fréchet recipes."""

    REFERENCE_SET = "reference-set"
    """The set's FID reference, for photographs the full validation set."""
    EVALUATION_SET = "evaluation-set"
    """The references of the evaluation set itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One metric on one output of one backbone.

    ``parameters`` and the fields before it can move the number and are fingerprinted; ``title`` and what follows is
    how it is shown. ``digits`` are those after the decimal point. ``headline`` recipes stand in the paper's columns
    and need a complete set.
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

    def fingerprint(self, backbone_fingerprint: str) -> str:
        """sha256 of the recipe and the network it runs on, 64 hexadecimal digits; prose is left out."""
        return digest_of(
            {
                "format": FORMAT,
                "recipe": self.name,
                "version": self.version,
                "metric": self.metric.value,
                "backbone": backbone_fingerprint,
                "output": self.output,
                "parameters": dict(self.parameters),
            }
        )


def _frechet(
    *, name: str, backbone: str, output: str, reference: Reference, title: str, headline: bool, doc: str
) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.FRECHET,
        backbone=backbone,
        output=output,
        parameters={"reference": reference.value, "ddof": 1, "moments": "float64", "square_root": "exact"},
        title=title,
        unit="",
        direction=Direction.LOWER,
        digits=2,
        headline=headline,
        doc=doc,
    )


def _inception_score(
    *, name: str, backbone: str, output: str, parameters: Mapping[str, str | int], headline: bool, doc: str
) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.INCEPTION_SCORE,
        backbone=backbone,
        output=output,
        parameters=parameters,
        title="IS",
        unit="",
        direction=Direction.HIGHER,
        digits=1,
        headline=headline,
        doc=doc,
    )


def _accuracy(*, name: str, backbone: str, output: str, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.ACCURACY,
        backbone=backbone,
        output=output,
        parameters={"top": 1},
        title="CA",
        unit="%",
        direction=Direction.HIGHER,
        digits=1,
        headline=True,
        doc=doc,
    )


def _perceptual(*, name: str, backbone: str, output: str, power: int, title: str, headline: bool, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.PERCEPTUAL,
        backbone=backbone,
        output=output,
        parameters={"norm": "l2", "power": power, "average": "mean over items"},
        title=title,
        unit="",
        direction=Direction.LOWER,
        digits=1 if power == 2 else 2,
        headline=headline,
        doc=doc,
    )


_ONE_SPLIT: Mapping[str, str | int] = {"splits": 1, "order": "items"}
_TEN_SPLITS: Mapping[str, str | int] = {"splits": 10, "order": "RandomState(2020).permutation"}
_PD_SOURCE = (
    "The paper's second version (C.5) says Euclidean distance in the pool_3 feature space of a pre-trained "
    "Inception-v1; pool_3 is a node "
    "of the 2015-12-05 FID network, which Google's pages call a modified Inception-v1, and not of GoogLeNet. "
    "Squared or not is not "
    "stated; the printed values (46 to 155) look squared. docs/protocol.md 4.3."
)

# SCORE: everything below but titles, units, digits and docs.
_FID_INCEPTION_2015 = _frechet(
    name="fid-inception2015-tf1",
    backbone="inception2015",
    output="pool_3",
    reference=Reference.REFERENCE_SET,
    title="FID",
    headline=True,
    doc="Fréchet distance of Inception-2015 pool_3 features, TensorFlow 1 resize, against the full validation set "
    "(50,000 images of ImageNet, "
    "36,500 of Places365), as the paper's second version states (C.5). docs/protocol.md 4.1.",
)
_FID_INCEPTION_2015_EVALSET = _frechet(
    name="fid-inception2015-tf1-evalset",
    backbone="inception2015",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (evaluation set)",
    headline=False,
    doc="As fid-inception2015-tf1, but against the references of the evaluation set itself: the true images score "
    "0, and the value is lower than "
    "against the full validation set. Many later papers report this one.",
)
_IS_BIASED_1SPLIT = _inception_score(
    name="is-inception2015-biased-1split",
    backbone="inception2015",
    output="logits",
    parameters=_ONE_SPLIT,
    headline=True,
    doc="Inception Score over all predictions at once, logits with the bias of the last layer, all 1008 outputs: "
    "what TF-GAN computes. "
    "The paper's 229.6 (5,000 images) and 250.1 (10,000) fit one split. docs/protocol.md 4.2.",
)
_IS_UNBIASED_10SPLITS = _inception_score(
    name="is-inception2015-unbiased-10splits",
    backbone="inception2015",
    output="logits_unbiased",
    parameters=_TEN_SPLITS,
    headline=False,
    doc="Mean of ten splits after a fixed permutation, logits without the bias: torch-fidelity's default, equal to "
    "its command when items are "
    "in the order of its sorted file names.",
)
_CA_RESNET50 = _accuracy(
    name="ca-resnet50v1-crop224",
    backbone="resnet50-v1",
    output="logits",
    doc="Top-1 accuracy of torchvision's ResNet-50 (IMAGENET1K_V1, 76.13 % on the validation set) on the centre "
    "224x224 of the 256x256 prediction. "
    "The paper says ResNet-50 in its text; C.5 of the second version says EfficientNet-B0. docs/protocol.md 4.4.",
)
_PD_POOL3_L2 = _perceptual(
    name="pd-inception2015-pool3-l2",
    backbone="inception2015",
    output="pool_3",
    power=1,
    title="PD (pool_3, L2)",
    headline=False,
    doc="Mean Euclidean distance of prediction and reference in Inception-2015 pool_3. " + _PD_SOURCE,
)
_PD_POOL3_L2SQ = _perceptual(
    name="pd-inception2015-pool3-l2sq",
    backbone="inception2015",
    output="pool_3",
    power=2,
    title="PD",
    headline=True,
    doc="Mean squared Euclidean distance of prediction and reference in Inception-2015 pool_3. " + _PD_SOURCE,
)
_PD_GOOGLENET_L2 = _perceptual(
    name="pd-googlenet-pool-l2",
    backbone="googlenet",
    output="pool",
    power=1,
    title="PD (GoogLeNet, L2)",
    headline=False,
    doc="Mean Euclidean distance of prediction and reference in the pooled features of torchvision's GoogLeNet, a "
    "port of the original Inception-v1. " + _PD_SOURCE,
)
_PD_GOOGLENET_L2SQ = _perceptual(
    name="pd-googlenet-pool-l2sq",
    backbone="googlenet",
    output="pool",
    power=2,
    title="PD (GoogLeNet, squared L2)",
    headline=False,
    doc="Mean squared Euclidean distance of prediction and reference in the pooled features of torchvision's "
    "GoogLeNet. " + _PD_SOURCE,
)
_FID_SCENES32 = _frechet(
    name="fid-scenes32",
    backbone="scenes32",
    output="features",
    reference=Reference.REFERENCE_SET,
    title="FID",
    headline=True,
    doc="Fréchet distance of the 64 features of the embedded classifier, against the reference split of the "
    "embedded world.",
)
_FID_SCENES32_EVALSET = _frechet(
    name="fid-scenes32-evalset",
    backbone="scenes32",
    output="features",
    reference=Reference.EVALUATION_SET,
    title="FID (evaluation set)",
    headline=False,
    doc="As fid-scenes32, but against the references of the evaluation set itself: the true images score 0.",
)
_IS_SCENES32 = _inception_score(
    name="is-scenes32",
    backbone="scenes32",
    output="logits",
    parameters=_ONE_SPLIT,
    headline=True,
    doc="Inception Score over all predictions at once, from the 20 logits of the embedded classifier; at most 20.",
)
_CA_SCENES32 = _accuracy(
    name="ca-scenes32",
    backbone="scenes32",
    output="logits",
    doc="Top-1 accuracy of the embedded classifier on the 20 classes of the embedded world.",
)
_PD_SCENES32 = _perceptual(
    name="pd-scenes32",
    backbone="scenes32",
    output="features",
    power=1,
    title="PD",
    headline=True,
    doc="Mean Euclidean distance of prediction and reference in the 64 features of the embedded classifier.",
)

_PD_PHOTOGRAPHS = (_PD_POOL3_L2SQ, _PD_POOL3_L2, _PD_GOOGLENET_L2SQ, _PD_GOOGLENET_L2)
_PLACES = (
    _FID_INCEPTION_2015,
    _IS_BIASED_1SPLIT,
    *_PD_PHOTOGRAPHS,
    _FID_INCEPTION_2015_EVALSET,
    _IS_UNBIASED_10SPLITS,
)
_IMAGENET = (*_PLACES[:2], _CA_RESNET50, *_PLACES[2:])
_SCENES32 = (_FID_SCENES32, _IS_SCENES32, _CA_SCENES32, _PD_SCENES32, _FID_SCENES32_EVALSET)

RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in (*_IMAGENET, *_SCENES32)})
"""Every recipe by name."""

_FAMILIES: Mapping[str, tuple[Recipe, ...]] = MappingProxyType(
    {"imagenet": _IMAGENET, "places": _PLACES, "scenes32": _SCENES32}
)


def named(name: str) -> Recipe:
    """The recipe called ``name``; UsageError with all names otherwise."""
    try:
        return RECIPES[name]
    except KeyError as error:
        raise UsageError("there is no recipe of this name", expected=", ".join(RECIPES), found=name) from error


def for_protocol(metric_family: str) -> tuple[Recipe, ...]:
    """The recipes a set of this family is scored with, in the order of a table: ``imagenet``, ``places`` or
    ``scenes32``.

    Places has no CA: its labels are not ImageNet's.
    """
    try:
        return _FAMILIES[metric_family]
    except KeyError as error:
        raise UsageError(
            "there are no recipes for this kind of set", expected=", ".join(_FAMILIES), found=metric_family
        ) from error
