"""``palette-bench sets``."""

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json


@click.command(epilog="Example: palette-bench sets")
@as_json
def command(*, as_json: bool) -> None:
    """List the protocols that can be prepared, and the sets that are."""
    from palette_bench.artifacts.evalset import open_set, prepared_sets
    from palette_bench.common.errors import PaletteBenchError
    from palette_bench.common.home import sets_folder
    from palette_bench.protocol.definition import load_protocol, protocol_names

    protocols = [load_protocol(name) for name in protocol_names()]
    prepared: list[dict[str, object]] = []
    for name in prepared_sets():
        try:
            eval_set = open_set(name)
            prepared.append(
                {
                    "set": name,
                    "count": eval_set.count,
                    "status": eval_set.status.value,
                    "data_digest": eval_set.data_digest,
                }
            )
        except PaletteBenchError as error:
            prepared.append({"set": name, "count": None, "status": f"unusable: {error.what}", "data_digest": None})
    if as_json:
        definitions = [
            {"name": p.name, "version": p.version, "status": p.status.value, "fingerprint": p.fingerprint()}
            for p in protocols
        ]
        console.print_json({"protocols": definitions, "prepared": prepared, "folder": str(sets_folder())})
        return
    from rich.table import Table

    table = Table(title="Protocols", title_justify="left")
    for heading in ("name", "version", "status", "images", "what it is"):
        table.add_column(heading)
    for protocol in protocols:
        count = str(protocol.selection.count or "any")
        table.add_row(protocol.name, str(protocol.version), protocol.status.value, count, protocol.title)
    console.print_table(table)
    if not prepared:
        click.echo(f"No set is prepared in {sets_folder()}. Try: palette-bench prepare scenes32")
        return
    table = Table(title=f"Prepared in {sets_folder()}", title_justify="left")
    for heading in ("set", "images", "status", "data"):
        table.add_column(heading)
    for row in prepared:
        table.add_row(str(row["set"]), str(row["count"]), str(row["status"]), str(row["data_digest"])[:16])
    console.print_table(table)
