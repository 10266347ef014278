"""What every page promises, in a real browser: nothing foreign runs, nothing leaves the folder; both are noticed."""

from pathlib import Path

from markupsafe import Markup, escape
from PIL import Image

from palette_bench.common.errors import LAYOUT, printable
from palette_bench.publish import pages
from tests.e2e.browser import PageOf

NAME = """</td><script>window.ran = 1</script><img src=x onerror="window.ran = 2">&amp;'" \u202egnp.exe"""


def write(folder: Path, body: str, **parts: str) -> Path:
    path = folder / "index.html"
    text = pages.render("page.html.jinja", "a page", body=Markup(body), **parts)  # noqa: S704
    path.write_text(text, encoding="utf-8")
    return path


def test_a_name_is_shown_as_it_is_and_does_nothing(tmp_path: Path, page_of: PageOf) -> None:
    visible = escape(printable(NAME, keep=LAYOUT))
    body = f'<p id="name" title="{visible}">{visible}</p>{pages.data_block("data", [NAME])}'
    script = "window.own = JSON.parse(document.getElementById('data').textContent)[0];"
    open_page = page_of(write(tmp_path, body, script=script))
    shown = NAME.replace("\u202e", "\\u202e")
    assert open_page.page.inner_text("#name") == shown
    assert open_page.page.get_attribute("#name", "title") == shown
    assert open_page.page.evaluate("window.own") == NAME
    assert open_page.page.evaluate("window.ran === undefined")
    assert open_page.errors == []
    assert open_page.requests_outside(tmp_path) == []


def test_even_a_name_that_was_not_escaped_does_nothing(tmp_path: Path, page_of: PageOf) -> None:
    open_page = page_of(write(tmp_path, f"<p>{NAME}</p>", script="window.own = 1;"))
    assert open_page.page.evaluate("window.ran === undefined && window.own === 1")
    # The negative twin of the test above: what it looks for is noticed.
    assert any("Content Security Policy" in error for error in open_page.errors)


def test_images_of_the_folder_load_and_requests_that_leave_it_are_noticed(tmp_path: Path, page_of: PageOf) -> None:
    folder = tmp_path / "site"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(folder / "images" / "a.png")
    Image.new("RGB", (3, 2)).save(tmp_path / "outside.png")
    open_page = page_of(write(folder, '<img id="own" src="images/a.png">'))
    assert open_page.page.evaluate("document.getElementById('own').naturalWidth") == 3
    assert open_page.requests_outside(folder) == []
    open_page = page_of(write(folder, '<img src="../outside.png">'))
    assert len(open_page.requests_outside(folder)) == 1
    bare = folder / "bare.html"
    bare.write_text('<img src="http://127.0.0.1:9/x.png"><script>throw new Error("oh")</script>')
    open_page = page_of(bare)
    assert open_page.requests_outside(folder) == ["http://127.0.0.1:9/x.png"]
    assert any("oh" in error for error in open_page.errors)


def test_the_page_is_dark_where_the_reader_wants_it_dark(tmp_path: Path, page_of: PageOf) -> None:
    path = write(tmp_path, "<p>text</p>")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page_of(path).page.evaluate(colour) == "rgb(255, 255, 255)"
    assert page_of(path, dark=True).page.evaluate(colour) == "rgb(22, 24, 28)"
