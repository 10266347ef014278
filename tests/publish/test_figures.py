"""Figures: the very pixels of the predictions, the same bytes twice, names that are only text, and refusals."""

import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts import predictions as prediction_files
from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import output_name, tree_digest
from palette_bench.artifacts.record import MetricValue, RecordFile, read_record, save
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.images.decode import encode_png
from palette_bench.images.holes import composited
from palette_bench.images.types import ImageU8
from palette_bench.protocol.tasks import TASKS
from palette_bench.publish.figures import account, choice, outputs
from palette_bench.publish.figures import grid as grids
from palette_bench.publish.figures.account import Figure
from palette_bench.publish.figures.histogram import histogram
from palette_bench.publish.figures.outputs import Outputs
from palette_bench.publish.figures.page import Page, drawable, enlarged, fitted, text_width
from palette_bench.publish.figures.panorama import panorama, read_panoramas
from tests.predict import small_set
from tests.records import ITEMS, a_record

ODD = ("$\\frac{1}{", "_hidden", "<b>a</b> & $x_1$", "中文\x1b[31m")
MS_SSIM = "diversity-msssim-2scales"


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    return small_set.prepare(tmp_path_factory.mktemp("figures"))


@pytest.fixture(autouse=True)
def _home(eval_set: EvalSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(eval_set.folder.parents[1]))


def noise(seed: int, item_id: str, sample: int, size: int) -> ImageU8:
    return np.random.default_rng(seed_of(seed, item_id, sample)).integers(0, 256, (size, size, 3), np.uint8)


def predictions(
    eval_set: EvalSet,
    folder: Path,
    task_name: str = "colorize",
    *,
    title: str = "A model",
    samples: int = 1,
    seed: int = 0,
    config: Mapping[str, object] | None = None,
) -> Path:
    """A finished folder of predictions, as predict leaves it, of noise."""
    task = eval_set.task(task_name)
    conditions = eval_set.conditions(task)
    digests: dict[str, str] = {}
    for item in eval_set.items:
        condition = conditions.of(item)
        for sample in range(samples):
            image, _ = composited(noise(seed, item.id, sample, eval_set.size), condition.image, condition.hole)
            name = output_name(item.id, sample, samples)
            prediction_files.place(folder, name, encode_png(image))
            digests[name] = pixel_digest(image)
    model = {
        "name": folder.name,
        "title": title,
        "kind": "python",
        "fingerprint": "5" * 64,
        "weights_sha256": None,
        "config": dict(config or {}),
    }
    identity = prediction_files.identity_of(eval_set, task, model, seed=seed, samples=samples)
    described = prediction_files.finish(folder, identity, prediction_files.Made(digests=digests, stochastic=True))
    assert described["tree_sha256"] == tree_digest(digests)
    return folder


def open_all(eval_set: EvalSet, folders: Sequence[Path], records: Sequence[RecordFile] = ()) -> list[Outputs]:
    tasks = [outputs.task_of(eval_set, folder, None) for folder in folders]
    titles = outputs.titles_of(folders, tasks, ())
    return [
        outputs.open_outputs(eval_set, task, folder, title, records, jobs=1, progress=Silent())
        for folder, task, title in zip(folders, tasks, titles, strict=True)
    ]


def pixels_of(made: Figure) -> ImageU8:
    with Image.open(io.BytesIO(made.drawn.png)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def places(page: ImageU8, image: ImageU8) -> list[tuple[int, int]]:
    """Where an image lies on a page, as (top, left)."""
    height, width = image.shape[:2]
    starts = (page[: page.shape[0] - height + 1, : page.shape[1] - width + 1] == image[0, 0]).all(axis=-1)
    return [
        (int(y), int(x))
        for y, x in zip(*np.nonzero(starts), strict=True)
        if (page[y : y + height, x : x + width] == image).all()
    ]


def images_in_pdf(pdf: bytes) -> list[ImageU8]:
    """The 8-bit RGB images of a PDF, the PNG filters of their streams undone by Pillow."""
    found = []
    for match in re.finditer(rb"obj\n(<<(?:(?!endobj).)*?/Subtype /Image.*?)stream\r?\n", pdf, re.DOTALL):
        head = match.group(1)
        width, height = (int(re.findall(rb"/%b (\d+)" % key, head)[0]) for key in (b"Width", b"Height"))
        data = pdf[match.end() : pdf.index(b"endstream", match.end())]
        if b"/ColorSpace /DeviceRGB" not in head:
            # A grey condition has few colours and is stored with a palette.
            continue
        chunks = [
            (b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])),
            (b"IDAT", data),
            (b"IEND", b""),
        ]
        png = b"\x89PNG\r\n\x1a\n" + b"".join(
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
            for kind, body in chunks
        )
        found.append(np.asarray(Image.open(io.BytesIO(png))))
    return found


def test_items_are_spread_or_named_and_the_rule_says_which(eval_set: EvalSet) -> None:
    spread = choice.choose(eval_set, count=5)
    assert [item.index for item in spread.items] == [0, 2, 4, 7, 9]
    assert spread.rule == "item floor(i * 12 / 5) of the protocol order, i = 0..4"
    assert "spread evenly over the set in protocol order" in spread.sentence
    named = choice.choose(eval_set, ids=["a003", "a001"])
    assert [item.id for item in named.items] == ["a003", "a001"]
    assert "chosen by hand: a003, a001" in named.sentence
    assert len(choice.choose(eval_set).items) == choice.DEFAULT_COUNT


@pytest.mark.parametrize(
    ("ids", "count", "says"),
    [
        (["a0011"], None, "unknown: a0011: did you mean a0"),
        (["a001", "a001"], None, "named twice: a001"),
        (["x", "y"], None, "unknown: y"),
        ([], 13, "1..12"),
        ([], 0, "1..12"),
        (["a001"], 1, "ids or a count"),
    ],
)
def test_items_that_cannot_be_drawn_are_refused(
    eval_set: EvalSet, ids: list[str], count: int | None, says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        choice.choose(eval_set, ids=ids, count=count)


def test_a_grid_holds_the_very_pixels_and_its_account_says_what_they_are(eval_set: EvalSet, tmp_path: Path) -> None:
    folders = [
        predictions(eval_set, tmp_path / "one", "uncrop", title="One", samples=2),
        predictions(eval_set, tmp_path / "two", "uncrop", title="Two", seed=1),
    ]
    shown = open_all(eval_set, folders)
    chosen = choice.choose(eval_set, count=3)
    made = grids.grid(eval_set, shown, chosen)
    page, said = pixels_of(made), json.loads(json.dumps(made.described))
    times = said["enlarged"]
    assert times > 1
    lefts = []
    for row, item in enumerate(chosen.items):
        condition = eval_set.conditions(TASKS["uncrop"]).of(item)
        for column, of in enumerate(shown):
            image, _ = composited(noise(column, item.id, 0, 32), eval_set.reference(item), condition.hole)
            [(top, left)] = places(page, enlarged(image, times))
            lefts.append(left)
            [drawn] = [entry for entry in said["outputs"][column]["drawn"] if entry["id"] == item.id]
            assert drawn == {
                "id": item.id,
                "sample": 0,
                "seed": seed_of(column, item.id, 0),
                "sha256": pixel_digest(image),
            }
            assert of.image(item, 0).tobytes() == image.tobytes()
        assert places(page, enlarged(eval_set.reference(item), times))[0][0] == top
        assert not places(page, enlarged(noise(7, item.id, 0, 32), times)), f"row {row}: another image is not there"
    assert lefts == lefts[:2] * 3
    assert said["set"]["data_digest"] == eval_set.data_digest
    assert said["tasks"] == [{"name": "uncrop", "fingerprint": eval_set.task_fingerprint(TASKS["uncrop"])}]
    assert [entry["id"] for entry in said["items"]] == [item.id for item in chosen.items]
    assert [of["tree_sha256"] for of in said["outputs"]] == [
        json.loads((folder / "predictions.json").read_text())["tree_sha256"] for folder in folders
    ]
    assert said["chosen"]["how"] == "spread"
    assert said["columns"] == ["Input", "One", "Two", "Original"]
    assert "Of several samples the first" in made.caption


def test_the_pdf_holds_the_pixels_and_neither_holds_a_date(eval_set: EvalSet, tmp_path: Path) -> None:
    shown = open_all(eval_set, [predictions(eval_set, tmp_path / "one")])
    chosen = choice.choose(eval_set, count=2)
    made, again = (grids.grid(eval_set, shown, chosen) for _ in range(2))
    assert (made.drawn, made.described) == (again.drawn, again.described)
    inside = images_in_pdf(made.drawn.pdf)
    times = made.described["enlarged"]
    assert isinstance(times, int)
    for item in chosen.items:
        wanted = enlarged(shown[0].image(item, 0), times)
        assert any(image.shape == wanted.shape and (image == wanted).all() for image in inside)
    assert not re.search(rb"Date|matplotlib", made.drawn.pdf, re.IGNORECASE)
    assert not re.search(rb"tIME|matplotlib", made.drawn.png, re.IGNORECASE)
    assert b"/Type0" in made.drawn.pdf or b"/TrueType" in made.drawn.pdf
    assert b"/Type3" not in made.drawn.pdf
    with Image.open(io.BytesIO(made.drawn.png)) as image:
        assert image.info["Description"] == made.caption
    other = grids.grid(eval_set, shown, choice.choose(eval_set, ids=["a000", "a007"]))
    assert other.drawn != made.drawn


def test_the_known_region_is_drawn_as_it_is_scored(eval_set: EvalSet, tmp_path: Path) -> None:
    """A folder of foreign images, not composited by whoever made it."""
    for item in eval_set.items:
        prediction_files.place(tmp_path / "raw", f"{item.id}.png", encode_png(noise(3, item.id, 0, 32)))
    task, item = eval_set.task("uncrop"), eval_set.items[4]
    of = outputs.open_outputs(eval_set, task, tmp_path / "raw", "raw", jobs=1, progress=Silent())
    image = of.image(item, 0)
    assert (image[:, :16] == eval_set.reference(item)[:, :16]).all()
    assert (image[:, 16:] == noise(3, item.id, 0, 32)[:, 16:]).all()
    said = of.as_json([item], 1)
    assert (said["model"], said["seed_rule"]) == (None, None)
    assert outputs.titles_of([tmp_path / "raw"], [task], ()) == ["raw"]
    with pytest.raises(UsageError, match="--task"):
        outputs.task_of(eval_set, tmp_path / "raw", None)


def test_diversity_has_every_sample_and_a_block_for_each_task(eval_set: EvalSet, tmp_path: Path) -> None:
    folders = [
        predictions(eval_set, tmp_path / "colour", samples=3),
        predictions(eval_set, tmp_path / "right", "uncrop", samples=4, seed=5),
    ]
    shown = open_all(eval_set, folders)
    chosen = choice.choose(eval_set, count=2)
    made = grids.diversity(eval_set, shown, chosen)
    page, said = pixels_of(made), json.loads(json.dumps(made.described))
    assert said["columns"] == ["Input", "Sample 1", "Sample 2", "Sample 3", "Original"]
    for of in shown:
        for item in chosen.items:
            found = [places(page, enlarged(of.image(item, sample), said["enlarged"])) for sample in range(3)]
            assert [len(there) for there in found] == [1, 1, 1]
            assert sorted(found) == found, "in the order of the samples"
    assert not places(page, enlarged(shown[1].image(chosen.items[0], 3), said["enlarged"]))
    assert [len(of["drawn"]) for of in said["outputs"]] == [6, 6]
    assert len({entry["seed"] for of in said["outputs"] for entry in of["drawn"]}) == 12
    two = grids.diversity(eval_set, shown[:1], chosen, samples=2)
    assert two.described["columns"] == ["Input", "Sample 1", "Sample 2", "Original"]


def test_one_sample_shows_no_diversity(eval_set: EvalSet, tmp_path: Path) -> None:
    shown = open_all(eval_set, [predictions(eval_set, tmp_path / "one")])
    with pytest.raises(InputError, match="2 samples an item or more"):
        grids.diversity(eval_set, shown, choice.choose(eval_set))
    shown = open_all(eval_set, [predictions(eval_set, tmp_path / "two", samples=2)])
    with pytest.raises(InputError, match="expected: 3 samples"):
        grids.diversity(eval_set, shown, choice.choose(eval_set), samples=3)


def test_names_are_text_and_nothing_else(eval_set: EvalSet, tmp_path: Path) -> None:
    folder = predictions(eval_set, tmp_path / "one")
    task = eval_set.task("colorize")
    shown = [
        outputs.open_outputs(eval_set, task, folder, name, jobs=1, progress=Silent()) for name in (*ODD, "long " * 80)
    ]
    made = grids.grid(eval_set, shown, choice.choose(eval_set, count=1))
    assert "$\\frac{1}{, _hidden, <b>a</b> & $x_1$, \\u4e2d\\u6587\\x1b[31m and long long" in made.caption
    assert len(made.caption) < 400
    assert made.described["columns"] == ["Input", *ODD, "long " * 80, "Original"]


def test_texts_are_cut_to_their_place() -> None:
    assert drawable("a\n b\x07 中") == "a b\\x07 \\u4e2d"
    cut = partial(fitted, points=8.0, dpi=200.0)
    wide = partial(text_width, points=8.0, dpi=200.0)
    room = wide("Navier-Stokes") + 1
    assert cut("Navier-Stokes", room) == "Navier-Stokes"
    assert cut("Navier-Stokes equations", room) == "Navier-Stokes\nequations"
    for text in ("a" * 500, "word " * 50, "x " + "y" * 90, "Navier-Stokes equations and more of it"):
        found = cut(text, room).split("\n")
        assert len(found) == 2
        assert found[-1].endswith("…")
        assert all(wide(line) <= room for line in found)


def test_a_user_s_settings_of_matplotlib_change_nothing_and_stay(eval_set: EvalSet, tmp_path: Path) -> None:
    import matplotlib as mpl

    shown = open_all(eval_set, [predictions(eval_set, tmp_path / "one")])
    chosen = choice.choose(eval_set, count=1)
    made = grids.grid(eval_set, shown, chosen)
    with mpl.rc_context({"font.size": 30.0, "text.color": "red", "savefig.bbox": "tight", "pdf.fonttype": 3}):
        assert grids.grid(eval_set, shown, chosen).drawn == made.drawn
        assert mpl.rcParams["font.size"] == 30.0


@pytest.mark.parametrize("size", [(70_000, 10), (30_000, 30_000)])
def test_a_page_that_is_too_large_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="draw fewer items"):
        Page(*size, 200.0)


def test_too_many_columns_for_the_paper_are_refused(eval_set: EvalSet, tmp_path: Path) -> None:
    shown = open_all(eval_set, [predictions(eval_set, tmp_path / "one")]) * 9
    with pytest.raises(UsageError, match=r"11 columns in 1\.0 inches"):
        grids.grid(eval_set, shown, choice.choose(eval_set), width=1.0)


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "predictions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_bad_predictions_are_refused_with_every_fault(eval_set: EvalSet, tmp_path: Path) -> None:
    folder = predictions(eval_set, tmp_path / "one")
    (folder / "a003.png").unlink()
    (folder / "a007.png").write_bytes(b"no image")
    (folder / "b.png").write_bytes((folder / "a001.png").read_bytes())
    with pytest.raises(InputError, match="nothing was drawn") as caught:
        open_all(eval_set, [folder])
    assert {(p.kind, p.where) for p in caught.value.problems} == {
        ("missing", "a003"),
        ("undecodable", "a007.png"),
        ("extra", "b.png"),
    }


def test_predictions_of_other_conditions_or_unfinished_or_changed_are_refused(
    eval_set: EvalSet, tmp_path: Path
) -> None:
    folder = predictions(eval_set, tmp_path / "one", "uncrop")
    with pytest.raises(InputError, match="other conditions"):
        outputs.open_outputs(eval_set, eval_set.task("colorize"), folder, "x", jobs=1, progress=Silent())
    (folder / "a002.png").write_bytes((folder / "a003.png").read_bytes())
    with pytest.raises(VerificationError, match="finished with"):
        open_all(eval_set, [folder])
    folder = predictions(eval_set, tmp_path / "two")
    _edit(folder, data_digest="0" * 64)
    with pytest.raises(InputError, match="other conditions"):
        open_all(eval_set, [folder])
    folder = predictions(eval_set, tmp_path / "three")
    _edit(folder, status="running")
    with pytest.raises(InputError, match="not finished"):
        open_all(eval_set, [folder])
    folder = predictions(eval_set, tmp_path / "four")
    _edit(folder, model="x")
    with pytest.raises(InputError, match="cannot be read"):
        open_all(eval_set, [folder])


def test_an_image_that_changes_after_the_check_is_found(eval_set: EvalSet, tmp_path: Path) -> None:
    folder = predictions(eval_set, tmp_path / "one")
    [of] = open_all(eval_set, [folder])
    (folder / "a002.png").write_bytes((folder / "a003.png").read_bytes())
    assert of.image(eval_set.items[3], 0).shape == (32, 32, 3)
    with pytest.raises(VerificationError, match="while the figure was drawn"):
        of.image(eval_set.items[2], 0)


def test_titles_tell_models_apart(eval_set: EvalSet, tmp_path: Path) -> None:
    folders = [predictions(eval_set, tmp_path / name, title="Same") for name in ("one", "two")]
    task, other = eval_set.task("colorize"), eval_set.task("uncrop")
    with pytest.raises(UsageError, match="--name"):
        outputs.titles_of(folders, [task, task], ())
    assert outputs.titles_of(folders, [task, other], ()) == ["Same", "Same"]
    assert outputs.titles_of(folders, [task, task], ("a", "b")) == ["a", "b"]
    for names in (("a",), ("a", "a"), ("a", " ")):
        with pytest.raises(UsageError):
            outputs.titles_of(folders, [task, task], names)


def test_the_set_is_that_of_the_predictions(eval_set: EvalSet, tmp_path: Path) -> None:
    folders = [predictions(eval_set, tmp_path / name, title=name) for name in ("one", "two")]
    assert outputs.set_of(folders, None, None).set_id == eval_set.set_id
    _edit(folders[1], set="another")
    with pytest.raises(InputError, match="several sets"):
        outputs.set_of(folders, None, None)
    with pytest.raises(InputError, match="not prepared"):
        outputs.set_of(folders[1:], None, None)


def diverse_record(
    folder: Path,
    name: str,
    counts: Sequence[int],
    *,
    task: str = "colorize",
    value: float | None = None,
    samples: int = 3,
    **scored: object,
) -> RecordFile:
    """A record of 10 items with a histogram of MS-SSIM in as many bins as there are ``counts``."""
    record = a_record()
    mean = sum(count * (bin_number + 0.5) / len(counts) for bin_number, count in enumerate(counts)) / sum(counts)
    metric = MetricValue(
        recipe=MS_SSIM,
        title="MS-SSIM of samples",
        unit="",
        lower_is_better=True,
        headline=False,
        value=mean if value is None else value,
        standard_error=0.01,
        low=None,
        high=None,
        reference_value=None,
        fingerprint=str(scored.pop("recipe", "6" * 64)),
        backbone="pixels",
        weights_sha256="",
        canonical=True,
        signature="",
        details={},
    )
    changed = replace(
        record,
        name=name,
        samples=samples,
        histogram=tuple(counts),
        metrics={**record.metrics, MS_SSIM: metric},
        predictions_digest=bytes_digest(f"{folder}{name}".encode()),
        scored=replace(
            record.scored,
            **{
                "count": 10,
                "task": task,
                "task_fingerprint": bytes_digest(task.encode()),
                **scored,
            },  # type: ignore[arg-type]
        ),
    )
    save(changed, ITEMS, folder / f"{task}-{name}")
    return read_record(folder / f"{task}-{name}")


LOW, HIGH = (0, 2, 8, 6, 4), (0, 0, 1, 9, 10)


def test_a_histogram_has_a_panel_for_each_task_and_says_whose_it_is(tmp_path: Path) -> None:
    records = [
        diverse_record(tmp_path, name, counts, task=task)
        for task in ("colorize", "inpaint-center")
        for name, counts in (("L1 $\\frac{", HIGH), ("_L2", LOW))
    ]
    made, again = histogram(records), histogram(records)
    assert made.drawn == again.drawn
    said = json.loads(json.dumps(made.described))
    assert [entry["result_id"] for entry in said["records"]] == [of.record.result_id for of in records]
    assert [entry["counts"] for entry in said["records"][:2]] == [list(HIGH), list(LOW)]
    assert [task["name"] for task in said["tasks"]] == ["colorize", "inpaint-center"]
    assert "colorization: L1 $\\frac{ (3 samples, mean 0.790), _L2 (3 samples, mean 0.620)" in made.caption
    assert "lower MS-SSIM means more diverse" in made.caption
    one = histogram(records[:1])
    assert pixels_of(one).shape[1] < pixels_of(made).shape[1]
    swapped = histogram([records[1], records[0]], ["L1", "L2"])
    assert swapped.drawn != histogram(records[:2], ["L1", "L2"]).drawn, "the curves are drawn, not the names alone"
    assert b"/Type3" not in made.drawn.pdf


def test_a_legend_shows_names_that_matplotlib_would_hide(tmp_path: Path) -> None:
    record = diverse_record(tmp_path, "x", LOW)
    shown, other = (histogram([record], [name]) for name in ("_hidden", "_h"))
    assert shown.drawn.png != other.drawn.png


def test_a_histogram_adds_up_to_a_hundred_percent_for_any_number_of_samples(tmp_path: Path) -> None:
    few = diverse_record(tmp_path, "few", LOW)
    many = diverse_record(tmp_path, "many", [2 * count for count in LOW], samples=5)
    first, second = histogram([few], ["a"]), histogram([many], ["a"])
    assert pixels_of(first).tobytes() == pixels_of(second).tobytes()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"data_digest": "9" * 64}, "another set"),
        ({"fingerprint": "9" * 64}, "another set"),
        ({"recipe": "9" * 64}, "another recipe"),
        ({"task_fingerprint": "9" * 64}, "another definition"),
        ({"value": 0.2}, "contradicts itself"),
        ({"samples": 4}, "20 pairs in the histogram, 30 among 4 samples"),
        ({"counts": (20,)}, "another recipe"),
    ],
)
def test_records_that_make_no_histogram_are_refused(tmp_path: Path, other: dict[str, object], says: str) -> None:
    counts = other.pop("counts", HIGH)
    first = diverse_record(tmp_path, "one", LOW)
    second = diverse_record(tmp_path, "two", counts, **other)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=says):
        histogram([first, second])
    assert histogram([first, diverse_record(tmp_path, "three", HIGH)]).kind == "histogram"


def test_a_record_without_samples_and_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save(replace(a_record(), histogram=None, samples=1), ITEMS, tmp_path / "single")
    with pytest.raises(InputError, match=r"no histogram: .*: 1 samples an item"):
        histogram([read_record(tmp_path / "single")])
    records = [diverse_record(tmp_path, "same", counts, samples=3) for counts in (LOW, HIGH)]
    for names in ((), ("a",), ("a", "a"), ("a", "")):
        with pytest.raises(UsageError):
            histogram(records, names)


def a_panorama(folder: Path, *, sides: Sequence[str] = ("right", "left"), across: int = 3) -> Path:
    """Two panoramas of images of 8 pixels, as ``palette-bench panorama`` writes them."""
    images = [noise(0, name, 0, 8 * across)[:8] for name in ("a", "b")]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "p.png").write_bytes(encode_png(np.concatenate(images)))
    said = {
        "schema": 1,
        "set": "tiny",
        "version": 1,
        "set_fingerprint": "0" * 64,
        "data_digest": "1" * 64,
        "size": 8,
        "width": across,
        "model": {"name": "m", "title": "$\\frac{"},
        "seed": 4,
        "seed_rule": "a rule",
        "items": [
            {"id": name, "reference_sha256": "2" * 64, "seeds": {s: [1] for s in sides}, "sha256": pixel_digest(image)}
            for name, image in zip("ab", images, strict=True)
        ],
        "software": {},
    }
    (folder / "p.json").write_text(json.dumps(said))
    return folder / "p.png"


@pytest.mark.parametrize(
    ("sides", "columns"), [(("right", "left"), [8, 16]), (("right",), [0, 8]), (("left",), [16, 24])]
)
def test_a_panorama_is_drawn_whole_and_its_original_marked_outside(
    tmp_path: Path, sides: tuple[str, ...], columns: list[int]
) -> None:
    images, said = read_panoramas(a_panorama(tmp_path, sides=sides))
    made = panorama(images, said)
    assert made.described["original_columns"] == columns
    times, page = made.described["enlarged"], pixels_of(made)
    assert isinstance(times, int)
    for image in images.values():
        [(top, left)] = places(page, enlarged(image, times))
        assert left == 0
        above = page[top - 3, :, 0] < 128
        marked = np.flatnonzero(above)
        assert columns[0] * times <= marked[0] < marked[-1] <= columns[1] * times
    assert "Panorama uncropping by $\\frac{" in made.caption
    assert made.drawn == panorama(images, said).drawn
    assert made.described["items"] == said["items"]
    assert "from the marked 8x8 pixels" in made.caption
    assert "to 8x24" in made.caption


def test_a_panorama_that_is_not_its_account_s_is_refused(tmp_path: Path) -> None:
    png = a_panorama(tmp_path / "one")
    with Image.open(png) as image:
        pixels = np.array(image)
    pixels[9, 3] ^= 1
    png.write_bytes(encode_png(pixels))
    with pytest.raises(VerificationError, match="changed: b"):
        read_panoramas(png)
    png.write_bytes(encode_png(pixels[:8]))
    with pytest.raises(VerificationError, match="another size"):
        read_panoramas(png)
    png.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read"):
        read_panoramas(png)
    said = json.loads(png.with_suffix(".json").read_text())
    changes: list[dict[str, object]] = [{"schema": 9}, {"size": "8"}, {"items": []}, {"model": 3}, {"width": -1}]
    for change in changes:
        png = a_panorama(tmp_path / "two")
        png.with_suffix(".json").write_text(json.dumps({**said, **change}))
        with pytest.raises(InputError, match="a panorama"):
            read_panoramas(png)
    png.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="palette-bench panorama"):
        read_panoramas(png)


def test_a_figure_s_files_are_named_after_it(tmp_path: Path) -> None:
    made = histogram([diverse_record(tmp_path, "x", LOW)])
    for name in ("f", "f.png", "f.JSON", "model.v1"):
        png, pdf, said = account.write(made, tmp_path / "out" / name)
        assert png.name == ("model.v1.png" if name == "model.v1" else "f.png")
        described = json.loads(said.read_text())
        assert described["files"] == {
            "png": bytes_digest(png.read_bytes()),
            "pdf": bytes_digest(pdf.read_bytes()),
        }
        assert described["caption"] == made.caption


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"palette-bench\[figures\]"):
        Page(10, 10, 100.0)
