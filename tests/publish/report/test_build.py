"""The folder of a report: refused, whole, the same every time, and nobody's text becomes markup."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from palette_bench.artifacts.record import ITEMS_FILE, RECORD_FILE
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError, VerificationError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.publish.report.build import Report, make_report
from tests.publish.report.world import World, make_world


def report(world: World, out: Path | None = None, *, result: Path | None = None, preds: Path | None = None) -> Report:
    return make_report(result or world.result, preds or world.preds, out, samples_shown=4, jobs=1, progress=Silent())


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_the_same_every_time_and_replaces_an_older_one(world: World, tmp_path: Path) -> None:
    out = tmp_path / "report"
    made = report(world, out)
    first = content(out)
    assert set(first) == {"index.html", "report.json", "sheets/00000.png"}
    assert made.bytes == sum(map(len, first.values()))
    (out / "of-yesterday.txt").write_text("x")
    report(world, out)
    assert content(out) == first
    # Nothing is left beside it.
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_two_workers_make_the_same_report(world: World, tmp_path: Path) -> None:
    for jobs in (1, 2):
        make_report(world.result, world.preds, tmp_path / str(jobs), samples_shown=1, jobs=jobs, progress=Silent())
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_predictions_of_another_record_are_refused(world: World, tmp_path: Path) -> None:
    other = tmp_path / "preds"
    shutil.copytree(world.preds, other)
    path = sorted(other.rglob("*.png"))[3]
    image = Image.open(path)
    image.putpixel((0, 0), (1, 2, 3))
    image.save(path)
    with pytest.raises(VerificationError) as caught:
        report(world, tmp_path / "out", preds=other)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].where in path.as_posix()
    assert not (tmp_path / "out").exists()


def test_predictions_compressed_anew_are_the_same(world: World, tmp_path: Path) -> None:
    other = tmp_path / "preds"
    shutil.copytree(world.preds, other)
    path = sorted(other.rglob("*.png"))[3]
    before = path.read_bytes()
    Image.open(path).save(path, compress_level=0)
    assert path.read_bytes() != before
    report(world, tmp_path / "out", preds=other)


def test_a_further_sample_is_verified_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "world", count=3, samples=2)
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    item = world.eval_set.items[2].id
    for name in ("0", "1"):
        (world.preds / item / f"{name}.png").rename(world.preds / item / f"{name}.was.png")
    (world.preds / item / "0.was.png").rename(world.preds / item / "0.png")
    shutil.copy(world.preds / item / "0.png", world.preds / item / "1.png")
    (world.preds / item / "1.was.png").unlink()
    with pytest.raises(VerificationError, match="not the predictions that were scored"):
        report(world, tmp_path / "out")


def test_an_incomplete_folder_is_refused(world: World, tmp_path: Path) -> None:
    other = tmp_path / "preds"
    shutil.copytree(world.preds, other)
    sorted(other.rglob("*.png"))[0].unlink()
    with pytest.raises(InputError, match="missing"):
        report(world, tmp_path / "out", preds=other)


def test_a_set_that_is_another_by_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(
        tmp_path / "world",
        count=3,
        change=lambda record: replace(record, scored=replace(record.scored, data_digest="9" * 64)),
    )
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    with pytest.raises(VerificationError) as caught:
        report(world, tmp_path / "out")
    assert caught.value.expected == f"images {'9' * 64}"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (RECORD_FILE, lambda text: text.replace('"value": 1.25', '"value": 1.24', 1)),
        (ITEMS_FILE, lambda text: text[:-20]),
        (ITEMS_FILE, lambda text: text.replace("0.5", "0.6", 1)),
    ],
)
def test_a_record_or_items_that_were_changed_are_refused(
    world: World, tmp_path: Path, name: str, change: Callable[[str], str]
) -> None:
    result = tmp_path / "result"
    shutil.copytree(world.result, result)
    text = (result / name).read_text()
    assert change(text) != text
    (result / name).write_text(change(text))
    with pytest.raises(VerificationError):
        report(world, tmp_path / "out", result=result)


def test_predictions_are_found_by_the_name_of_the_record(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--preds"):
        make_report(world.result, None, tmp_path / "out", samples_shown=1, jobs=1, progress=Silent())
    (tmp_path / "preds").mkdir()
    (tmp_path / "preds" / world.record.name).symlink_to(world.preds)
    made = make_report(world.result, None, tmp_path / "out", samples_shown=1, jobs=1, progress=Silent())
    assert made.page.is_file()


def test_a_name_with_slashes_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "world", count=3, change=lambda record: replace(record, name="../preds"))
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    (tmp_path / "world" / "here").mkdir()
    monkeypatch.chdir(tmp_path / "world" / "here")
    with pytest.raises(UsageError):
        make_report(world.result, None, tmp_path / "out", samples_shown=1, jobs=1, progress=Silent())


def test_nothing_but_a_report_is_replaced(world: World, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(precious)
    for name in ("precious", "file", "link"):
        with pytest.raises(InputError, match="something else"):
            report(world, tmp_path / name)
    assert [path.name for path in precious.iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    report(world, tmp_path / "empty")


def test_a_failure_leaves_the_older_report(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report"
    report(world, out)
    before = content(out)

    def fails(*_: object) -> str:
        raise InputError("the disk is full")

    monkeypatch.setattr("palette_bench.publish.report.build.report_page", fails)
    with pytest.raises(PaletteBenchError):
        report(world, out)
    assert content(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


SLOW = """
import sys, time
from palette_bench.publish.report import build
write = build.write_pictures
def slowly(*arguments, **options):
    written = write(*arguments, **options)
    print("drawn", flush=True)
    time.sleep(60)
    return written
build.write_pictures = slowly
from palette_bench.cli.main import main
sys.argv[0] = "palette-bench"
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_repeated(world: World, tmp_path: Path) -> None:
    out = tmp_path / "report"
    arguments = ["report", str(world.result), "--preds", str(world.preds), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "drawn\n"
    # A second process does not disturb the first.
    with pytest.raises(InputError, match="another process"):
        report(world, out)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists()
    assert any(path.name.endswith(".making") for path in tmp_path.iterdir())
    for _ in range(50):
        try:
            report(world, out)
            break
        except InputError:
            time.sleep(0.1)
    report(world, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "whole"]


EVIL = "</script><script>window.ran=1</script>\u2028<img src=x onerror=window.ran=2>"


def test_no_name_becomes_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(
        tmp_path / "world",
        count=4,
        change=lambda record: replace(
            record,
            name=EVIL,
            warnings=(EVIL,),
            environment={EVIL: EVIL},
            origin=None if record.origin is None else replace(record.origin, title=EVIL, model=EVIL),
            metrics={
                name: replace(metric, signature=EVIL, title=metric.title) for name, metric in record.metrics.items()
            },
        ),
    )
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    monkeypatch.setattr("palette_bench.score.groups.class_names", lambda _: (EVIL, "<b>cats&'"))
    text = report(world, tmp_path / "out").page.read_text()
    assert "window.ran=1" in text
    assert "<script>window" not in text
    assert "<img src=x" not in text
    assert "<b>cats" not in text
    assert "\u2028" not in text
    assert text.count("</script>") == 2
    start = text.index('id="report-data">') + len('id="report-data">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert data["classNames"] == [EVIL, "<b>cats&'"]
    assert data["ids"] == [item.id for item in world.eval_set.items]
