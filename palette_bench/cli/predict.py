"""``palette-bench predict``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json, jobs


@click.command(
    epilog="""\b
Examples:
  palette-bench predict --task uncrop --model classical-mirror --out preds/
  palette-bench predict --set imagenet-ctest10k --task colorize --model my-model/card.toml --out preds/ --device cuda
  palette-bench predict --task inpaint-center --model package.module:Class --out preds/ --samples 4 --seed 1
  palette-bench predict --task uncrop --model classical-mirror --out preds/ --shard 1/4
  torchrun --nproc-per-node 2 -m palette_bench predict --task uncrop --model classical-mirror --out preds/"""
)
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has the task]")
@click.option("--task", "task_name", required=True, help="What to predict, e.g. uncrop.")
@click.option(
    "--model", required=True, help="A baseline's name, a card.toml, package.module:Class, or an entry point's name."
)
@click.option("--out", type=ANY_PATH, required=True, help="Folder for the predictions; continued if begun before.")
@click.option("--samples", type=click.IntRange(1), default=1, show_default=True, help="Outputs for each item.")
@click.option("--seed", type=int, default=0, show_default=True, help="The run's seed; each output's derives from it.")
@click.option("--batch", type=click.IntRange(1), help="Inputs a call: moves no seed.  [default: the card's]")
@click.option("--device", default="cpu", show_default=True, help="Where the model runs, e.g. cuda.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds a batch may take.  [default: the card's]"
)
@click.option("--shard", metavar="I/N", help="Do part I of N; the last part to end finishes the folder.")
@jobs
@as_json
def command(
    set_name: str | None,
    task_name: str,
    model: str,
    out: Path,
    *,
    samples: int,
    seed: int,
    batch: int | None,
    device: str,
    timeout: float | None,
    shard: str | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Run a model over a task's conditions and write a folder of predictions.

    The model is given conditions and never a reference. In tasks with a hole the known pixels are put back. The seed
    of an output depends on --seed, the item and the sample's number alone, so batch size, parts and ranks do not
    change it. Killed at any moment, the same command continues, and the folder ends up the same.
    """
    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.common.errors import UsageError
    from palette_bench.common.parts import parse_part, rank_of_this_process
    from palette_bench.common.progress import Silent
    from palette_bench.common.workers import default_jobs
    from palette_bench.predict.card import find_card
    from palette_bench.predict.run import Options, predict

    rank = rank_of_this_process()
    if shard is not None and not rank.part.whole:
        raise UsageError(
            "torchrun divides the work already", expected="torchrun or --shard", found="both", next_step="leave one out"
        )
    part = rank.part if shard is None else parse_part(shard)
    card = find_card(model)
    eval_set = open_only_set(set_name, task_name)
    done = predict(
        eval_set,
        task_name,
        card,
        out,
        Options(
            seed=seed,
            samples=samples,
            batch=batch,
            device=f"cuda:{rank.local}" if device == "cuda" and not rank.part.whole else device,
            jobs=jobs or max(default_jobs() // rank.local_count, 1),
            part=part,
            seconds=timeout,
        ),
        progress=console.progress() if rank.part.number == 1 else Silent(),
    )
    if not rank.part.whole and not done.finisher:
        return
    if as_json:
        console.print_json(
            {
                "folder": str(done.folder),
                "made": done.made,
                "kept": done.kept,
                "missing": done.missing,
                "predictions": done.described,
            }
        )
        return
    if done.described is None:
        click.echo(f"part {part} is done: {done.made} images made, {done.kept} kept; {done.missing} are left to others")
        return
    total = eval_set.count * samples
    click.echo(f"{out}: {total} images of {card.title} for {task_name} on {eval_set.set_id}, {done.made} made now")
    click.echo(f"  tree {done.described['tree_sha256']}")
    click.echo(f"then: palette-bench score --set {eval_set.set_id} --task {task_name} --preds {out}")
