"""Kernel distance: KID over all images, or over random subsets."""

from collections.abc import Mapping

from palette_bench.score.metrics.inception_score import PEER_SEED
from palette_bench.score.metrics.kid import kernel_distance, subset_kernel_distance
from palette_bench.score.recipes.base import (
    Computed,
    Direction,
    Inputs,
    Metric,
    Number,
    Recipe,
    Reference,
)


class Kernel(Metric):
    """Squared maximum mean discrepancy with a cubic polynomial kernel (Bińkowski et al. 2018)."""

    name = "kernel-distance"
    order = 4

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The unbiased estimate; negative for sets that are as near as two draws of one."""
        if "subsets" not in recipe.parameters:
            return Computed(Number(kernel_distance(*inputs.sides(recipe), paired=True).estimate))
        result = subset_kernel_distance(
            *inputs.sides(recipe),
            subsets=int(recipe.parameters["subsets"]),
            subset_size=int(recipe.parameters["subset_size"]),
            seed=PEER_SEED,
            paired=True,
        )
        return Computed(Number(result.estimate))

    def least_images(self, recipe: Recipe) -> int:
        """As many as a subset has."""
        return int(recipe.parameters.get("subset_size", 2))


KERNEL = Kernel()


def _kernel(*, name: str, backbone: str, output: str, parameters: Mapping[str, str | int], doc: str) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=KERNEL,
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


# SCORE: everything below but titles, units, digits and docs.
KID = _kernel(
    name="kid-inception2015-tf1-evalset",
    backbone="inception2015",
    output="pool_3",
    parameters={"items": "all"},
    doc="Kernel distance (squared maximum mean discrepancy, cubic polynomial kernel) of Inception-2015 pool_3: "
    "the unbiased estimate over all images, against the references of the evaluation set. Bińkowski et al. 2018, "
    "Demystifying MMD GANs.",
)
KID_SUBSETS = _kernel(
    name="kid-inception2015-tf1-evalset-subsets",
    backbone="inception2015",
    output="pool_3",
    parameters={"subsets": 100, "subset_size": 1000, "order": "RandomState(2020).choice"},
    doc="As kid-inception2015-tf1-evalset, as the mean over 100 random subsets of 1000 images: torch-fidelity's "
    "default, equal to it on the same features.",
)
KID_SCENES32 = _kernel(
    name="kid-scenes32-evalset",
    backbone="scenes32",
    output="features",
    parameters={"items": "all"},
    doc="Kernel distance of the 64 features of the embedded classifier, the unbiased estimate over all images, against "
    "the references of the evaluation set.",
)
