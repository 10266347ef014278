"""``palette-bench panorama``."""

from pathlib import Path

import click

from palette_bench.cli import console
from palette_bench.cli.options import ANY_PATH, as_json


@click.command(
    epilog="""\b
Examples:
  palette-bench panorama --model palette-scenes32-uncrop --item scene-00007 --out panorama.png
  palette-bench panorama --set places10k --model my-model/card.toml --item ID --item ID --out figure.png --device cuda
  palette-bench panorama --model classical-mirror --item scene-00007 --side right --width 3 --out right.png"""
)
@click.option("--set", "set_name", help="A prepared set.  [default: the only one that has uncropping]")
@click.option("--model", required=True, help="A baseline's name, a card.toml, package.module:Class, or an entry point.")
@click.option(
    "--item", "items", multiple=True, required=True, help="The image to begin with; several make as many rows."
)
@click.option("--out", type=ANY_PATH, required=True, help="The PNG file; its seeds go into a .json beside it.")
@click.option("--width", type=click.IntRange(2, 101), default=5, show_default=True, help="In widths of the image.")
@click.option("--side", type=click.Choice(["both", "right", "left"]), default="both", show_default=True, help="Where.")
@click.option("--seed", type=int, default=0, show_default=True, help="The run's seed; each step's derives from it.")
@click.option("--device", default="cpu", show_default=True, help="Where the model runs, e.g. cuda.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds a step may take.  [default: the card's]"
)
@as_json
def command(
    set_name: str | None,
    model: str,
    items: tuple[str, ...],
    out: Path,
    *,
    width: int,
    side: str,
    seed: int,
    device: str,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Make an image wider by uncropping it again and again, half an image a step.

    Each step sees the outermost half of what there is; pixels that are there are never changed. The paper's Figure 2
    is --width 5: four steps to the right, four to the left.
    """
    import numpy as np

    from palette_bench.artifacts.evalset import open_only_set
    from palette_bench.common.errors import UsageError
    from palette_bench.common.files import write_bytes, write_json
    from palette_bench.images.decode import encode_png
    from palette_bench.predict.card import find_card
    from palette_bench.predict.models.panorama import Plan, Side, make_panoramas

    if out.suffix.lower() != ".png":
        raise UsageError("a panorama is written as PNG", where=out, expected="--out with a name in .png")
    sides = (Side.RIGHT, Side.LEFT) if side == "both" else (Side(side),)
    plan = Plan(items=items, width=width, sides=sides, seed=seed, device=device, seconds=timeout)
    eval_set = open_only_set(set_name, Side.RIGHT.task.name)
    made = make_panoramas(eval_set, find_card(model), plan, progress=console.progress())
    rows = np.concatenate(list(made.images.values()))
    write_bytes(out, encode_png(rows))
    write_json(out.with_suffix(".json"), made.described)
    if as_json:
        console.print_json(made.described)
        return
    click.echo(f"{out}: {rows.shape[1]}x{rows.shape[0]} pixels, {len(made.images)} of {eval_set.set_id}")
    click.echo(f"{out.with_suffix('.json')}: seeds and digests")
