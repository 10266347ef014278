"""``palette-bench doctor``."""

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json, jobs
from palette_bench.common.errors import ExitCode


@click.command(
    epilog="""\b
Examples:
  palette-bench doctor
  palette-bench doctor --device cuda"""
)
@click.option("--device", default="cpu", show_default=True, help="Where the networks would run, e.g. cuda.")
@click.option("--backend", type=click.Choice(["auto", "torch", "onnx"]), default="auto", show_default=True)
@jobs
@as_json
def command(device: str, backend: str, jobs: int | None, *, as_json: bool) -> int:
    """Check that scoring would work here: versions, weights, decoder, disk, device; and estimate how fast.

    Exit code 0 only if it would.
    """
    from palette_bench.score import doctor
    from palette_bench.score.backbones.base import Backend

    findings = []
    for finding in doctor.examine(device=device, backend=Backend(backend), jobs=jobs):
        findings.append(finding)
        if not as_json:
            mark = {doctor.State.GOOD: "ok   ", doctor.State.REMARK: "note ", doctor.State.WRONG: "WRONG"}[
                finding.state
            ]
            click.echo(f"{mark} {finding.subject}: {finding.text}")
            if finding.next_step:
                click.echo(f"      {finding.next_step}")
    wrong = [finding for finding in findings if finding.state is doctor.State.WRONG]
    if as_json:
        rows = [{"subject": f.subject, "state": f.state.value, "text": f.text, "next": f.next_step} for f in findings]
        console.print_json({"works": not wrong, "findings": rows})
    elif wrong:
        click.echo(f"scoring would not work: {len(wrong)} of {len(findings)} checks failed")
    else:
        click.echo("scoring would work")
    return int(ExitCode.INPUT if wrong else ExitCode.OK)
