"""Inception Score: one or ten splits, logits with or without the bias of the last layer."""

from collections.abc import Mapping

from palette_bench.score.metrics.inception_score import PEER_SEED, inception_score
from palette_bench.score.recipes.base import (
    Column,
    Computed,
    Direction,
    Inputs,
    Metric,
    Number,
    Outputs,
    Recipe,
    Shown,
)


class InceptionScore(Metric):
    """Salimans et al. 2016, Improved techniques for training GANs."""

    name = "inception-score"
    order = 1
    column = Column.IS
    citation = "salimans2016improved"
    judges_references = True

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The score, and for several splits how far they deviate."""
        return Computed(_number(recipe, inputs.predicted))

    def ideal(self, recipe: Recipe, inputs: Inputs) -> float | None:
        """Their own score."""
        return _number(recipe, inputs.references).estimate.value

    def least_images(self, recipe: Recipe) -> int:
        """One per split."""
        return int(recipe.parameters["splits"])


def _number(recipe: Recipe, outputs: Outputs) -> Number:
    splits = int(recipe.parameters["splits"])
    logits = outputs[recipe.backbone][recipe.output]
    result = inception_score(logits, splits=splits, permutation_seed=PEER_SEED if splits > 1 else None)
    return Number(result.estimate, {"deviation_of_splits": result.deviation} if splits > 1 else {})


INCEPTION_SCORE = InceptionScore()


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
        metric=INCEPTION_SCORE,
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
        shown=Shown.TABLE if headline else Shown.LINE if on_request else Shown.RECORD,
        column=Column.IS,
    )


# SCORE: everything below but titles, units, digits and docs.
_ONE_SPLIT: Mapping[str, str | int] = {"splits": 1, "order": "items"}
_TEN_SPLITS: Mapping[str, str | int] = {"splits": 10, "order": "RandomState(2020).permutation"}
IS_BIASED_1SPLIT = _inception_score(
    name="is-inception2015-biased-1split",
    backbone="inception2015",
    output="logits",
    parameters=_ONE_SPLIT,
    headline=True,
    doc="Inception Score over all predictions at once, logits with the bias of the last layer, all 1008 outputs: "
    "what TF-GAN computes. "
    "The paper's 229.6 (5,000 images) and 250.1 (10,000) fit one split. docs/protocol.md 4.2.",
)
IS_UNBIASED_10SPLITS = _inception_score(
    name="is-inception2015-unbiased-10splits",
    backbone="inception2015",
    output="logits_unbiased",
    parameters=_TEN_SPLITS,
    headline=False,
    doc="Mean of ten splits after a fixed permutation, logits without the bias: torch-fidelity's default, equal to "
    "its command when items are "
    "in the order of its sorted file names.",
)
IS_SCENES32 = _inception_score(
    name="is-scenes32",
    backbone="scenes32",
    output="logits",
    parameters=_ONE_SPLIT,
    headline=True,
    doc="Inception Score over all predictions at once, from the 20 logits of the embedded classifier; at most 20.",
)
IS_BIASED_10SPLITS = _inception_score(
    name="is-inception2015-biased-10splits",
    backbone="inception2015",
    output="logits",
    parameters=_TEN_SPLITS,
    headline=False,
    doc="Mean of ten splits after a fixed permutation, logits with the bias of the last layer. docs/protocol.md 4.2.",
    on_request=True,
)
IS_UNBIASED_1SPLIT = _inception_score(
    name="is-inception2015-unbiased-1split",
    backbone="inception2015",
    output="logits_unbiased",
    parameters=_ONE_SPLIT,
    headline=False,
    doc="Over all predictions at once, logits without the bias of the last layer. docs/protocol.md 4.2.",
    on_request=True,
)
