"""Parts of a score on disk, so that machines without a common disk can share the work.

A part is a folder: ``features``, a feature store with all that the part's images need, and ``part.json``, written
last, with what the gate found and what the part belongs to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, Problem
from palette_bench.common.files import read_json, write_json
from palette_bench.common.parts import Part, parse_part
from palette_bench.score.gate import Examined, checked_from_json

SCHEMA = 1
FEATURES = "features"
PART_FILE = "part.json"
AGAIN = "run `palette-bench score --shard I/N` for the missing or damaged parts, with the same options"


@dataclass(frozen=True, slots=True)
class Parts:
    """All parts of one score, and what they say they belong to."""

    identity: Mapping[str, object]
    examined: tuple[Examined, ...]


def write(folder: Path, part: Part, identity: Mapping[str, object], examined: Examined) -> None:
    """Write ``part.json``: the part is whole from then on."""
    body = {
        "schema": SCHEMA,
        "part": str(part),
        "identity": dict(identity),
        "samples": examined.samples,
        "rows": [asdict(row) for row in examined.rows],
    }
    write_json(folder / PART_FILE, {**body, "sha256": fingerprint(body)})


def read(folders: Sequence[Path]) -> Parts:
    """The parts in ``folders``. Raises InputError for parts that are damaged, missing, doubled or of other scores."""
    found: dict[str, tuple[Path, dict[str, object], Examined]] = {}
    problems: list[Problem] = []
    for folder in folders:
        body = read_json(folder / PART_FILE, kind="part", next_step=AGAIN)
        claimed = body.pop("sha256", None)
        if claimed != fingerprint(body) or body.get("schema") != SCHEMA:
            raise InputError(
                "a part of a score is damaged, or of another version of the program",
                where=folder / PART_FILE,
                expected=f"schema {SCHEMA} and the digest of its content",
                found=f"schema {body.get('schema')}, digest {claimed}",
                next_step=AGAIN,
            )
        name = str(body["part"])
        if name in found:
            problems.append(Problem("doubled", str(folder), f"part {name} is in {found[name][0]} too"))
            continue
        rows, samples, identity = body["rows"], body["samples"], body["identity"]
        if not isinstance(rows, list) or not isinstance(samples, int) or not isinstance(identity, dict):
            raise TypeError(folder)
        try:
            examined = Examined(samples, tuple(map(checked_from_json, rows)), ())
        except ValueError as error:
            raise InputError(
                "a part of a score is of another version of the program",
                where=folder / PART_FILE,
                expected="rows as this version writes them",
                found=error,
                next_step=AGAIN,
            ) from error
        found[name] = folder, identity, examined
    counts = {parse_part(name).count for name in found}
    count = max(counts, default=1)
    problems += [
        Problem("missing", f"part {number}/{count}", "")
        for number in range(1, count + 1)
        if len(counts) == 1 and f"{number}/{count}" not in found
    ]
    first = next(iter(found.values()))
    problems += [
        Problem("of another score", str(folder), _difference(first[1], identity))
        for folder, identity, _ in found.values()
        if identity != first[1]
    ]
    if len(counts) > 1:
        problems.append(Problem("divided otherwise", ", ".join(sorted(found)), "parts of one score have one N"))
    if problems:
        raise InputError(
            "these parts do not make a score",
            where=folders[0].parent,
            expected=f"parts 1/{count} to {count}/{count} of one score",
            found=", ".join(sorted(found)),
            problems=problems,
            next_step=AGAIN,
        )
    return Parts(first[1], tuple(examined for _, _, examined in found.values()))


def check(parts: Parts, identity: Mapping[str, object]) -> None:
    """InputError if this machine would score something else than the parts were made for.

    More recipes than the parts had are welcome: they are of the same features, or those are found missing.
    """
    of_parts, here = parts.identity["recipes"], identity["recipes"]
    if not isinstance(of_parts, dict) or not isinstance(here, dict):
        raise TypeError("recipes")
    here = {name: digest for name, digest in here.items() if name in of_parts}
    if dict(parts.identity) != {**identity, "recipes": here}:
        raise InputError(
            "the parts were made under other conditions than this machine's",
            expected="the same set, task, recipes, weights and FID reference",
            found=_difference(parts.identity, {**identity, "recipes": here}),
            next_step="use the same version, weights and prepared set on all machines",
        )


def _difference(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    names = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    return "; ".join(f"{name}: {one.get(name)} and {other.get(name)}" for name in names)
