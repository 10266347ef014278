"""Whether an entry is what it says: its folder, every file, the sets and recipes it names, its numbers, its images."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from palette_bench.artifacts.record import (
    RECORD_FILE,
    Items,
    MetricValue,
    RecordFile,
    ResultRecord,
    parse_items,
    read_record,
    signature,
)
from palette_bench.common import resources
from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.common.errors import InputError, PaletteBenchError, Problem, VerificationError, printable
from palette_bench.images.decode import BadImageError, decode
from palette_bench.predict.card import AdapterKind, cards
from palette_bench.protocol.definition import Family, Protocol, protocol_names
from palette_bench.publish.leaderboard.entry import (
    AUDIT_FOLDER,
    ENTRIES_FOLDER,
    ENTRY_FILE,
    MOST_BYTES,
    MOST_IMAGE_BYTES,
    PACKED_ITEMS_FILE,
    Entry,
    Fault,
    Tier,
    audited,
    is_slug,
    parse_entry,
    same_name,
    slug_of,
    unpacked,
)
from palette_bench.publish.leaderboard.evidence import Follows, follows
from palette_bench.publish.tables.comparable import declared_protocol, metric_reasons, set_reasons
from palette_bench.score.backbones.base import canonical_fingerprint, spec_named
from palette_bench.score.recipes.base import LPIPS, PIXELS, Column, Direction, Recipe, Reference
from palette_bench.score.recipes.catalogue import RECIPES, for_protocol
from palette_bench.score.scoring import EVAL_SET

RECORDS_FOLDER = "records"
WAITING = ".submitting-"
"""How the folder begins in which `submit` makes an entry; one that was left by a killed process is no entry."""
NEXT = "correct what is listed, or make the entry again with palette-bench submit; docs/submitting.md"
MOST_FILES = 64


@dataclass(slots=True)
class CheckedEntry:
    """An entry as far as it could be read, and all that is wrong with it. ``where`` is how messages call it."""

    folder: Path
    where: str
    entry: Entry | None = None
    record: ResultRecord | None = None
    items: Items | None = None
    follows: Follows | None = None
    faults: list[Fault] = field(default_factory=list)

    def altered(self, kind: str, name: str, detail: str) -> None:
        """Note what differs from what it was frozen as."""
        self.faults.append(Fault(Problem(kind, name, detail), altered=True))

    def bad(self, kind: str, name: str, detail: str) -> None:
        """Note what cannot be read or used."""
        self.faults.append(Fault(Problem(kind, name, detail), altered=False))


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A record of a set's ``records`` folder: a row that the project made from its own models."""

    path: Path
    where: str
    record: ResultRecord


@dataclass(frozen=True, slots=True)
class CheckedTree:
    """All that is below some folders: entries, the project's own records, and faults with where they are."""

    entries: tuple[CheckedEntry, ...]
    records: tuple[CheckedRecord, ...]
    faults: tuple[Fault, ...]

    def demand(self, where: Sequence[Path]) -> None:
        """Raise one error with every fault: VerificationError if anything was altered, InputError otherwise."""
        if not self.faults:
            return
        kind = VerificationError if any(fault.altered for fault in self.faults) else InputError
        count = len(self.faults)
        raise kind(
            f"{count} fault{'' if count == 1 else 's'} in the leaderboard",
            where=", ".join(map(str, where)),
            problems=[fault.problem for fault in self.faults],
            next_step=NEXT,
        )


def check_tree(paths: Sequence[Path], *, submitted: bool = False) -> CheckedTree:
    """Check every entry and every record of the project below ``paths``, and that no two are the same.

    ``submitted`` says that they come from their authors, who may claim no more than that they scored them. Raises
    InputError where there is nothing to check.
    """
    places: dict[Path, str] = {}
    for path in paths:
        for folder in entry_folders(path):
            places.setdefault(folder, _relative(folder, path))
    entries = [check_entry(folder, where, submitted=submitted) for folder, where in places.items()]
    faults = [
        Fault(Problem(fault.problem.kind, f"{one.where}/{fault.problem.where}", fault.problem.detail), fault.altered)
        for one in entries
        for fault in one.faults
    ]
    records: list[CheckedRecord] = []
    for path in paths:
        records += _records(path, faults)
    if not entries and not records and not faults:
        raise InputError(
            "there is no entry here",
            where=", ".join(map(str, paths)),
            expected=f"a folder with {ENTRY_FILE}, or a folder of leaderboards",
            next_step="palette-bench submit makes an entry",
        )
    faults += _doubled(entries, records)
    faults += _different_references(entries, records)
    return CheckedTree(tuple(entries), tuple(records), tuple(faults))


def check_new(folder: Path, beside: Path) -> CheckedTree:
    """Check an entry by itself, and that it repeats none below ``beside`` and no record that ships."""
    new = check_entry(folder)
    others = [
        check_entry(other, other.as_posix()) for path in [beside] if path.is_dir() for other in entry_folders(path)
    ]
    records = [
        record
        for path in dict.fromkeys((beside.resolve(), Path(str(resources.leaderboards())).resolve()))
        for record in _readable_records(path)
    ]
    repeated = [fault for fault in _doubled([*others, new], records) if fault.problem.where == new.where]
    references = [fault for fault in _different_references([*others, new], records) if fault.problem.where == new.where]
    return CheckedTree((new,), (), (*new.faults, *repeated, *references))


def entry_at(folder: Path) -> tuple[Entry, ResultRecord]:
    """The entry in a folder, checked by itself. Raises what is wrong with it."""
    if not (folder / ENTRY_FILE).is_file():
        raise InputError("there is no entry here", where=folder, expected=f"a folder with {ENTRY_FILE}")
    found = check_entry(folder)
    CheckedTree((found,), (), tuple(found.faults)).demand([folder])
    if found.entry is None or found.record is None:
        raise InputError("an entry cannot be read", where=folder, next_step=NEXT)
    return found.entry, found.record


def entry_folders(path: Path) -> list[Path]:
    """Folders of entries at or below ``path``, sorted: those with an entry file, and all ``entries/<task>/<name>``."""
    if not path.exists():
        raise InputError("there is nothing here", where=path, expected="an entry, or a folder of leaderboards")
    if path.is_file():
        return [path.parent] if path.name == ENTRY_FILE else []
    found = {path} if (path / ENTRY_FILE).is_file() else set()
    # Links are not followed: what they lead to is not part of the tree.
    for folder, inner, files in os.walk(path):
        here = Path(folder)
        inner[:] = [name for name in inner if not name.startswith(WAITING)]
        if here.parent.parent.name == ENTRIES_FOLDER or ENTRY_FILE in files:
            found.add(here)
            inner.clear()
        elif here.parent.name == ENTRIES_FOLDER:
            found |= {here / name for name in inner if (here / name).is_symlink()}
            found |= {here / name for name in files}
        elif here.name == ENTRIES_FOLDER:
            found |= {here / name for name in files}
    return sorted(found)


def _relative(folder: Path, path: Path) -> str:
    within = folder.relative_to(path) if folder.is_relative_to(path) else folder
    return printable(path.name if within == Path() else within.as_posix())


def check_entry(folder: Path, where: str = "", *, submitted: bool = False) -> CheckedEntry:
    """Read and check one entry by itself; nothing is raised, everything is noted."""
    found = CheckedEntry(folder, where or printable(folder.name))
    contents = _contents(found)
    if contents is None:
        return found
    if ENTRY_FILE not in contents:
        found.bad("missing", ENTRY_FILE, "an entry has one")
        return found
    found.entry, faults = parse_entry(contents[ENTRY_FILE])
    found.faults += faults
    if found.entry is None:
        return found
    _check_files(found, found.entry, contents)
    _check_place(found, found.entry, submitted=submitted)
    of_file = _check_record(found, found.entry) if RECORD_FILE in contents else None
    if of_file is not None and PACKED_ITEMS_FILE in contents:
        _check_items(found, of_file, contents[PACKED_ITEMS_FILE])
    _check_audit(found, found.entry, contents)
    return found


def _contents(found: CheckedEntry) -> dict[str, bytes] | None:
    """The bytes of every plain file of a folder by its path; links, odd things and what is too large are faults."""
    if found.folder.is_symlink() or not found.folder.is_dir():
        found.bad("not-a-folder", "", "an entry is a folder, and no link to one")
        return None
    contents: dict[str, bytes] = {}
    for count, path in enumerate(sorted(found.folder.rglob("*")), 1):
        name = path.relative_to(found.folder).as_posix()
        if count > MOST_FILES:
            found.bad("extra", name, f"more than {MOST_FILES} files: the rest was not looked at")
            break
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found.bad("link", name, f"links to {path.readlink()}: an entry holds its files")
        elif stat.S_ISDIR(mode):
            if name != AUDIT_FOLDER:
                found.bad("extra", name, "no entry has this folder")
        elif not stat.S_ISREG(mode):
            found.bad("extra", name, "not a file")
        elif (size := path.lstat().st_size) > (most := MOST_BYTES.get(name, MOST_IMAGE_BYTES)):
            found.bad("too-large", name, f"{size} bytes, and {most} are allowed")
        else:
            try:
                contents[name] = path.read_bytes()
            except OSError as error:
                found.bad("unreadable", name, error.strerror or str(error))
    return contents


def _check_files(found: CheckedEntry, entry: Entry, contents: Mapping[str, bytes]) -> None:
    """Every file that is named is there as it was, and no other: so no path can lead out of the folder."""
    needed = {RECORD_FILE, PACKED_ITEMS_FILE, *(image.file for image in entry.audit)}
    noted = {fault.problem.where for fault in found.faults}
    for name in sorted(needed - set(entry.files)):
        found.bad("unnamed", f"{ENTRY_FILE}: files", f"it does not name {name}")
    for name in sorted(set(entry.files) - needed):
        found.bad(
            "unknown file",
            f"{ENTRY_FILE}: files",
            f"{name!r}: an entry has {RECORD_FILE}, {PACKED_ITEMS_FILE} and {AUDIT_FOLDER}/",
        )
    for name in sorted(needed):
        if name not in contents:
            if name not in noted:
                found.bad("missing", name, "")
        elif name in entry.files and (digest := bytes_digest(contents[name])) != entry.files[name]:
            found.altered("changed", name, f"expected sha256 {entry.files[name]}, found {digest}")
    for name in sorted(set(contents) - needed - {ENTRY_FILE}):
        found.bad("extra", name, "the entry does not name it")


def _check_place(found: CheckedEntry, entry: Entry, *, submitted: bool) -> None:
    name = found.folder.name
    if not is_slug(name) or name != slug_of(entry.name):
        found.bad(
            "wrong place",
            ENTRY_FILE,
            f"the entry {entry.name!r} belongs into a folder {slug_of(entry.name)!r}, found {name!r}",
        )
    above = found.folder.absolute().parts[-4:-1]
    if len(above) == 3 and above[1] == ENTRIES_FOLDER and (above[0], above[2]) != (entry.set_id, entry.task):
        found.bad(
            "wrong place",
            ENTRY_FILE,
            f"an entry of {entry.set_id}, {entry.task} among those of {above[0]}, {above[2]}",
        )
    if submitted and entry.tier is not Tier.SCORED:
        found.bad(
            "wrong value",
            f"{ENTRY_FILE}: tier",
            f"an author can claim {Tier.SCORED.value!r} alone, found {entry.tier.value!r}",
        )


def _check_record(found: CheckedEntry, entry: Entry) -> RecordFile | None:
    try:
        of_file = read_record(found.folder / RECORD_FILE)
    except PaletteBenchError as error:
        for problem in error.problems or [Problem("record", "", _sentence(error))]:
            name = f"{RECORD_FILE}: {problem.where}" if problem.where else RECORD_FILE
            found.faults.append(
                Fault(Problem(problem.kind, name, problem.detail), isinstance(error, VerificationError))
            )
        return None
    record = found.record = of_file.record
    stated = {"set": entry.set_id, "task": entry.task, "result_id": entry.result_id, "tree_sha256": entry.tree_sha256}
    actual = {
        "set": record.scored.set_id,
        "task": record.scored.task,
        "result_id": record.result_id,
        "tree_sha256": record.tree_sha256,
    }
    for name, value in stated.items():
        if value != actual[name]:
            found.altered("contradiction", f"{ENTRY_FILE}: {name}", f"{value!r}, and the record says {actual[name]!r}")
    for detail in unknown_parts(record):
        found.bad("unknown", RECORD_FILE, detail)
    if of_references(record):
        found.bad("unknown", RECORD_FILE, "the predictions are copies of the true images")
    return of_file


def _sentence(error: PaletteBenchError) -> str:
    parts = [error.what]
    if error.expected is not None:
        parts.append(f"expected {error.expected}, found {error.found}")
    return "; ".join(parts)


def known_protocol(record: ResultRecord) -> Protocol | None:
    """The definition of a record's set as this version of the program has it; None for sets of the user's own."""
    if record.scored.name not in protocol_names() or record.scored.name == Family.FOLDER.value:
        return None
    protocol = declared_protocol(record.scored.name, record.scored.variant)
    return protocol if protocol.set_id == record.scored.set_id else None


def of_references(record: ResultRecord) -> bool:
    """Whether a record says that its predictions are copies of the true images."""
    return record.origin is not None and record.origin.kind == AdapterKind.REFERENCE


def unknown_parts(record: ResultRecord) -> Iterator[str]:
    """Why a record cannot stand on a leaderboard: what in it is not as this version of the program defines it."""
    protocol = known_protocol(record)
    if protocol is None:
        yield f"the set {record.scored.set_id} is none that ships: its images cannot be had by others"
        return
    scored = record.scored
    if scored.task not in protocol.task_names:
        yield f"the set {scored.set_id} has no task {scored.task}"
        return
    yield from set_reasons(scored, protocol, with_published=False)
    for what, found, expected in (
        ("count", scored.count, protocol.selection.count),
        ("size", scored.size, protocol.size),
        ("geometry", scored.geometry, protocol.geometry.value),
        ("status", scored.status, protocol.status.value),
    ):
        if found != expected:
            yield f"{what} {found} of {scored.set_id}, which has {expected}"
    usual = for_protocol(protocol.family.value)
    for name, metric in record.metrics.items():
        recipe = RECIPES.get(name)
        if recipe is None or recipe not in usual:
            yield f"recipe {name} is none for {scored.set_id}"
            continue
        for reason in metric_reasons(record, metric, recipe, protocol):
            yield f"{name}: {reason}"
        shown = (metric.title, metric.unit, metric.lower_is_better, metric.headline)
        if shown != (recipe.title, recipe.unit, recipe.direction is Direction.LOWER, recipe.headline):
            yield f"{name}: title, unit, direction or headline are not the recipe's"
        yield from _unlike_signature(record, metric, recipe)
        if metric.low is not None and metric.high is not None and not metric.low <= metric.value <= metric.high:
            yield f"{name}: its value lies outside of its interval"
        if recipe.metric.column is Column.PD and metric.value == 0.0 and not of_references(record):
            yield f"{name} is 0: the predictions are the true images"
    missing = [recipe.name for recipe in usual if recipe.headline and recipe.name not in record.metrics]
    if missing:
        yield f"the record lacks {', '.join(missing)}: a leaderboard needs every headline number"


def _unlike_signature(record: ResultRecord, metric: MetricValue, recipe: Recipe) -> Iterator[str]:
    """Network, weights and signature, which people read, against the fingerprint, which decides."""
    if metric.backbone != recipe.backbone:
        yield f"{recipe.name}: network {metric.backbone}, which is {recipe.backbone}"
        return
    weights = "" if recipe.backbone == PIXELS else metric.weights_sha256
    known = recipe.backbone in (PIXELS, LPIPS) or (
        spec_named(recipe.backbone).fingerprint(weights) == canonical_fingerprint(recipe.backbone)
    )
    if weights != metric.weights_sha256 or (metric.canonical and not known):
        yield f"{recipe.name}: weights {metric.weights_sha256 or 'none'} are not the published ones"
    reference = None
    if recipe.parameters.get("reference") == Reference.REFERENCE_SET.value:
        reference = None if record.reference is None else record.reference.name
    elif "reference" in recipe.parameters:
        reference = EVAL_SET
    expected = signature(
        recipe=recipe.name,
        scored=record.scored,
        reference=reference,
        backbone=metric.backbone,
        weights_sha256=metric.weights_sha256,
        canonical=metric.canonical,
    )
    # Which version of the program scored it, the record alone can say.
    if metric.signature.rpartition("|v:")[0] != expected.rpartition("|v:")[0]:
        yield f"{recipe.name}: signature {metric.signature!r}, and the record makes {expected!r}"


def _check_items(found: CheckedEntry, of_file: RecordFile, data: bytes) -> None:
    try:
        content = unpacked(data)
    except ValueError as error:
        found.bad("unreadable", PACKED_ITEMS_FILE, str(error))
        return
    if (digest := bytes_digest(content)) != of_file.items_sha256:
        found.altered(
            "changed", PACKED_ITEMS_FILE, f"the record's items have sha256 {of_file.items_sha256}, found {digest}"
        )
    try:
        found.items = parse_items(content, found.folder / PACKED_ITEMS_FILE, of_file.record.scored.count)
    except InputError as error:
        for problem in error.problems:
            found.bad(problem.kind, f"{PACKED_ITEMS_FILE}: {problem.where}", problem.detail)
        return
    found.follows = follows(of_file.record, found.items)
    for problem in found.follows.problems:
        found.altered(problem.kind, f"{RECORD_FILE}: {problem.where}", problem.detail)


def _check_audit(found: CheckedEntry, entry: Entry, contents: Mapping[str, bytes]) -> None:
    """The images are those that the digest of the predictions chose, and are the predictions that were scored."""
    if found.items is not None and entry.audit:
        chosen = audited(entry.tree_sha256, found.items.ids)
        if (have := tuple(image.item for image in entry.audit)) != chosen:
            found.altered("wrong images", f"{ENTRY_FILE}: audit", f"expected those of the items {chosen}, found {have}")
    for image in entry.audit:
        if image.file not in contents:
            continue
        try:
            pixels = decode(contents[image.file]).pixels
        except BadImageError as error:
            found.bad("undecodable", image.file, str(error))
            continue
        if (digest := pixel_digest(pixels)) != image.pixels_sha256:
            found.altered("changed", image.file, f"expected pixels {image.pixels_sha256}, found {digest}")
        if found.items is not None and image.item < len(found.items.ids):
            scored = found.items.prediction_digests[image.item]
            if scored != digest:
                text = f"the prediction of {found.items.ids[image.item]} that was scored has pixels {scored}"
                found.altered("wrong image", image.file, text)


def _readable_records(path: Path) -> Iterator[CheckedRecord]:
    """The project's own records below ``path`` that can be read; whether they are good is not asked here."""
    for file in _record_files(path):
        with contextlib.suppress(PaletteBenchError):
            yield CheckedRecord(file, printable(file.relative_to(path).as_posix()), read_record(file).record)


def _record_files(path: Path) -> list[Path]:
    return sorted(path.glob(f"**/{RECORDS_FOLDER}/*/*.json")) if path.is_dir() else []


def _records(path: Path, faults: list[Fault]) -> Iterator[CheckedRecord]:
    """The project's own records below ``path``: ``<set>/records/<task>/<model>.json``."""
    files = _record_files(path)
    # Reading all cards takes longer than everything else.
    shipped = {card.name: card for card in cards()} if files else {}
    for file in files:
        where = printable(file.relative_to(path).as_posix())

        def bad(kind: str, detail: str, *, altered: bool = False, where: str = where) -> None:
            faults.append(Fault(Problem(kind, where, detail), altered))

        if file.is_symlink():
            bad("link", "a record is a file")
            continue
        try:
            record = read_record(file).record
        except PaletteBenchError as error:
            bad("record", _sentence(error), altered=isinstance(error, VerificationError))
            continue
        of_set, task = file.parents[2].name, file.parents[0].name
        if (record.scored.set_id, record.scored.task, record.name) != (of_set, task, file.stem):
            bad("wrong place", f"it is {record.name} on {record.scored.set_id}, {record.scored.task}")
        for detail in unknown_parts(record):
            bad("unknown", detail)
        card = shipped.get(record.name)
        if record.origin is None or card is None:
            bad("unknown", f"no shipped model {record.name} made it")
        elif record.origin.fingerprint != card.fingerprint():
            bad("another model", f"the card {card.name} is not the one that made it", altered=True)
        yield CheckedRecord(file, where, record)


def _doubled(entries: Iterable[CheckedEntry], records: Iterable[CheckedRecord]) -> Iterator[Fault]:
    """Two names for the same predictions, and two rows under the same name."""
    known: dict[tuple[str, ...], str] = {}

    def seen(where: str, what: str, *key: str) -> Iterator[Fault]:
        first = known.setdefault((what, *key), where)
        if first != where:
            yield Fault(Problem("doubled", where, f"{what} as {first}"), altered=False)

    for own in records:
        scored = own.record.scored
        known.setdefault(("the same name", scored.set_id, scored.task, same_name(own.record.name)), own.where)
        known.setdefault(("the same result_id", own.record.result_id), own.where)
        known.setdefault(("the same predictions", scored.set_id, scored.task, own.record.tree_sha256), own.where)
    for one in entries:
        if one.entry is None:
            continue
        entry = one.entry
        yield from seen(one.where, "the same name", entry.set_id, entry.task, same_name(entry.name))
        twice = list(seen(one.where, "the same result_id", entry.result_id))
        yield from twice or seen(one.where, "the same predictions", entry.set_id, entry.task, entry.tree_sha256)


def _different_references(entries: Iterable[CheckedEntry], records: Iterable[CheckedRecord]) -> Iterator[Fault]:
    """What the untouched references score is a fact of the set, and the same in every record of it."""
    known: dict[tuple[str, str], tuple[float | None, str]] = {}
    all_records = [(one.where, one.record) for one in records]
    all_records += [(one.where, one.record) for one in entries if one.record is not None]
    for where, record in all_records:
        for name, metric in record.metrics.items():
            if name not in RECIPES:
                continue
            key = name, f"{record.scored.data_digest}{metric.fingerprint}"
            value, first = known.setdefault(key, (metric.reference_value, where))
            half_unit = 0.5 * 10.0 ** -RECIPES[name].digits
            same = value == metric.reference_value or (
                value is not None
                and metric.reference_value is not None
                and abs(value - metric.reference_value) < half_unit
            )
            if not same:
                text = f"{name}: the references score {metric.reference_value}, and {value} in {first}"
                yield Fault(Problem("contradiction", where, text), altered=True)
