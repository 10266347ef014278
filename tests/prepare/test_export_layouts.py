import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet, read_masks, unpack
from palette_bench.artifacts.naming import file_names
from palette_bench.common.canonical import file_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.progress import Silent
from palette_bench.images.geometry import adm
from palette_bench.images.types import ImageU8
from palette_bench.prepare.build import build
from palette_bench.prepare.enlarge import twice
from palette_bench.prepare.export import Exported, export
from palette_bench.prepare.input_layouts import HoleColour
from palette_bench.prepare.plan import Choices, make_plan
from tests.conftest import make_photos, picture

SIZE = 32


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """A small folder set with folders in its ids."""
    folder = tmp_path_factory.mktemp("layouts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(folder / "home"))
        return prepare(make_photos(folder / "photos", 5), "layouts")


def prepare(source: Path, name: str, *, size: int = SIZE) -> EvalSet:
    plan = make_plan("folder", Choices(source=source, name=name, size=size), progress=Silent())
    return EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)


def written(
    eval_set: EvalSet,
    task: str,
    out: Path,
    layout: str,
    *,
    holes: HoleColour | None = None,
    source: Path | None = None,
) -> Exported:
    return export(
        eval_set,
        eval_set.task(task),
        out,
        holes=holes,
        references=False,
        jobs=1,
        progress=Silent(),
        layout=layout,
        source=source,
    )


def read(path: Path) -> ImageU8:
    return np.asarray(Image.open(path))


POLARITY = {
    "deepfillv2": ("images/{}.png", "masks/{}.png", 255),
    "hifill-256": ("images/{}.png", "masks/{}.png", 0),
    "lama": ("pairs/{}.png", "pairs/{}_mask000.png", 255),
    "mat": ("images/{}.png", "masks/{}.png", 0),
    "comodgan": ("images/{}.png", "masks/{}.png", 0),
    "repaint": ("gt/{}.png", "gt_keep_masks/{}.png", 0),
    "janspiry": ("images/{}.png", "masks/{}.png", 255),
}


@pytest.mark.parametrize("layout", POLARITY)
def test_files_and_polarity_are_the_models_own(layout: str, eval_set: EvalSet, tmp_path: Path) -> None:
    task = eval_set.task("inpaint-freeform-20-30")
    written(eval_set, task.name, tmp_path / "out", layout)
    images, masks, hole_value = POLARITY[layout]
    for item in eval_set.items:
        hole = eval_set.holes(task).of(item)
        assert hole is not None
        name = item.id.replace("/", "__")
        image, mask = read(tmp_path / "out" / images.format(name)), read(tmp_path / "out" / masks.format(name))
        factor = image.shape[0] // SIZE
        assert factor == (2 if layout in ("mat", "comodgan") else 1)
        large = np.kron(hole, np.ones((factor, factor), np.bool_))
        assert set(np.unique(mask).tolist()) == {0, 255}
        assert mask.shape == ((*large.shape, 3) if layout == "deepfillv2" else large.shape)
        grey = mask if mask.ndim == 2 else mask[..., 0]
        assert ((grey == hole_value) == large).all()
        assert (image[large] == 0).all()
        # No true pixel of the hole is anywhere, and all others are: known blocks average to the condition.
        small = image.reshape(SIZE, factor, SIZE, factor, 3).mean(axis=(1, 3))
        assert np.abs(small - eval_set.reference(item))[~hole].max() <= (0 if factor == 1 else 1.5)
    described = json.loads((tmp_path / "out" / "export.json").read_text())
    assert described["layout"] == layout
    assert described["holes"] == ("white" if hole_value == 255 else "black")
    assert described["names"]["cats__photo-00"] == "cats/photo-00"
    assert all(file_digest(tmp_path / "out" / name) == digest for name, digest in described["files"].items())
    files = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert files == {*described["files"], "export.json", "list.txt"}


def test_no_black_leaks_out_of_a_hole_that_is_enlarged() -> None:
    image = np.full((16, 16, 3), 200, np.uint8)
    hole = np.zeros((16, 16), np.bool_)
    hole[5:9, 3:12] = True
    image[hole] = 0
    large, large_hole = twice(image, hole)
    assert (large[~large_hole] == 200).all()
    leaky = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    assert (leaky[~large_hole] < 200).any()


def test_enlarged_images_average_back_exactly() -> None:
    image = np.clip(picture(32, 32), 20, 235).astype(np.uint8)
    large, _ = twice(image, np.zeros((32, 32), np.bool_))
    back = np.rint(large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)))
    assert np.abs(back - image).max() <= 1
    assert (back == image).mean() > 0.9


def test_boundless_gets_one_pixel_more_and_no_black(eval_set: EvalSet, tmp_path: Path) -> None:
    assert written(eval_set, "uncrop", tmp_path / "out", "boundless").parts == ("images",)
    item = eval_set.items[0]
    image = read(tmp_path / "out" / "images" / f"{item.id.replace('/', '__')}.png")
    assert image.shape == (SIZE + 1, SIZE + 1, 3)
    assert (np.abs(np.diff(image[:, SIZE // 2 + 3 :].astype(int), axis=1)) <= 1).all()
    assert np.abs(image[:SIZE, SIZE // 2 - 1].astype(int) - eval_set.reference(item)[:, SIZE // 2 - 1]).mean() < 15


def test_packed_masks_go_with_the_list(eval_set: EvalSet, tmp_path: Path) -> None:
    task = eval_set.task("inpaint-freeform-10-20")
    assert written(eval_set, task.name, tmp_path / "out", "i2sb").parts == ("images", "masks.npz")
    packed = read_masks(tmp_path / "out" / "masks.npz", "10-20% freeform", eval_set.count, SIZE)
    listed = (tmp_path / "out" / "list.txt").read_text().splitlines()
    for row, name in zip(packed, listed, strict=True):
        item = next(item for item in eval_set.items if item.id == name)
        hole = eval_set.holes(task).of(item)
        assert hole is not None
        assert (unpack(row, SIZE) == hole).all()


@pytest.mark.parametrize("task", ["inpaint-center", "colorize", "jpeg-qf5"])
def test_guided_diffusion_gets_one_array(task: str, eval_set: EvalSet, tmp_path: Path) -> None:
    written(eval_set, task, tmp_path / "out", "guided-diffusion")
    with np.load(tmp_path / "out" / f"conditions_5x{SIZE}x{SIZE}x3.npz") as archive:
        array = archive["arr_0"]
    conditions = eval_set.conditions(eval_set.task(task))
    assert all((row == conditions.of(item).image).all() for row, item in zip(array, eval_set.items, strict=True))
    assert (tmp_path / "out" / "masks.npz").exists() == (task == "inpaint-center")


@pytest.mark.parametrize(
    ("layout", "task", "file"),
    [
        ("fbcnn", "jpeg-qf5", "jpegs/cats__photo-00.jpg"),
        ("qgac", "jpeg-qf5", "jpegs/cats__photo-00.jpg"),
        ("coltran", "colorize", "images/cats__photo-00.png"),
        ("ddcolor", "colorize", "images/cats__photo-00.png"),
    ],
)
def test_other_tasks_have_their_layouts(layout: str, task: str, file: str, eval_set: EvalSet, tmp_path: Path) -> None:
    assert len(written(eval_set, task, tmp_path / "out", layout).parts) == 1
    digests = eval_set.condition_digests(eval_set.task(task))
    if task == "colorize":
        assert read(tmp_path / "out" / file).ndim == 2
    else:
        assert file_digest(tmp_path / "out" / file) == digests[0]


def test_lists_of_files_name_every_file(eval_set: EvalSet, tmp_path: Path) -> None:
    written(eval_set, "inpaint-center", tmp_path / "out", "janspiry")
    for name in ("images", "masks"):
        lines = (tmp_path / "out" / f"{name}.flist").read_text().splitlines()
        assert len(lines) == eval_set.count
        assert all((tmp_path / "out" / line).is_file() for line in lines)


@pytest.mark.parametrize(
    ("layout", "task", "holes", "says"),
    [
        ("lama", "uncrop", HoleColour.BLACK, "has white holes"),
        ("mat", "uncrop", HoleColour.WHITE, "has black holes"),
        ("boundless", "uncrop", HoleColour.WHITE, "has no masks"),
        ("boundless", "inpaint-center", None, "not for task inpaint-center"),
        ("lama", "colorize", None, "not for task colorize"),
        ("fbcnn", "uncrop", None, "not for task uncrop"),
        ("plain", "uncrop", None, "disagree on what is white"),
        ("hifill", "uncrop", None, "--source with the original images"),
        ("nobody", "uncrop", None, "no such layout"),
    ],
)
def test_what_does_not_fit_is_refused(
    layout: str, task: str, holes: HoleColour | None, says: str, eval_set: EvalSet, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        written(eval_set, task, tmp_path / "out", layout, holes=holes)
    assert not (tmp_path / "out").exists()


def test_a_layouts_own_colour_may_be_said_again(eval_set: EvalSet, tmp_path: Path) -> None:
    written(eval_set, "uncrop", tmp_path / "out", "lama", holes=HoleColour.WHITE)
    with pytest.raises(UsageError, match="takes no --source"):
        written(eval_set, "uncrop", tmp_path / "other", "lama", source=tmp_path)


def test_flat_names_that_collide_are_refused() -> None:
    assert file_names(["a/b", "a_b"], flat=True) == {"a/b": "a__b", "a_b": "a_b"}
    assert file_names(["a/b", "a__b"], flat=False) == {"a/b": "a/b", "a__b": "a__b"}
    with pytest.raises(InputError, match="a__b"):
        file_names(["a/b", "a__b"], flat=True)


def make_originals(folder: Path, *, rule: str, sizes: tuple[tuple[int, int], ...] = ((90, 101), (64, 64))) -> Path:
    """Original images, and beside them their central squares as a set would be made of them."""
    (folder / "originals").mkdir(parents=True)
    (folder / "squares").mkdir()
    for number, (height, width) in enumerate(sizes):
        image = picture(height, width, f"original {number}")
        Image.fromarray(image).save(folder / "originals" / f"p{number}.png")
        if rule == "adm":
            large = adm(image, 2 * SIZE)
        else:
            top, left = (height - 2 * SIZE) // 2, (width - 2 * SIZE) // 2
            large = image[max(top, 0) : max(top, 0) + 2 * SIZE, left : left + 2 * SIZE]
        margin = (large.shape[0] - SIZE) // 2
        square = large[margin : margin + SIZE, SIZE // 2 : SIZE // 2 + SIZE]
        Image.fromarray(square).save(folder / "squares" / f"p{number}.png")
    return folder


@pytest.mark.parametrize("rule", ["centre-crop", "adm"])
@pytest.mark.usefixtures("home")
def test_hifill_sees_what_lies_around_the_reference(rule: str, tmp_path: Path) -> None:
    folder = make_originals(tmp_path, rule=rule)
    eval_set = prepare(folder / "squares", "squares")
    task = eval_set.task("inpaint-freeform-30-40")
    written(eval_set, task.name, tmp_path / "out", "hifill", source=folder / "originals")
    assert json.loads((tmp_path / "out" / "export.json").read_text())["surroundings"] == rule
    for item in eval_set.items:
        image, mask = (read(tmp_path / "out" / kind / f"{item.id}.png") for kind in ("images", "masks"))
        hole = eval_set.holes(task).of(item)
        assert hole is not None
        assert image.shape == (2 * SIZE, 2 * SIZE, 3)
        centre = slice(SIZE // 2, SIZE // 2 + SIZE)
        assert ((mask[centre, centre] == 0) == hole).all()
        assert (mask == 0).sum() == hole.sum()
        assert (image[mask == 0] == 0).all()
        assert (image[centre, centre][~hole] == eval_set.reference(item)[~hole]).all()
        assert (image[mask == 255] > 0).mean() > 0.9


@pytest.mark.usefixtures("home")
def test_a_reference_with_nothing_around_it_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 4)
    eval_set = prepare(photos, "whole", size=24)
    with pytest.raises(InputError, match="not the centre of anything larger"):
        written(eval_set, "uncrop", tmp_path / "out", "hifill", source=photos)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("home")
def test_small_and_other_originals_are_all_reported(tmp_path: Path) -> None:
    folder = make_originals(tmp_path, rule="centre-crop", sizes=((90, 101), (64, 64), (70, 80), (50, 80)))
    eval_set = prepare(folder / "squares", "squares")
    changed = folder / "originals" / "p2.png"
    Image.fromarray(255 - read(changed)).save(changed)
    with pytest.raises(InputError, match="2 of 4 source images") as caught:
        written(eval_set, "uncrop", tmp_path / "out", "hifill", source=folder / "originals")
    found = {problem.where: problem.detail for problem in caught.value.problems}
    assert "is not the reference" in found["p2"]
    assert "80x50 is too small" in found["p3"]
    assert not (tmp_path / "out" / "export.json").exists()
    changed.unlink()
    with pytest.raises(InputError, match="1 of 4 images are not in the source"):
        written(eval_set, "uncrop", tmp_path / "new", "hifill", source=folder / "originals")
