"""Leaderboards from end to end: an entry from real predictions, its tiers, and the pages in a real browser."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.record import read_record
from palette_bench.common.errors import ExitCode
from palette_bench.publish.leaderboard.build import built, write
from palette_bench.publish.leaderboard.entry import Tier, Verification
from palette_bench.publish.leaderboard.verify import rerun_folder
from tests.conftest import RunCommand
from tests.e2e.browser import OpenPage, PageOf
from tests.e2e.conftest import Quickstart
from tests.publish.leaderboard.results import an_entry, rewrite

HOSTILE = """<img src=x onerror="window.ran=1"><script>window.ran=2</script>"""


def test_an_entry_from_predictions_rises_to_rerun(
    quickstart: Quickstart, run: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(quickstart.home))
    monkeypatch.chdir(tmp_path)
    # A row that the shipped leaderboard does not have yet.
    method, preds, result = "classical-navier-stokes", tmp_path / "preds", tmp_path / "result"
    made = ("predict", "--set", "scenes32", "--task", "uncrop", "--model", method, "--out", preds, "--jobs", 1)
    scored = ("score", "--task", "uncrop", "--preds", preds, "--out", result, "--jobs", 1)
    for arguments in (made, scored):
        code, _, err = run(*arguments)
        assert code == 0, err
    submit = ("submit", result, "--name", "Navier-Stokes", "--training-data", "none", "--jobs", 1)
    code, _, err = run(*submit, "--preds", quickstart.predictions("mirror"))
    assert code == ExitCode.VERIFICATION
    assert "these are not the predictions that were scored" in err
    code, out, err = run(*submit, "--preds", preds)
    assert code == 0, err
    entry = Path(out.splitlines()[0])
    content = json.loads((entry / "entry.json").read_text())
    assert content["model"]["card"] == method
    shown = sorted((entry / "audit").iterdir())
    assert len(shown) == 8
    for path in shown:
        true = np.asarray(Image.open(preds / f"scene-{int(path.stem):05d}.png"))
        assert (np.asarray(Image.open(path)) == true).all()
    assert run("leaderboard", "check", "--submitted", entry)[0] == 0

    wrong = ("--rescore", quickstart.predictions("mirror"), "--grant", "--jobs", 1)
    code, out, err = run("leaderboard", "check", entry, *wrong, "--json")
    assert code == ExitCode.VERIFICATION
    assert "other predictions" in {problem["kind"] for problem in json.loads(out)["problems"]}
    code, _, err = run("leaderboard", "check", entry, "--rerun", "classical-mirror")
    assert code == ExitCode.VERIFICATION
    assert "the card is not that of the entry" in err
    assert json.loads((entry / "entry.json").read_text()) == content

    code, out, err = run("leaderboard", "check", entry, "--rescore", preds, "--jobs", 1)
    assert code == 0, err
    assert "the numbers hold: rescored" in out
    assert json.loads((entry / "entry.json").read_text())["tier"] == "scored"
    # A rerun that was interrupted after its last image: 2,000 others would take long.
    shutil.copytree(preds, rerun_folder(read_record(result).record), dirs_exist_ok=True)
    for options, tier in (
        (("--rescore", preds), "rescored"),
        (("--rerun", method), "rerun"),
        (("--rescore", preds), "rerun"),
    ):
        assert run("leaderboard", "check", entry, *options, "--grant", "--jobs", 1)[0] == 0
        assert json.loads((entry / "entry.json").read_text())["tier"] == tier
    assert run("leaderboard", "check", entry)[0] == 0
    code, _, err = run("leaderboard", "check", "--submitted", entry)
    assert code == ExitCode.INPUT
    assert "an author can claim 'scored' alone" in err


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with four made-up models, one of them verified, one with a name that would like to be a program."""
    folder = tmp_path_factory.mktemp("pages")
    root = folder / "leaderboards"
    for seed, name in enumerate(("Alpha", "beta", HOSTILE)):
        made = an_entry(root, name, seed, fid=(12.0, 9.0, 30.0)[seed])
        if name == "beta":
            found = Verification(tier=Tier.RESCORED, result_id="a" * 64, differences={"fid-scenes32": 0.0})
            rewrite(made, lambda entry, found=found: replace(entry, verification=found))  # type: ignore[misc]
    an_entry(root, "Other pixels", 3, fid=1.0, reference_data="f" * 64)
    write(built(root, folder / "site"), folder / "site")
    # Nothing of what the pages need may lie with the entries.
    shutil.rmtree(root)
    return folder / "site"


def names(open_page: OpenPage) -> list[str]:
    rows = open_page.page.locator("table[data-task=uncrop] tbody.models tr:visible th")
    return [text.split("\n")[0][:12] for text in rows.all_inner_texts()]


def ranks(open_page: OpenPage) -> list[str]:
    return open_page.page.locator("table[data-task=uncrop] tbody.models tr:visible td.rank").all_inner_texts()


def states(open_page: OpenPage) -> list[str | None]:
    heads = open_page.page.locator("table[data-task=uncrop] th[aria-sort]").all()
    return [head.get_attribute("aria-sort") for head in heads]


def sort(open_page: OpenPage, head: str) -> None:
    open_page.page.locator("table[data-task=uncrop] thead button", has_text=head).first.click()


def test_tables_are_sorted_by_any_column(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html")
    assert names(open_page) == ["beta", "Alpha", "<img src=x o", "Other pixels"]
    assert ranks(open_page) == ["1", "2", "3", ""]
    assert states(open_page) == ["none", "none", "ascending", "none", "none", "none"]
    sort(open_page, "FID")
    # The other way round, and what is not ranked still stands below what is.
    assert names(open_page) == ["<img src=x o", "Alpha", "beta", "Other pixels"]
    assert ranks(open_page) == ["3", "2", "1", ""]
    assert states(open_page)[2] == "descending"
    sort(open_page, "FID")
    # Its FID is the lowest of all.
    assert names(open_page) == ["beta", "Alpha", "<img src=x o", "Other pixels"]
    sort(open_page, "IS")
    assert names(open_page) == ["Other pixels", "<img src=x o", "beta", "Alpha"]
    assert ranks(open_page) == ["1", "2", "3", "4"]
    assert states(open_page) == ["none", "none", "none", "descending", "none", "none"]
    sort(open_page, "model")
    assert names(open_page) == ["<img src=x o", "Alpha", "beta", "Other pixels"]
    sort(open_page, "tier")
    assert names(open_page)[0] == "beta"
    assert open_page.page.locator("tbody.references tr").count() == 1
    assert open_page.errors == []


def test_the_keyboard_sorts_too(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html")
    open_page.page.locator("table[data-task=uncrop] thead button", has_text="PD").first.focus()
    open_page.page.keyboard.press("Enter")
    assert states(open_page)[5] == "ascending"
    open_page.page.keyboard.press("Space")
    assert states(open_page)[5] == "descending"
    open_page.page.keyboard.press("Shift+Tab")
    open_page.page.keyboard.press("Enter")
    assert states(open_page)[4] == "descending"


def test_rows_are_found_by_tier_and_by_name(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html")
    shown = open_page.page.locator("#shown")
    assert shown.inner_text() == "4 of 4 rows"
    open_page.page.get_by_label("scored (scored by its author)", exact=True).uncheck()
    assert names(open_page) == ["beta"]
    assert shown.inner_text() == "1 of 4 rows"
    open_page.page.get_by_label("scored (scored by its author)", exact=True).check()
    open_page.page.get_by_label("Search").fill("ALP")
    assert names(open_page) == ["Alpha"]
    open_page.page.get_by_label("Search").fill("nobody")
    assert names(open_page) == []
    open_page.page.get_by_label("Search").press("Enter")
    assert open_page.page.url.endswith("scenes32.html")


def test_a_name_is_shown_and_runs_nothing(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html")
    row = open_page.page.locator("table[data-task=uncrop] tbody.models th", has_text="onerror")
    assert row.locator("a").first.inner_text() == HOSTILE
    assert open_page.page.evaluate("window.ran === undefined")
    assert open_page.page.locator("img[src=x]").count() == 0
    assert open_page.errors == []


def test_what_is_known_of_a_row_opens_with_its_images(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html")
    about = open_page.page.locator("#uncrop-entry-alpha")
    assert not about.locator("dl").is_visible()
    open_page.page.locator("table[data-task=uncrop] a", has_text="Alpha").click()
    about.locator("dl").wait_for(state="visible")
    assert "scenes32, train" in about.inner_text()
    images = about.locator("img")
    assert images.count() == 8
    images.last.scroll_into_view_if_needed()
    open_page.page.wait_for_function(
        "[...document.querySelectorAll('#uncrop-entry-alpha img')].every((i) => i.naturalWidth === 4)"
    )
    assert all(image.get_attribute("alt") for image in images.all())
    assert open_page.errors == []
    assert open_page.requests_outside(pages) == []
    assert len(open_page.requests) == 9


@pytest.mark.parametrize("dark", [False, True])
def test_every_page_loads_from_disk_alone(pages: Path, page_of: PageOf, dark: bool) -> None:
    for path in sorted(pages.glob("*.html")):
        open_page = page_of(path, dark=dark)
        assert open_page.errors == []
        assert open_page.requests == [path.as_uri()]
    open_page = page_of(pages / "index.html", dark=dark)
    open_page.page.get_by_role("link", name="scenes32").click()
    assert open_page.page.url == (pages / "scenes32.html").as_uri()
    # Text must be told from its ground in both.
    ink, paper = open_page.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (ink, paper) == (
        ("rgb(230, 232, 235)", "rgb(22, 24, 28)") if dark else ("rgb(28, 30, 33)", "rgb(255, 255, 255)")
    )


def test_a_narrow_screen_scrolls_tables_and_not_the_page(pages: Path, page_of: PageOf) -> None:
    open_page = page_of(pages / "scenes32.html", width=400)
    assert open_page.page.evaluate("document.documentElement.scrollWidth <= 400")
