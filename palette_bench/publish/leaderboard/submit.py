"""From a scored result to an entry: record, items, what is declared of the model, and predictions chosen by hash."""

import contextlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from palette_bench.artifacts.evalset import open_set
from palette_bench.artifacts.predictions import locate
from palette_bench.artifacts.record import ITEMS_FILE, RECORD_FILE, Items, Origin, ResultRecord, read_items, read_record
from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.files import write_json
from palette_bench.common.progress import Progress
from palette_bench.images.decode import encode_png
from palette_bench.predict.card import Card, find_card
from palette_bench.publish.leaderboard.check import WAITING, check_new
from palette_bench.publish.leaderboard.entry import (
    ENTRIES_FOLDER,
    ENTRY_FILE,
    PACKED_ITEMS_FILE,
    AuditImage,
    Entry,
    ModelFacts,
    audit_file,
    audited,
    is_link,
    name_faults,
    packed,
    slug_of,
)
from palette_bench.score.gate import admit, examine


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the author says of the model; None and empty where the card is to say it."""

    name: str
    description: str = ""
    training_data: str | None = None
    licence: str | None = None
    citation: str | None = None
    url: str = ""
    card: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A finished entry and the folder that it is in."""

    folder: Path
    entry: Entry
    record: ResultRecord


def submit(
    result: Path, declared: Declared, preds: Path | None, out: Path, *, jobs: int, progress: Progress
) -> Submitted:
    """Write the entry of ``result``, a folder that ``score`` wrote, below ``out``; it appears whole or not at all.

    With ``preds`` the prepared set must be here: every prediction is looked at, and must be the one that was scored.
    Raises UsageError for what is not declared, and whatever `leaderboard check` would say of the entry.
    """
    of_file = read_record(result)
    items, record = read_items(of_file), of_file.record
    card = _card(declared, record)
    facts = _facts(declared, card, record.origin)
    _check_declared(declared, facts)
    images = {} if preds is None else _audit_images(preds, record, items, jobs=jobs, progress=progress)
    contents = {
        RECORD_FILE: of_file.path.read_bytes(),
        PACKED_ITEMS_FILE: packed(of_file.path.with_name(ITEMS_FILE).read_bytes()),
        **{audit_file(item): data for item, data in images.items()},
    }
    entry = Entry(
        name=declared.name,
        description=declared.description,
        set_id=record.scored.set_id,
        task=record.scored.task,
        result_id=record.result_id,
        tree_sha256=record.tree_sha256,
        model=facts,
        audit=tuple(
            AuditImage(item=item, file=audit_file(item), pixels_sha256=items.prediction_digests[item])
            for item in images
        ),
        files={name: bytes_digest(data) for name, data in contents.items()},
    )
    folder = out / entry.set_id / ENTRIES_FOLDER / entry.task / slug_of(entry.name)
    _place(folder, entry, contents, out)
    return Submitted(folder, entry, record)


def _card(declared: Declared, record: ResultRecord) -> Card | None:
    """The card that is named, or else the shipped one that made the predictions."""
    origin = record.origin
    if declared.card is not None:
        card = find_card(declared.card)
        if origin is not None and origin.fingerprint != card.fingerprint():
            raise VerificationError(
                "the card is not that of the predictions",
                where=declared.card,
                expected=f"the card {origin.model}, fingerprint {origin.fingerprint}",
                found=f"the card {card.name}, fingerprint {card.fingerprint()}",
                next_step="name the card that predict ran with, or predict and score again",
            )
        return card
    if origin is None:
        return None
    try:
        card = find_card(origin.model)
    except UsageError:
        return None
    return card if card.fingerprint() == origin.fingerprint else None


def _facts(declared: Declared, card: Card | None, origin: Origin | None) -> ModelFacts:
    trained = declared.training_data
    if trained is None and card is not None and (source := card.training.get("source")) is not None:
        trained = f"{source} (the card's training recipe)"
    return ModelFacts(
        title=card.title if card is not None else origin.title if origin is not None else "",
        licence=declared.licence if declared.licence is not None else card.licence if card is not None else "",
        citation=declared.citation if declared.citation is not None else card.citation if card is not None else "",
        url=declared.url,
        training_data=trained or "",
        card=card.name if card is not None else origin.model if origin is not None else "",
        card_sha256=origin.fingerprint if origin is not None else card.fingerprint() if card is not None else "",
    )


def _check_declared(declared: Declared, facts: ModelFacts) -> None:
    problems = [Problem("wrong value", "--name", fault) for fault in name_faults(declared.name)]
    if not facts.training_data:
        problems.append(Problem("missing", "--training-data", "what the model was trained on; none, if it was not"))
    if declared.url and not is_link(declared.url):
        problems.append(Problem("wrong value", "--url", f"{declared.url!r} is no http or https address"))
    if problems:
        raise UsageError(
            "an entry cannot be made of this",
            problems=problems,
            next_step="palette-bench submit --help; docs/submitting.md",
        )


def _audit_images(
    preds: Path, record: ResultRecord, items: Items, *, jobs: int, progress: Progress
) -> dict[int, bytes]:
    """The audit images as PNG files by place in the set, from predictions that are those of the record."""
    eval_set = open_set(record.scored.set_id)
    if eval_set.data_digest != record.scored.data_digest:
        raise VerificationError(
            "the prepared set is not the one that was scored on",
            where=eval_set.folder,
            expected=f"data digest {record.scored.data_digest}",
            found=f"data digest {eval_set.data_digest}",
            next_step="score the predictions again",
        )
    task = eval_set.task(record.scored.task)
    admitted = admit(eval_set, preds, [examine(eval_set, task, preds, jobs=jobs, progress=progress)])
    if (admitted.digest, admitted.tree_sha256) != (record.predictions_digest, record.tree_sha256):
        raise VerificationError(
            "these are not the predictions that were scored",
            where=preds,
            expected=f"images with tree_sha256 {record.tree_sha256}",
            found=f"images with tree_sha256 {admitted.tree_sha256}",
            next_step="give the folder that was scored, or score this one",
        )
    predictions, _ = locate(preds, eval_set)
    images: dict[int, bytes] = {}
    for item in audited(record.tree_sha256, items.ids):
        pixels = predictions.decode(predictions.read(item, 0)).pixels
        if pixel_digest(pixels) != items.prediction_digests[item]:
            raise InputError("a prediction changed while it was read", where=predictions.name(item, 0))
        images[item] = encode_png(pixels)
    return images


def _place(folder: Path, entry: Entry, contents: Mapping[str, bytes], out: Path) -> None:
    """Write an entry beside its place, check it among all that are there, and move it in."""
    if folder.exists() or folder.is_symlink():
        raise InputError(
            "there is an entry of this name",
            where=folder,
            expected="a new name: no entry is ever overwritten",
            next_step="choose another --name, or remove the folder if it is an attempt of your own",
        )
    waiting = out / f"{WAITING}{secrets.token_hex(6)}" / folder.name
    try:
        for name, data in contents.items():
            path = waiting / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        write_json(waiting / ENTRY_FILE, entry.sealed())
        check_new(waiting, out).demand([folder])
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            waiting.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise
            raise InputError(
                "there is an entry of this name", where=folder, found="it came into being just now"
            ) from error
    finally:
        shutil.rmtree(waiting.parent, ignore_errors=True)
        # Folders that only this attempt made do not stay; those with something in them do.
        with contextlib.suppress(OSError):
            for parent in list(folder.parents)[:4]:
                parent.rmdir()
