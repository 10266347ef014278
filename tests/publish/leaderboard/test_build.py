"""Pages and READMEs: equal entries give equal bytes, stale files are named, and no name becomes markup."""

import re
import shutil
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError, VerificationError
from palette_bench.publish.leaderboard.build import built, demand_fresh, write
from palette_bench.publish.leaderboard.readme import miniature_readme, readme
from tests.publish.leaderboard.results import an_entry

HOSTILE = """<script>alert(1)</script> | [x](http://a.b) **x** "'"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of leaderboards with the site of an entry and all READMEs."""
    root = tmp_path_factory.mktemp("site") / "leaderboards"
    an_entry(root, HOSTILE)
    write(built(root, root / "site"), root / "site")
    return root


@pytest.fixture
def copied(site: Path, tmp_path: Path) -> Path:
    shutil.copytree(site, tmp_path / "leaderboards")
    return tmp_path / "leaderboards"


def test_what_was_built_is_fresh_and_is_not_written_again(copied: Path) -> None:
    found = built(copied, copied / "site")
    demand_fresh(found, copied / "site")
    assert write(found, copied / "site") == []


def test_files_do_not_depend_on_where_they_are_built(site: Path, copied: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "public"
    write(built(copied, elsewhere), elsewhere)
    names = sorted(path.relative_to(elsewhere) for path in elsewhere.rglob("*") if path.is_file())
    assert len(names) > 10
    for name in names:
        data = (elsewhere / name).read_bytes()
        assert data == (site / "site" / name).read_bytes()
        assert str(tmp_path).encode() not in data


@pytest.mark.parametrize("name", ["site/scenes32.html", "site/index.html", "imagenet-ctest10k/README.md"])
def test_one_changed_byte_of_a_built_file_is_stale(copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(VerificationError) as raised:
        demand_fresh(built(copied, copied / "site"), copied / "site")
    assert [problem.kind for problem in raised.value.problems] == ["stale"]
    assert raised.value.problems[0].where.endswith(name)
    assert write(built(copied, copied / "site"), copied / "site") == [path]


def test_a_missing_and_an_extra_file_are_named(copied: Path) -> None:
    (copied / "site/index.html").unlink()
    (copied / "site/old.html").write_text("x")
    found = built(copied, copied / "site")
    with pytest.raises(VerificationError) as raised:
        demand_fresh(found, copied / "site")
    assert sorted(problem.kind for problem in raised.value.problems) == ["extra", "missing"]
    with pytest.raises(InputError, match="none of it"):
        write(found, copied / "site")
    assert (copied / "site/old.html").read_text() == "x"


def test_a_new_entry_makes_the_pages_stale(copied: Path) -> None:
    an_entry(copied, "New", 1)
    with pytest.raises(VerificationError):
        demand_fresh(built(copied, copied / "site"), copied / "site")


def test_nothing_is_built_of_an_entry_that_is_not_good(copied: Path) -> None:
    next(copied.glob("scenes32/entries/*/*/result.json")).write_text("{}")
    with pytest.raises(VerificationError):
        built(copied, copied / "site")


def test_a_page_asks_for_nothing_from_outside(site: Path) -> None:
    for path in (site / "site").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"""(src|href)=["']?(https?:)?//(?!example\.org)""", text)
        assert "@import" not in text
        assert "url(" not in text


def test_a_name_is_no_markup_in_a_page(site: Path) -> None:
    text = (site / "site/scenes32.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_page_has_heads_that_say_how_they_are_sorted(site: Path) -> None:
    text = (site / "site/scenes32.html").read_text()
    assert text.count('aria-sort="ascending"') >= 1
    assert '<th scope="row"' in text
    assert text.count("<caption") >= text.count('<table class="board"')


def test_a_name_is_no_markup_in_a_readme(site: Path) -> None:
    from palette_bench.publish.leaderboard.board import boards
    from palette_bench.publish.leaderboard.check import check_tree

    board = next(board for board in boards(check_tree([site])) if board.set_id == "scenes32")
    text = readme(board)
    assert "<script" not in text
    (row,) = [line for line in text.splitlines() if "alert" in line]
    # Six bars of cells, and the name's own bar escaped.
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert not re.search(r"(?<!\\)\]\(", row)


def test_the_miniature_waits_for_its_records(site: Path) -> None:
    found = built(site, site / "site")
    assert "waits for" in found.notes[0]
    assert not (site / "scenes32/README.md").exists()


def test_the_miniatures_page_gains_the_entries_of_others(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from palette_bench.publish.leaderboard.board import boards
    from palette_bench.publish.leaderboard.check import check_tree
    from palette_bench.publish.tables import miniature

    monkeypatch.setattr(miniature, "render_readme", lambda _: "# The miniature\n")
    board = next(board for board in boards(check_tree([site])) if board.set_id == "scenes32")
    text = miniature_readme(site / "scenes32", board)
    assert text.startswith("# The miniature\n\n## Leaderboard\n")
    assert "alert" in text
    assert miniature_readme(site / "scenes32", None) == "# The miniature\n"
