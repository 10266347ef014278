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
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from palette_bench.artifacts.record import ITEMS_FILE, RECORD_FILE
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import Problem
from palette_bench.common.tables import Table, is_digest

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

    title: str
    licence: str
    citation: str
    url: str
    training_data: str
    card: str = ""
    card_sha256: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain data for the entry file."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditImage:
    """One prediction that is part of the entry: its place in protocol order, its file, the digest of its pixels."""

    item: int
    file: str
    pixels_sha256: str

    def as_json(self) -> dict[str, object]:
        """Plain data for the entry file."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a maintainer found: their own record's id, and by recipe how far their numbers lie from the entry's."""

    tier: Tier
    result_id: str
    differences: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """Plain data for the entry file."""
        return {"tier": self.tier.value, "result_id": self.result_id, "differences": dict(self.differences)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What ``entry.json`` says. ``files`` are the sha256 of all other files by their path in the folder."""

    name: str
    description: str
    set_id: str
    task: str
    result_id: str
    tree_sha256: str
    model: ModelFacts
    audit: tuple[AuditImage, ...]
    files: Mapping[str, str]
    verification: Verification | None = None

    @property
    def tier(self) -> Tier:
        """What the entry is trusted for: its author's word, unless a maintainer verified more."""
        return Tier.SCORED if self.verification is None else self.verification.tier

    def sealed(self) -> dict[str, object]:
        """The content of ``entry.json``; last the seal, the digest of all the rest. It proves nothing about who."""
        body: dict[str, object] = {
            "format": FORMAT,
            "name": self.name,
            "description": self.description,
            "set": self.set_id,
            "task": self.task,
            "tier": self.tier.value,
            "result_id": self.result_id,
            "tree_sha256": self.tree_sha256,
            "model": self.model.as_json(),
            "audit": [image.as_json() for image in self.audit],
            "files": dict(self.files),
            "verification": None if self.verification is None else self.verification.as_json(),
        }
        return {**body, "seal": fingerprint(body)}


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

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is no number that an entry can hold")

    def bad(kind: str, detail: str) -> tuple[None, list[Fault]]:
        return None, [Fault(Problem(kind, ENTRY_FILE, detail), altered=False)]

    try:
        content = json.loads(data, parse_constant=refuse)
        if not isinstance(content, dict):
            return bad("unreadable", f"expected a JSON object, found {type(content).__name__}")
        if (found := content.get("format")) != FORMAT:
            return bad("other-format", f"expected {FORMAT}, found {found!r}")
        body = {name: value for name, value in content.items() if name != "seal"}
        intact = content.get("seal") == fingerprint(body)
    except (ValueError, RecursionError) as error:
        return bad("unreadable", str(error))
    faults = []
    if not intact:
        faults.append(Fault(Problem("changed", ENTRY_FILE, "its seal is not that of its content"), altered=True))
    problems: list[Problem] = []
    entry = _entry(Table(body, "", problems))
    faults += [Fault(Problem(p.kind, f"{ENTRY_FILE}: {p.where}", p.detail), altered=False) for p in problems]
    return (None if problems else entry), faults


def _entry(top: Table) -> Entry:
    top.take("format", int, 0)
    name = top.text("name")
    for fault in name_faults(name):
        top.wrong("wrong value", "name", f"{name!r}: {fault}")
    verification = None if top.none("verification") else _verification(top.table("verification", required=True))
    entry = Entry(
        name=name,
        description=_prose(top, "description"),
        set_id=top.text("set"),
        task=top.text("task"),
        result_id=top.digest("result_id"),
        tree_sha256=top.digest("tree_sha256"),
        model=_model(top.table("model", required=True)),
        audit=tuple(_audit(table) for table in top.tables("audit", required=True)),
        files=_digests(top, "files"),
        verification=verification,
    )
    if (tier := top.text("tier")) and tier != entry.tier:
        top.wrong("wrong value", "tier", f"{tier!r}, and what was verified makes it {entry.tier.value!r}")
    top.finish()
    return entry


def _prose(table: Table, key: str, *, empty: bool = True) -> str:
    return table.take(
        key, str, "", required=True, fits=lambda text: len(text) <= LONGEST_TEXT and (empty or bool(text))
    )


def _model(table: Table | None) -> ModelFacts:
    if table is None:
        return ModelFacts(title="", licence="", citation="", url="", training_data="")
    facts = ModelFacts(
        title=_prose(table, "title"),
        licence=_prose(table, "licence"),
        citation=_prose(table, "citation"),
        url=table.take("url", str, "", required=True, fits=lambda url: not url or is_link(url)),
        training_data=_prose(table, "training_data", empty=False),
        card=_prose(table, "card"),
        card_sha256=_prose(table, "card_sha256"),
    )
    table.finish()
    return facts


def _audit(table: Table) -> AuditImage:
    item = table.whole("item")
    image = AuditImage(
        item=item,
        file=table.take("file", str, "", required=True, fits=lambda file: file == audit_file(item)),
        pixels_sha256=table.digest("pixels_sha256"),
    )
    table.finish()
    return image


def _verification(table: Table | None) -> Verification | None:
    if table is None:
        return None
    word = table.take("tier", str, "", required=True, fits=lambda word: word in (Tier.RESCORED, Tier.RERUN))
    differences = table.table("differences", required=True)
    found = Verification(
        tier=Tier(word) if word else Tier.SCORED,
        result_id=table.digest("result_id"),
        differences={} if differences is None else differences.numbers(),
    )
    table.finish()
    return found


def _digests(top: Table, key: str) -> dict[str, str]:
    table = top.table(key, required=True)
    digests = {} if table is None else table.texts()
    for name, digest in digests.items():
        if not is_digest(digest):
            top.wrong("wrong value", f"{key}.{name}", f"{digest!r} is no sha256")
    return digests
