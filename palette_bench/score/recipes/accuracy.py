"""Classification accuracy of a fixed classifier on the predictions: CA."""

import numpy as np

from palette_bench.score.metrics.accuracy import accuracy
from palette_bench.score.recipes.base import (
    Column,
    Computed,
    Direction,
    Inputs,
    ItemNumbers,
    Metric,
    Needs,
    Number,
    Recipe,
    Shown,
)


class Accuracy(Metric):
    """The share of items whose true class is the classifier's first, in percent."""

    name = "accuracy"
    needs = Needs.FEATURES | Needs.LABELS
    order = 2
    column = Column.CA
    items = ItemNumbers.SHARE
    scale = 100.0
    judges_references = True

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The share, and of every item the class named, whether it is right and how sure the classifier is."""
        if isinstance(inputs.labels, str):
            raise TypeError(inputs.labels)
        result = accuracy(inputs.predicted[recipe.backbone][recipe.output], inputs.labels)
        columns = {
            _column(recipe, "top1"): result.named,
            _column(recipe, "correct"): result.correct.astype(np.int64),
            _column(recipe, "confidence"): result.confidence,
        }
        return Computed(Number(result.estimate), columns)

    def ideal(self, recipe: Recipe, inputs: Inputs) -> float | None:
        """Their own accuracy."""
        if isinstance(inputs.labels, str):
            return None
        return accuracy(inputs.references[recipe.backbone][recipe.output], inputs.labels).percent

    def item_columns(self, recipe: Recipe, samples: int) -> tuple[str, ...]:
        """1 for items that are classified rightly."""
        return (_column(recipe, "correct"),)

    def class_column(self, recipe: Recipe) -> str | None:
        """The class named."""
        return _column(recipe, "top1")


def _column(recipe: Recipe, what: str) -> str:
    return what if recipe.headline else f"{recipe.name}_{what}"


ACCURACY = Accuracy()


def _accuracy(*, name: str, backbone: str, output: str, doc: str, headline: bool = True) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=ACCURACY,
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
        shown=Shown.TABLE if headline else Shown.LINE,
        column=Column.CA,
    )


# SCORE: everything below but titles, units, digits and docs.
CA_RESNET50 = _accuracy(
    name="ca-resnet50v1-crop224",
    backbone="resnet50-v1",
    output="logits",
    doc="Top-1 accuracy of torchvision's ResNet-50 (IMAGENET1K_V1, 76.13 % on the validation set) on the centre "
    "224x224 of the 256x256 prediction. "
    "The paper says ResNet-50 in its text; C.5 of the second version says EfficientNet-B0. docs/protocol.md 4.4.",
)
CA_SCENES32 = _accuracy(
    name="ca-scenes32",
    backbone="scenes32",
    output="logits",
    doc="Top-1 accuracy of the embedded classifier on the 20 classes of the embedded world.",
)
CA_SQUEEZE = _accuracy(
    name="ca-resnet50v1-squeeze224",
    backbone="resnet50-v1-squeeze224",
    output="logits",
    headline=False,
    doc="As ca-resnet50v1-crop224, on the whole 256x256 prediction squeezed to 224x224 with Pillow's bicubic filter, "
    "as I2SB's code does. docs/protocol.md 4.4.",
)
CA_NATIVE = _accuracy(
    name="ca-resnet50v1-native256",
    backbone="resnet50-v1-native256",
    output="logits",
    headline=False,
    doc="As ca-resnet50v1-crop224, on the whole 256x256 prediction without crop, as RED-diff's code does. "
    "docs/protocol.md 4.4.",
)
CA_EFFICIENTNET = _accuracy(
    name="ca-efficientnetb0-crop224",
    backbone="efficientnet-b0",
    output="logits",
    headline=False,
    doc="Top-1 accuracy of torchvision's EfficientNet-B0 (IMAGENET1K_V1) on the centre 224x224: the classifier that "
    "C.5 of the paper's second version names. docs/protocol.md 4.4.",
)
