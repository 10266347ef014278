"""The tables of scenes32: the records that ship in the paper's layout, and others in their groups."""

from collections.abc import Sequence
from importlib.resources import as_file

from palette_bench.artifacts.record import ResultRecord, read_record
from palette_bench.common import resources
from palette_bench.common.errors import UsageError
from palette_bench.publish.tables.layout import layouts, records_needed
from palette_bench.publish.tables.paper import fill_layout
from palette_bench.publish.tables.table import Table

SCENES32 = "scenes32"


def scenes32_table(number: str, records: Sequence[ResultRecord] = ()) -> Table:
    """The table of that number, filled. Raises UsageError where scenes32 has none of this number."""
    known = layouts()
    layout = next((layout for layout in known if layout.number.lower() == number.lower()), None)
    if layout is None:
        raise UsageError(
            "scenes32 has no such table",
            expected=f"one of {', '.join(layout.number for layout in known)}",
            found=number,
        )
    shipped = {}
    for task, model, _ in records_needed([layout]):
        file = resources.leaderboards() / SCENES32 / "records" / task / f"{model}.json"
        if file.is_file():
            with as_file(file) as path:
                shipped[task, model] = read_record(path).record
    return fill_layout(layout, shipped, records)
