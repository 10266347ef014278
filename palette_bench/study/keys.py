"""The secrets of a study and what is made of them: session tokens, names of images, pseudonyms of people."""

import base64
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from palette_bench.common.errors import InputError
from palette_bench.common.files import read_json

KEYS_FILE = "keys.json"


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Two keys of 32 bytes. ``people`` is empty once a study is anonymous: then nobody can be looked up any more."""

    tokens: bytes
    people: bytes

    def token(self, *purpose: object, length: int = 32) -> str:
        """An unguessable name for ``purpose``, of ``length`` bytes, safe in an address."""
        digest = hmac.digest(self.tokens, "|".join(map(str, purpose)).encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:length]).decode().rstrip("=")

    def person(self, platform: str, name: str) -> str:
        """The pseudonym of a platform's id."""
        if not self.people:
            raise InputError(
                "this study is anonymous: nobody can take part any more", next_step="make another study for more raters"
            )
        return hmac.new(self.people, f"{platform}|{name}".encode(), "sha256").hexdigest()

    def ticket(self, number: int) -> str:
        """The part of a seat's link that lets somebody in."""
        return f"{number}-{self.token('ticket', number, length=16)}"

    def ticket_number(self, ticket: str) -> int | None:
        """The number of a ticket, None for one that was not made here."""
        number = ticket.partition("-")[0]
        if not (number.isascii() and number.isdigit() and len(number) < 7):
            return None
        return int(number) if hmac.compare_digest(self.ticket(int(number)).encode(), ticket.encode()) else None


def make_keys(folder: Path) -> Keys:
    """New keys in a folder, readable by their owner alone; existing ones stay."""
    if (folder / KEYS_FILE).exists():
        return read_keys(folder)
    keys = Keys(secrets.token_bytes(32), secrets.token_bytes(32))
    _write(folder, keys)
    return keys


def _write(folder: Path, keys: Keys) -> None:
    path = folder / KEYS_FILE
    temporary = path.with_name(f".{KEYS_FILE}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump({"tokens": keys.tokens.hex(), "people": keys.people.hex()}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_keys(folder: Path) -> Keys:
    """The keys of a study. Raises InputError."""
    path = folder / KEYS_FILE
    values = read_json(path, kind="keys", next_step="put it back: without it no answer can be told from a forged one")
    try:
        keys = Keys(bytes.fromhex(str(values["tokens"])), bytes.fromhex(str(values["people"])))
    except (KeyError, ValueError) as error:
        raise InputError("the keys of a study are damaged", where=path, found=error) from error
    if len(keys.tokens) != 32 or len(keys.people) not in (0, 32):
        raise InputError("the keys of a study are damaged", where=path, expected="32 bytes each")
    return keys


def forget_people(folder: Path) -> None:
    """Drop the key of the pseudonyms: no id can be matched with a session afterwards."""
    _write(folder, Keys(read_keys(folder).tokens, b""))
