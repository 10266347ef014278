"""``palette-bench compare``: what people and programs read, and how it refuses."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand
from tests.publish.paired_results import write_result


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return write_result(folder / "good", 0.5, own=1), write_result(folder / "worse", 0.6, own=2)


def row(out: str, recipe: str) -> str:
    (found,) = [line for line in out.splitlines() if re.search(rf"[↑↓a] +{recipe} ", line)]
    return found


def test_people_read_a_table(pair: tuple[Path, Path], run: RunCommand) -> None:
    code, out, err = run("compare", *pair, "--worst", 2)
    assert code == ExitCode.OK, err
    assert err == ""
    assert out.startswith("uncrop on scenes32 version 1: the same 120 images")
    assert "A: good" in out
    assert "B: worse" in out
    assert re.search(r"PD ↓ +pd-scenes32 .* -0\.\d+ +-0\.\d+ to -0\.\d+ +< 0\.001 +0\.00\d +A ", out)
    assert row(out, "is-scenes32").strip().startswith("IS ↑ a")
    assert "a  unpaired: items.csv does not say" in out
    assert "ca-scenes32: " in out
    assert "images are right in A only" in out
    assert "p (Holm) keeps the chance" in out
    listed = re.findall(r"^  scene-\d+ .* ([AB]) +$", out, flags=re.MULTILINE)
    assert listed == ["A", "A", "B", "B"]
    assert "hole-size 20-25 %" in out
    assert re.search(
        r"compare\|a:\w{12}\|b:\w{12}\|set:scenes32@1\|task:uncrop\|n:120\|.*\|bootstrap:10000\|holm:", out
    )


def test_programs_read_json(pair: tuple[Path, Path], run: RunCommand) -> None:
    code, out, _ = run("compare", pair[0] / "result.json", pair[1], "--json", "--only", "pd-scenes32", "--worst", 0)
    assert code == ExitCode.OK
    found = json.loads(out)
    assert list(found["metrics"]) == ["pd-scenes32"]
    metric = found["metrics"]["pd-scenes32"]
    assert metric["interval"][0] < metric["a"] - metric["b"] < metric["interval"][1] < 0
    assert (metric["ahead"], metric["method"]) == ("A", "paired-bootstrap")
    assert found["most_different"]["a_ahead"] == []
    assert found["a"]["name"] == "good"
    assert found["resamples"] == 10_000


def test_a_result_and_itself(pair: tuple[Path, Path], run: RunCommand) -> None:
    code, out, _ = run("compare", pair[0], pair[0])
    assert code == ExitCode.OK
    assert re.search(r" 0 +- +1\.000 +1\.000 +not decided", row(out, "fid-scenes32"))
    assert "A and B are the same predictions" in out
    assert "nan" not in out.lower()
    assert "differ most" not in out


def test_incomparable_results_warn(tmp_path: Path, run: RunCommand) -> None:
    sides = [
        write_result(tmp_path / name, 0.5, own=own, change=lambda r: replace(r, incomparable=("ran in bfloat16",)))
        for own, name in enumerate(("one", "two"))
    ]
    code, out, err = run("compare", *sides, "--json")
    assert code == ExitCode.OK
    assert err.startswith("warning: these numbers compare with each other only, and with nothing else: ran in bfloat16")
    assert json.loads(out)["warnings"] == [err.strip().removeprefix("warning: ")]


def test_another_task_is_refused(pair: tuple[Path, Path], tmp_path: Path, run: RunCommand) -> None:
    other = write_result(tmp_path / "other", change=lambda r: replace(r, scored=replace(r.scored, task="colorize")))
    code, out, err = run("compare", pair[0], other)
    assert code == ExitCode.INPUT
    assert out == ""
    assert "other task: task: A has uncrop, B has colorize" in err
    code, out, _ = run("compare", pair[0], other, "--json")
    assert [problem["where"] for problem in json.loads(out)["problems"]] == ["task"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere",), ExitCode.INPUT, "no record here"),
        (("--only", "pd-sceens32"), ExitCode.USAGE, "pd-sceens32"),
        (("--worst-by", "ca-scenes32"), ExitCode.USAGE, "cannot be ordered"),
        (("--worst", "-1"), ExitCode.USAGE, "--worst"),
    ],
)
def test_wrong_arguments(
    pair: tuple[Path, Path], run: RunCommand, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    sides = (pair[0], arguments[0]) if len(arguments) == 1 else (*pair, *arguments)
    found, _, err = run("compare", *sides)
    assert found == code
    assert message in err


def test_lost_items_are_said_to_be_lost(pair: tuple[Path, Path], tmp_path: Path, run: RunCommand) -> None:
    other = write_result(tmp_path / "other")
    (other / "items.csv").unlink()
    code, _, err = run("compare", pair[0], other)
    assert code == ExitCode.INPUT
    assert "the items of a record cannot be read" in err


def test_names_are_shown_and_not_obeyed(pair: tuple[Path, Path], tmp_path: Path, run: RunCommand) -> None:
    name = "[red]\x1b[31mmodel[/red]"
    other = write_result(tmp_path / "other", 0.6, own=2, change=lambda r: replace(r, name=name))
    code, out, _ = run("compare", pair[0], other)
    assert code == ExitCode.OK
    assert "B: [red]\\x1b[31mmodel[/red]" in out
    assert "\x1b" not in out


def test_as_a_process(pair: tuple[Path, Path]) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "palette_bench", "compare", *map(str, pair), "--only", "ca-scenes32"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == ExitCode.OK, found.stderr
    assert "ca-scenes32" in found.stdout
