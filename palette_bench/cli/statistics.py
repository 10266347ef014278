"""``palette-bench statistics``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json


@click.command(
    epilog="""\b
Examples:
  palette-bench statistics imagenet-ctest10k --source /data/imagenet/val
  palette-bench statistics imagenet-coltran5k --source /data/imagenet/val --reference tfds10k-15k"""
)
@click.argument("name", metavar="SET")
@click.option("--source", type=ANY_PATH, help="Folder or .tar with the reference images.")
@click.option("--labels", type=ANY_PATH, help="Label file of the source, where one is needed to read it.")
@click.option("--reference", help="Which reference set.  [default: the protocol's own]")
@click.option("--allow-other-weights", is_flag=True, help="Accept weights of another digest: comparable with nothing.")
@click.option("--device", default="cpu", show_default=True, help="Where the network runs, e.g. cuda.")
@click.option("--batch-size", type=click.IntRange(1), help="Images a batch.")
@as_json
def command(
    name: str,
    source: Path | None,
    labels: Path | None,
    reference: str | None,
    *,
    allow_other_weights: bool,
    device: str,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Compute the feature statistics of a FID reference set, once.

    FID's reference is the full validation set, not the evaluation set. Interrupted, the same command continues.
    """
    from palette_bench.common.home import features_folder
    from palette_bench.prepare.frozen import open_set
    from palette_bench.score import statistics
    from palette_bench.score.backbones.base import load
    from palette_bench.score.features import FeatureStore
    from palette_bench.score.recipes import Metric
    from palette_bench.score.scoring import recipes_of

    opened = open_set(name)
    wanted = statistics.reference_name(opened, reference)
    recipe = next(r for r in recipes_of(opened) if r.metric is Metric.FRECHET)
    backbone = load(recipe.backbone, device=device, allow_other_weights=allow_other_weights)
    computed, path = statistics.compute(
        opened,
        wanted,
        backbone,
        recipe.output,
        source=source,
        labels=labels,
        store=FeatureStore(features_folder()),
        progress=console.progress(),
        batch_size=batch_size,
    )
    if as_json:
        console.print_json(
            {
                "set": name,
                "reference": wanted,
                "count": computed.moments.count,
                "reference_fingerprint": computed.reference_fingerprint,
                "data_digest": computed.data_digest,
                "backbone_fingerprint": computed.backbone_fingerprint,
                "file": str(path),
            }
        )
        return
    click.echo(f"{wanted}: {computed.moments.count} images, data {computed.data_digest[:16]}")
    click.echo(f"  {path}")
