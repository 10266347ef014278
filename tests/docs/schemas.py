"""The JSON Schemas in docs/schemas, made from the dataclasses: ``python -m tests.docs.schemas`` writes them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palette_bench.artifacts.evalset import SetFile
from palette_bench.artifacts.record import SavedRecord
from palette_bench.common import schema
from palette_bench.predict.card import Card
from palette_bench.predict.training.recipe import Recipe
from palette_bench.protocol.definition import Protocol
from palette_bench.publish.figures.panorama import Account
from palette_bench.publish.leaderboard.entry import Entry
from palette_bench.publish.regress.manifest import ManifestFile
from palette_bench.publish.tables.printed import PaperFile

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
KINDS: Mapping[str, type[object]] = {
    "card": Card,
    "entry": Entry,
    "panorama": Account,
    "paper": PaperFile,
    "protocol": Protocol,
    "record": SavedRecord,
    "regression": ManifestFile,
    "set": SetFile,
    "training": Recipe,
}


SEALED = ("entry", "record")


def written() -> dict[str, str]:
    """The text of every schema by its file name."""
    return {f"{name}.schema.json": _text(name, kind) for name, kind in KINDS.items()}


def _text(name: str, kind: type[object]) -> str:
    made: Any = schema.json_schema(kind)
    if name in SEALED:
        made["properties"][schema.SEAL] = {"type": "string", "description": "sha256 of the canonical JSON of the rest"}
        made["required"].append(schema.SEAL)
    return json.dumps(made, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
