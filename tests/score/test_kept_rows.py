from pathlib import Path

from palette_bench.common.progress import Silent
from palette_bench.score.kept_rows import KeptRows


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
