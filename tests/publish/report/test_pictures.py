"""Sheets and full images: what is where, what is exact, what fits."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.common.errors import VerificationError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.images.types import ImageU8
from palette_bench.publish.report import pictures
from palette_bench.publish.report.material import gather
from palette_bench.publish.report.pictures import (
    LARGEST_FOLDER,
    condition_image,
    plan_layout,
    write_pictures,
)
from tests.publish.report.world import World, make_world, noisy


def pixels(path: Path) -> ImageU8:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def tiles(line: ImageU8) -> list[ImageU8]:
    edge = line.shape[0]
    return [line[:, start : start + edge] for start in range(0, line.shape[1], edge)]


def test_small_images_are_exact_on_their_sheets(world: World, tmp_path: Path) -> None:
    material = gather(world.result, world.preds, jobs=1, progress=Silent())
    layout = plan_layout(12, 32, 1)
    assert layout.exact
    assert write_pictures(material, layout, range(12), tmp_path, jobs=1, progress=Silent()) == ()
    sheet = pixels(tmp_path / layout.sheet_name(0))
    assert sheet.shape == (12 * 32, 3 * 32, 3)
    conditions = world.eval_set.conditions(material.task)
    for item in world.eval_set.items:
        condition, prediction, reference = tiles(sheet[item.index * 32 : (item.index + 1) * 32])
        hole = conditions.of(item).hole
        assert hole is not None
        expected = world.eval_set.reference(item)
        np.testing.assert_array_equal(reference, expected)
        # As it was scored: the model's own known region is not shown.
        own = noisy(expected, item.index, 0)
        np.testing.assert_array_equal(prediction, np.where(hole[..., None], own, expected))
        assert not np.array_equal(own[~hole], expected[~hole])
        np.testing.assert_array_equal(condition, condition_image(conditions.of(item)))
        np.testing.assert_array_equal(condition[~hole], expected[~hole])
        assert set(np.unique(condition[hole])) == {112, 148}


def test_items_of_several_sheets_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "world", count=5, samples=3, task="colorize")
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    monkeypatch.setattr(pictures, "SHEET_HEIGHT", 64)
    material = gather(world.result, world.preds, jobs=1, progress=Silent())
    layout = plan_layout(5, 32, 2)
    assert (layout.lines, layout.sheets, layout.columns) == (2, 3, 4)
    write_pictures(material, layout, (), tmp_path, jobs=1, progress=Silent())
    assert len(list((tmp_path / "sheets").iterdir())) == 3
    last = tiles(pixels(tmp_path / layout.sheet_name(2)))
    reference = world.eval_set.reference(world.eval_set.items[4])
    for tile, expected in zip(last[1:], (noisy(reference, 4, 0), reference, noisy(reference, 4, 1)), strict=True):
        np.testing.assert_array_equal(tile, expected)


def test_large_images_are_thumbnails_and_some_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "world", count=6, size=128)
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    material = gather(world.result, world.preds, jobs=1, progress=Silent())
    layout = plan_layout(6, 128, 1)
    assert (layout.exact, layout.tile, layout.suffix) == (False, 96, "webp")
    everything = tmp_path / "everything"
    wanted = [5, 2, 0, 1, 3, 4]
    assert write_pictures(material, layout, wanted, everything, jobs=1, progress=Silent()) == tuple(range(6))
    whole = tiles(pixels(everything / layout.full_name(2)))
    np.testing.assert_array_equal(whole[2], world.eval_set.reference(world.eval_set.items[2]))
    thumbnail = tiles(pixels(everything / layout.sheet_name(0))[2 * 96 : 3 * 96])[2]
    near = np.asarray(Image.fromarray(whole[2]).resize((96, 96), Image.Resampling.LANCZOS)).astype(int)
    assert 0 < np.abs(thumbnail - near).mean() < 12
    # With room for two: those wanted most, and nothing else lies about.
    sizes = [(everything / layout.full_name(item)).stat().st_size for item in wanted]
    sheets = sum(path.stat().st_size for path in (everything / "sheets").iterdir())
    room = sheets + 6 * pictures.PAGE_BYTES_AN_ITEM + sum(sizes[:2]) + sizes[2] // 2
    monkeypatch.setattr(pictures, "LARGEST_FOLDER", room)
    monkeypatch.setattr(pictures, "_PNG_SHARE", 0.1)
    some = tmp_path / "some"
    assert write_pictures(material, layout, wanted, some, jobs=1, progress=Silent()) == (2, 5)
    assert sorted(path.name for path in (some / "full").iterdir()) == ["000002.png", "000005.png"]


def test_a_prediction_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "world", count=3)
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    material = gather(world.result, world.preds, jobs=1, progress=Silent())
    path = next(world.preds.rglob("*.png"))
    changed = pixels(path).copy()
    changed[0, 0, 0] ^= 1
    Image.fromarray(changed).save(path)
    with pytest.raises(VerificationError, match="changed while the report was made"):
        write_pictures(material, plan_layout(3, 32, 1), (), tmp_path / "out", jobs=1, progress=Silent())


@pytest.mark.parametrize("count", [1, 500, 10_000, 50_000])
@pytest.mark.parametrize("size", [32, 64, 96, 128, 256, 512])
@pytest.mark.parametrize("samples", [1, 4])
def test_sheets_of_any_set_leave_room(count: int, size: int, samples: int) -> None:
    layout = plan_layout(count, size, samples)
    assert layout.tile <= size
    if layout.exact:
        assert layout.tile == size
        assert count * layout.columns * size * size * 3 <= LARGEST_FOLDER
    assert plan_layout(10_000, 256, 1).tile == 96
    assert plan_layout(10_000, 256, 4).tile == 64
