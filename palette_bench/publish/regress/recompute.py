"""Published records made again: from predictions, or from the model that made them."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet, open_set, prepared_sets
from palette_bench.artifacts.record import ResultRecord, read_record
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, VerificationError
from palette_bench.common.progress import Progress
from palette_bench.predict.adapters.runners import check_runnable
from palette_bench.predict.card import Card, find_card
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.protocol.definition import Family
from palette_bench.publish.regress import runs as rows
from palette_bench.publish.regress.manifest import Manifest, Missing, Outcome, Row, Status, judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where new numbers may come from.

    ``preds`` holds ``<task>/<name>`` for records without a folder of their own in the manifest. With ``from_model``,
    models are run where no predictions lie; their outputs go below ``work``, and are found there again.
    """

    preds: Path | None
    from_model: bool
    work: Path
    jobs: int
    device: str = "cpu"


def chosen_rows(manifest: Manifest, patterns: Sequence[str]) -> list[Row]:
    """The rows whose record, as ``TASK/NAME``, fits one of the patterns; all rows without patterns."""
    if not patterns:
        return list(manifest.rows)
    return [
        row
        for row in manifest.rows
        if any(fnmatch.fnmatchcase(f"{row.record.parent.name}/{row.record.stem}", pattern) for pattern in patterns)
    ]


def regress(manifest: Manifest, chosen: Sequence[Row], sources: Sources, *, progress: Progress) -> Iterator[Outcome]:
    """Judge every cell of ``chosen`` rows, in their order; a record that stands in several tables is made once.

    Raises InputError or VerificationError when a record cannot be read, with all that cannot, and what predicting and
    scoring raise.
    """
    records = _records(chosen)
    plans = {row.record: _plan(row, records[row.record], sources, progress) for row in reversed(chosen)}
    planned = {path: plan for path, plan in plans.items() if isinstance(plan, rows.Row)}
    made = rows.make_all(list(planned.values()), processes=sources.jobs, label=manifest.name, progress=progress)
    again = {row.preds: scored.record for row, scored in made} if planned else {}
    for row in chosen:
        plan = plans[row.record]
        yield from judged(row, records[row.record], plan if isinstance(plan, Missing) else again[plan.preds])


def _records(chosen: Sequence[Row]) -> dict[Path, ResultRecord]:
    found: dict[Path, ResultRecord] = {}
    faults: list[PaletteBenchError] = []
    for path in dict.fromkeys(row.record for row in chosen):
        try:
            found[path] = read_record(path).record
        except PaletteBenchError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InputError(
            f"{len(faults)} published records cannot be used",
            problems=[Problem(error.what, str(error.where), error.found or "") for error in faults],
            next_step=faults[0].next_step,
        )
    return found


def _plan(row: Row, record: ResultRecord, sources: Sources, progress: Progress) -> rows.Row | Missing:
    """How a record is made again, or why it is not."""
    scored = record.scored
    card = None if row.model is None else find_card(row.model)
    if card is not None and (record.origin is None or card.fingerprint() != record.origin.fingerprint):
        return Missing(Status.NOT_COMPARABLE, f"the card {card.name} is not the one that made the record")
    eval_set = _opened(scored.set_id, sources, progress)
    if eval_set is None:
        return Missing(Status.UNTESTED, f"the set {scored.set_id} is not prepared")
    if (eval_set.fingerprint, eval_set.data_digest) != (scored.fingerprint, scored.data_digest):
        return Missing(Status.NOT_COMPARABLE, f"the prepared set {scored.set_id} is not the one of the record")
    preds = row.preds or (sources.preds / scored.task / record.name if sources.preds is not None else None)
    model: str | None = None
    if preds is None or not preds.exists():
        if card is None or not sources.from_model:
            return Missing(Status.UNTESTED, "no predictions" if preds is None else f"no predictions in {preds}")
        if (reason := _not_runnable(card)) is not None:
            return Missing(Status.UNTESTED, reason)
        model = row.model
        preds = sources.work / scored.task / f"{record.name}-{card.fingerprint()[:12]}-{record.samples}"
    return rows.of_record(record, model=model, preds=preds, device=sources.device)


def _not_runnable(card: Card) -> str | None:
    """Why a model cannot be run here; weights of another digest are an error and no reason."""
    try:
        check_runnable(card)
        card.checked_weights()
    except VerificationError:
        raise
    except PaletteBenchError as error:
        return error.what
    return None


def _opened(set_id: str, sources: Sources, progress: Progress) -> EvalSet | None:
    """The prepared set; the embedded one is prepared where models may be run. None for one that is not prepared."""
    if set_id not in prepared_sets():
        if set_id != Family.SCENES32.value or not sources.from_model:
            return None
        build(make_plan(set_id, Choices(), progress=progress), jobs=sources.jobs, replace=False, progress=progress)
    return open_set(set_id)
