"""Fool rates of studies in the paper's tables: a row per model, in the column that the paper prints them in."""

from collections.abc import Sequence
from dataclasses import replace

from palette_bench.common.errors import InputError, Problem
from palette_bench.publish.tables.printed import PublishedColumn, PublishedTable
from palette_bench.publish.tables.table import Source, TableCell, TableRow, number_text
from palette_bench.score.recipes.base import Column
from palette_bench.study.definition import Layout, Question
from palette_bench.study.record import FoolRate, StudyRecord

EXPOSURE_MS = 3000
"""What Table 1 prints; Table 3 does not say."""


def check_places(printed: PublishedTable, studies: Sequence[StudyRecord]) -> None:
    """Raise InputError for studies that have no place in a table: it prints no fool rate, or of other images."""
    columns = {column.set_name for column in printed.columns if column.metric is Column.FOOL_RATE}
    tasks = {task for group in printed.groups for task in group.tasks}
    problems = []
    for study in studies:
        source = study.source
        if not columns:
            problems.append(Problem("no column", study.name, f"{printed.name} has no fool rates"))
        elif source.name not in columns:
            problems.append(Problem("another set", study.name, f"{source.set}: the column is of {', '.join(columns)}"))
        elif source.task not in tasks:
            problems.append(Problem("another task", study.name, f"{source.task}: the table has {', '.join(tasks)}"))
    if problems:
        raise InputError(f"studies that have no place in {printed.name}", problems=problems)


def shown_rates(study: StudyRecord) -> list[FoolRate]:
    """The rate of each model that a table shows: all sets together, at 3 s or else the shortest exposure."""
    exposures = study.trials.exposure_ms
    exposure = EXPOSURE_MS if EXPOSURE_MS in exposures else min(exposures)
    return [rate for rate in study.rates if rate.set == 0 and rate.exposure_ms == exposure and rate.kept is not None]


def reasons(study: StudyRecord, rate: FoolRate) -> list[str]:
    """Why a study's fool rate is not ranked among printed ones: raters and items are always others."""
    found = ["fool rates of different studies have different raters and items: they are not ranked together"]
    if study.simulated:
        found.append("raters were simulated: a rehearsal says nothing about a model")
    if study.trials.layout is not Layout.PAIR or study.trials.question is not Question.CAMERA:
        found.append(f"another protocol: {study.trials.layout.value}, question {study.trials.question.value}")
    if rate.exposure_ms != EXPOSURE_MS:
        found.append(f"images were shown for {rate.exposure_ms / 1000:g} s")
    return found


def with_study(rows: Sequence[TableRow], study: StudyRecord, columns: Sequence[PublishedColumn]) -> list[TableRow]:
    """``rows`` with the fool rates of a study: in the row of a record of that name, or in a row of their own."""
    found = list(rows)
    for rate in shown_rates(study):
        names = (title_of(study, rate.model), rate.model)
        place = next((n for n, row in enumerate(found) if row.source is Source.YOURS and row.label in names), None)
        if place is None:
            found.append(TableRow(label=names[0], cells=tuple(TableCell() for _ in columns)))
            place = len(found) - 1
        cells = tuple(
            _cell(study, rate) if column.metric is Column.FOOL_RATE and column.set_name == study.source.name else cell
            for column, cell in zip(columns, found[place].cells, strict=True)
        )
        found[place] = replace(found[place], cells=cells)
    return found


def _cell(study: StudyRecord, rate: FoolRate) -> TableCell:
    kept = rate.kept or rate.everybody
    error = None if kept.standard_error is None else 100 * kept.standard_error
    return TableCell(
        text=f"{number_text(100 * kept.value, error, 1)}%",
        value=100 * kept.value,
        error=error,
        low=None if kept.low is None else 100 * kept.low,
        high=None if kept.high is None else 100 * kept.high,
        unit="%",
        signature=rate.signature,
        reasons=tuple(reasons(study, rate)),
        remarks=("± over raters and items",),
    )


def title_of(study: StudyRecord, name: str) -> str:
    """A model's name in a table."""
    return next(model.title for model in study.models if model.name == name)
