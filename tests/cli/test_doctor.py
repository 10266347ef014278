import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.score.backbones import weights
from tests.conftest import RunCommand, make_photos


def findings(out: str) -> dict[str, dict[str, str]]:
    return {row["subject"]: row for row in json.loads(out)["findings"]}


def test_an_empty_home_would_not_work_and_says_why(home: Path, run: RunCommand) -> None:
    code, out, _ = run("doctor")
    assert code == ExitCode.INPUT
    assert "WRONG sets: no set is prepared" in out
    assert "palette-bench prepare scenes32" in out
    assert "WRONG weights inception2015: missing" in out or "note  weights inception2015" in out
    assert "scoring would not work" in out


def test_a_set_of_photographs_needs_the_published_weights(home: Path, tmp_path: Path, run: RunCommand) -> None:
    source = make_photos(tmp_path / "photos", 4)
    assert run("prepare", "folder", "--source", source, "--size", 32, "--jobs", 1)[0] == 0
    code, out, _ = run("doctor", "--json")
    assert code == ExitCode.INPUT
    assert json.loads(out)["works"] is False
    found = findings(out)
    assert found["set photos"]["state"] == "ok"
    assert found["decoder"]["state"] == "ok"
    assert found["weights resnet50-v1"]["state"] == "wrong"
    assert found["weights resnet50-v1"]["next"] == "palette-bench weights fetch resnet50-v1"
    assert found["weights efficientnet-b0"]["state"] == "note"

    path = weights.RESNET50_V1.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something else")
    _, out, _ = run("doctor", "--json")
    assert "other weights" in findings(out)["weights resnet50-v1"]["text"]


def test_a_device_that_is_not_there_is_wrong(home: Path, run: RunCommand) -> None:
    code, out, _ = run("doctor", "--device", "cuda:7", "--json")
    assert code == ExitCode.INPUT
    assert findings(out)["device"]["state"] == "wrong"


def test_a_full_disk_is_wrong(home: Path, run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palette_bench.score.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    _, out, _ = run("doctor", "--json")
    assert findings(out)["disk"]["state"] == "wrong"
    assert "PALETTE_BENCH_HOME" in findings(out)["disk"]["next"]


def test_a_damaged_set_is_wrong(home: Path, tmp_path: Path, run: RunCommand) -> None:
    source = make_photos(tmp_path / "photos", 4)
    assert run("prepare", "folder", "--source", source, "--size", 32, "--jobs", 1)[0] == 0
    manifest = home / "sets" / "photos" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("0", "1", 1))
    _, out, _ = run("doctor", "--json")
    assert findings(out)["sets"]["state"] == "wrong"


def test_recipes_are_listed_and_explained(run: RunCommand) -> None:
    code, out, _ = run("recipes")
    assert code == 0
    assert "fid-inception2015-tf1 " in out
    code, out, _ = run("recipes", "fid-inception2015-clean")
    assert code == 0
    assert "on request" in out
    assert "clean-fid" in out
    code, out, _ = run("recipes", "--json")
    assert {"fingerprint", "doc", "version"} <= json.loads(out)[0].keys()
    assert run("recipes", "fid")[0] == ExitCode.USAGE
