"""The record of a study: its fool rates with everything needed to know what they are comparable with.

The dataclass is the file ``result.json``; its seal tells a record that was changed by accident or by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from palette_bench.common.canonical import bytes_digest, fingerprint
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.files import read_json, write_bytes, write_json
from palette_bench.common.version import __version__
from palette_bench.study.definition import Exclusions, Source, Study, Trials, read_as
from palette_bench.study.estimates import Detection, Difference, Rate

SCHEMA = 1
KIND = "study"
RECORD_FILE = "result.json"
TABLES = ("trials.csv", "raters.csv", "items.csv")
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoolRate:
    """A model's fool rate in a set (0: all sets together) at an exposure.

    ``kept`` is after exclusions, None where nobody is left; ``everybody`` is of all raters. ``holm`` corrects the
    comparison of ``kept`` with one half for the number of models.
    """

    __pydantic_config__ = _STRICT

    model: str
    set: int
    exposure_ms: int
    kept: Rate | None
    everybody: Rate
    holm: float | None
    detection: Detection | None
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDifference:
    """Two models at an exposure, all sets together, raters kept: ``first`` minus ``second``."""

    __pydantic_config__ = _STRICT

    first: str
    second: str
    exposure_ms: int
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyModel:
    """A model of the study."""

    __pydantic_config__ = _STRICT

    name: str
    title: str
    outputs_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How many raters came how far. ``excluded`` counts reasons; a rater may have several."""

    __pydantic_config__ = _STRICT

    invited: int
    consented: int
    withdrawn: int
    screened: int
    lost: int
    active: int
    completed: int
    kept: int
    excluded: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """What a study found. ``simulated`` says that no person took part."""

    __pydantic_config__ = _STRICT

    schema: int
    kind: str
    result_id: str
    name: str
    preset: str
    study_fingerprint: str
    seed: str
    simulated: bool
    source: Source
    trials: Trials
    exclusions: Exclusions
    models: tuple[StudyModel, ...]
    rates: tuple[FoolRate, ...]
    differences: tuple[ModelDifference, ...]
    flow: Flow
    warnings: tuple[str, ...]
    tables_sha256: Mapping[str, str]
    software: str
    seal: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain data for the record file."""
        found: dict[str, object] = TypeAdapter(StudyRecord).dump_python(self, mode="json")
        return found

    def sealed(self) -> "StudyRecord":
        """The record with the digest of all its other fields."""
        body = self.as_json()
        del body["seal"]
        return replace(self, seal=fingerprint(body))

    def rate(self, model: str, *, exposure_ms: int, set_number: int = 0) -> FoolRate | None:
        """The fool rate of a model."""
        found = (r for r in self.rates if (r.model, r.set, r.exposure_ms) == (model, set_number, exposure_ms))
        return next(found, None)


def signature(study: Study, model: str, set_number: int, exposure_ms: int, *, simulated: bool) -> str:
    """The line a paper can print beside a fool rate."""
    trials, source = study.trials, study.source
    sets = 1 if set_number else trials.sets
    parts = [
        "fool-2afc",
        f"set:{source.set}@{source.version}",
        f"task:{source.task}",
        f"n:{sets * trials.items_per_set}",
        f"raters:{trials.raters_per_set}x{sets}",
        f"t:{exposure_ms}ms",
        f"layout:{trials.layout.value}",
        f"question:{trials.question.value}",
        f"assignment:{trials.assignment.value}",
        f"model:{model}",
        f"study:{study.fingerprint[:8]}",
        *(["simulated"] if simulated else []),
        f"v:{__version__}",
    ]
    return "|".join(parts)


def save_record(record: StudyRecord, tables: Mapping[str, str], folder: Path) -> StudyRecord:
    """Write the tables and then the record, which holds their digests."""
    digests = {name: bytes_digest(text.encode()) for name, text in tables.items()}
    for name, text in tables.items():
        write_bytes(folder / name, text.encode())
    sealed = replace(record, tables_sha256=digests).sealed()
    write_json(folder / RECORD_FILE, sealed.as_json())
    return sealed


def is_study_record(path: Path) -> bool:
    """Whether a record file, or the one in a folder, is of a study."""
    file = path / RECORD_FILE if path.is_dir() else path
    return file.is_file() and read_json(file, kind="record").get("kind") == KIND


def read_study_record(path: Path) -> StudyRecord:
    """The record in a file or folder. Raises InputError, or VerificationError where it was changed."""
    file = path / RECORD_FILE if path.is_dir() else path
    values = read_json(file, kind="record", next_step="palette-bench study analyze writes one")
    if values.get("kind") != KIND or values.get("schema") != SCHEMA:
        raise InputError(
            "this is not the record of a study",
            where=file,
            expected=f"kind {KIND}, schema {SCHEMA}",
            found=f"kind {values.get('kind')}, schema {values.get('schema')}",
        )
    record = read_as(StudyRecord, values, where=file, what="the record of a study")
    if record.sealed().seal != record.seal:
        raise VerificationError(
            "the record of a study was changed",
            where=file,
            expected=f"seal {record.sealed().seal[:16]}",
            found=f"seal {record.seal[:16]}",
            next_step="run palette-bench study analyze again",
        )
    return record
