"""``palette-bench doctor``."""

from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json, compute
from palette_bench.common.errors import ExitCode

if TYPE_CHECKING:
    from palette_bench.score.engine import Compute


@click.command(
    epilog="""\b
Examples:
  palette-bench doctor
  palette-bench doctor --device cuda"""
)
@compute
@as_json
def command(compute: "Compute", *, as_json: bool) -> int:
    """Check that scoring would work here: versions, weights, decoder, disk, device; and estimate how fast.

    Exit code 0 only if it would.
    """
    from palette_bench.score import doctor

    findings = []
    for finding in doctor.examine(compute):
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
