"""Raising an entry's tier: a maintainer scores its predictions again, or makes them again from the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from palette_bench.artifacts.record import MetricValue, ResultRecord
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import write_json
from palette_bench.common.home import home
from palette_bench.common.progress import Progress
from palette_bench.predict.card import find_card
from palette_bench.publish.leaderboard.check import entry_at
from palette_bench.publish.leaderboard.entry import ENTRY_FILE, Tier, Verification
from palette_bench.publish.regress import runs as rows
from palette_bench.publish.tables.ranking import Contender, undecided
from palette_bench.score.recipes.catalogue import named

RERUNS_FOLDER = "reruns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is scored again: either the author's predictions, or those that the model of a card makes here."""

    preds: Path | None = None
    model: str | None = None
    jobs: int = 1
    device: str = "cpu"

    @property
    def tier(self) -> Tier:
        """What the entry becomes when its numbers hold."""
        return Tier.RESCORED if self.model is None else Tier.RERUN


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found, and the entry's tier afterwards."""

    verification: Verification
    tier: Tier


def verify(folder: Path, source: Source, *, grant: bool, progress: Progress) -> Verified:
    """Make an entry's numbers again and compare; ``grant`` writes the new tier into the entry.

    From predictions the result_id must be the same, and every number equal to half a unit of its last printed digit.
    From the model, whose card must be the entry's, other processors may move pixels: then every number must lie within
    the joint error bars. Raises VerificationError with every number that does not hold.
    """
    entry, record = entry_at(folder)
    if source.model is not None:
        _check_card(source.model, record, folder)
    preds = rerun_folder(record) if source.preds is None else source.preds
    row = rows.of_record(record, model=source.model, preds=preds, device=source.device, jobs=source.jobs)
    scored = rows.make(row, progress)
    verification = Verification(
        tier=source.tier,
        result_id=scored.record.result_id,
        differences=_differences(record, scored.record),
    )
    problems = _problems(record, scored.record, source.tier)
    if problems:
        raise VerificationError(
            "an entry's numbers do not hold",
            where=folder,
            expected="the entry's numbers",
            problems=problems,
            next_step="compare result.json with the new record: set, software, predictions",
        )
    if not grant or verification.tier.rank <= entry.tier.rank:
        return Verified(verification, entry.tier)
    write_json(folder / ENTRY_FILE, replace(entry, verification=verification).sealed())
    return Verified(verification, verification.tier)


def rerun_folder(record: ResultRecord) -> Path:
    """Where the predictions of a rerun are kept, and found again when it was interrupted.

    Nobody else writes there: a folder that came with an entry would pass for one that the model made here.
    """
    if record.origin is None:
        raise ValueError("the record does not say what made its predictions")
    scored, origin = record.scored, record.origin
    name = f"{origin.fingerprint[:16]}-{record.samples}-{origin.seed or 0}"
    return home() / RERUNS_FOLDER / scored.set_id / scored.task / name


def _check_card(model: str, record: ResultRecord, folder: Path) -> None:
    card, origin = find_card(model), record.origin
    if origin is None:
        raise InputError(
            "the entry's record does not say what made its predictions",
            where=folder,
            expected="predictions that palette-bench predict made",
            next_step="verify it from its predictions, with --rescore",
        )
    if card.fingerprint() != origin.fingerprint:
        raise VerificationError(
            "the card is not that of the entry",
            where=folder,
            expected=f"the card {origin.model}, fingerprint {origin.fingerprint}",
            found=f"the card {card.name}, fingerprint {card.fingerprint()}",
        )


def _differences(record: ResultRecord, again: ResultRecord) -> Mapping[str, float]:
    shared = [name for name in record.metrics if name in again.metrics]
    return {name: again.metrics[name].value - record.metrics[name].value for name in shared}


def _problems(record: ResultRecord, again: ResultRecord, tier: Tier) -> list[Problem]:
    problems = []
    same = again.result_id == record.result_id
    if not same and tier is Tier.RESCORED:
        detail = f"{again.result_id}, and the entry has {record.result_id}"
        problems.append(Problem("other predictions", "result_id", detail))
    for name, metric in record.metrics.items():
        new = again.metrics.get(name)
        if new is None:
            problems.append(Problem("missing", name, again.refused.get(name, "")))
        elif not (_equal(metric, new) or (not same and tier is Tier.RERUN and undecided(_of(metric), _of(new)))):
            problems.append(Problem("other number", name, f"{new.value:.6g}, and the entry has {metric.value:.6g}"))
    return problems


def _equal(one: MetricValue, other: MetricValue) -> bool:
    return abs(one.value - other.value) < 0.5 * 10.0 ** -named(one.recipe).digits


def _of(metric: MetricValue) -> Contender:
    return Contender(metric.value, metric.standard_error)
