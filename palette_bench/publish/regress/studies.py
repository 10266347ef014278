"""The regression of published studies: do their tables of trials still give the fool rates that their records say?"""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError
from palette_bench.study.estimates import Rate, rate
from palette_bench.study.record import StudyRecord, read_study_record

TOLERANCE = 1e-9
TRIALS = "trials.csv"


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What became of a model's fool rate: ``detail`` is empty where it came out as recorded."""

    study: str
    model: str
    set: int
    exposure_ms: int
    recorded: float
    recomputed: float
    detail: str

    @property
    def fails(self) -> bool:
        """Whether the number did not come out."""
        return self.detail != ""


def studies_in(folder: Path) -> list[Path]:
    """The folders of published studies."""
    return sorted(path.parent for path in folder.glob("*/result.json")) if folder.is_dir() else []


def regress_study(folder: Path) -> Iterator[StudyOutcome]:
    """Compute every fool rate of a study again from its trials.

    Raises InputError, VerificationError where record or trials are not what they were.
    """
    record = read_study_record(folder)
    data = (folder / TRIALS).read_bytes()
    if bytes_digest(data) != record.tables_sha256.get(TRIALS):
        raise InputError(
            "the trials of a study are not those of its record",
            where=folder / TRIALS,
            expected=record.tables_sha256.get(TRIALS),
            found=bytes_digest(data),
        )
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    for known in record.rates:
        if known.kept is None:
            continue
        found = _recomputed(record, rows, known.model, known.set, known.exposure_ms)
        pairs = [(name, getattr(known.kept, name), getattr(found, name)) for name in ("value", "low", "high")]
        wrong = [
            f"{name} {old} recorded, {new} now"
            for name, old, new in pairs
            if not math.isclose(old or 0.0, new or 0.0, abs_tol=TOLERANCE)
        ]
        if known.kept.trials != found.trials:
            wrong.append(f"{known.kept.trials} trials recorded, {found.trials} now")
        yield StudyOutcome(
            record.name, known.model, known.set, known.exposure_ms, known.kept.value, found.value, "; ".join(wrong)
        )


def _recomputed(record: StudyRecord, rows: list[dict[str, str]], model: str, number: int, exposure_ms: int) -> Rate:
    counted = [
        row
        for row in rows
        if row["counted"] == "1"
        and row["model"] == model
        and int(row["asked_ms"]) == exposure_ms
        and number in (0, int(row["set"]))
    ]
    if not counted:
        raise InputError("the trials of a study lack a model of its record", where=record.name, expected=model)
    names = {item: place for place, item in enumerate(sorted({row["item"] for row in counted}))}
    return rate(
        np.array([float(row["fooled"]) for row in counted]),
        np.array([int(row["rater"]) for row in counted], dtype=np.int64),
        np.array([names[row["item"]] for row in counted], dtype=np.int64),
    )
