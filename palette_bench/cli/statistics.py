"""``palette-bench statistics``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palette_bench.cli import console, options
from palette_bench.cli.options import ANY_PATH, as_json

if TYPE_CHECKING:
    from palette_bench.score.engine import Compute


@click.command(
    epilog="""\b
Examples:
  palette-bench statistics imagenet-ctest10k --source /data/imagenet/val
  palette-bench statistics imagenet-coltran5k --source /data/imagenet/val --reference tfds10k-15k
  palette-bench statistics imagenet-ctest10k --source /data/imagenet/val --shard 1/4 --out part-1
  palette-bench statistics imagenet-ctest10k --source /data/imagenet/val --part part-1 --part part-2
  palette-bench statistics imagenet-ctest10k --import stats.npz --recipe fid-inception2015-halfpixel --count 50000
  torchrun --nproc-per-node 2 -m palette_bench statistics imagenet-ctest10k --source /data/imagenet/val"""
)
@click.argument("name", metavar="SET")
@click.option(
    "--source", type=ANY_PATH, help="Folder or .tar with the reference images.  [default: palette-bench sources]"
)
@click.option("--labels", type=ANY_PATH, help="Label file of the source, where one is needed to read it.")
@click.option("--reference", help="Which reference set.  [default: the protocol's own]")
@click.option("--recipe", "recipe_name", help="The FID they are for.  [default: the headline FID]")
@click.option("--shard", metavar="I/N", help="Compute the features of part I of N alone, into --out.")
@click.option("--out", type=ANY_PATH, help="Folder of a part.")
@click.option("--part", "parts", multiple=True, type=ANY_PATH, help="Use the features of a part; give all of them.")
@click.option("--import", "npz", type=ANY_PATH, help="Take mu and sigma from an .npz instead of computing them.")
@click.option("--count", type=click.IntRange(2), help="How many images an imported file is of.")
@options.compute
@as_json
def command(
    name: str,
    source: Path | None,
    labels: Path | None,
    reference: str | None,
    recipe_name: str | None,
    shard: str | None,
    out: Path | None,
    parts: tuple[Path, ...],
    npz: Path | None,
    count: int | None,
    *,
    compute: "Compute",
    as_json: bool,
) -> None:
    """Compute the feature statistics of a FID reference set, once.

    FID's reference is the full validation set, not the evaluation set. Interrupted, the same command continues. Several
    machines can each do a part; under torchrun every rank does one.

    An imported file is named by its digest and used with `score --reference imported-...`: what images it is of, and
    how they were prepared, only its maker knows.
    """
    from palette_bench.artifacts.evalset import open_set
    from palette_bench.common.errors import UsageError
    from palette_bench.common.home import features_folder
    from palette_bench.score import ranks
    from palette_bench.score.engine import Engine
    from palette_bench.score.features import FeatureStore
    from palette_bench.score.scoring import statistics_recipe
    from palette_bench.score.statistics import reference_name

    eval_set = open_set(name)
    recipe = statistics_recipe(eval_set, recipe_name)
    part, group = options.part_of(shard), ranks.of_this_process()
    if npz is not None and count is None:
        raise UsageError("an imported file does not say how many images it is of", expected="--count N")
    if part is not None and npz is None and out is None:
        raise UsageError("a part needs a folder to be written to", expected="--out DIR")
    if part is not None and out is not None:
        store = FeatureStore(out, [features_folder()], adopt=True)
    else:
        store = FeatureStore(features_folder(), parts, adopt=bool(parts))
    engine = Engine(compute, store, options.progress())
    engine.load([recipe])
    if npz is not None and count is not None:
        known_as, path = engine.import_statistics(eval_set, npz, recipe, count=count)
        if as_json:
            console.print_json({"set": name, "reference": known_as, "count": count, "file": str(path)})
            return
        click.echo(f"{known_as}: mu and sigma of {count} images, as {npz.name} has them")
        click.echo(f"  palette-bench score --set {name} --reference {known_as} ...")
        return

    reference = reference_name(eval_set, reference)
    my_part = part or group.part
    if not my_part.whole:
        with group.joined():
            done = engine.compute_statistics_part(eval_set, reference, recipe, my_part, source=source, labels=labels)
            group.wait()
        if part is not None:
            click.echo(f"part {part}: features of {done} images in {out}")
            click.echo("  when all parts are done: the same command without --shard, with --part DIR for each")
            return
        if not group.first:
            return
    computed, path = engine.compute_statistics(eval_set, reference, recipe, source=source, labels=labels)
    if as_json:
        console.print_json(
            {
                "set": name,
                "reference": reference,
                "count": computed.moments.count,
                "reference_fingerprint": computed.reference_fingerprint,
                "data_digest": computed.data_digest,
                "backbone_fingerprint": computed.backbone_fingerprint,
                "file": str(path),
            }
        )
        return
    click.echo(f"{reference}: {computed.moments.count} images, data {computed.data_digest[:16]}")
    click.echo(f"  {path}")
