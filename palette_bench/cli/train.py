"""``palette-bench train``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH


@click.command(
    epilog="""\b
Examples:
  palette-bench train palette-scenes32-uncrop --out runs/uncrop
  palette-bench train my/card.toml --source /data/imagenet/train --device cuda --microbatch 8 --workers 12
  torchrun --standalone --nproc-per-node 8 -m palette_bench train palette256-inpaint --source ... --device cuda
  palette-bench train palette-scenes32-uncrop --out runs/uncrop --export weights.safetensors --half"""
)
@click.argument("card", metavar="CARD")
@click.option("--out", type=ANY_PATH, help="Folder of the run.  [default: palette-bench-runs/<card>]")
@click.option("--source", type=ANY_PATH, help="Folder or .tar with the training images; scenes32 needs none.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be used, and name them.")
@click.option("--start-from", type=ANY_PATH, help="Weights (.safetensors) to begin with, in place of random ones.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda, cuda:1.")
@click.option("--microbatch", type=click.IntRange(1), help="Images at a time.  [default: all of a rank's batch]")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that draw examples.")
@click.option("--stop-at", type=click.IntRange(0), help="End early at this step, to be continued later.")
@click.option("--checkpoint-every", type=click.IntRange(1), default=5000, show_default=True, help="Steps.")
@click.option("--keep", type=click.IntRange(1), default=2, show_default=True, help="Checkpoints to keep.")
@click.option("--keep-every", type=click.IntRange(0), default=0, help="Keep those at multiples of this step too.")
@click.option("--log-every", type=click.IntRange(1), default=100, show_default=True, help="Steps a line of metrics.")
@click.option("--samples-every", type=click.IntRange(0), default=0, help="Steps between pictures of samples; 0: none.")
@click.option(
    "--checkpoint-minutes", type=float, default=0.0, help="Save after so many minutes too; 0: by steps alone."
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the network with torch.compile first.")
@click.option("--bf16", is_flag=True, help="Compute in bfloat16 on a processor too; a GPU always does.")
@click.option("--recompute-above", type=click.IntRange(1), help="Save memory: keep no activations of wider sides.")
@click.option("--keep-scenes", is_flag=True, help="Draw scenes32 once, into the home folder, for several trainings.")
@click.option("--tensorboard", is_flag=True, help="Write event files too (extra: tensorboard).")
@click.option("--export", type=ANY_PATH, help="Only write the averaged weights of the last checkpoint to this file.")
@click.option("--half", is_flag=True, help="With --export: as float16, half the size.")
def command(
    card: str,
    out: Path | None,
    source: Path | None,
    start_from: Path | None,
    device: str,
    microbatch: int | None,
    workers: int,
    stop_at: int | None,
    checkpoint_every: int,
    keep: int,
    keep_every: int,
    log_every: int,
    samples_every: int,
    checkpoint_minutes: float,
    *,
    skip_bad: bool,
    compiled: bool,
    bf16: bool,
    recompute_above: int | None,
    keep_scenes: bool,
    tensorboard: bool,
    export: Path | None,
    half: bool,
) -> None:
    """Train the model of a card: Palette or its regression twin.

    CARD is a baseline's name or a card.toml with a [training] table. Interrupted (Ctrl-C, SIGTERM, or killed), the same
    command goes on from the last checkpoint; the stream of examples does not depend on that, nor on ranks and
    microbatches.
    """
    from palette_bench.common.errors import ExitCode, InputError
    from palette_bench.common.home import kept_scenes_folder
    from palette_bench.common.workers import default_jobs
    from palette_bench.predict.card import find_card
    from palette_bench.predict.training.export import export_weights
    from palette_bench.predict.training.looking import looked_over
    from palette_bench.predict.training.loop import Options, train
    from palette_bench.predict.training.recipe import check_runs_as_trained, read_recipe
    from palette_bench.predict.training.sources import open_training_source

    found = find_card(card)
    command_of = found.training.get("command")
    if not found.training or isinstance(command_of, str):
        raise InputError(
            "this card has no recipe for this trainer",
            where=found.folder or card,
            expected="a [training] table with tasks and a network",
            found=f"fitted by another command: {command_of}" if command_of else "no [training] table",
            next_step="palette-bench baselines shows which models are there once trained",
        )
    where = (found.folder or Path(card)) / "card.toml"
    recipe = read_recipe(found.training, where=where)
    check_runs_as_trained(recipe, found)
    folder = out or Path("palette-bench-runs") / found.name
    if export is not None:
        written = export_weights(folder, export, half=half)
        click.echo(f"{export}: {written.parameters} numbers of step {written.step}, sha256 {written.sha256}")
        return
    options = Options(
        device=device,
        microbatch=microbatch or 0,
        workers=workers,
        stop_at=stop_at,
        checkpoint_every=checkpoint_every,
        checkpoint_minutes=checkpoint_minutes,
        keep=keep,
        keep_every=keep_every,
        log_every=log_every,
        samples_every=samples_every,
        compile=compiled,
        bfloat16=bf16,
        recompute_above=recompute_above,
        tensorboard=tensorboard,
        initial=start_from,
    )
    training_source = open_training_source(recipe, source, kept_scenes=kept_scenes_folder() if keep_scenes else None)
    training_source = looked_over(
        training_source, folder, skip_bad=skip_bad, jobs=default_jobs(), progress=console.progress()
    )
    trained = train(recipe, training_source, folder, options, progress=console.progress())
    click.echo(f"{folder}: step {trained.step} of {recipe.steps}")
    if trained.interrupted:
        raise click.exceptions.Exit(int(ExitCode.INTERRUPTED))
    if trained.finished:
        click.echo(f"next: palette-bench train {card} --out {folder} --export weights.safetensors")
