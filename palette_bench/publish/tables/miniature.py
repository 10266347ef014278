"""The miniature paper: the paper's tables filled on scenes32, and which of its claims hold there.

``leaderboards/scenes32/tables.toml`` says which model stands in which row, ``records/<task>/<model>.json`` are the
result records, and ``README.md`` is built from both: no number in it is written by hand.
"""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from palette_bench.artifacts.record import read_record
from palette_bench.common import resources
from palette_bench.common.errors import InputError
from palette_bench.publish.figures.account import Figure
from palette_bench.publish.figures.histogram import histogram
from palette_bench.publish.tables import markup as markdown
from palette_bench.publish.tables.ranking import SURE, Contender, Place, standings
from palette_bench.publish.tables.score import number_text
from palette_bench.score.recipes.base import Direction, Recipe
from palette_bench.score.recipes.catalogue import named

FID, IS, CA, PSNR = "fid-scenes32", "is-scenes32", "ca-scenes32", "psnr-rgb"
DIVERSITY = "diversity-msssim-2scales"
REFERENCE = "reference"
NEXT = "python -m benchmarks.miniature run --work FOLDER makes the records again"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what it is called, which baseline, how many samples an item its record has."""

    label: str
    model: str
    samples: int


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one task that are ranked together."""

    title: str
    task: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One table: its number in the paper, title, the recipes of its columns, its groups."""

    number: str
    title: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and its standard error; 0 where a recipe has none."""

    value: float
    error: float

    def minus(self, other: "Measured") -> "Measured":
        """The difference, errors joined as if independent: on the same items that overstates them."""
        return Measured(self.value - other.value, math.hypot(self.error, other.error))


@dataclass(frozen=True, slots=True)
class Record:
    """What the tables need of a result record."""

    model: str
    task: str
    samples: int
    result_id: str
    numbers: Mapping[str, Measured]
    histogram: tuple[int, ...] | None


def layouts() -> list[Layout]:
    """The tables of ``leaderboards/scenes32/tables.toml``, in their order."""
    return [
        Layout(
            table["number"],
            table["title"],
            tuple(table["columns"]),
            tuple(
                Group(
                    group.get("title", ""),
                    group["task"],
                    tuple(Row(row["label"], row["model"], row.get("samples", 1)) for row in group["rows"]),
                )
                for group in table["group"]
            ),
        )
        for table in _tables_file()["table"]
    ]


def _tables_file() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((resources.leaderboards() / "scenes32" / "tables.toml").read_text(encoding="utf-8"))


def wanted(tables: Sequence[Layout]) -> list[tuple[str, str, int]]:
    """Every (task, model, samples) that the tables need, each once, with the largest number of samples."""
    most: dict[tuple[str, str], int] = {}
    for table in tables:
        for group in table.groups:
            for row in group.rows:
                key = (group.task, row.model)
                most[key] = max(most.get(key, 1), row.samples)
    return [(task, model, samples) for (task, model), samples in most.items()]


def record_path(folder: Path, task: str, model: str) -> Path:
    """Where the record of a model on a task lies."""
    return folder / "records" / task / f"{model}.json"


def measured_record(path: Path, task: str, model: str) -> Record:
    """A record of the miniature. Raises InputError when it is missing or is of another task."""
    record = read_record(path).record
    if record.scored.task != task or record.name != model:
        raise InputError(
            "a record of the miniature is of another row",
            where=path,
            expected=f"{model} on {task}",
            found=f"{record.name} on {record.scored.task}",
            next_step=NEXT,
        )
    numbers = {name: Measured(metric.value, metric.standard_error or 0.0) for name, metric in record.metrics.items()}
    return Record(model, task, record.samples, record.result_id, numbers, record.histogram)


def read_records(folder: Path, tables: Sequence[Layout]) -> dict[tuple[str, str], Record]:
    """All records that the tables need, by task and model."""
    return {
        (task, model): measured_record(record_path(folder, task, model), task, model)
        for task, model, _ in wanted(tables)
    }


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    UNDECIDED = "not decided"
    FAILS = "does not hold"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper on this world: the verdict and the numbers that it rests on."""

    text: str
    verdict: Verdict
    evidence: str


Records = Mapping[tuple[str, str], Record]


def judged(difference: Measured) -> Verdict:
    """Whether a difference that should be positive is, beyond ``SURE`` joint errors."""
    if difference.value > SURE * difference.error:
        return Verdict.HOLDS
    return Verdict.FAILS if difference.value < -SURE * difference.error else Verdict.UNDECIDED


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    return max(verdicts, key=list(Verdict).index)


def ahead(better: Record, worse: Record, recipe: str) -> Measured:
    """By how much one record is ahead of another, in the direction that the recipe calls better."""
    difference = better.numbers[recipe].minus(worse.numbers[recipe])
    lower = named(recipe).direction is Direction.LOWER
    return Measured(-difference.value, difference.error) if lower else difference


def _shown(record: Record, recipe: str) -> str:
    number = record.numbers[recipe]
    return number_text(number.value, number.error or None, named(recipe).digits)


def _families(tables: Sequence[Layout]) -> Iterator[tuple[str, str, Group]]:
    """Every group that has both Palette and Regression: table, title and group."""
    for table in tables:
        models = {row.label for group in table.groups for row in group.rows}
        if {"Palette", "Regression"} <= models:
            for group in table.groups:
                yield table.number, group.title or table.title, group


def claims(tables: Sequence[Layout], records: Records) -> list[Claim]:
    """What the paper claims, judged on these records; one line a claim and task."""
    found: list[Claim] = []
    for _, title, group in _families(tables):
        by_label = {row.label: records[group.task, row.model] for row in group.rows}
        palette, regression = by_label["Palette"], by_label["Regression"]
        for recipe in (FID, IS, CA):
            name = named(recipe).title
            found.append(
                Claim(
                    f"{title}: Palette is ahead of regression in {name}",
                    judged(ahead(palette, regression, recipe)),
                    f"{_shown(palette, recipe)} against {_shown(regression, recipe)}",
                )
            )
            classical = {
                label: record
                for label, record in by_label.items()
                if label not in ("Palette", "Regression") and record.model != REFERENCE
            }
            best = max(classical, key=lambda label: ahead(classical[label], palette, recipe).value)
            found.append(
                Claim(
                    f"{title}: Palette is ahead of every classical method in {name}",
                    _worst([judged(ahead(palette, other, recipe)) for other in classical.values()]),
                    f"{_shown(palette, recipe)} against {_shown(classical[best], recipe)} of the best, {best}",
                )
            )
        found.append(
            Claim(
                f"{title}: regression is ahead of Palette in PSNR",
                judged(ahead(regression, palette, PSNR)),
                f"{_shown(regression, PSNR)} against {_shown(palette, PSNR)} dB",
            )
        )
    found += _jpeg_gap(records)
    found += _diversity(records)
    found += _architectures(records)
    found += _generalist(records)
    return found


def _jpeg_gap(records: Records) -> Iterator[Claim]:
    gaps = [
        ahead(
            records[f"jpeg-qf{quality}", "palette-scenes32-jpeg"],
            records[f"jpeg-qf{quality}", "regression-scenes32-jpeg"],
            FID,
        )
        for quality in (5, 10, 20)
    ]
    yield Claim(
        "JPEG: the gap between Palette and regression in FID grows as QF falls",
        _worst([judged(gaps[0].minus(gaps[1])), judged(gaps[1].minus(gaps[2]))]),
        ", ".join(
            f"QF {quality}: {number_text(gap.value, gap.error, 2)}"
            for quality, gap in zip((5, 10, 20), gaps, strict=True)
        ),
    )


def _diversity(records: Records) -> Iterator[Claim]:
    for task, family in (("colorize", "colorize"), ("inpaint-center", "inpaint")):
        squared = records[task, f"palette-scenes32-{family}"]
        absolute = records[task, f"palette-scenes32-{family}-l1"]
        yield Claim(
            f"{task}: samples of the L2 model are more diverse than those of the L1 model (lower pairwise MS-SSIM)",
            judged(absolute.numbers[DIVERSITY].minus(squared.numbers[DIVERSITY])),
            f"{_shown(squared, DIVERSITY)} against {_shown(absolute, DIVERSITY)}",
        )


def _architectures(records: Records) -> Iterator[Claim]:
    attention = records["inpaint-center", "palette-scenes32-inpaint"]
    for suffix, name in (
        ("local", "local self-attention"),
        ("more-blocks", "more ResNet blocks"),
        ("dilated", "dilated convolutions"),
    ):
        other = records["inpaint-center", f"palette-scenes32-inpaint-{suffix}"]
        yield Claim(
            f"Inpainting: global self-attention is ahead of {name} in FID",
            judged(ahead(attention, other, FID)),
            f"{_shown(attention, FID)} against {_shown(other, FID)}",
        )


def _generalist(records: Records) -> Iterator[Claim]:
    for task, family in (
        ("inpaint-center", "inpaint"),
        ("colorize", "colorize"),
        ("uncrop", "uncrop"),
        ("jpeg-qf5", "jpeg"),
    ):
        multitask, own = records[task, "palette-scenes32-multitask"], records[task, f"palette-scenes32-{family}"]
        regression = records[task, "regression-scenes32-multitask"]
        yield Claim(
            f"{task}: the generalist Palette is ahead of the generalist regression in FID",
            judged(ahead(multitask, regression, FID)),
            f"{_shown(multitask, FID)} against {_shown(regression, FID)}; the specialist has {_shown(own, FID)}",
        )


def render_table(table: Layout, records: Records) -> str:
    """A table in Markdown: best of a group in bold, second underlined, the reference row unranked."""
    recipes = [named(name) for name in table.columns]
    heads = [f"{recipe.title} {'↓' if recipe.direction is Direction.LOWER else '↑'}" for recipe in recipes]
    lines = [f"### Table {table.number}: {table.title}", "", *markdown.head_lines([""], heads)]
    for group in table.groups:
        if group.title:
            lines.append(markdown.line([f"*{markdown.escape(group.title)}*", *[""] * len(recipes)]))
        of_row = [(row.label, records[group.task, row.model]) for row in group.rows]
        columns = [_column([record for _, record in of_row], recipe) for recipe in recipes]
        for (label, record), cells in zip(of_row, zip(*columns, strict=True), strict=True):
            name = markdown.escape(label)
            lines.append(markdown.line([f"*{name}*" if record.model == REFERENCE else name, *cells]))
    return "\n".join(lines)


def _column(records: Sequence[Record], recipe: Recipe) -> list[str]:
    """The cells of one recipe, a hyphen where a record has no such number."""
    contenders = [
        Contender(record.numbers[recipe.name].value, record.numbers[recipe.name].error)
        if recipe.name in record.numbers and record.model != REFERENCE
        else None
        for record in records
    ]
    return [
        markdown.emphasised(_shown(record, recipe.name), Place.OTHER if standing is None else standing.place)
        if recipe.name in record.numbers
        else "-"
        for record, standing in zip(records, standings(contenders, recipe.direction), strict=True)
    ]


def render_claims(found: Sequence[Claim]) -> str:
    """The claims as a Markdown table, and how many of each verdict."""
    counts = {verdict: sum(claim.verdict is verdict for claim in found) for verdict in Verdict}
    lines = [
        f"Of {len(found)} statements {counts[Verdict.HOLDS]} hold, {counts[Verdict.UNDECIDED]} are not decided within "
        f"{SURE} joint standard errors, and {counts[Verdict.FAILS]} do not hold.",
        "",
        "| the paper's claim, on this world | | |",
        "|---|---|---|",
    ]
    lines += [f"| {claim.text} | {claim.verdict.value} | {claim.evidence} |" for claim in found]
    return "\n".join(lines)


_HEAD = """# The paper's tables on scenes32

scenes32 is the embedded world of palette-bench: drawn 32x32 scenes of 20 classes, judged by a network of its own
([docs/scenes32.md](../../docs/scenes32.md)). Numbers here compare with each other and with nothing in the paper.

Every row is a baseline of `baselines/`, run with `palette-bench predict` and scored with `palette-bench score` on the
2,000 scenes of the evaluation set; its record lies in `records/<task>/<model>.json`. Errors are standard errors
([docs/uncertainty.md](../../docs/uncertainty.md)). Palette and regression are the same small network (1.0 M parameters)
with equal training, a processor core's work of less than an hour: the cards say how much. They are far from converged,
and what the paper says of networks that are may fail here for that reason alone: it is reported as measured, and where
CA and IS go is looked into in [docs/scenes32.md](../../docs/scenes32.md#where-ca-and-is-go). Palette's sampler was
chosen on scenes of the train split (`python -m benchmarks.samplers`).

`python -m benchmarks.miniature` makes all of it again. This page is built by `palette-bench leaderboard build`, and
[regression.toml](regression.toml) guards every number ([docs/regression.md](../../docs/regression.md)).

Bold is best, underlined second; the reference row is not ranked.
"""


def render_manifest(folder: Path) -> str:
    """``regression.toml``: every number that ``README.md`` prints, for ``palette-bench regress``."""
    tables = layouts()
    records = read_records(folder, tables)
    lines = [
        "# Built by palette-bench leaderboard build from tables.toml and records/; keys: docs/regression.md.",
        "format = 1",
        'name = "scenes32"',
    ]
    for band in _tables_file().get("band", []):
        lines += ["", "[[band]]", *(f"{key} = {_toml(value)}" for key, value in band.items())]
    for table in tables:
        lines += ["", "[[table]]", f"number = {_toml(table.number)}", f"title = {_toml(table.title)}"]
        for group in table.groups:
            for row in group.rows:
                record = records[group.task, row.model]
                printed = ", ".join(
                    f"{name} = {_toml(f'{record.numbers[name].value:.{named(name).digits}f}')}"
                    for name in table.columns
                    if name in record.numbers
                )
                lines += [
                    "",
                    "[[table.row]]",
                    f"label = {_toml(f'{group.title}: {row.label}' if group.title else row.label)}",
                    f"record = {_toml(f'records/{group.task}/{row.model}.json')}",
                    f"model = {_toml(row.model)}",
                    f"printed = {{ {printed} }}",
                ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A TOML value: texts and numbers are written as JSON writes them."""
    return json.dumps(value, ensure_ascii=False)


def render_readme(folder: Path) -> str:
    """``README.md`` of the miniature, from its records."""
    tables = layouts()
    records = read_records(folder, tables)
    parts = [_HEAD, "## Which of the paper's claims hold here", "", render_claims(claims(tables, records)), ""]
    parts += ["## Tables", ""]
    for table in tables:
        parts += [render_table(table, records), ""]
    picture = f"![Histograms of pairwise MS-SSIM]({DIVERSITY_FIGURE}.png)"
    parts += ["## Figure 8: similarity of samples", "", picture, ""]
    parts += [
        f"- {task}, {label}: {_shown(records[task, model], DIVERSITY)}"
        for task, models in HISTOGRAMS
        for label, model in models
    ]
    return "\n".join(parts).rstrip() + "\n"


DIVERSITY_FIGURE = "diversity"
"""Figure 8, without suffix."""
HISTOGRAMS = (
    ("inpaint-center", (("L1", "palette-scenes32-inpaint-l1"), ("L2", "palette-scenes32-inpaint"))),
    ("colorize", (("L1", "palette-scenes32-colorize-l1"), ("L2", "palette-scenes32-colorize"))),
)
"""Figure 8: tasks, and the models whose samples are compared."""


def draw_diversity(folder: Path) -> Figure:
    """Figure 8: how similar pairs of samples of one input are. Raises UsageError without matplotlib."""
    shown = [(label, task, model) for task, models in HISTOGRAMS for label, model in models]
    records = [read_record(record_path(folder, task, model)) for _, task, model in shown]
    return histogram(records, [label for label, _, _ in shown])
