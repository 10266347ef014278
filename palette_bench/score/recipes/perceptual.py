"""Distance of each prediction to its own reference in a network's features: PD, squared or not."""

from palette_bench.score.metrics.perceptual import Power, perceptual_distance
from palette_bench.score.recipes.base import (
    Column,
    Computed,
    Direction,
    Inputs,
    ItemNumbers,
    Metric,
    Number,
    Recipe,
    Shown,
)


class Perceptual(Metric):
    """The paper's perceptual distance (its C.5)."""

    name = "perceptual"
    order = 3
    column = Column.PD
    items = ItemNumbers.MEAN

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The mean over items, and every item's distance."""
        result = perceptual_distance(*inputs.sides(recipe), power=Power(int(recipe.parameters["power"])))
        return Computed(Number(result.estimate), {recipe.name: result.items})

    def ideal(self, recipe: Recipe, inputs: Inputs) -> float | None:
        """No distance."""
        return 0.0

    def item_columns(self, recipe: Recipe, samples: int) -> tuple[str, ...]:
        """Distances."""
        return (recipe.name,)

    def item_digits(self, recipe: Recipe) -> int:
        """One more than the mean has."""
        return recipe.digits + 1


PERCEPTUAL = Perceptual()


def _perceptual(*, name: str, backbone: str, output: str, power: int, title: str, headline: bool, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=PERCEPTUAL,
        backbone=backbone,
        output=output,
        parameters={"norm": "l2", "power": power, "average": "mean over items"},
        title=title,
        unit="",
        direction=Direction.LOWER,
        digits=1 if power == 2 else 2,
        headline=headline,
        doc=doc,
        shown=Shown.TABLE if headline or power == 1 else Shown.RECORD,
        column=Column.PD if headline else None,
    )


# SCORE: everything below but titles, units, digits and docs.
_PD_SOURCE = (
    "The paper's second version (C.5) says Euclidean distance in the pool_3 feature space of a pre-trained "
    "Inception-v1; pool_3 is a node "
    "of the 2015-12-05 FID network, which Google's pages call a modified Inception-v1, and not of GoogLeNet. "
    "Squared or not is not "
    "stated; the printed values (46 to 155) look squared. docs/protocol.md 4.3."
)
PD_POOL3_L2 = _perceptual(
    name="pd-inception2015-pool3-l2",
    backbone="inception2015",
    output="pool_3",
    power=1,
    title="PD (pool_3, L2)",
    headline=False,
    doc="Mean Euclidean distance of prediction and reference in Inception-2015 pool_3. " + _PD_SOURCE,
)
PD_POOL3_L2SQ = _perceptual(
    name="pd-inception2015-pool3-l2sq",
    backbone="inception2015",
    output="pool_3",
    power=2,
    title="PD",
    headline=True,
    doc="Mean squared Euclidean distance of prediction and reference in Inception-2015 pool_3. " + _PD_SOURCE,
)
PD_GOOGLENET_L2 = _perceptual(
    name="pd-googlenet-pool-l2",
    backbone="googlenet",
    output="pool",
    power=1,
    title="PD (GoogLeNet, L2)",
    headline=False,
    doc="Mean Euclidean distance of prediction and reference in the pooled features of torchvision's GoogLeNet, a "
    "port of the original Inception-v1. " + _PD_SOURCE,
)
PD_GOOGLENET_L2SQ = _perceptual(
    name="pd-googlenet-pool-l2sq",
    backbone="googlenet",
    output="pool",
    power=2,
    title="PD (GoogLeNet, squared L2)",
    headline=False,
    doc="Mean squared Euclidean distance of prediction and reference in the pooled features of torchvision's "
    "GoogLeNet. " + _PD_SOURCE,
)
PD_SCENES32 = _perceptual(
    name="pd-scenes32",
    backbone="scenes32",
    output="features",
    power=1,
    title="PD",
    headline=True,
    doc="Mean Euclidean distance of prediction and reference in the 64 features of the embedded classifier.",
)
