"""The pages themselves: lines that can be read, paths and dotted names that exist, a site without broken links."""

import html
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import palette_bench as pb
from tests.docs.documented import ROOT, every_command, examples

PAGES = sorted(
    [
        *(ROOT / "docs").glob("**/*.md"),
        *(ROOT / ".github").glob("**/*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    ]
)
LONGEST = 120
IN_REPOSITORY = re.compile(
    r"(?<![\w./<-])((?:palette_bench|tests|benchmarks|protocols|baselines|leaderboards|examples|docs|\.ci|\.github)/"
    r"[\w./*-]*[\w*/])(?![\w<{])"
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page that are prose, with their numbers: code blocks and tables may be as wide as they must."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.lstrip().startswith("|"):
            yield number, line


def too_long(text: str) -> list[int]:
    """The numbers of prose lines over the limit; a line that is one address cannot be broken and counts for nothing."""
    return [
        number
        for number, line in prose(text)
        if len(line) > LONGEST and not re.fullmatch(r"\s*(?:[-*] )?(?:\[.*\]:? ?)?[<(]?https?://\S+", line)
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_line_of_prose_is_too_long(page: Path) -> None:
    assert too_long(page.read_text()) == []


def test_long_prose_is_found_and_code_and_tables_are_not() -> None:
    long = "word " * 30
    text = f"{long}\n\n```\n{long}\n```\n| {long} |\nhttps://example.org/{'a' * 120}\n- {long}\n"
    assert too_long(text) == [1, 8]


def missing(text: str) -> list[str]:
    """Paths of the repository that a page names and that are not there."""
    named = {match.rstrip(".") for match in IN_REPOSITORY.findall(text)}
    return sorted(path for path in named if not ([*ROOT.glob(path)] if "*" in path else (ROOT / path).exists()))


OF_READERS = re.compile(r"leaderboards/[\w<>-]+/entries|leaderboards/site/\S+")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_of_the_repository_is_there(page: Path) -> None:
    assert [path for path in missing(page.read_text()) if not OF_READERS.match(path)] == []


def test_a_path_that_is_not_there_is_found() -> None:
    assert missing("see `palette_bench/nothing.py`, `protocols/*.toml` and `tests/docs`") == [
        "palette_bench/nothing.py"
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_import_in_an_example_works(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for module, names in re.findall(r"^from (palette_bench[\w.]*) import (.+)$", block, re.MULTILINE):
            for name in re.split(r"[,\s()]+", names):
                assert not name or hasattr(import_module(module), name), f"{module}.{name}"


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`make docs` with the mkdocs.yml of ``project``."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", project / "mkdocs.yml", "-d", site],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_is_built_and_has_every_command_and_public_name(tmp_path: Path) -> None:
    result = build(ROOT, tmp_path / "site")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "site" / "commands" / "index.html").read_text()
    assert "--released-masks" in page
    for name, command in every_command():
        assert f"{name}<" in page, name
        for one in examples(name, command):
            assert all(html.escape(word) in page for word in one.words[1:3]), one.line
    assert (tmp_path / "site" / "search" / "search_index.json").is_file()
    page = (tmp_path / "site" / "api" / "index.html").read_text()
    documented = set(re.findall(r'id="palette_bench\.(?:\w+\.)*(\w+)"', page))
    assert {*pb.__all__} - {"__version__", "errors", "metrics"} <= documented
    assert {*pb.metrics.__all__, "InputError"} <= documented


@pytest.mark.parametrize("link", ["[nowhere](nothing.md)", "[nowhere](scoring.md#nothing)"])
def test_a_broken_link_stops_the_build(link: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "index.md").write_text(link)
    result = build(tmp_path, tmp_path / "site")
    assert result.returncode != 0
    assert "nothing" in result.stderr
