"""The tutorial in Python runs from its first line to its last, and prints what it says it prints."""

import re
from pathlib import Path

import pytest

from tests.docs.documented import ROOT
from tests.e2e.conftest import NewHome, Quickstart, new_home  # noqa: F401


def test_the_python_tutorial_runs(
    new_home: NewHome,  # noqa: F811
    quickstart: Quickstart,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new_home("home")
    page = (ROOT / "docs" / "tutorial-python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "tutorial-python.md", "exec"), names)  # noqa: S102
    printed = capsys.readouterr().out
    claims = re.findall(r"print\(.*\)  # (.+)$", page, re.MULTILINE)
    assert claims
    for claim in claims:
        assert claim in printed
    assert (tmp_path / "results" / "mirror" / "result.json").is_file()
