"""Rows of a table made from their models: predict, then score, several rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from palette_bench.artifacts.evalset import open_set
from palette_bench.artifacts.record import ResultRecord, save
from palette_bench.common.errors import InputError
from palette_bench.common.progress import Progress, Silent
from palette_bench.common.workers import map_unordered
from palette_bench.predict import run as running
from palette_bench.predict.adapters.hosting import fork_hosts
from palette_bench.predict.card import find_card
from palette_bench.score.engine import Compute
from palette_bench.score.scoring import EVAL_SET, Options, Scored, score


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What to run, and where it goes.

    ``model`` is what `find_card` takes; None where the predictions in ``preds`` are somebody else's work. ``name`` is
    the record's. ``record`` is the folder for it, None where nobody wants it on disk. ``scored`` says how it is
    scored; ``jobs`` are the processes of this row.
    """

    set_id: str
    task: str
    model: str | None
    name: str
    preds: Path
    record: Path | None = None
    samples: int = 1
    seed: int = 0
    scored: Options = field(default_factory=Options)
    jobs: int = 1


def of_record(record: ResultRecord, *, model: str | None, preds: Path, device: str, jobs: int = 1) -> Row:
    """The row that makes a record again: the same seed, samples, recipes, FID reference and kind of weights."""
    options = Options(
        reference=EVAL_SET if record.reference is None else record.reference.name,
        also=tuple(record.metrics),
        compute=Compute(
            device=device, allow_other_weights=not all(metric.canonical for metric in record.metrics.values())
        ),
    )
    return Row(
        set_id=record.scored.set_id,
        task=record.scored.task,
        model=model,
        name=record.name,
        preds=preds,
        samples=record.samples,
        seed=0 if record.origin is None else record.origin.seed or 0,
        scored=options,
        jobs=jobs,
    )


def make(row: Row, progress: Progress) -> Scored:
    """Run a row's model, or go on where it was interrupted, score the predictions and save the record.

    Raises what `predict` and `score` raise.
    """
    eval_set = open_set(row.set_id)
    if row.model is not None:
        card = find_card(row.model)
        options = running.Options(samples=row.samples, seed=row.seed, jobs=row.jobs)
        if running.predict(eval_set, row.task, card, row.preds, options, progress=progress).described is None:
            raise InputError(
                "a folder of predictions is not finished",
                where=row.preds,
                found="another process is still at work there",
                next_step="wait for it, then run the command again",
            )
    options_of_score = replace(row.scored, compute=replace(row.scored.compute, jobs=row.jobs))
    scored = score(eval_set, row.task, row.preds, row.name, options_of_score, progress=progress)
    if scored is None:
        raise InputError("tables are not made under torchrun", next_step="run the command by itself")
    if row.record is not None:
        save(scored.record, scored.items_csv, row.record, replace=True)
    return scored


def make_all(rows: Sequence[Row], *, processes: int, label: str, progress: Progress) -> Iterator[tuple[Row, Scored]]:
    """Make rows, each in one process of its own and ``processes`` at a time; in the order in which they end.

    The first error of a row ends the work; what was finished is kept, and the same call goes on from there.
    """
    lanes = max(min(processes, len(rows)), 1)
    share = max(processes // lanes, 1)
    jobs = [replace(row, jobs=share) for row in rows]
    # For the life of these processes, not of this one.
    prepare = partial(fork_hosts, _modules_of(rows)) if lanes > 1 else None
    with progress.task(label, len(rows), "rows") as shown:
        for row, scored in map_unordered(_make_one, jobs, processes=lanes, prepare=prepare):
            shown.advance()
            yield row, scored


def _modules_of(rows: Sequence[Row]) -> list[str]:
    """This package's modules that the rows' models are in; what others' do when imported is not known."""
    models = {row.model for row in rows if row.model is not None}
    modules = {find_card(model).adapter.entry.partition(":")[0] for model in models}
    return sorted(name for name in modules if name.startswith("palette_bench."))


def _make_one(row: Row) -> tuple[Row, Scored]:
    return row, make(row, Silent())
