"""Fréchet distance of feature distributions: FID under several networks, inputs and references."""

from palette_bench.score.metrics.frechet import frechet_distance, frechet_influence
from palette_bench.score.recipes.base import (
    Column,
    Computed,
    Direction,
    Inputs,
    ItemNumbers,
    Metric,
    Number,
    Recipe,
    Reference,
    Setting,
    Shown,
)

FEWEST_IMAGES = 2


class Frechet(Metric):
    """Heusel et al. 2017, TTUR; the matrix square root as a nuclear norm (``score.metrics.frechet``)."""

    name = "frechet"
    order = 0
    column = Column.FID
    citation = "heusel2017ttur"
    items = ItemNumbers.INFLUENCE
    judges_references = True

    def compute(self, recipe: Recipe, inputs: Inputs) -> Computed:
        """The distance, and the influence of every item on it."""
        features, references = inputs.sides(recipe)
        if recipe.needs_statistics:
            result = frechet_influence(features, inputs.statistics[recipe.name].moments, paired=False)
        else:
            result = frechet_influence(features, references, paired=True)
        number = Number(result.estimate, {"residual": result.distance.residual})
        return Computed(number, {f"{recipe.name}_influence": result.influence})

    def ideal(self, recipe: Recipe, inputs: Inputs) -> float | None:
        """Their distance to the reference set; a set is at distance 0 from itself."""
        if not recipe.needs_statistics:
            return 0.0
        features = inputs.references[recipe.backbone][recipe.output]
        return frechet_distance(features, inputs.statistics[recipe.name].moments).value

    def least_images(self, recipe: Recipe) -> int:
        """A covariance needs two."""
        return FEWEST_IMAGES

    def usual(self, recipe: Recipe, setting: Setting) -> bool:
        """That against the evaluation set is computed where there is no other: without a reference set, of groups."""
        if recipe.on_request or recipe.needs_statistics:
            return not recipe.on_request
        return not setting.reference_set or setting.grouped

    def item_columns(self, recipe: Recipe, samples: int) -> tuple[str, ...]:
        """Influences."""
        return (f"{recipe.name}_influence",)

    def item_title(self, recipe: Recipe, column: str) -> str:
        """Of the influence."""
        return f"influence on {recipe.title}"

    def item_digits(self, recipe: Recipe) -> int:
        """Two."""
        return 2


FRECHET = Frechet()


def _fid(
    *,
    name: str,
    backbone: str,
    output: str,
    reference: Reference,
    title: str,
    headline: bool,
    doc: str,
    column: Column | None = None,
    on_request: bool = False,
) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        metric=FRECHET,
        backbone=backbone,
        output=output,
        parameters={"reference": reference.value, "ddof": 1, "moments": "float64", "square_root": "exact"},
        title=title,
        unit="",
        direction=Direction.LOWER,
        digits=2,
        headline=headline,
        doc=doc,
        on_request=on_request,
        shown=Shown.TABLE,
        column=column,
    )


# SCORE: everything below but titles, units, digits and docs.
FID_INCEPTION_2015 = _fid(
    name="fid-inception2015-tf1",
    backbone="inception2015",
    output="pool_3",
    reference=Reference.REFERENCE_SET,
    title="FID",
    column=Column.FID,
    headline=True,
    doc="Fréchet distance of Inception-2015 pool_3 features, TensorFlow 1 resize, against the full validation set "
    "(50,000 images of ImageNet, "
    "36,500 of Places365), as the paper's second version states (C.5). docs/protocol.md 4.1.",
)
FID_INCEPTION_2015_EVALSET = _fid(
    name="fid-inception2015-tf1-evalset",
    backbone="inception2015",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (evaluation set)",
    column=Column.FID,
    headline=False,
    doc="As fid-inception2015-tf1, but against the references of the evaluation set itself: the true images score "
    "0, and the value is lower than "
    "against the full validation set. Many later papers report this one.",
)
FID_SCENES32 = _fid(
    name="fid-scenes32",
    backbone="scenes32",
    output="features",
    reference=Reference.REFERENCE_SET,
    title="FID",
    column=Column.FID,
    headline=True,
    doc="Fréchet distance of the 64 features of the embedded classifier, against the reference split of the "
    "embedded world.",
)
FID_SCENES32_EVALSET = _fid(
    name="fid-scenes32-evalset",
    backbone="scenes32",
    output="features",
    reference=Reference.EVALUATION_SET,
    title="FID (evaluation set)",
    column=Column.FID,
    headline=False,
    doc="As fid-scenes32, but against the references of the evaluation set itself: the true images score 0.",
)
FID_HALFPIXEL = _fid(
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
FID_HALFPIXEL_EVALSET = _fid(
    name="fid-inception2015-halfpixel-evalset",
    backbone="inception2015-halfpixel",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (half-pixel, evaluation set)",
    headline=False,
    doc="As fid-inception2015-halfpixel, against the references of the evaluation set: pytorch-fid of two folders.",
    on_request=True,
)
FID_CLEAN = _fid(
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
FID_CLEAN_EVALSET = _fid(
    name="fid-inception2015-clean-evalset",
    backbone="inception2015-clean",
    output="pool_3",
    reference=Reference.EVALUATION_SET,
    title="FID (clean, evaluation set)",
    headline=False,
    doc="As fid-inception2015-clean, against the references of the evaluation set: clean-fid of two folders.",
    on_request=True,
)
