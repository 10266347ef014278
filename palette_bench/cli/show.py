"""``palette-bench show``."""

from pathlib import Path

import click

from palette_bench.cli.options import ANY_PATH


@click.command(epilog="Example: palette-bench show imagenet-ctest10k --out sheet.png")
@click.argument("name", metavar="SET")
@click.option("--out", type=ANY_PATH, help="The PNG to write.  [default: SET.png here]")
@click.option("--rows", type=click.IntRange(1, 64), default=6, show_default=True, help="Items to draw.")
def command(name: str, out: Path | None, rows: int) -> None:
    """Draw a contact sheet: references and the condition of every task, holes in magenta."""
    import io

    from palette_bench.artifacts.evalset import open_set
    from palette_bench.common.files import write_bytes
    from palette_bench.prepare.contact_sheet import contact_sheet

    sheet = contact_sheet(open_set(name), rows=rows)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path = out or Path(f"{name}.png")
    write_bytes(path, buffer.getvalue())
    click.echo(f"{path}: {sheet.width}x{sheet.height}")
