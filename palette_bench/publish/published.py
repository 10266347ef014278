"""Published numbers as data: rows of the paper's tables, digits as printed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.common import resources


class Column(StrEnum):
    """A column of the paper's tables."""

    FID = "fid"
    IS = "is"
    CA = "ca"
    PD = "pd"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One row of one table: the model's name and its printed numbers, as text, where there are any.

    ``reference`` is True for the rows of untouched images; ``transcribed`` columns are not in the paper's text layer.
    """

    paper: str
    table: str
    set_name: str
    tasks: tuple[str, ...]
    model: str
    printed: Mapping[Column, str]
    reference: bool
    transcribed: tuple[str, ...]


def published_rows(set_name: str, task: str) -> list[PublishedRow]:
    """The rows of all papers for a set and task, in the order of their tables, reference rows last."""
    rows = [row for row in all_published_rows() if row.set_name == set_name and task in row.tasks]
    return sorted(rows, key=lambda row: row.reference)


def all_published_rows() -> list[PublishedRow]:
    """Every row of every file in ``leaderboards/paper``."""
    rows: list[PublishedRow] = []
    for file in resources.toml_files(resources.leaderboards() / "paper"):
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        rows += [
            PublishedRow(
                paper=content["paper"],
                table=row["table"],
                set_name=row["set"],
                tasks=tuple(row["tasks"]),
                model=row["model"],
                printed={column: row[column.value] for column in Column if column.value in row},
                reference=row.get("reference", False),
                transcribed=tuple(row.get("transcribed", ())),
            )
            for row in content["row"]
        ]
    return rows
