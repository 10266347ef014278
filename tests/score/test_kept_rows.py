import json
from dataclasses import asdict
from pathlib import Path

import pytest

from palette_bench.common.progress import Silent
from palette_bench.images.decode import Conversion
from palette_bench.score.features import KeptRows
from palette_bench.score.gate import Checked, checked_from_json


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_rows_come_back_from_all_files(tmp_path: Path) -> None:
    store = KeptRows(tmp_path / "rows")
    assert store.load(Silent()) == {}
    store.add({"a": {"x": 1}, "b": {"x": None}}, Silent())
    store.add({"c": {"x": "é"}}, Silent())
    store.add({}, Silent())
    assert KeptRows(tmp_path / "rows").load(Silent()) == {"a": {"x": 1}, "b": {"x": None}, "c": {"x": "é"}}
    assert len(list((tmp_path / "rows").iterdir())) == 2


def test_a_damaged_file_is_ignored_and_noted(tmp_path: Path) -> None:
    store, notes = KeptRows(tmp_path), Notes()
    store.add({"a": {"x": 1}}, Silent())
    store.add({"b": {"x": 2}}, Silent())
    path = sorted(tmp_path.iterdir())[0]
    path.write_bytes(path.read_bytes().replace(b'"x":', b'"y":'))
    assert len(store.load(notes)) == 1
    assert len(notes.notes) == 1
    assert str(path) in notes.notes[0]


def test_a_folder_that_cannot_be_written_is_noted(tmp_path: Path) -> None:
    blocked, notes = tmp_path / "file", Notes()
    blocked.write_text("no folder")
    KeptRows(blocked / "rows").add({"a": {}}, notes)
    assert len(notes.notes) == 1


def test_rows_of_the_gate_that_another_version_wrote_are_found_anew() -> None:
    row = Checked(0, 0, "a", "b", None, None, {"psnr": 1.5}, False, (Conversion.CMYK,))
    written = asdict(row)
    assert checked_from_json(json.loads(json.dumps(written))) == row
    for other, what in (
        ({**written, "blur": 1.0}, "blur"),
        ({name: value for name, value in written.items() if name != "lossy"}, "a row of"),
        ({**written, "pixels": None}, "items"),
        ({**written, "conversions": ["no such conversion"]}, "no such conversion"),
    ):
        with pytest.raises(ValueError, match=what):
            checked_from_json(other)
