"""``palette-bench convert``."""

from pathlib import Path

import click

from palette_bench.cli.options import ANY_PATH


@click.command(
    epilog="""\b
Examples:
  palette-bench convert 256x256_diffusion_uncond.pt --from adm --out adm256.safetensors
  palette-bench train palette256-inpaint --start-from adm256.safetensors --source /data/imagenet/train --device cuda
  palette-bench convert 200_Network_ema.pth --from janspiry --out weights.safetensors"""
)
@click.argument("file", type=ANY_PATH)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["adm", "janspiry"]),
    required=True,
    help="adm: OpenAI's 256x256 models; janspiry: the port of Palette.",
)
@click.option("--out", type=ANY_PATH, required=True, help="The .safetensors file to write.")
@click.option("--half", is_flag=True, help="As float16, half the size.")
def command(file: Path, origin: str, out: Path, *, half: bool) -> None:
    """Convert a checkpoint of another project into weights for a card.

    Strict: every tensor of FILE is used or named as left out. A pickle that wants to run code is refused.
    """
    from palette_bench.predict.models.converters import Origin, convert_file

    kind = Origin(origin)
    written = convert_file(file, kind, out, half=half)
    click.echo(f"{out}: {written.parameters} numbers, sha256 {written.sha256}")
    for name, why in written.dropped.items():
        click.echo(f"left out: {name}: {why}")
    click.echo(f'for the card: [config] network = "{kind.network}", gamma_embedding = "{kind.gamma_embedding}"')
    if kind is Origin.ADM:
        click.echo("it has to be trained before it can do a task: palette-bench train CARD --start-from " + str(out))
