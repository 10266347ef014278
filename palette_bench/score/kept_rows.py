"""Rows of JSON kept by a key: what was found of a file, so that it is not looked at again.

A folder of files, each canonical JSON lines under the sha256 of its bytes: damage is noticed and ignored, and processes
that write at the same time cannot disturb each other. Any file may be deleted.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.files import jsonl_bytes, write_bytes
from palette_bench.common.progress import Progress

SUFFIX = ".rows"


class KeptRows:
    """The rows in ``folder``; what they depend on besides their keys belongs into the folder's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, progress: Progress) -> dict[str, Mapping[str, object]]:
        """All rows by key. A damaged file is noted once and ignored."""
        rows: dict[str, Mapping[str, object]] = {}
        damaged: Path | None = None
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.suffix == SUFFIX)
        except OSError:
            return rows
        for path in paths:
            try:
                data = path.read_bytes()
                if bytes_digest(data) + SUFFIX != path.name:
                    raise ValueError("the digest does not fit")
                # One call for all lines is twice as fast as one for each.
                for value in json.loads(b"[" + b",".join(data.splitlines()) + b"]"):
                    rows[value["key"]] = value["row"]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError):
                damaged = path
        if damaged is not None:
            progress.note(f"damaged rows are ignored and found again: {damaged}")
        return rows

    def add(self, rows: Mapping[str, Mapping[str, object]], progress: Progress) -> None:
        """Keep rows; a folder that cannot be written is noted and costs only time later."""
        if not rows:
            return
        data = jsonl_bytes({"key": key, "row": rows[key]} for key in sorted(rows))
        try:
            write_bytes(self.folder / (bytes_digest(data) + SUFFIX), data)
        except OSError as error:
            progress.note(f"what was found of the files is not kept: {self.folder}: {error.strerror or error}")
