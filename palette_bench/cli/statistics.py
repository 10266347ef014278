"""``palette-bench statistics``."""

from pathlib import Path

import click

from palette_bench.cli import console, scoring_options
from palette_bench.cli.options import ANY_PATH, as_json, jobs


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
@click.option("--source", type=ANY_PATH, help="Folder or .tar with the reference images.")
@click.option("--labels", type=ANY_PATH, help="Label file of the source, where one is needed to read it.")
@click.option("--reference", help="Which reference set.  [default: the protocol's own]")
@click.option("--recipe", "recipe_name", help="The FID they are for.  [default: the headline FID]")
@click.option("--shard", metavar="I/N", help="Compute the features of part I of N alone, into --out.")
@click.option("--out", type=ANY_PATH, help="Folder of a part.")
@click.option("--part", "parts", multiple=True, type=ANY_PATH, help="Use the features of a part; give all of them.")
@click.option("--import", "npz", type=ANY_PATH, help="Take mu and sigma from an .npz instead of computing them.")
@click.option("--count", type=click.IntRange(2), help="How many images an imported file is of.")
@scoring_options.networks
@jobs
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
    allow_other_weights: bool,
    device: str,
    backend: str,
    bfloat16: bool,
    batch_size: int | None,
    jobs: int | None,
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
    from palette_bench.score import statistics
    from palette_bench.score.backbones.base import Backend, load
    from palette_bench.score.features import FeatureStore
    from palette_bench.score.recipes.catalogue import named
    from palette_bench.score.scoring import recipes_of

    eval_set = open_set(name)
    fitting = [r for r in recipes_of(eval_set) if r.needs_statistics]
    recipe = named(recipe_name) if recipe_name else fitting[0]
    if recipe not in fitting:
        raise UsageError(
            "this recipe needs no statistics", expected=", ".join(r.name for r in fitting), found=recipe.name
        )
    part = scoring_options.part_of(shard)
    place = scoring_options.place(device, jobs, part)
    backbone = load(
        recipe.backbone,
        device=place.device,
        allow_other_weights=allow_other_weights,
        backend=Backend(backend),
        bfloat16=bfloat16,
    )
    if npz is not None:
        if count is None:
            raise UsageError("an imported file does not say how many images it is of", expected="--count N")
        known_as, path = statistics.import_moments(eval_set, npz, backbone, recipe.output, count=count)
        if as_json:
            console.print_json({"set": name, "reference": known_as, "count": count, "file": str(path)})
            return
        click.echo(f"{known_as}: mu and sigma of {count} images, as {npz.name} has them")
        click.echo(f"  palette-bench score --set {name} --reference {known_as} ...")
        return

    wanted = statistics.reference_name(eval_set, reference)
    progress = place.progress()
    if part is not None:
        if out is None:
            raise UsageError("a part needs a folder to be written to", expected="--out DIR")
        store = FeatureStore(out, [features_folder()], adopt=True)
    else:
        store = FeatureStore(features_folder(), parts, adopt=bool(parts))
    my_part = part or place.ranks.part
    if not my_part.whole:
        with place.ranks.joined():
            done = statistics.compute_part(
                eval_set,
                wanted,
                backbone,
                recipe.output,
                my_part,
                source=source,
                labels=labels,
                store=store,
                progress=progress,
                batch_size=batch_size,
                workers=place.jobs,
            )
            place.ranks.wait()
        if part is not None:
            click.echo(f"part {part}: features of {done} images in {out}")
            click.echo("  when all parts are done: the same command without --shard, with --part DIR for each")
            return
        if not place.ranks.first:
            return
    computed, path_or_none = statistics.compute(
        eval_set,
        wanted,
        backbone,
        recipe.output,
        source=source,
        labels=labels,
        store=store,
        progress=progress,
        batch_size=batch_size,
        workers=place.jobs,
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
                "file": str(path_or_none),
            }
        )
        return
    click.echo(f"{wanted}: {computed.moments.count} images, data {computed.data_digest[:16]}")
    click.echo(f"  {path_or_none}")
