"""What a run was begun with besides its recipe, so that it cannot go on with something else unnoticed."""

from collections.abc import Mapping
from pathlib import Path

from palette_bench.common.canonical import file_digest
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import read_json, write_json
from palette_bench.predict.training.examples import TrainingSource

ORIGIN_FILE = "origin.json"


def origin_of(source: TrainingSource, initial: Path | None) -> dict[str, object]:
    """The source's identity and the digest of the weights that training starts from, as plain data."""
    return {"source": dict(source.identity()), "initial_sha256": None if initial is None else file_digest(initial)}


def write_origin(run: Path, origin: Mapping[str, object]) -> None:
    """Note it at the beginning of a run."""
    write_json(run / ORIGIN_FILE, dict(origin))


def check_origin(run: Path, origin: Mapping[str, object], *, initial: Path | None) -> None:
    """Refuse to go on with other images, or from other weights than the run was begun with.

    A run that goes on need not name its first weights again. Raises InputError.
    """
    if not (run / ORIGIN_FILE).is_file():
        return
    then = read_json(run / ORIGIN_FILE, kind="training origin")
    compared = ["source"] + (["initial_sha256"] if initial is not None else [])
    problems = [
        Problem("differs", name, f"the run was begun with {then.get(name)!r}, now {origin.get(name)!r}")
        for name in compared
        if then.get(name) != origin.get(name)
    ]
    if problems:
        raise InputError(
            "this run was begun with other images or weights",
            where=run,
            problems=problems,
            next_step="give what it was begun with, or another --out",
        )
