"""The command ``adapter check``: a checklist, and an exit code."""

import json
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand


@pytest.mark.usefixtures("home")
def test_a_checklist_and_an_exit_code(run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("adapter", "check", "classical-mirror")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "classical-mirror on uncrop, 32x32 pixels"
    assert len([line for line in lines if line.startswith("  ok    ")]) == 9
    assert lines[-1] == "it keeps the rules"
    assert list(tmp_path.iterdir()) == []

    code, out, _ = run("adapter", "check", "tests.predict.adapters:Raising", "--json")
    assert code == ExitCode.VERIFICATION
    report = json.loads(out)
    assert report["conforms"] is False
    assert [f["law"] for f in report["findings"] if f["state"] == "FAIL"] == ["outputs"]
    assert "ArithmeticError" in next(f["text"] for f in report["findings"] if f["law"] == "outputs")

    code, _, err = run("adapter", "check", "nonsense")
    assert code == ExitCode.USAGE
    assert "palette-bench baselines" in err
