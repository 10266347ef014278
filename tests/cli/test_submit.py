"""The command ``submit`` as a user meets it; with real predictions in tests/e2e."""

import json
import shutil
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand
from tests.publish.leaderboard.results import a_result

TRAINED = ("--training-data", "scenes32, train")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "result"
    a_result(folder)
    return folder


@pytest.fixture(autouse=True)
def _here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_entry_is_written_where_it_belongs(run: RunCommand, result: Path, tmp_path: Path) -> None:
    code, out, err = run("submit", result, "--name", "My model", *TRAINED, "--licence", "MIT")
    assert code == 0, err
    folder = tmp_path / "leaderboards/scenes32/entries/uncrop/my-model"
    assert out.splitlines()[0] == "leaderboards/scenes32/entries/uncrop/my-model"
    assert "0 audit images: give --preds" in out
    assert sorted(path.name for path in folder.iterdir()) == ["entry.json", "items.csv.gz", "result.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["my-model"]
    entry = json.loads((folder / "entry.json").read_text())
    assert entry["tier"] == "scored"
    assert entry["model"]["licence"] == "MIT"
    assert (folder / "result.json").read_bytes() == (result / "result.json").read_bytes()
    code, out, _ = run("leaderboard", "check", "--submitted", folder)
    assert code == 0


def test_the_same_result_makes_the_same_bytes(run: RunCommand, result: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert run("submit", result, "--name", "My model", *TRAINED, "--out", out)[0] == 0
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    assert len(files) == 3
    for name in files:
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()


def test_no_entry_is_overwritten(run: RunCommand, result: Path, tmp_path: Path) -> None:
    a_result(tmp_path / "other", 1)
    assert run("submit", result, "--name", "My model", *TRAINED)[0] == 0
    path = tmp_path / "leaderboards/scenes32/entries/uncrop/my-model/entry.json"
    before = path.read_bytes()
    code, out, err = run("submit", tmp_path / "other", "--name", "my MODEL!", *TRAINED, "--json")
    assert code == ExitCode.INPUT
    assert "there is an entry of this name" in err
    assert json.loads(out)["exit_code"] == 3
    assert path.read_bytes() == before


def test_the_same_predictions_under_another_name_are_refused(run: RunCommand, result: Path, tmp_path: Path) -> None:
    assert run("submit", result, "--name", "My model", *TRAINED)[0] == 0
    code, _, err = run("submit", result, "--name", "Other", *TRAINED)
    assert code == ExitCode.INPUT
    assert "the same result_id as" in err
    assert [path.name for path in (tmp_path / "leaderboards/scenes32/entries/uncrop").iterdir()] == ["my-model"]


def test_everything_that_is_not_declared_is_told_together(run: RunCommand, result: Path, tmp_path: Path) -> None:
    code, _, err = run("submit", result, "--name", " two  spaces", "--url", "javascript:alert(1)")
    assert code == ExitCode.USAGE
    for words in ("--name", "--training-data", "--url"):
        assert words in err
    assert not (tmp_path / "leaderboards").exists()


def test_a_result_that_was_changed_makes_no_entry(run: RunCommand, result: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(result, spoilt)
    (spoilt / "result.json").write_text((spoilt / "result.json").read_text().replace('"value": 1', '"value": 2', 1))
    code, _, err = run("submit", spoilt, "--name", "My model", *TRAINED)
    assert code == ExitCode.VERIFICATION
    assert "changed after it was written" in err
    (spoilt / "result.json").write_bytes((result / "result.json").read_bytes())
    (spoilt / "items.csv").write_text("id\n")
    code, _, err = run("submit", spoilt, "--name", "My model", *TRAINED)
    assert code == ExitCode.VERIFICATION
    assert not (tmp_path / "leaderboards").exists()


def test_predictions_need_the_set_that_they_are_of(run: RunCommand, result: Path, tmp_path: Path) -> None:
    (tmp_path / "preds").mkdir()
    code, _, err = run("submit", result, "--name", "My model", *TRAINED, "--preds", "preds")
    assert code in (ExitCode.INPUT, ExitCode.USAGE)
    assert "scenes32" in err
    assert "Traceback" not in err


def test_a_card_declares_what_is_not_said(run: RunCommand, result: Path, tmp_path: Path) -> None:
    options = ("--card", "palette-scenes32-inpaint", "--name", "My model", "--json")
    code, out, err = run("submit", result, *options)
    assert code == 0, err
    model = json.loads(out)["entry"]["model"]
    assert model["training_data"] == "scenes32 (the card's training recipe)"
    assert model["card"] == "palette-scenes32-inpaint"
    assert "Saharia" in model["citation"]
    assert run("submit", result, "--card", "nobody", "--name", "B")[0] == ExitCode.USAGE


def test_an_attempt_that_fails_leaves_nothing(
    run: RunCommand, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        code, _, err = run("submit", result, "--name", "My model", *TRAINED)
    assert code == ExitCode.INPUT
    assert "the disk is full" in err
    assert not (tmp_path / "leaderboards").exists()


def test_what_a_killed_process_left_is_no_entry(run: RunCommand, result: Path, tmp_path: Path) -> None:
    assert run("submit", result, "--name", "My model", *TRAINED)[0] == 0
    shutil.copytree(
        tmp_path / "leaderboards/scenes32/entries/uncrop/my-model", tmp_path / "leaderboards/.submitting-0a/my-model"
    )
    assert run("leaderboard", "check")[0] == 0
    assert run("submit", result, "--name", "My model", *TRAINED, "--out", "other")[0] == 0
