"""What nearest neighbours say of two sets of features: precision, recall, density and coverage."""

from palette_bench.score.metrics.prdc import NeighbourMetrics, neighbour_metrics
from palette_bench.score.recipes.base import (
    Computed,
    Direction,
    Inputs,
    Metric,
    Number,
    Recipe,
    Reference,
)


class Neighbours(Metric):
    """Kynkäänniemi et al. 2019 and Naeem et al. 2020, against the references of the evaluation set."""

    name = "neighbours"
    order = 5

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The recipe's quantity; the four of one network are computed at once."""
        key = (self.name, recipe.backbone, recipe.output)
        result = inputs.shared.get(key)
        if not isinstance(result, NeighbourMetrics):
            result = inputs.shared[key] = neighbour_metrics(*inputs.sides(recipe), paired=True)
        estimated = getattr(result, str(recipe.parameters["quantity"])).estimate
        return Computed(Number(estimated))

    def least_images(self, recipe: Recipe) -> int:
        """Each image, its neighbours and one more."""
        return int(recipe.parameters["neighbours"]) + 2


NEIGHBOURS = Neighbours()


def _neighbours(*, name: str, backbone: str, output: str, quantity: str, neighbours: int, doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=NEIGHBOURS,
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


# SCORE: everything below but titles, units, digits and docs.
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


def of_network(prefix: str, backbone: str, output: str) -> tuple[Recipe, ...]:
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


INCEPTION_2015 = of_network("inception2015-tf1-evalset", "inception2015", "pool_3")
SCENES32 = of_network("scenes32-evalset", "scenes32", "features")
