"""The commands, from a prepared set to a record, as a user types them."""

import json
from pathlib import Path

import pytest

from palette_bench.study.definition import read_study
from palette_bench.study.record import read_study_record
from tests.conftest import RunCommand, make_photos


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scenes32 and the predictions of two classical methods for a task."""
    from click.testing import CliRunner

    from palette_bench.cli.main import program

    folder = tmp_path_factory.mktemp("world")
    make_photos(folder / "photos", 40)
    runner = CliRunner(env={"PALETTE_BENCH_HOME": str(folder / "home")})
    task = ["--task", "uncrop", "--out"]
    for arguments in (
        ["prepare", "folder", "--source", str(folder / "photos"), "--name", "photos", "--size", "32", "--jobs", "1"],
        ["predict", "--model", "classical-mirror", *task, str(folder / "mirror"), "--jobs", "1"],
        ["predict", "--model", "input", *task, str(folder / "input"), "--jobs", "1"],
    ):
        done = runner.invoke(program, arguments)
        assert done.exit_code == 0, (arguments, done.output, done.exception)
    return folder


def test_a_study_from_new_to_analyze(
    world: Path, tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(world / "home"))
    study = tmp_path / "study"
    preds = ["--preds", f"input={world / 'input'}", "--preds", f"mirror={world / 'mirror'}"]
    sizes = ["--items", "8", "--raters", "4", "--practice", "2", "--catch", "1"]
    code, out, err = run("study", "new", "--task", "uncrop", *preds, *sizes, "--out", study)
    assert code == 0, err
    assert "16 items, 2 models, 8 seats" in out
    found = read_study(study)
    assert (found.source.set, found.source.task, found.source.enlarge) == ("photos", "uncrop", 8)
    assert [model.title for model in found.models] != ["input", "mirror"]

    code, out, _ = run("study", "check", study)
    assert code == 3
    assert "ethics.institution is empty" in out
    code, _, err = run("study", "serve", study)
    assert code == 3
    assert "cannot be served yet" in err
    text = (study / "study.toml").read_text()
    text = text.replace('institution = ""', 'institution = "A laboratory"').replace(
        'contact = ""', 'contact = "lab@example.org"'
    )
    (study / "study.toml").write_text(text)
    code, out, _ = run("study", "check", study)
    assert code == 0, out
    code, out, err = run("study", "simulate", study, "--fooled", "mirror=0.6", "--fooled", "input=0.05", "--json")
    assert code == 0, err
    assert json.loads(out)["raters"] == 8
    code, out, err = run("study", "analyze", study, "--rehearsal", "--out", tmp_path / "results")
    assert code == 0, err
    assert "8 completed, 8 kept" in out
    assert "raters were simulated" in err
    record = read_study_record(tmp_path / "results")
    assert record.differences[0].difference.value < -0.2
    assert (tmp_path / "results" / "fooled.png").stat().st_size > 1000
    code, out, err = run("study", "analyze", study)
    assert code == 3
    assert "no answers yet" in err


def test_wrong_predictions_are_told_one_by_one(
    world: Path, tmp_path: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(world / "home"))
    from PIL import Image

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in sorted((world / "input").rglob("*.png"))[:35]:
        target = broken / path.relative_to(world / "input")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    first = sorted(broken.rglob("*.png"))[5]
    Image.new("RGB", (16, 16)).save(first)
    code, _, err = run(
        "study", "new", "--task", "uncrop", "--preds", f"x={broken}", "--sets", "1", "--items", "40", "--raters", "2",
        "--practice", "0", "--catch", "0", "--out", tmp_path / "study",
    )  # fmt: skip
    assert code == 3
    assert "16x16, expected 32x32" in err
    assert "missing" in err
    assert not (tmp_path / "study" / "study.toml").exists()
    wrong_task = ["--task", "colorize", "--preds", f"x={world / 'input'}", "--out", tmp_path / "other"]
    code, _, err = run("study", "new", *wrong_task)
    assert code == 3
    assert "made for other conditions" in err


def test_plan_seats_and_messages(tmp_path: Path, run: RunCommand) -> None:
    from tests.study.worlds import small_study

    code, out, _ = run("study", "plan", "--half-width", "4", "--json")
    assert code == 0
    plans = {p["items"]: p["raters"] for p in json.loads(out)}
    assert 50 not in plans, "50 items alone leave 5 points"
    assert 60 <= plans[100] <= 220
    assert plans[400] < plans[100]
    code, _, err = run("study", "plan", "--half-width", "0.1")
    assert code == 2
    small_study(tmp_path)
    code, out, _ = run("study", "seats", tmp_path, "--url", "https://study.example.org/", "--html", tmp_path / "s.html")
    assert code == 0
    assert len(out.split()) == 8
    assert all(line.startswith("https://study.example.org/seat/") for line in out.split())
    page = (tmp_path / "s.html").read_text()
    assert page.count("data:image/svg+xml") == 8
    code, _, err = run("study", "monitor", tmp_path)
    assert code == 3
    assert "no answers yet" in err
    code, _, err = run("study", "check", tmp_path / "nothing")
    assert code == 3
    code, _, err = run("study", "simulate", tmp_path, "--fooled", "2")
    assert code == 2
    code, _, err = run("study", "simulate", tmp_path, "--fooled", "nobody=.2")
    assert code == 3
    assert "no model of this name" in err
    code, _, err = run("study", "export", tmp_path, "--static", tmp_path / "dist", "--seats", "0-2")
    assert code == 2
    code, out, _ = run("study", "export", tmp_path, "--static", tmp_path / "dist", "--seats", "1-2")
    assert code == 0


@pytest.mark.parametrize("page", ["study.md", "study-analysis.md"])
def test_every_command_of_the_pages_is_one(page: str) -> None:
    import re

    from tests.docs.documented import ROOT, arguments, commands, parse

    text = (ROOT / "docs" / page).read_text()
    shown = [
        found
        for block in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for found in commands(block, page)
    ]
    assert len(shown) >= (10 if page == "study.md" else 0)
    for one in shown:
        assert parse(arguments(one.line)).command_path.startswith("palette-bench ")
