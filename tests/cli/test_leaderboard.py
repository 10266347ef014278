"""The commands of ``leaderboard`` as a maintainer meets them."""

import json
import shutil
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand
from tests.publish.leaderboard.results import an_entry


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "leaderboards"
    an_entry(root)
    return root


@pytest.fixture
def entry(made: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry in ``leaderboards`` of the working directory."""
    shutil.copytree(made, tmp_path / "leaderboards")
    monkeypatch.chdir(tmp_path)
    return Path("leaderboards/scenes32/entries/uncrop/my-model")


def test_check_says_what_it_recomputed_and_what_it_could_not(run: RunCommand, entry: Path) -> None:
    code, out, err = run("leaderboard", "check")
    assert code == 0, err
    assert "scenes32/entries/uncrop/my-model: My model, scored" in out
    assert "from its items: ca-scenes32 (value and error)" in out
    assert "cannot be recomputed from items: fid-scenes32" in out
    assert "1 entries are what they say" in out


def test_check_for_programs(run: RunCommand, entry: Path) -> None:
    code, out, _ = run("leaderboard", "check", "--json", entry)
    assert code == 0
    (found,) = json.loads(out)["entries"]
    assert found["name"] == "My model"
    assert found["audit_images"] == 8
    assert found["recomputed"]["pd-scenes32"] == "value and error"
    assert "is-scenes32" in found["taken_on_trust"]


def test_check_lists_every_fault_and_tells_kinds_apart(run: RunCommand, entry: Path) -> None:
    (entry / "extra.txt").write_text("x")
    code, out, err = run("leaderboard", "check", "--json")
    assert code == ExitCode.INPUT
    assert [problem["kind"] for problem in json.loads(out)["problems"]] == ["extra"]
    path = entry / "result.json"
    path.write_text(path.read_text().replace('"samples": 1', '"samples": 2'))
    code, out, err = run("leaderboard", "check", "--json")
    assert code == ExitCode.VERIFICATION
    assert {"extra", "changed", "record"} <= {problem["kind"] for problem in json.loads(out)["problems"]}
    assert "Traceback" not in err


def test_check_of_nothing(run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("leaderboard", "check")
    assert code == ExitCode.INPUT
    assert "there is nothing here" in err


@pytest.mark.parametrize(
    "options",
    [
        ("--grant",),
        ("--rescore", "a"),
        ("ENTRY", "--rescore", "a", "--rerun", "b"),
        ("--rerun", "b"),
        ("ENTRY", "ENTRY", "--rescore", "a"),
    ],
)
def test_verifying_takes_one_entry_and_one_way(run: RunCommand, entry: Path, options: tuple[str, ...]) -> None:
    assert run("leaderboard", "check", *options)[0] == ExitCode.USAGE


def test_rerun_needs_a_record_that_names_its_model(run: RunCommand, entry: Path) -> None:
    code, _, err = run("leaderboard", "check", entry, "--rerun", "classical-mirror")
    assert code == ExitCode.INPUT
    assert "does not say what made its predictions" in err


def test_build_and_its_check(run: RunCommand, entry: Path) -> None:
    code, out, err = run("leaderboard", "build", "--check")
    assert code == ExitCode.VERIFICATION
    assert not Path("leaderboards/site").exists()
    code, out, err = run("leaderboard", "build")
    assert code == 0, err
    assert "leaderboards/site/index.html" in out
    assert Path("leaderboards/imagenet-ctest10k/README.md").is_file()
    assert run("leaderboard", "build", "--check")[0] == 0
    code, out, _ = run("leaderboard", "build", "--json")
    assert json.loads(out)["written"] == []
    Path("leaderboards/site/scenes32.html").write_text("x")
    code, _, err = run("leaderboard", "build", "--check")
    assert code == ExitCode.VERIFICATION
    assert "stale: leaderboards/site/scenes32.html" in err


def test_export_for_the_hub(run: RunCommand, entry: Path) -> None:
    code, out, err = run("leaderboard", "export-hf", entry, "--dataset", "me/scenes32")
    assert code == 0, err
    assert out.startswith('- dataset:\n    id: "me/scenes32"\n    task_id: "uncrop_fid-scenes32"\n  value: 10.0\n')
    assert run("leaderboard", "export-hf", entry, "--dataset", "me/scenes32", "--out", "hf/a.yaml")[0] == 0
    assert Path("hf/a.yaml").read_text() == out
    (entry / "extra.txt").write_text("x")
    assert run("leaderboard", "export-hf", entry, "--dataset", "me/scenes32")[0] == ExitCode.INPUT
    assert run("leaderboard", "export-hf", "nowhere", "--dataset", "me/scenes32")[0] == ExitCode.INPUT
