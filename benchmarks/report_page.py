"""How soon a report of 10,000 items is seen, and how large it is for photographs.

``python -m benchmarks.report_page``: the first paint of a page of 10,000 made-up items opened from disk, by the
browser's own paint entries, in turn with that of a page of one word; the processor time of the page's main thread until
it is loaded, which a busy machine does not lengthen; and the time until a sorted list is drawn.

``python -m benchmarks.report_page SOURCE``: besides, a folder of photographs becomes a set of 256 pixels, a report of
it is made, and from what its sheets weigh follows what 10,000 such images weigh.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.common.workers import default_jobs
from palette_bench.images.types import ImageU8
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.publish.report.build import make_report
from palette_bench.publish.report.pictures import PAGE_BYTES_AN_ITEM, plan_layout
from tests.e2e.browser import ARGUMENTS, PROGRAMS
from tests.e2e.test_report_page import write_synthetic
from tests.publish.report.world import record_of

ITEMS = 10_000
PAINT = "performance.getEntriesByType('paint').map(entry => [entry.name, entry.startTime])"
SORTED = """() => {
  const begun = performance.now();
  document.querySelector('[data-view=worst]').click();
  document.body.offsetHeight;
  return performance.now() - begun;
}"""


def first_paint(page: Path, rounds: int) -> None:
    from playwright.sync_api import Browser, sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)))
    found: dict[str, list[float]] = defaultdict(list)

    def measure(browser: Browser, path: Path, name: str) -> None:
        eval_set = browser.new_page(viewport={"width": 1280, "height": 900})
        session = eval_set.context.new_cdp_session(eval_set)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        eval_set.goto(path.resolve().as_uri())
        eval_set.wait_for_timeout(500)
        metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
        found[f"first paint, {name}"].append(dict(eval_set.evaluate(PAINT))["first-contentful-paint"])
        found[f"processor time, {name}"].append(1000 * metrics["TaskDuration"])
        if name == "report":
            found["sorted anew"].append(eval_set.evaluate(SORTED))
        eval_set.close()

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as temporary:
        bare = Path(temporary) / "bare.html"
        bare.write_text("<!DOCTYPE html><p>word")
        for _ in range(rounds):
            # A new browser each time: nothing of the page is in any cache of its own.
            browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
            measure(browser, bare, "one word")
            measure(browser, page, "report")
            browser.close()
    for name, values in found.items():
        print(
            f"  {name}: median {statistics.median(values):.0f} ms, {min(values):.0f} to {max(values):.0f}", flush=True
        )


def blurred(reference: ImageU8, item: int, sample: int) -> ImageU8:
    """A prediction as large in a file as a good one: the photograph, moved by a pixel."""
    return np.roll(reference, 1 + sample, axis=1)


def folder_size(source: Path, task_name: str, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "home"))
        plan = make_plan("folder", Choices(source=source, name="photographs", size=256), progress=Silent())
        built = build(plan, jobs=default_jobs(), replace=False, progress=Silent())
        eval_set = EvalSet(built.folder)
        for item in eval_set.items:
            path = folder / "preds" / f"{item.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(blurred(eval_set.reference(item), item.index, 0)).save(path, compress_level=1)
        record_of(eval_set, task_name, folder / "preds", folder / "result")
        begun = time.perf_counter()
        made = make_report(
            folder / "result", folder / "preds", None, samples_shown=4, jobs=default_jobs(), progress=Silent()
        )
        seconds = time.perf_counter() - begun
    sheets = sum(path.stat().st_size for path in (made.folder / "sheets").iterdir()) / made.items
    full = sum(path.stat().st_size for path in (made.folder / "full").iterdir()) / max(made.full, 1)
    layout = plan_layout(made.items, eval_set.size, 1)
    print(
        f"{task_name}, {made.items} photographs of {eval_set.size} pixels: {made.bytes / 1e6:.1f} MB in {seconds:.0f} s"
    )
    print(f"  sheets {sheets / 1e3:.2f} KB an item ({layout.tile} pixels), full images {full / 1e3:.0f} KB an item")
    page = made.page.stat().st_size / made.items
    print(f"  page {page:.0f} bytes an item; the plan assumes {PAGE_BYTES_AN_ITEM}")
    many = (sheets + max(page, PAGE_BYTES_AN_ITEM)) * ITEMS / 1e6
    print(f"  {ITEMS:,} items: {many:.0f} MB without full images, which fill the folder up to 140 MB")
    first_paint(made.page, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="folder of photographs")
    parser.add_argument("--task", default="colorize")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.source is not None:
            folder_size(options.source, options.task, folder)
        (folder / "synthetic").mkdir()
        write_synthetic(folder / "synthetic", ITEMS, 32, more_columns=10)
        page = folder / "synthetic" / "index.html"
        print(f"{ITEMS:,} made-up items, a page of {page.stat().st_size / 1e6:.1f} MB")
        first_paint(page, options.rounds)


if __name__ == "__main__":
    main()
