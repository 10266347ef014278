"""What every figure leaves beside its pictures: an account from which it can be checked and made again."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import bytes_digest
from palette_bench.common.files import write_bytes, write_json
from palette_bench.images import canary
from palette_bench.protocol.tasks import Task
from palette_bench.publish.figures.page import Drawn

SCHEMA = 1
SUFFIXES = (".png", ".pdf", ".json")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: its kind, what to print below it, its pictures, and the account as plain data."""

    kind: str
    caption: str
    drawn: Drawn
    described: Mapping[str, object]


def figure(kind: str, caption: str, drawn: Drawn, facts: Mapping[str, object]) -> Figure:
    """A figure with its account: ``facts`` and what all figures have in common. Neither time nor place enters it."""
    described = {
        "schema": SCHEMA,
        "figure": kind,
        "caption": caption,
        **facts,
        "files": {"png": bytes_digest(drawn.png), "pdf": bytes_digest(drawn.pdf)},
        "software": {**canary.software(), "matplotlib": metadata.version("matplotlib")},
    }
    return Figure(kind, caption, drawn, described)


def set_facts(eval_set: EvalSet) -> dict[str, object]:
    """Which set."""
    return {
        "id": eval_set.set_id,
        "version": eval_set.version,
        "status": eval_set.status.value,
        "fingerprint": eval_set.fingerprint,
        "data_digest": eval_set.data_digest,
        "count": eval_set.count,
        "size": eval_set.size,
    }


def task_facts(eval_set: EvalSet, task: Task) -> dict[str, object]:
    """Which task."""
    return {"name": task.name, "fingerprint": eval_set.task_fingerprint(task)}


def files_of(name: Path) -> tuple[Path, Path, Path]:
    """The PNG, the PDF and the account of a figure called ``name``, with or without one of their suffixes."""
    stem = name.with_suffix("") if name.suffix.lower() in SUFFIXES else name
    png, pdf, account = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    return png, pdf, account


def write(made: Figure, name: Path) -> tuple[Path, Path, Path]:
    """Write the three files, the account last: it holds the digests of the others."""
    png, pdf, account = files_of(name)
    write_bytes(png, made.drawn.png)
    write_bytes(pdf, made.drawn.pdf)
    write_json(account, made.described)
    return png, pdf, account
