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
from palette_bench.score.backbones.base import canonical_fingerprint
from palette_bench.score.backbones.weights import ALEXNET

FORMAT = 1


class Metric(StrEnum):
    """The functions recipes are made of; see ``palette_bench.score.metrics``."""

    FRECHET = "frechet"
    INCEPTION_SCORE = "inception-score"
    ACCURACY = "accuracy"
    PERCEPTUAL = "perceptual"
    KERNEL = "kernel-distance"
    NEIGHBOURS = "neighbours"
    SIMILARITY = "similarity"
    DIVERSITY = "diversity"


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


PIXELS = "pixels"
"""The backbone of recipes that need no network: they compare pixels."""

LPIPS = "lpips-alexnet"
"""The backbone of LPIPS, which maps pairs of images to numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One metric on one output of one backbone.

    ``parameters`` and the fields before it can move the number and are fingerprinted; ``title`` and what follows is
    how it is shown. ``digits`` are those after the decimal point. ``headline`` recipes stand in the paper's columns
    and need a complete set; those that are ``on_request`` are computed only if they are named.
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

    @property
    def published_fingerprint(self) -> str:
        """The fingerprint under the published weights; needs no weights file."""
        if self.backbone == PIXELS:
            return self.fingerprint(PIXELS)
        if self.backbone == LPIPS:
            return self.fingerprint(lpips_fingerprint(ALEXNET.sha256))
        return self.fingerprint(canonical_fingerprint(self.backbone))

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
    *,
    name: str,
    backbone: str,
    output: str,
    reference: Reference,
    title: str,
    headline: bool,
    doc: str,
    square_root: str = "exact",
    on_request: bool = False,
) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.FRECHET,
        backbone=backbone,
        output=output,
        parameters={"reference": reference.value, "ddof": 1, "moments": "float64", "square_root": square_root},
        title=title,
        unit="",
        direction=Direction.LOWER,
        digits=2,
        headline=headline,
        doc=doc,
        on_request=on_request,
    )


def _kernel(*, name: str, backbone: str, output: str, parameters: Mapping[str, str | int], doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.KERNEL,
        backbone=backbone,
        output=output,
        parameters={
            "reference": Reference.EVALUATION_SET.value,
            "kernel": "(x y / D + 1) ** 3",
            "estimator": "unbiased",
            **parameters,
        },
        title="KID",
        unit="",
        direction=Direction.LOWER,
        digits=5,
        headline=False,
        doc=doc,
        on_request=True,
    )


def _neighbours(*, name: str, backbone: str, output: str, quantity: str, neighbours: int, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.NEIGHBOURS,
        backbone=backbone,
        output=output,
        parameters={
            "reference": Reference.EVALUATION_SET.value,
            "quantity": quantity,
            "neighbours": neighbours,
        },
        title=quantity.capitalize(),
        unit="",
        direction=Direction.HIGHER,
        digits=3,
        headline=False,
        doc=doc,
        on_request=True,
    )


def _all_neighbours(prefix: str, backbone: str, output: str) -> tuple[Recipe, ...]:
    """Precision and recall with 3 neighbours, density and coverage with 5, as their authors have them."""
    return tuple(
        _neighbours(
            name=f"{quantity}-{prefix}-k{neighbours}",
            backbone=backbone,
            output=output,
            quantity=quantity,
            neighbours=neighbours,
            doc=f"{doc}, {neighbours} neighbours, on the features of {backbone} ({output}); the references are those "
            f"of the evaluation set. {source}",
        )
        for quantity, neighbours, doc, source in _NEIGHBOUR_QUANTITIES
    )


_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, Improved precision and recall, equations 1 and 2; torch-fidelity's PRC."
_NAEEM = "Naeem et al. 2020, Reliable fidelity and diversity metrics; the prdc package."
_NEIGHBOUR_QUANTITIES = (
    (
        "precision",
        3,
        "Share of predictions within the k-th neighbour's distance of a reference",
        _KYNKAANNIEMI,
    ),
    ("recall", 3, "Share of references within the k-th neighbour's distance of a prediction", _KYNKAANNIEMI),
    ("density", 5, "How many references' neighbourhoods a prediction lies in, divided by k", _NAEEM),
    ("coverage", 5, "Share of references whose neighbourhood holds a prediction", _NAEEM),
)


def _similarity(*, name: str, output: str, parameters: Mapping[str, str | int], title: str, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.SIMILARITY,
        backbone=PIXELS,
        output=output,
        parameters=parameters,
        title=title,
        unit="dB" if output == "psnr" else "",
        direction=Direction.HIGHER,
        digits=2 if output == "psnr" else 4,
        headline=False,
        doc=doc + " " + _NOT_HEADLINE,
    )


_NOT_HEADLINE = (
    "Kept out of the headline table: the paper avoids PSNR and SSIM, which on tasks that require hallucination prefer "
    "blurry regression outputs and do not correlate well with human judgement (its section 4)."
)


def _inception_score(
    *,
    name: str,
    backbone: str,
    output: str,
    parameters: Mapping[str, str | int],
    headline: bool,
    doc: str,
    on_request: bool = False,
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
        on_request=on_request,
    )


def _accuracy(*, name: str, backbone: str, output: str, doc: str, headline: bool = True) -> Recipe:
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
        headline=headline,
        doc=doc,
        on_request=not headline,
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

_FID_HALFPIXEL = _frechet(
    name="fid-inception2015-halfpixel",
    backbone="inception2015-halfpixel",
    output="pool_3",
    reference=Reference.REFERENCE_SET,
    title="FID (half-pixel)",
    headline=False,
    doc="As fid-inception2015-tf1, with pytorch-fid's input: bilinear resize with half-pixel centres and 2 x / 255 - "
    "1. What most papers with a PyTorch code base print; differs from the original by percents.",
    on_request=True,
)
_FID_HALFPIXEL_EVALSET = _frechet(
    name="fid-inception2015-halfpixel-evalset",
    backbone="inception2015-halfpixel",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (half-pixel, evaluation set)",
    headline=False,
    doc="As fid-inception2015-halfpixel, against the references of the evaluation set: pytorch-fid of two folders.",
    on_request=True,
)
_FID_CLEAN = _frechet(
    name="fid-inception2015-clean",
    backbone="inception2015-clean",
    output="pool_3",
    reference=Reference.REFERENCE_SET,
    title="FID (clean)",
    headline=False,
    doc="As fid-inception2015-tf1, with clean-fid's input: Pillow's bicubic resize of each channel in float, cut to 0 "
    "to 255 (Parmar et al. 2022, On aliased resizing).",
    on_request=True,
)
_FID_CLEAN_EVALSET = _frechet(
    name="fid-inception2015-clean-evalset",
    backbone="inception2015-clean",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (clean, evaluation set)",
    headline=False,
    doc="As fid-inception2015-clean, against the references of the evaluation set: clean-fid of two folders.",
    on_request=True,
)
_FID_EIGENVALUES = _frechet(
    name="fid-inception2015-tf1-evalset-eigenvalues",
    backbone="inception2015",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (evaluation set, torch-fidelity's formula)",
    headline=False,
    square_root="eigenvalues",
    doc="As fid-inception2015-tf1-evalset, by the square roots of the eigenvalues of the covariances' product, as "
    "torch-fidelity computes it: for parity only, wrong by 1e-5 where there are fewer images than features. It has "
    "no error bar; that of the exact recipe applies.",
    on_request=True,
)
_KID = _kernel(
    name="kid-inception2015-tf1-evalset",
    backbone="inception2015",
    output="pool_3",
    parameters={"items": "all"},
    doc="Kernel distance (squared maximum mean discrepancy, cubic polynomial kernel) of Inception-2015 pool_3: "
    "the unbiased estimate over all images, against the references of the evaluation set. Bińkowski et al. 2018, "
    "Demystifying MMD GANs.",
)
_KID_SUBSETS = _kernel(
    name="kid-inception2015-tf1-evalset-subsets",
    backbone="inception2015",
    output="pool_3",
    parameters={"subsets": 100, "subset_size": 1000, "order": "RandomState(2020).choice"},
    doc="As kid-inception2015-tf1-evalset, as the mean over 100 random subsets of 1000 images: torch-fidelity's "
    "default, equal to it on the same features.",
)
_IS_BIASED_10SPLITS = _inception_score(
    name="is-inception2015-biased-10splits",
    backbone="inception2015",
    output="logits",
    parameters=_TEN_SPLITS,
    headline=False,
    doc="Mean of ten splits after a fixed permutation, logits with the bias of the last layer. docs/protocol.md 4.2.",
    on_request=True,
)
_IS_UNBIASED_1SPLIT = _inception_score(
    name="is-inception2015-unbiased-1split",
    backbone="inception2015",
    output="logits_unbiased",
    parameters=_ONE_SPLIT,
    headline=False,
    doc="Over all predictions at once, logits without the bias of the last layer. docs/protocol.md 4.2.",
    on_request=True,
)
_CA_SQUEEZE = _accuracy(
    name="ca-resnet50v1-squeeze224",
    backbone="resnet50-v1-squeeze224",
    output="logits",
    headline=False,
    doc="As ca-resnet50v1-crop224, on the whole 256x256 prediction squeezed to 224x224 with Pillow's bicubic filter, "
    "as I2SB's code does. docs/protocol.md 4.4.",
)
_CA_NATIVE = _accuracy(
    name="ca-resnet50v1-native256",
    backbone="resnet50-v1-native256",
    output="logits",
    headline=False,
    doc="As ca-resnet50v1-crop224, on the whole 256x256 prediction without crop, as RED-diff's code does. "
    "docs/protocol.md 4.4.",
)
_CA_EFFICIENTNET = _accuracy(
    name="ca-efficientnetb0-crop224",
    backbone="efficientnet-b0",
    output="logits",
    headline=False,
    doc="Top-1 accuracy of torchvision's EfficientNet-B0 (IMAGENET1K_V1) on the centre 224x224: the classifier that "
    "C.5 of the paper's second version names. docs/protocol.md 4.4.",
)
_PSNR = _similarity(
    name="psnr-rgb",
    output="psnr",
    parameters={"peak": 255, "error": "mean over pixels and channels", "identical": "100 dB", "average": "items"},
    title="PSNR",
    doc="Mean over items of 10 log10(255² / MSE) of prediction and reference; identical images count as 100 dB.",
)
_SSIM = _similarity(
    name="ssim-gauss11-rgb",
    output="ssim",
    parameters={"window": "Gaussian 11, sigma 1.5, valid", "k1": "0.01", "k2": "0.03", "average": "channels, items"},
    title="SSIM",
    doc="Mean over items of the structural similarity of prediction and reference (Wang et al. 2004) with an 11x11 "
    "Gaussian window, mean over channels: tf.image.ssim's definition.",
)


def _ms_ssim(name: str, scales: int, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=Metric.DIVERSITY,
        backbone=PIXELS,
        output="ms_ssim",
        parameters={
            "scales": scales,
            "window": "Gaussian 11, sigma 1.5, valid",
            "negative": "clamped at 0",
            "pairs": "the first sample with each of the rest",
        },
        title="MS-SSIM of samples",
        unit="",
        direction=Direction.LOWER,
        digits=3,
        headline=False,
        doc=doc,
    )


_MS_SSIM = _ms_ssim(
    "diversity-msssim-5scales",
    5,
    "Diversity of several samples an item: mean over items of the mean MS-SSIM of the first sample with each of the "
    "rest (the paper, Fig. 8); five scales with the powers of Wang et al. 2003, product over scales per channel, mean "
    "over channels: tf.image.ssim_multiscale's definition. Lower is more diverse. Pairs whose similarity is negative "
    "at a scale count as 0; their share is reported.",
)
_MS_SSIM_32 = _ms_ssim(
    "diversity-msssim-2scales",
    2,
    "As diversity-msssim-5scales, for images of 32x32, where only two scales hold the 11x11 window: the first two "
    "powers, renormalised to sum 1. Not comparable with five scales.",
)
_LPIPS = Recipe(
    name="diversity-lpips-alexnet",
    version=1,
    metric=Metric.DIVERSITY,
    backbone=LPIPS,
    output="lpips",
    parameters={"network": "LPIPS v0.1, AlexNet, linear heads", "pairs": "consecutive samples"},
    title="LPIPS of samples",
    unit="",
    direction=Direction.HIGHER,
    digits=3,
    headline=False,
    doc="Diversity of several samples an item: mean over items of the mean LPIPS (Zhang et al. 2018; version 0.1, "
    "AlexNet) of consecutive samples, as the paper's second version has it. Higher is more diverse. Needs the extra "
    "palette-bench[lpips].",
    on_request=True,
)
_KID_SCENES32 = _kernel(
    name="kid-scenes32-evalset",
    backbone="scenes32",
    output="features",
    parameters={"items": "all"},
    doc="Kernel distance of the 64 features of the embedded classifier, the unbiased estimate over all images, against "
    "the references of the evaluation set.",
)

_PD_PHOTOGRAPHS = (_PD_POOL3_L2SQ, _PD_POOL3_L2, _PD_GOOGLENET_L2SQ, _PD_GOOGLENET_L2)
_PLACES = (
    _FID_INCEPTION_2015,
    _IS_BIASED_1SPLIT,
    *_PD_PHOTOGRAPHS,
    _FID_INCEPTION_2015_EVALSET,
    _IS_UNBIASED_10SPLITS,
    _PSNR,
    _SSIM,
    _MS_SSIM,
    _FID_HALFPIXEL,
    _FID_HALFPIXEL_EVALSET,
    _FID_CLEAN,
    _FID_CLEAN_EVALSET,
    _FID_EIGENVALUES,
    _KID,
    _KID_SUBSETS,
    *_all_neighbours("inception2015-tf1-evalset", "inception2015", "pool_3"),
    _IS_BIASED_10SPLITS,
    _IS_UNBIASED_1SPLIT,
    _LPIPS,
)
_IMAGENET = (*_PLACES[:2], _CA_RESNET50, *_PLACES[2:], _CA_SQUEEZE, _CA_NATIVE, _CA_EFFICIENTNET)
_SCENES32 = (
    _FID_SCENES32,
    _IS_SCENES32,
    _CA_SCENES32,
    _PD_SCENES32,
    _FID_SCENES32_EVALSET,
    _PSNR,
    _SSIM,
    _MS_SSIM_32,
    _KID_SCENES32,
    *_all_neighbours("scenes32-evalset", "scenes32", "features"),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in (*_IMAGENET, *_SCENES32)})
"""Every recipe by name."""

_FAMILIES: Mapping[str, tuple[Recipe, ...]] = MappingProxyType(
    {"imagenet": _IMAGENET, "places": _PLACES, "scenes32": _SCENES32}
)


LPIPS_HEADS_SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
"""sha256 of the linear heads in the lpips package."""


def lpips_fingerprint(weights_sha256: str) -> str:
    """sha256 of everything that can move LPIPS: its version, the weights of its network and of its linear heads."""
    return digest_of(["lpips v0.1 alexnet", 1, weights_sha256, LPIPS_HEADS_SHA256])


def named(name: str) -> Recipe:
    """The recipe called ``name``; UsageError with all names otherwise."""
    try:
        return RECIPES[name]
    except KeyError as error:
        raise UsageError("there is no recipe of this name", expected=", ".join(RECIPES), found=name) from error


def for_protocol(metric_family: str) -> tuple[Recipe, ...]:
    """All recipes for a set of this family, those on request last: ``imagenet``, ``places`` or ``scenes32``.

    Places has no CA: its labels are not ImageNet's.
    """
    try:
        return _FAMILIES[metric_family]
    except KeyError as error:
        raise UsageError(
            "there are no recipes for this kind of set", expected=", ".join(_FAMILIES), found=metric_family
        ) from error
