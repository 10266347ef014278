"""An entry of a leaderboard: a folder with a record, its items, a few predictions, and ``entry.json`` which names all.

    <set>/entries/<task>/<slug>/entry.json       who, what, trained on what; the sha256 of every other file
                                result.json      the record, as ``score`` wrote it
                                items.csv.gz     its items
                                audit/00042.png  predictions that the submitter could not choose, by place in the set

Everything is strict, because somebody else wrote it; what holds between the files is for ``check`` to say.
"""

import gzip
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from annotated_types import Ge, MaxLen, MinLen

from palette_bench.artifacts.record import ITEMS_FILE, RECORD_FILE
from palette_bench.common import schema
from palette_bench.common.errors import PaletteBenchError, Problem
from palette_bench.common.schema import Digest, Key

FORMAT = 1
ENTRY_FILE = "entry.json"
PACKED_ITEMS_FILE = f"{ITEMS_FILE}.gz"
AUDIT_FOLDER = "audit"
ENTRIES_FOLDER = "entries"
AUDIT_IMAGES = 8
LONGEST_NAME, LONGEST_TEXT = 80, 4000
MOST_BYTES: Mapping[str, int] = {ENTRY_FILE: 1 << 18, RECORD_FILE: 1 << 24, PACKED_ITEMS_FILE: 1 << 25}
"""The largest size of a file by its name; ``MOST_IMAGE_BYTES`` is that of an audit image."""
MOST_IMAGE_BYTES = 1 << 22
MOST_ITEMS_BYTES = 1 << 27
"""The largest size of unpacked items."""

_Prose = Annotated[str, MaxLen(LONGEST_TEXT)]
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Tier(StrEnum):
    """How far a number was checked, least first."""

    PUBLISHED = "published"
    """Copied from a paper."""
    SCORED = "scored"
    """Scored by its author."""
    RESCORED = "rescored"
    """Scored again by a maintainer from the author's predictions."""
    RERUN = "rerun"
    """Made again from the model."""

    @property
    def rank(self) -> int:
        """Higher is more."""
        return list(Tier).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is declared of the model. Empty where nothing is; ``training_data`` never is.

    ``card`` and ``card_sha256`` are name and fingerprint of the card that made the predictions.
    """

    title: _Prose
    licence: _Prose
    citation: _Prose
    url: Annotated[str, schema.Fits(lambda url: not url or is_link(url), "a link, or nothing")]
    training_data: Annotated[_Prose, MinLen(1)]
    card: _Prose = ""
    card_sha256: _Prose = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditImage:
    """One prediction that is part of the entry: its place in protocol order, its file, the digest of its pixels."""

    item: Annotated[int, Ge(0)]
    file: str
    pixels_sha256: Digest

    def faults(self) -> Iterator[Problem]:
        """A file of another name than its place gives it."""
        if self.file != audit_file(self.item):
            yield Problem("wrong value", "file", f"expected {audit_file(self.item)}, found {self.file!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a maintainer found: their own record's id, and by recipe how far their numbers lie from the entry's."""

    tier: Annotated[Tier, schema.Fits(lambda tier: tier.rank >= Tier.RESCORED.rank, "rescored or rerun")]
    result_id: Digest
    differences: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What ``entry.json`` says. ``files`` are the sha256 of all other files by their path in the folder."""

    FILE: ClassVar = schema.File(
        "entry", version=("format", FORMAT), computed=("tier",), every_key=True, most_bytes=MOST_BYTES[ENTRY_FILE]
    )

    name: str
    description: _Prose
    set_id: Annotated[str, Key("set")]
    task: str
    result_id: Digest
    tree_sha256: Digest
    model: ModelFacts
    audit: tuple[AuditImage, ...]
    files: Mapping[str, Digest]
    verification: Verification | None = None

    def faults(self) -> Iterator[Problem]:
        """What is wrong with its name."""
        for fault in name_faults(self.name):
            yield Problem("wrong value", "name", f"{self.name!r}: {fault}")

    @property
    def tier(self) -> Tier:
        """What the entry is trusted for: its author's word, unless a maintainer verified more."""
        return Tier.SCORED if self.verification is None else self.verification.tier

    def sealed(self) -> dict[str, object]:
        """The content of ``entry.json``; last the seal, the digest of all the rest. It proves nothing about who."""
        return schema.sealed(schema.dump(self))


def slug_of(name: str) -> str:
    """The folder name of an entry: letters and digits of its name, other characters as single hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def is_slug(text: str) -> bool:
    """Whether ``text`` can be the name of an entry's folder."""
    return bool(_SLUG.fullmatch(text))


def same_name(name: str) -> str:
    """Two names that a reader may take for one have the same; for comparing only."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def name_faults(name: str) -> list[str]:
    """What is wrong with the name of an entry."""
    faults = []
    if not name.isprintable():
        faults.append("it holds characters that nobody sees")
    if name != " ".join(unicodedata.normalize("NFC", name).split()):
        faults.append("it begins or ends with a space, holds two in a row, or is not in Unicode's form NFC")
    if not 0 < len(name) <= LONGEST_NAME:
        faults.append(f"it has {len(name)} characters, and 1 to {LONGEST_NAME} are allowed")
    if not slug_of(name):
        faults.append("it has no Latin letter or digit to name a folder by")
    return faults


def is_link(url: str) -> bool:
    """Whether ``url`` is an address that a page may link to."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def audited(tree_sha256: str, ids: Sequence[str]) -> tuple[int, ...]:
    """The places of the items whose predictions are shown: those whose id and the predictions' digest hash lowest.

    Whoever wants others has to change a prediction, and then gets any.
    """
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(f"audit:{tree_sha256}:{ids[i]}".encode()).digest())
    return tuple(sorted(order[:AUDIT_IMAGES]))


def audit_file(item: int) -> str:
    """The path of an audit image; item ids may hold anything, places are numbers."""
    return f"{AUDIT_FOLDER}/{item:05d}.png"


def packed(items_csv: bytes) -> bytes:
    """Items compressed: equal content gives equal bytes of one zlib."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(items_csv)
    return buffer.getvalue()


def unpacked(data: bytes) -> bytes:
    """The inverse of ``packed``. Raises ValueError for what is no gzip, or is too much."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = stream.read(MOST_ITEMS_BYTES + 1)
    except (OSError, EOFError) as error:
        raise ValueError(f"no whole gzip file: {error}") from error
    # zlib.error is neither.
    except Exception as error:
        raise ValueError(f"no gzip file: {error}") from error
    if len(content) > MOST_ITEMS_BYTES:
        raise ValueError(f"more than {MOST_ITEMS_BYTES} bytes when unpacked")
    return content


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of an entry. ``altered`` says that something differs from what it was frozen as, or contradicts it."""

    problem: Problem
    altered: bool


def parse_entry(data: bytes) -> tuple[Entry | None, list[Fault]]:
    """The entry in the bytes of ``entry.json``, and all that is wrong with it; None where it cannot be used."""
    faults: list[Fault] = []
    try:
        content = schema.parsed(Entry, data, where=ENTRY_FILE)
        body, intact = schema.unsealed(content) if isinstance(content, dict) else (content, True)
        if isinstance(content, dict) and not intact and content.get("format") == FORMAT:
            faults.append(Fault(Problem("changed", ENTRY_FILE, "its seal is not that of its content"), altered=True))
        return schema.load(Entry, body), faults
    except PaletteBenchError as error:
        problems = [Problem(p.kind, f"{ENTRY_FILE}: {p.where}", p.detail) for p in error.problems]
        if not problems:
            said = f"{error.what}: expected {error.expected}, found {error.found}"
            problems = [Problem("unreadable", ENTRY_FILE, said)]
        return None, [*faults, *(Fault(problem, altered=False) for problem in problems)]
