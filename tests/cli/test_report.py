import json
from pathlib import Path

import pytest

from palette_bench.common.home import HOME_VARIABLE
from tests.conftest import RunCommand
from tests.publish.report.world import World, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), count=4, samples=2)


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv(HOME_VARIABLE, str(made.home))
    return made


def test_a_report_is_made_beside_its_record(world: World, run: RunCommand) -> None:
    code, out, err = run("report", world.result, "--preds", world.preds, "--jobs", 1)
    assert code == 0, err
    page = world.result / "report" / "index.html"
    assert page.is_file()
    assert out.startswith(f"{page}: 4 items, 4 with exact images")
    # The record's own file does as well as its folder.
    assert run("report", world.result / "result.json", "--preds", world.preds, "--jobs", 1)[1] == out


def test_what_programs_are_told(world: World, tmp_path: Path, run: RunCommand) -> None:
    code, out, err = run(
        "report", world.result, "--preds", world.preds, "--out", tmp_path / "r", "--samples-shown", 1, "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["page"] == str(tmp_path / "r" / "index.html")
    assert told["result_id"] == world.record.result_id
    assert json.loads((tmp_path / "r" / "report.json").read_text())["samples_shown"] == 1


def test_mistakes_are_explained(world: World, tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "x.txt").write_text("x")
    cases: list[tuple[list[object], int, str]] = [
        (["nothing"], 3, "no record here"),
        ([world.result], 2, "--preds"),
        ([world.result, "--preds", "nothing"], 3, "there are no predictions here"),
        ([world.result, "--preds", world.preds, "--out", "some"], 3, "something else"),
        ([world.result, "--preds", world.preds, "--samples-shown", 0], 2, "samples-shown"),
    ]
    for arguments, code, message in cases:
        found, _, err = run("report", *arguments)
        assert (found, message in err, "Traceback" in err) == (code, True, False), err


def test_a_set_that_is_not_prepared(
    world: World, tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    code, _, err = run("report", world.result, "--preds", world.preds)
    assert code == 3
    assert "set small is not prepared" in err
