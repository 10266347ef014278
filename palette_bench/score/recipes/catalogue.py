"""Every recipe: ours in the order of tables, and those that other packages add.

Another package names its recipes by an entry point of the group ``palette_bench.recipes``: a `Recipe`, or a sequence
of them. Their fingerprints hold the name of the package, and none of them stands in a column beside ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from types import MappingProxyType

from palette_bench.common.errors import InputError, UsageError
from palette_bench.score.recipes import accuracy, diversity, fid, inception_score, kid, neighbours, perceptual, pixels
from palette_bench.score.recipes.base import EVERY_SET, Recipe
from palette_bench.score.recipes.pixels import Pixels

ITEM_COLUMNS = ("id", "label", "prediction_sha256", "known_region_change", "hole_share")
"""The columns of items.csv that are no recipe's."""

GROUP = "palette_bench.recipes"
"""The entry point group."""

# The order is that of the columns of items.csv and of the names in a record.
_PLACES = (
    fid.FID_INCEPTION_2015,
    inception_score.IS_BIASED_1SPLIT,
    perceptual.PD_POOL3_L2SQ,
    perceptual.PD_POOL3_L2,
    perceptual.PD_GOOGLENET_L2SQ,
    perceptual.PD_GOOGLENET_L2,
    fid.FID_INCEPTION_2015_EVALSET,
    inception_score.IS_UNBIASED_10SPLITS,
    *pixels.RECIPES,
    diversity.MS_SSIM_5,
    fid.FID_HALFPIXEL,
    fid.FID_HALFPIXEL_EVALSET,
    fid.FID_CLEAN,
    fid.FID_CLEAN_EVALSET,
    kid.KID,
    kid.KID_SUBSETS,
    *neighbours.INCEPTION_2015,
    inception_score.IS_BIASED_10SPLITS,
    inception_score.IS_UNBIASED_1SPLIT,
    diversity.LPIPS_ALEXNET,
)
_IMAGENET = (
    *_PLACES[:2],
    accuracy.CA_RESNET50,
    *_PLACES[2:],
    accuracy.CA_SQUEEZE,
    accuracy.CA_NATIVE,
    accuracy.CA_EFFICIENTNET,
)
_SCENES32 = (
    fid.FID_SCENES32,
    inception_score.IS_SCENES32,
    accuracy.CA_SCENES32,
    perceptual.PD_SCENES32,
    fid.FID_SCENES32_EVALSET,
    *pixels.RECIPES,
    diversity.MS_SSIM_2,
    kid.KID_SCENES32,
    *neighbours.SCENES32,
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in (*_IMAGENET, *_SCENES32)})
"""Every recipe of ours by name."""

_FAMILIES: Mapping[str, tuple[Recipe, ...]] = MappingProxyType(
    {"imagenet": _IMAGENET, "places": _PLACES, "scenes32": _SCENES32}
)


@lru_cache(maxsize=1)
def installed() -> Mapping[str, Recipe]:
    """Recipes of other packages by name; each knows whose it is.

    Raises InputError naming the entry point of a package whose recipes cannot be used.
    """
    recipes: dict[str, Recipe] = {}
    for point in metadata.entry_points(group=GROUP):
        provider = point.dist.name if point.dist is not None else point.module
        for recipe in _provided(point, provider):
            if (fault := _fault(recipe, recipes)) is not None:
                raise _unusable(point, provider, fault)
            recipes[recipe.name] = replace(recipe, provider=provider)
    return MappingProxyType(recipes)


def _provided(point: metadata.EntryPoint, provider: str) -> Sequence[Recipe]:
    # Somebody else's code may raise anything.
    try:
        value = point.load()
    except Exception as error:
        raise _unusable(point, provider, f"{type(error).__name__}: {error}") from error
    recipes = [value] if isinstance(value, Recipe) else value
    if not isinstance(recipes, Sequence) or not all(isinstance(recipe, Recipe) for recipe in recipes):
        raise _unusable(point, provider, f"a {type(value).__name__}")
    return recipes


def _fault(recipe: Recipe, others: Mapping[str, Recipe]) -> str | None:
    """Why a recipe of another package cannot stand among the rest."""
    if recipe.name in RECIPES or recipe.name in others:
        return f"a second recipe of the name {recipe.name}"
    if recipe.headline or recipe.column is not None:
        return f"{recipe.name} stands in a column of the paper, which is for this package's recipes alone"
    columns = set(ITEM_COLUMNS)
    for known in (*RECIPES.values(), *others.values()):
        columns.update(known.metric.item_columns(known, 2))
    if doubled := sorted(columns.intersection(recipe.metric.item_columns(recipe, 2))):
        return f"{recipe.name} writes the column {doubled[0]} of items.csv, which another recipe has"
    if unknown := sorted(recipe.sets - EVERY_SET):
        return f"{recipe.name} is for sets of the family {unknown[0]}, which does not exist"
    return None


def _unusable(point: metadata.EntryPoint, provider: str, found: str) -> InputError:
    return InputError(
        f"the recipes of the package {provider} cannot be used",
        where=f"entry point {point.name} = {point.value}",
        expected="a palette_bench.score.recipes.base.Recipe, or a sequence of them, of names of their own",
        found=found,
        next_step=f"correct the package, or uninstall it: pip uninstall {provider}",
    )


def every() -> Mapping[str, Recipe]:
    """Our recipes and those of other packages by name. Raises InputError as `installed`."""
    return {**RECIPES, **installed()}


def find(name: str) -> Recipe | None:
    """The recipe called ``name``, or None where neither this version nor a package that is installed has it."""
    return RECIPES.get(name) or installed().get(name)


def named(name: str) -> Recipe:
    """The recipe called ``name``; UsageError with all names otherwise."""
    recipe = find(name)
    if recipe is None:
        raise UsageError("there is no recipe of this name", expected=", ".join(every()), found=name)
    return recipe


def for_protocol(metric_family: str) -> tuple[Recipe, ...]:
    """Our recipes for a set of this family, those on request last: ``imagenet``, ``places`` or ``scenes32``.

    Places has no CA: its labels are not ImageNet's.
    """
    try:
        return _FAMILIES[metric_family]
    except KeyError as error:
        raise UsageError(
            "there are no recipes for this kind of set", expected=", ".join(_FAMILIES), found=metric_family
        ) from error


def for_scoring(metric_family: str) -> tuple[Recipe, ...]:
    """Our recipes for a set of this family, and those of other packages. Raises InputError as `installed`."""
    ours = for_protocol(metric_family)
    return (*ours, *(recipe for recipe in installed().values() if metric_family in recipe.sets))


def pixel_measures() -> Mapping[str, tuple[Pixels, str]]:
    """What the gate compares a prediction and its reference by: by output, with the recipe's fingerprint."""
    return {
        recipe.output: (recipe.metric, recipe.published_fingerprint)
        for recipe in every().values()
        if isinstance(recipe.metric, Pixels)
    }
