"""The schemas in docs/schemas are those of the dataclasses, and everything that ships comes back as it is written."""

import json
import tomllib
from pathlib import Path

import pytest

from palette_bench.artifacts.record import ResultRecord, read_record, sealed
from palette_bench.common import schema
from palette_bench.predict.card import CARD_FILE, Card
from palette_bench.protocol.definition import Protocol
from palette_bench.publish.regress.manifest import ManifestFile
from palette_bench.publish.tables.printed import PaperFile
from tests.docs.schemas import FOLDER, written

ROOT = FOLDER.parents[1]
RECORDS = sorted(path for path in (ROOT / "leaderboards").glob("*/records/**/*.json") if b'"seal"' in path.read_bytes())
TOML = [
    *((Card, path) for path in sorted((ROOT / "baselines").glob(f"*/{CARD_FILE}"))),
    *((Protocol, path) for path in sorted((ROOT / "protocols").glob("*.toml"))),
    *((PaperFile, path) for path in sorted((ROOT / "leaderboards" / "paper").glob("*.toml"))),
    *((ManifestFile, path) for path in sorted((ROOT / "leaderboards").glob("*/regression.toml"))),
]


def test_the_schemas_of_the_documentation_are_current() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == written(), "python -m tests.docs.schemas"


def test_every_shipped_record_comes_back_byte_for_byte() -> None:
    assert len(RECORDS) >= 78
    for path in RECORDS:
        read = read_record(path)
        assert isinstance(read.record, ResultRecord)
        again = json.dumps(sealed(read.record, read.items_sha256), sort_keys=True, indent=2, allow_nan=False) + "\n"
        assert again.encode() == path.read_bytes(), path


@pytest.mark.parametrize(("kind", "path"), TOML, ids=lambda value: getattr(value, "parent", value) and str(value)[-40:])
def test_every_shipped_definition_comes_back_as_data(kind: type[object], path: Path) -> None:
    value = tomllib.loads(path.read_text(encoding="utf-8"))
    read = schema.load(kind, value)
    written = schema.dump(read)
    assert schema.load(kind, written) == read
    assert _without_defaults(value, written) == written


def _without_defaults(value: object, written: object) -> object:
    """``value`` without the keys that ``written`` leaves out, because they say what they would say unsaid."""
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _without_defaults(value[key], written[key]) for key in value if key in written}
    if isinstance(value, list) and isinstance(written, list) and len(value) == len(written):
        return [_without_defaults(one, other) for one, other in zip(value, written, strict=True)]
    return value
