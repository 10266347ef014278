"""Records as a score of photographs under the published definitions would write them."""

from collections.abc import Mapping
from dataclasses import replace

from palette_bench.artifacts.record import MetricValue, ResultRecord, ScoredReference, ScoredSet, signature
from palette_bench.common.canonical import fingerprint
from palette_bench.protocol.definition import GeometryName, load_protocol
from palette_bench.score.backbones.base import SPECS
from palette_bench.score.recipes.base import Direction, Reference
from palette_bench.score.recipes.catalogue import named

FID, IS = "fid-inception2015-tf1", "is-inception2015-biased-1split"
CA, PD = "ca-resnet50v1-crop224", "pd-inception2015-pool3-l2sq"
GOOD: Mapping[str, tuple[float, float | None]] = {FID: (1.5, 0.06), IS: (300.0, 1.4), CA: (90.0, 0.46), PD: (9.0, 0.4)}
"""Better than every printed row."""

EVIL = (
    "=1+1",
    "@x",
    "+cmd|' /C calc'!A0",
    "-2",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[red]bold[/red] [link](https://example.com)",
    "a|b *c* _d_ `e` ~~f~~ www.example.com",
    "50% of $x^2_{\\alpha}$ & #1 ~ {",
    "}\\end{tabular}\\input{/etc/passwd}%",
    "line\nbreak\tand\x1b[31mcolour\u202eturned",
    "中文 Ωmega é ²",
)
"""Names of models that mean something to a spreadsheet, browser, terminal, Markdown or TeX."""


def photo_record(
    name: str = "mine",
    *,
    set_name: str = "imagenet-ctest10k",
    task: str = "uncrop",
    values: Mapping[str, tuple[float, float | None]] = GOOD,
    variant: GeometryName | None = None,
    data: str = "d",
    reference_data: str = "2",
) -> ResultRecord:
    """A record with a value and error a recipe; ``data`` are the digits of its data digests."""
    protocol = load_protocol(set_name).with_variant(geometry=variant)
    assert protocol.default_reference is not None
    scored = ScoredSet(
        set_id=protocol.set_id,
        name=protocol.name,
        version=protocol.version,
        status=protocol.status.value,
        variant=protocol.variant,
        fingerprint=protocol.fingerprint(),
        data_digest=data * 64,
        count=protocol.selection.count or 0,
        size=protocol.size,
        geometry=protocol.geometry.value,
        task=task,
        task_fingerprint=protocol.task_fingerprint(task),
    )
    reference = ScoredReference(
        name=protocol.default_reference,
        fingerprint=protocol.reference_fingerprint(protocol.default_reference),
        data_digest=reference_data * 64,
        count=50_000,
    )
    metrics = {
        recipe: _metric(recipe, value, error, scored, reference)
        for recipe, (value, error) in values.items()
        if set_name != "places10k" or recipe != CA
    }
    return ResultRecord(
        name=name,
        scored=scored,
        reference=reference,
        predictions_digest=fingerprint(name),
        tree_sha256="4" * 64,
        samples=1,
        lossy=0,
        known_change=0.0,
        metrics=metrics,
        refused={},
        warnings=(),
        incomparable=(),
        environment={"palette-bench": "0.1.0"},
    )


def _metric(name: str, value: float, error: float | None, scored: ScoredSet, reference: ScoredReference) -> MetricValue:
    recipe = named(name)
    own = recipe.published_fingerprint
    against = recipe.parameters.get("reference")
    if against == Reference.REFERENCE_SET.value:
        own = fingerprint([own, reference.fingerprint, reference.data_digest])
    elif against == Reference.EVALUATION_SET.value:
        own = fingerprint([own, scored.data_digest])
    weights = SPECS[recipe.backbone].weights
    sha256 = "" if weights is None else weights.sha256
    return MetricValue(
        recipe=name,
        title=recipe.title,
        unit=recipe.unit,
        lower_is_better=recipe.direction is Direction.LOWER,
        headline=recipe.headline,
        value=value,
        standard_error=error,
        low=None,
        high=None,
        reference_value=None,
        fingerprint=own,
        backbone=recipe.backbone,
        weights_sha256=sha256,
        canonical=True,
        signature=signature(
            recipe=name,
            scored=scored,
            reference=reference.name if recipe.reference is not None else None,
            backbone=recipe.backbone,
            weights_sha256=sha256,
            canonical=True,
        ),
    )


def with_metric(record: ResultRecord, recipe: str, **changes: object) -> ResultRecord:
    """The record with one metric changed."""
    changed = replace(record.metrics[recipe], **changes)  # type: ignore[arg-type]
    return replace(record, metrics={**record.metrics, recipe: changed})
