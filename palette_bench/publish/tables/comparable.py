"""What keeps a number out of a ranking: decided by fingerprints and declarations, never by titles."""

from collections.abc import Collection

from palette_bench.artifacts.record import MetricValue, ResultRecord, ScoredSet
from palette_bench.protocol.definition import GeometryName, MaskSource, Protocol, Status, load_protocol
from palette_bench.score.recipes.base import Column, Recipe, incomparable, number_fingerprint
from palette_bench.score.recipes.catalogue import RECIPES
from palette_bench.score.scoring import RECONSTRUCTION_WARNING, clamped_warnings

RECONSTRUCTION = "the paper's list of images was never published: this set is a reconstruction"


def declared_protocol(set_name: str, variant: tuple[str, ...]) -> Protocol:
    """The definition of a set in the variant that a published table declares."""
    geometry = [GeometryName(word) for word in variant if word in set(GeometryName)]
    masks = MaskSource.RELEASED if f"{MaskSource.RELEASED}-masks" in variant else None
    return load_protocol(set_name).with_variant(geometry=geometry[0] if geometry else None, masks=masks)


def variant_reasons(scored: ScoredSet, declared: tuple[str, ...] = ()) -> list[str]:
    """Another variant of the set than the declared one."""
    if scored.variant == declared:
        return []
    of = f", not {', '.join(declared)}" if declared else ""
    return [f"another variant of the set: {', '.join(scored.variant) or 'the default'}{of}"]


def reconstruction_reasons(scored: ScoredSet) -> list[str]:
    """Images that are not the paper's."""
    return [RECONSTRUCTION] if scored.status == Status.RECONSTRUCTION else []


def own_reasons(metric: MetricValue) -> list[str]:
    """Why a number compares with nothing at all."""
    reasons = incomparable(metric.backbone, canonical=metric.canonical, precision=metric.precision)
    return [f"not comparable with anything: {reason}" for reason in reasons]


def is_of_evaluation_set(recipe: str) -> bool:
    """Whether a recipe is a FID against the references of the evaluation set."""
    known = RECIPES.get(recipe)
    return known is not None and known.metric.column is Column.FID and not known.needs_statistics


def recipe_reasons(recipe: str) -> list[str]:
    """Another recipe than the column's."""
    if is_of_evaluation_set(recipe):
        return ["another recipe: FID against the references of the evaluation set, not the full validation set"]
    return [f"another recipe: {recipe}"]


def sample_notes(record: ResultRecord) -> list[str]:
    """A note that metrics use the first of several samples per item. Does not affect ranking."""
    return [f"the first of {record.samples} samples per item"] if record.samples > 1 else []


def remarks(record: ResultRecord, recipes: Collection[str]) -> list[str]:
    """What a reader should know of a record besides: its samples, and the warnings of its score.

    Warnings of numbers other than those of ``recipes`` are left out, and that a set is a reconstruction is a reason
    where it matters.
    """
    return sample_notes(record) + warnings(record, recipes)


def warnings(record: ResultRecord, recipes: Collection[str]) -> list[str]:
    """The warnings of a score that concern one of ``recipes`` or all."""
    of_recipes = clamped_warnings({name: metric.details for name, metric in record.metrics.items()})
    elsewhere = {text for name, text in of_recipes.items() if name not in recipes}
    return [text for text in record.warnings if text not in elsewhere and text != RECONSTRUCTION_WARNING]


def set_reasons(scored: ScoredSet, protocol: Protocol, *, with_published: bool) -> list[str]:
    """Why a record is not of this set and task as they are defined; empty when it is.

    ``with_published`` says that the other rows are printed numbers of the original images.
    """
    reasons = variant_reasons(scored, protocol.variant)
    if with_published:
        reasons += reconstruction_reasons(scored)
    if reasons:
        return reasons
    if scored.version != protocol.version:
        return [f"version {scored.version} of the set, not {protocol.version}"]
    if scored.fingerprint != protocol.fingerprint():
        return ["another definition of the set under its name"]
    if scored.task_fingerprint != protocol.task_fingerprint(scored.task):
        return ["another definition of the task under its name"]
    return []


def metric_reasons(record: ResultRecord, metric: MetricValue, recipe: Recipe, protocol: Protocol) -> list[str]:
    """Why a number is not of this recipe on a set of this definition; empty when it is."""
    reasons = own_reasons(metric)
    if metric.recipe != recipe.name:
        return [*reasons, *recipe_reasons(metric.recipe)]
    if reasons:
        return reasons
    reference = None
    if recipe.needs_statistics:
        name = protocol.default_reference
        if name is None or record.reference is None:
            return ["the reference set of FID is not known"]
        wanted = protocol.reference_fingerprint(name)
        if record.reference.fingerprint != wanted:
            which = record.reference.name if record.reference.name != name else f"another definition of {name}"
            return [f"another reference set of FID: {which}, not {name}"]
        reference = wanted, record.reference.data_digest
    expected = number_fingerprint(recipe, recipe.published_network, reference, record.scored.data_digest)
    if metric.fingerprint != expected:
        return [f"another definition of {recipe.name} under its name"]
    return []
