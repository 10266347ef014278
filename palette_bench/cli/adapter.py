"""``palette-bench adapter``."""

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json


@click.group(epilog="Example: palette-bench adapter check classical-mirror")
def command() -> None:
    """Check that a model keeps the rules of an adapter (docs/models.md)."""


@command.command(
    epilog="""\b
Examples:
  palette-bench adapter check classical-mirror
  palette-bench adapter check package.module:Class --task inpaint-center
  palette-bench adapter check my-model/card.toml --size 256 --device cuda --json"""
)
@click.argument("model")
@click.option("--task", "task_name", help="The task it is tried on.  [default: its card's first, or uncrop]")
@click.option("--size", type=click.IntRange(8), help="Side of the pictures.  [default: its card's first size, or 32]")
@click.option("--device", default="cpu", show_default=True, help="Where the model runs, e.g. cuda.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds a call may take.  [default: 600]")
@as_json
def check(
    model: str, *, task_name: str | None, size: int | None, device: str, timeout: float | None, as_json: bool
) -> int:
    """Try MODEL on a few pictures and report on every rule; exit code 4 when one is broken.

    No prepared set is needed. The model runs in processes of its own whose home, current folder and folder of
    temporary files are watched.
    """
    from palette_bench.common.errors import ExitCode
    from palette_bench.predict.adapters.conformance import check_adapter
    from palette_bench.predict.card import find_card

    report = check_adapter(find_card(model), task_name=task_name, size=size, device=device, seconds=timeout)
    if as_json:
        console.print_json(
            {
                "model": report.model,
                "task": report.task,
                "size": report.size,
                "conforms": report.conforms,
                "findings": [
                    {"law": f.law.name.lower(), "title": f.law.value, "state": f.state.value, "text": f.text}
                    for f in report.findings
                ],
            }
        )
    else:
        click.echo(f"{report.model} on {report.task}, {report.size}x{report.size} pixels")
        for finding in report.findings:
            told = f": {finding.text}" if finding.text else ""
            click.echo(f"  {finding.state.value:<4}  {finding.law.value}{told}")
        click.echo("it keeps the rules" if report.conforms else "it breaks the rules")
    return int(ExitCode.OK if report.conforms else ExitCode.VERIFICATION)
