"""``palette-bench verify``."""

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json, jobs


@click.command(epilog="Example: palette-bench verify imagenet-ctest10k")
@click.argument("name", metavar="SET")
@jobs
@as_json
def command(name: str, *, jobs: int | None, as_json: bool) -> None:
    """Recompute the digest of every reference and condition of a prepared set.

    Exit code 4 when one differs.
    """
    from palette_bench.artifacts.evalset import open_set
    from palette_bench.common.workers import default_jobs
    from palette_bench.prepare.verify import verify

    eval_set = open_set(name)
    found = verify(eval_set, jobs=jobs or default_jobs(), progress=console.progress())
    if as_json:
        console.print_json({"set": name, "ok": True, "images": found.images, "conditions": found.conditions})
        return
    click.echo(
        f"{name}: {found.images} references and {found.conditions} conditions of {found.tasks} tasks, all as frozen"
    )
