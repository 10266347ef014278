"""The miniature paper: the paper's tables filled on scenes32, and which of its claims hold there.

``leaderboards/scenes32/tables.toml`` says which model stands in which row, ``records/<task>/<model>.json`` are the
result records, and ``README.md`` is built from both: no number in it is written by hand.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from palette_bench.artifacts.record import ResultRecord, read_record
from palette_bench.common.errors import InputError
from palette_bench.publish.figures.account import Figure
from palette_bench.publish.figures.histogram import histogram
from palette_bench.publish.tables.layout import REFERENCE, Layout, LayoutGroup, layouts, records_needed, tables_file
from palette_bench.publish.tables.paper import fill_layout
from palette_bench.publish.tables.ranking import SURE
from palette_bench.publish.tables.render import markdown, markdown_notes
from palette_bench.publish.tables.table import number_text
from palette_bench.score.recipes.base import Direction
from palette_bench.score.recipes.catalogue import named

FID, IS, CA, PSNR = "fid-scenes32", "is-scenes32", "ca-scenes32", "psnr-rgb"
DIVERSITY = "diversity-msssim-2scales"
NEXT = "python -m benchmarks.miniature run --work FOLDER makes the records again"


Records = Mapping[tuple[str, str], ResultRecord]
"""By task and model."""


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much a number is better than another, and the standard error of that; 0 where a recipe has none."""

    value: float
    error: float

    def minus(self, other: "Lead") -> "Lead":
        """The difference, errors joined as if independent: on the same items that overstates them."""
        return Lead(self.value - other.value, math.hypot(self.error, other.error))


def record_path(folder: Path, task: str, model: str) -> Path:
    """Where the record of a model on a task lies."""
    return folder / "records" / task / f"{model}.json"


def checked_record(path: Path, task: str, model: str) -> ResultRecord:
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
    return record


def read_records(folder: Path, tables: Sequence[Layout]) -> dict[tuple[str, str], ResultRecord]:
    """All records that the tables need, by task and model."""
    return {
        (task, model): checked_record(record_path(folder, task, model), task, model)
        for task, model, _ in records_needed(tables)
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


def judged(lead: Lead) -> Verdict:
    """Whether a difference that should be positive is, beyond ``SURE`` joint errors."""
    if lead.value > SURE * lead.error:
        return Verdict.HOLDS
    return Verdict.FAILS if lead.value < -SURE * lead.error else Verdict.UNDECIDED


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    return max(verdicts, key=list(Verdict).index)


def ahead(better: ResultRecord, worse: ResultRecord, recipe: str) -> Lead:
    """By how much one record is ahead of another, in the direction that the recipe calls better."""
    sign = -1.0 if named(recipe).direction is Direction.LOWER else 1.0
    one, other = (
        Lead(sign * m.value, m.standard_error or 0.0) for m in (better.metrics[recipe], worse.metrics[recipe])
    )
    return one.minus(other)


def _shown(record: ResultRecord, recipe: str) -> str:
    metric = record.metrics[recipe]
    return number_text(metric.value, metric.standard_error, named(recipe).digits)


def _families(tables: Sequence[Layout]) -> Iterator[tuple[str, str, LayoutGroup]]:
    """Every group that has both Palette and Regression: table, title and group."""
    for table in tables:
        models = {row.label for group in table.groups for row in group.rows}
        if {"Palette", "Regression"} <= models:
            for group in table.groups:
                yield table.number, group.title or table.title, group


def claims(tables: Sequence[Layout], records: Records) -> list[Claim]:
    """What the paper claims, judged on these records; one line per claim and task."""
    result: list[Claim] = []
    for _, title, group in _families(tables):
        by_label = {row.label: records[group.task, row.model] for row in group.rows}
        palette, regression = by_label["Palette"], by_label["Regression"]
        for recipe in (FID, IS, CA):
            name = named(recipe).title
            result.append(
                Claim(
                    f"{title}: Palette is ahead of regression in {name}",
                    judged(ahead(palette, regression, recipe)),
                    f"{_shown(palette, recipe)} against {_shown(regression, recipe)}",
                )
            )
            classical = {
                label: record
                for label, record in by_label.items()
                if label not in ("Palette", "Regression") and record.name != REFERENCE
            }
            best = max(classical, key=lambda label: ahead(classical[label], palette, recipe).value)
            result.append(
                Claim(
                    f"{title}: Palette is ahead of every classical method in {name}",
                    _worst([judged(ahead(palette, other, recipe)) for other in classical.values()]),
                    f"{_shown(palette, recipe)} against {_shown(classical[best], recipe)} of the best, {best}",
                )
            )
        result.append(
            Claim(
                f"{title}: regression is ahead of Palette in PSNR",
                judged(ahead(regression, palette, PSNR)),
                f"{_shown(regression, PSNR)} against {_shown(palette, PSNR)} dB",
            )
        )
    result += _jpeg_gap(records)
    result += _diversity(records)
    result += _architectures(records)
    result += _generalist(records)
    return result


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
            judged(ahead(squared, absolute, DIVERSITY)),
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


def render_claims(all_claims: Sequence[Claim]) -> str:
    """The claims as a Markdown table, and how many of each verdict."""
    counts = {verdict: sum(claim.verdict is verdict for claim in all_claims) for verdict in Verdict}
    lines = [
        f"Of {len(all_claims)} statements {counts[Verdict.HOLDS]} hold, {counts[Verdict.UNDECIDED]} are not decided "
        f"within {SURE} joint standard errors, and {counts[Verdict.FAILS]} do not hold.",
        "",
        "| the paper's claim, on this world | | |",
        "|---|---|---|",
    ]
    lines += [f"| {claim.text} | {claim.verdict.value} | {claim.evidence} |" for claim in all_claims]
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

Bold is best, underlined second, ≈ not decided against a row ahead of it (1.96 joint standard errors, as if
independent); the reference row is not ranked.
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
    for band in tables_file().get("band", []):
        lines += ["", "[[band]]", *(f"{key} = {_toml(value)}" for key, value in band.items())]
    for table in tables:
        lines += ["", "[[table]]", f"number = {_toml(table.number)}", f"title = {_toml(table.title)}"]
        for group in table.groups:
            for row in group.rows:
                record = records[group.task, row.model]
                printed = ", ".join(
                    f"{name} = {_toml(f'{record.metrics[name].value:.{named(name).digits}f}')}"
                    for name in table.columns
                    if name in record.metrics
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
    for layout in tables:
        table = fill_layout(layout, records)
        parts += [f"### Table {table.number}: {table.title}", "", *markdown(table), ""]
        parts += [*notes, ""] if (notes := markdown_notes(replace(table, remarks=()))) else []
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
