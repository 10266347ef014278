"""A report in a real browser: everything on it works, and nothing on it asks for anything outside of its folder."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import Predictions
from palette_bench.artifacts.record import Items, RecordFile
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.protocol.tasks import TASKS
from palette_bench.publish.report.build import make_report
from palette_bench.publish.report.facts import Classes, Facts, ItemColumn, View
from palette_bench.publish.report.material import Material
from palette_bench.publish.report.page import report_page
from palette_bench.publish.report.pictures import Layout
from tests.e2e.browser import OpenPage, PageOf
from tests.publish.report.world import CA, PD, WNIDS, World, distances, make_world, wrong
from tests.records import a_record

if TYPE_CHECKING:
    from playwright.sync_api import Page

COUNT = 60
EVIL = "</script><script>window.ran=1</script>\u2028<img src=x onerror=window.ran=2>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), count=COUNT, change=lambda record: replace(record, name=EVIL))


@pytest.fixture(scope="module")
def folder(world: World) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(world.home))
        made = make_report(world.result, world.preds, None, samples_shown=1, jobs=1, progress=Silent())
        yield made.folder


@pytest.fixture
def open_page(folder: Path, page_of: PageOf) -> Iterator[OpenPage]:
    """The page; whatever a test does with it, nothing goes wrong and nothing leaves the folder."""
    open_page = page_of(folder / "index.html")
    yield open_page
    assert open_page.errors == []
    assert open_page.requests_outside(folder) == []
    assert open_page.page.evaluate("window.ran === undefined")


def cards(page: "Page") -> list[int]:
    return [int(index) for index in page.eval_on_selector_all(".card", "all => all.map(one => one.dataset.index)")]


def split_of(page: "Page") -> float:
    """Which share of the left image is seen."""
    clip = page.eval_on_selector("#left-layer", "layer => getComputedStyle(layer).clipPath")
    found = re.fullmatch(r"inset\(0(?:px)?(?: ([\d.]+)(?:%|px)(?: 0(?:px)? 0(?:px)?)?)?\)", clip)
    assert found, clip
    return 1 - float(found[1] or 0) / 100


def open_first(page: "Page") -> None:
    page.locator(".card").first.click()
    page.wait_for_selector("dialog[open]")


def shown_pixels(page: "Page", side: str) -> str:
    """Where the image of a layer comes from, and which part of it."""
    text: str = page.eval_on_selector(
        f"#{side}-layer img", "image => [image.src.split('/').pop(), image.style.left, image.style.top].join(' ')"
    )
    return text


def test_warnings_come_first_and_names_are_text(open_page: OpenPage) -> None:
    text = open_page.page.inner_text("body")
    assert open_page.page.inner_text("h1").startswith("</script><script>window.ran=1</script>")
    assert text.index("Careful.") < text.index("Scores") < text.index("Groups")
    assert "made by Palette" in text


def test_images_load_and_say_what_they_are(open_page: OpenPage, world: World) -> None:
    page = open_page.page
    page.locator("#grid").scroll_into_view_if_needed()
    decoded = page.locator(".card img").first.evaluate(
        "async image => { await image.decode(); return image.naturalWidth; }"
    )
    assert decoded == 96
    alt = page.get_attribute(".card img", "alt")
    assert alt == f"{world.eval_set.items[0].id}: condition, prediction, reference"
    assert page.eval_on_selector_all("img", "all => all.every(one => one.alt && one.loading === 'lazy')")
    assert any("sheets/00000.png" in address for address in open_page.requests)


def test_sorting_by_any_number_and_turning_it_round(open_page: OpenPage) -> None:
    page = open_page.page
    in_set_order = list(range(48))
    assert cards(page) == in_set_order
    rising = sorted(range(COUNT), key=lambda item: distances(COUNT)[item])
    page.select_option("#choose-sort", PD)
    assert cards(page) == rising[::-1][:48]
    page.click("#direction")
    assert cards(page) == rising[:48]
    page.click("#next-page")
    assert cards(page) == rising[48:]
    page.click("[data-view=worst]")
    assert cards(page) == rising[::-1][:48]
    assert page.get_attribute("[data-view=worst]", "aria-pressed") == "true"
    page.click("[data-view=all]")
    assert cards(page) == in_set_order


def test_filters_by_class_flips_and_name(open_page: OpenPage, world: World) -> None:
    page = open_page.page
    page.select_option("#choose-class", label=WNIDS[1])
    of_class = [item.index for item in world.eval_set.items if item.label == 1]
    assert cards(page) == of_class[:48]
    assert "30 of 60 items" in page.inner_text("#shown")
    page.select_option("#choose-class", "")
    page.click("[data-view=flips]")
    assert sorted(cards(page)) == [item for item in wrong(COUNT) if item % 6 != 1]
    page.click("[data-view=all]")
    page.fill("#find", world.eval_set.items[7].id)
    assert cards(page) == [7]
    page.fill("#find", "no such item")
    assert cards(page) == []
    assert "No item fits" in page.inner_text("#shown")


def test_the_slider_moves_and_reveals(open_page: OpenPage) -> None:
    page = open_page.page
    open_first(page)
    assert split_of(page) == pytest.approx(0.5)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    page.mouse.up()
    assert split_of(page) == pytest.approx(0.8, abs=0.01)
    # Released, it does not follow any more.
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    assert split_of(page) == pytest.approx(0.8, abs=0.01)
    # What is seen at a point is the prediction on one side of the divider and the reference on the other.
    page.eval_on_selector("#slider", "one => { one.value = 100; one.dispatchEvent(new Event('input')); }")
    only_left = page.locator("#stage").screenshot()
    page.eval_on_selector("#slider", "one => { one.value = 0; one.dispatchEvent(new Event('input')); }")
    only_right = page.locator("#stage").screenshot()
    assert only_left != only_right


def test_the_slider_by_keyboard(open_page: OpenPage) -> None:
    page = open_page.page
    open_first(page)
    page.keyboard.press("Shift+ArrowRight")
    assert split_of(page) == pytest.approx(0.55)
    page.focus("#slider")
    page.keyboard.press("End")
    assert split_of(page) == pytest.approx(1.0)
    page.keyboard.press("ArrowLeft")
    assert split_of(page) == pytest.approx(0.99)
    # There the arrows are the slider's, and the item stays.
    assert page.inner_text("#item-place") == "1 of 60"


def test_blink_by_keyboard(open_page: OpenPage) -> None:
    page = open_page.page
    open_first(page)
    page.keyboard.press("b")
    assert page.get_attribute("#blink", "aria-pressed") == "true"
    for name in ("Reference", "Prediction", "Reference"):
        page.wait_for_selector(f"#side-shown:text-is('{name}')")
    page.keyboard.press("b")
    assert page.get_attribute("#blink", "aria-pressed") == "false"
    assert split_of(page) == pytest.approx(0.5)


def test_without_motion_every_press_shows_the_other_image_once(open_page: OpenPage) -> None:
    page = open_page.page
    page.emulate_media(reduced_motion="reduce")
    open_first(page)
    page.keyboard.press("b")
    assert (split_of(page), page.inner_text("#side-shown")) == (0.0, "Reference")
    page.wait_for_timeout(900)
    assert page.inner_text("#side-shown") == "Reference"
    page.keyboard.press("b")
    assert split_of(page) == pytest.approx(0.5)


def test_zoom_by_keyboard_and_panning(open_page: OpenPage) -> None:
    page = open_page.page
    open_first(page)
    transform = "one => getComputedStyle(one).transform"
    assert page.eval_on_selector("#left-layer .crop", transform) == "matrix(1, 0, 0, 1, 0, 0)"
    page.keyboard.press("+")
    zoomed = page.eval_on_selector("#left-layer .crop", transform)
    assert zoomed.startswith("matrix(1.5, 0, 0, 1.5, -")
    # Both images move together.
    assert page.eval_on_selector("#right-layer .crop", transform) == zoomed
    assert page.inner_text("#zoom-level") == "150%"
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 70, steps=3)
    page.mouse.up()
    assert page.eval_on_selector("#left-layer .crop", transform) not in (zoomed, "none")
    page.keyboard.press("0")
    assert page.inner_text("#zoom-level") == "100%"
    assert page.eval_on_selector("#left-layer .crop", transform) == "matrix(1, 0, 0, 1, 0, 0)"


def test_arrows_go_between_items_and_escape_closes(open_page: OpenPage, world: World) -> None:
    page = open_page.page
    page.focus(".card")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.inner_text("#item-title") == world.eval_set.items[1].id
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#item-title") == world.eval_set.items[3].id
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#item-title") == world.eval_set.items[2].id
    assert "#item=2" in page.url
    page.keyboard.press("Escape")
    assert page.eval_on_selector("#item", "dialog => dialog.open") is False
    assert page.evaluate("document.activeElement.dataset.index") == "2"


def test_an_item_says_its_numbers_and_classes(open_page: OpenPage, world: World) -> None:
    page = open_page.page
    page.click("[data-view=flips]")
    open_first(page)
    text = page.inner_text("#numbers")
    assert "class 5 (wrong)" in text
    assert WNIDS[0] in text
    place = cards(page)[0]
    assert f"{distances(COUNT)[place]:.3f}"[:4] in text


def test_any_two_images_can_be_compared(open_page: OpenPage) -> None:
    page = open_page.page
    open_first(page)
    assert (shown_pixels(page, "left"), shown_pixels(page, "right")) == (
        "00000.png -100% 0%",
        "00000.png -200% 0%",
    )
    page.select_option("#left", label="Condition")
    assert shown_pixels(page, "left") == "00000.png 0% 0%"


def test_focus_is_seen(open_page: OpenPage) -> None:
    page = open_page.page
    page.focus("#find")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "card"
    assert page.eval_on_selector(".card", "card => getComputedStyle(card).outlineStyle") == "solid"


def test_tables_of_groups_are_sorted(open_page: OpenPage) -> None:
    page = open_page.page
    names = "all => all.map(row => row.cells[0].textContent)"
    assert page.eval_on_selector_all("#groups table >> nth=0 >> tbody tr", names) == list(WNIDS)
    page.click("#groups table >> nth=0 >> th button >> nth=0")
    assert page.eval_on_selector_all("#groups table >> nth=0 >> tbody tr", names) == list(WNIDS)[::-1]


def test_narrow_and_dark(folder: Path, page_of: PageOf) -> None:
    open_page = page_of(folder / "index.html", dark=True, width=360, height=700)
    page = open_page.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    open_first(page)
    assert page.eval_on_selector("#item", "dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert page.eval_on_selector("#item", "dialog => getComputedStyle(dialog).backgroundColor") == "rgb(22, 24, 28)"
    assert open_page.errors == []


def test_a_link_opens_an_item(folder: Path, page_of: PageOf, world: World) -> None:
    open_page = page_of(folder / "index.html")
    open_page.page.goto((folder / "index.html").as_uri() + "#item=55")
    open_page.page.reload()
    assert open_page.page.inner_text("#item-title") == world.eval_set.items[55].id
    assert open_page.errors == []


def test_several_samples_and_their_histogram(tmp_path: Path, page_of: PageOf, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path, count=4, samples=3)
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    made = make_report(world.result, world.preds, None, samples_shown=2, jobs=1, progress=Silent())
    open_page = page_of(made.page)
    open_first(open_page.page)
    assert open_page.page.eval_on_selector_all("#left option", "all => all.map(one => one.textContent)") == [
        "Condition",
        "Sample 0",
        "Sample 1",
        "Reference",
    ]
    assert open_page.page.locator(".histogram .count").count() == 2
    assert open_page.errors == []


def test_full_images_are_shown_where_there_are_some(
    tmp_path: Path, page_of: PageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, count=3, size=128)
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    made = make_report(world.result, world.preds, None, samples_shown=1, jobs=1, progress=Silent())
    # As if there had been no room for one of them.
    text = made.page.read_text()
    assert '"full":[0,1,2]' in text
    made.page.write_text(text.replace('"full":[0,1,2]', '"full":[0,2]'))
    open_page = page_of(made.page)
    open_first(open_page.page)
    assert shown_pixels(open_page.page, "left") == "000000.png -100% 0%"
    assert "exact images" in open_page.page.inner_text("#item-note")
    open_page.page.keyboard.press("ArrowRight")
    assert shown_pixels(open_page.page, "left") == "00000.webp -100% -100%"
    assert "lossy thumbnails" in open_page.page.inner_text("#item-note")
    assert open_page.errors == []


def test_ten_thousand_items(tmp_path: Path, page_of: PageOf) -> None:
    count, tile = 10_000, 8
    write_synthetic(tmp_path, count, tile)
    open_page = page_of(tmp_path / "index.html", width=1280)
    page = open_page.page
    assert "10,000 items" in page.inner_text("#shown")
    assert len(cards(page)) == 48
    page.click("[data-view=worst]")
    assert cards(page)[:2] == [7, 20]
    page.fill("#page-number", "209")
    page.keyboard.press("Enter")
    assert len(cards(page)) == 10_000 - 208 * 48
    page.select_option("#choose-class", "3")
    assert all(index % 10 == 3 for index in cards(page))
    # Only what is near the window is read: never all sheets.
    sheets = {address for address in open_page.requests if "sheets/" in address}
    assert 0 < len(sheets) < 53
    assert open_page.errors == []
    assert open_page.requests_outside(tmp_path) == []


def write_synthetic(folder: Path, count: int, tile: int, *, more_columns: int = 0) -> None:
    """A report of made-up items: item i has PD -((i - 7) % 13), class i % 10, and one colour."""
    layout = Layout(count, tile, tile, 1, exact=True)
    (folder / "sheets").mkdir()
    colours = np.arange(count, dtype=np.int64)[:, None] * np.array([7, 11, 13]) % 256
    for sheet in range(layout.sheets):
        part = colours[sheet * layout.lines : (sheet + 1) * layout.lines].astype(np.uint8)
        image = np.repeat(np.repeat(part, tile, axis=0)[:, None], 3 * tile, axis=1)
        Image.fromarray(image).save(folder / layout.sheet_name(sheet))
    index = np.arange(count)
    distance = -((index - 7) % 13).astype(np.float64)
    more = [ItemColumn(f"x{n}", f"x {n}", 4, np.sin(index + n) * 100) for n in range(more_columns)]
    columns = (ItemColumn("pd-scenes32", "PD", 2, distance), ItemColumn("psnr", "PSNR", 2, index / 7.0), *more)
    none = Classes(tuple("abcdefghij"), index % 10, {}, None, None, None, None, "")
    views = (
        View("all", "All items", "", "", descending=False, flips=False),
        View("worst", "Worst by PD", "", "pd-scenes32", descending=True, flips=False),
    )
    record = a_record()
    record = replace(record, scored=replace(record.scored, count=count), histogram=None)
    ids = tuple(f"item-{number:05d}" for number in range(count))
    items = Items(ids, ("0" * 64,) * count, {"pd-scenes32": distance})
    eval_set = cast(EvalSet, None)
    predictions = Predictions(folder, {})
    of = RecordFile(folder / "result.json", record, "0" * 64)
    material = Material(of, items, eval_set, TASKS["uncrop"], predictions, (), ())
    text = report_page(material, Facts(columns, none, views, ()), layout, ())
    (folder / "index.html").write_text(text)


def test_the_checks_of_this_file_notice_what_they_look_for(folder: Path, tmp_path: Path, page_of: PageOf) -> None:
    """The negative twin: a page whose script is broken, and one that asks for a file elsewhere."""
    text = (folder / "index.html").read_text()
    assert CA in text
    (tmp_path / "index.html").write_text(text.replace('id="grid"', 'id="grip"'))
    assert page_of(tmp_path / "index.html").errors
    (tmp_path / "index.html").write_text(text.replace("<h1>", '<h1><img alt="" src="../x.png">'))
    assert page_of(tmp_path / "index.html").requests_outside(tmp_path)
