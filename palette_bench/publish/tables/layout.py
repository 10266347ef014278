"""The tables of the miniature paper: which model stands in which row, as ``leaderboards/scenes32/tables.toml`` says."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palette_bench.common import resources

REFERENCE = "reference"
"""The model of rows of untouched images."""


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """One row: what it is called, which baseline, how many samples per item its record has."""

    label: str
    model: str
    samples: int


@dataclass(frozen=True, slots=True)
class LayoutGroup:
    """Rows of one task that are ranked together."""

    title: str
    task: str
    rows: tuple[LayoutRow, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One table: its number in the paper, title, the recipes of its columns, its groups."""

    number: str
    title: str
    columns: tuple[str, ...]
    groups: tuple[LayoutGroup, ...]


def layouts() -> list[Layout]:
    """The tables of ``leaderboards/scenes32/tables.toml``, in their order."""
    return [
        Layout(
            table["number"],
            table["title"],
            tuple(table["columns"]),
            tuple(
                LayoutGroup(
                    group.get("title", ""),
                    group["task"],
                    tuple(LayoutRow(row["label"], row["model"], row.get("samples", 1)) for row in group["rows"]),
                )
                for group in table["group"]
            ),
        )
        for table in tables_file()["table"]
    ]


def tables_file() -> dict[str, list[dict[str, Any]]]:
    """The file as it is."""
    return tomllib.loads((resources.leaderboards() / "scenes32" / "tables.toml").read_text(encoding="utf-8"))


def records_needed(tables: Sequence[Layout]) -> list[tuple[str, str, int]]:
    """Every (task, model, samples) that the tables need, each once, with the largest number of samples."""
    most: dict[tuple[str, str], int] = {}
    for table in tables:
        for group in table.groups:
            for row in group.rows:
                key = (group.task, row.model)
                most[key] = max(most.get(key, 1), row.samples)
    return [(task, model, samples) for (task, model), samples in most.items()]
