"""`calibrate` where its numbers mean something: the references of scenes32 are perfect samples by construction."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunCommand
from tests.e2e.conftest import NewHome, Quickstart


def test_the_references_of_scenes32_score_what_perfect_samples_do(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, tmp_path: Path
) -> None:
    home = new_home("home")
    (home / "statistics").unlink()
    shutil.copytree(quickstart.home / "statistics", home / "statistics")
    page = tmp_path / "page.md"
    code, out, err = run("calibrate", "--set", "scenes32", "--json", "--jobs", 1, "--out", page)
    assert code == 0, err
    answer = json.loads(out)
    assert answer["outcome"] == "nothing-printed"
    (only,) = answer["variants"]
    numbers = {number["recipe"]: number for number in only["numbers"]}
    assert set(numbers) == {"fid-scenes32", "fid-scenes32-evalset", "is-scenes32", "ca-scenes32"}
    fid = numbers["fid-scenes32"]
    (expected,) = fid["expected"]
    assert expected["relation"] == "disjoint"
    assert abs(fid["value"] - expected["value"]) < 3 * (fid["standard_error"] + expected["error"])
    assert expected["value"] > 5 * expected["error"]
    assert numbers["fid-scenes32-evalset"]["value"] == 0
    assert "fid-scenes32" in page.read_text()
    # One number has one identity, whoever computes it: what a record says of the references is what this says.
    record = json.loads((quickstart.out / "results" / "uncrop-classical-tile" / "result.json").read_text())
    for name, number in numbers.items():
        metric = record["metrics"].get(name)
        if metric is not None:
            assert number["fingerprint"] == metric["fingerprint"]
            assert number["value"] == pytest.approx(metric["reference_value"], rel=1e-9)
    assert {"fid-scenes32", "is-scenes32", "ca-scenes32"} <= record["metrics"].keys()
    assert json.loads(run("calibrate", "--set", "scenes32", "--json")[1]) == answer
