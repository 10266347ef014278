"""Export in a model's layout, a miniature of that model, import: every pixel comes back where it belongs."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import PREDICTIONS_FILE, tree_digest
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError
from palette_bench.images import canary
from palette_bench.images.holes import composite
from palette_bench.images.types import ImageU8
from palette_bench.predict.importing.bring import Imported, Options
from palette_bench.predict.importing.conventions import CONVENTIONS
from palette_bench.predict.importing.lint import Severity
from palette_bench.prepare.input_layouts import INPUT_LAYOUTS
from tests.conftest import make_photos, picture
from tests.predict import importing_world as world
from tests.predict.importing_world import FILLED, MASKED, SIZE, exported, imported, painted, pixels, save, steps

TASK = "inpaint-freeform-20-30"
APPROXIMATE = {"mat": 0.5, "comodgan": 0.5, "hifill": 2.0}
"""Grey levels: rounding near black and white of what is enlarged, and JPEG."""


@pytest.fixture(scope="module", autouse=True)
def _one_canary() -> Iterator[None]:
    with mock.patch.object(canary, "measure", cache(canary.measure)):
        yield


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    folder = tmp_path_factory.mktemp("round-trip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(folder / "home"))
        return world.prepare(make_photos(folder / "photos", 4), "round")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvalSet, Path]:
    """A set whose references are the centres of larger originals, and the originals."""
    folder = tmp_path_factory.mktemp("squares")
    for number in range(3):
        original = picture(80, 96 + number, f"original {number}")
        save(folder / "originals" / f"p{number}.png", original)
        top, left = (80 - SIZE) // 2, (96 + number - SIZE) // 2
        save(folder / "squares" / f"p{number}.png", original[top : top + SIZE, left : left + SIZE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(folder / "home"))
        return world.prepare(folder / "squares", "squares"), folder / "originals"


def there_and_back(
    name: str,
    eval_set: EvalSet,
    originals: Path | None,
    folder: Path,
    *,
    inverted: bool,
    options: Options | None = None,
) -> Imported:
    inputs = exported(eval_set, TASK, folder / "inputs", CONVENTIONS[name].export_layout, originals)
    outputs = MASKED[name](inputs, folder / "outputs", inverted=inverted)
    ordered = name in ("i2sb", "guided-diffusion")
    options = Options(order=inputs / "list.txt" if ordered else None)
    return imported(eval_set, outputs, name, TASK, folder / "preds", options)


def known_error(result: Imported) -> float:
    (step,) = [step for step in steps(result) if step["step"] == "composite_known"]
    value = step["known_region_error"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("name", MASKED)
def test_every_pixel_comes_back(name: str, eval_set: EvalSet, squares: tuple[EvalSet, Path], tmp_path: Path) -> None:
    used, originals = squares if name == "hifill" else (eval_set, None)
    result = there_and_back(name, used, originals, tmp_path, inverted=False)
    assert known_error(result) <= APPROXIMATE.get(name, 0.0)
    assert {verdict.kind for verdict in result.verdicts} == ({"lossy"} if name == "hifill" else set())
    task = used.task(TASK)
    digests: dict[str, str] = {}
    for item in used.items:
        hole = used.holes(task).of(item)
        assert hole is not None
        image = pixels(result.folder / f"{item.id}.png")
        digests[f"{item.id}.png"] = pixel_digest(image)
        exact = composite(painted(image, hole), used.reference(item), hole)
        assert np.abs(image.astype(int) - exact).max() <= (8 if name in APPROXIMATE else 0)
    described = json.loads((result.folder / PREDICTIONS_FILE).read_text())
    assert described["tree_sha256"] == tree_digest(digests)
    assert described["import"]["from"] == name
    assert {path.name for path in result.folder.iterdir()} <= {"cats", "dogs", PREDICTIONS_FILE, *digests}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs", "outputs", "preds"]


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_that_is_read_inverted_is_noticed(
    name: str, eval_set: EvalSet, squares: tuple[EvalSet, Path], tmp_path: Path
) -> None:
    used, originals = squares if name == "hifill" else (eval_set, None)
    result = there_and_back(name, used, originals, tmp_path, inverted=True)
    (verdict,) = [verdict for verdict in result.verdicts if verdict.kind != "lossy"]
    assert verdict.kind == "inverted-mask"
    assert "read inverted" in verdict.message
    assert isinstance(verdict.numbers["mean"], float)
    assert verdict.numbers["mean"] > 10
    assert known_error(result) > 10


def test_hifill_of_the_sets_own_size_is_taken_as_it_is(eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, TASK, tmp_path / "inputs", "hifill-256")
    outputs = world.hifill(inputs, tmp_path / "outputs")
    result = imported(eval_set, outputs, "hifill", TASK, tmp_path / "preds")
    assert known_error(result) < 2
    assert not any(step["step"] == "crop_centre" for step in steps(result))


def test_hifills_surroundings_are_cropped_and_it_is_said(squares: tuple[EvalSet, Path], tmp_path: Path) -> None:
    result = there_and_back("hifill", *squares, tmp_path, inverted=False)
    assert steps(result)[0] == {"step": "crop_centre", "outputs": 3, "from": [2 * SIZE, 2 * SIZE]}


def test_boundless_comes_back_from_one_pixel_more(eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, "uncrop", tmp_path / "inputs", "boundless")
    listed = (inputs / "list.txt").read_text().splitlines()
    images = np.stack([pixels(inputs / "images" / f"{name.replace('/', '__')}.png") for name in listed])
    assert images.shape[1:] == (SIZE + 1, SIZE + 1, 3)
    floats = (images / 255).astype(np.float32)
    floats[:, :, SIZE // 2 + 1 :] = 0.25
    np.savez(tmp_path / "boundless.npz", default=floats, masked_image=floats * 0)
    result = imported(
        eval_set,
        tmp_path / "boundless.npz",
        "boundless",
        "uncrop",
        tmp_path / "preds",
        Options(order=inputs / "list.txt"),
    )
    resize = next(step for step in steps(result) if step["step"] == "resize")
    assert (resize["from"], resize["method"]) == ([SIZE + 1, SIZE + 1], "bicubic")
    assert 0 < known_error(result) < 12
    for item in eval_set.items:
        image = pixels(result.folder / f"{item.id}.png")
        assert (image[:, : SIZE // 2] == eval_set.reference(item)[:, : SIZE // 2]).all()
        assert np.abs(image[:, SIZE // 2 + 3 :].astype(int) - 64).max() <= 1


def test_coltran_writes_rgba_below_final(eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, "colorize", tmp_path / "inputs", "coltran")
    for path in (inputs / "images").iterdir():
        grey = pixels(path)
        assert grey.ndim == 2
        rgba = np.stack([grey, grey // 2, 255 - grey, np.full_like(grey, 255)], axis=-1)
        save(tmp_path / "store" / "final" / path.name, rgba)
        save(tmp_path / "store" / "stage1" / path.name, rgba[:8, :8])
    result = imported(eval_set, tmp_path / "store", "coltran", "colorize", tmp_path / "preds")
    assert result.verdicts == ()
    item = eval_set.items[1]
    image = pixels(result.folder / f"{item.id}.png")
    assert (image[..., 1] == image[..., 0] // 2).all()
    assert steps(result) == []


def test_luma_is_pasted_only_if_asked_for(eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, "colorize", tmp_path / "inputs", "ddcolor")
    for path in (inputs / "images").iterdir():
        grey = pixels(path) // 2 + 20
        save(tmp_path / "results" / path.name, np.stack([grey, grey + 10, grey], axis=-1))
    plain = imported(eval_set, tmp_path / "results", "ddcolor", "colorize", tmp_path / "plain")
    pasted = imported(
        eval_set, tmp_path / "results", "ddcolor", "colorize", tmp_path / "pasted", Options(luma_paste=True)
    )
    item = eval_set.items[0]
    grey = eval_set.conditions(eval_set.task("colorize")).of(item).image[..., 0]

    def luma_of(folder: Path) -> ImageU8:
        return np.asarray(Image.open(folder / f"{item.id}.png").convert("L"))

    assert np.abs(luma_of(pasted.folder).astype(int) - grey)[(grey > 20) & (grey < 230)].max() <= 1
    assert np.abs(luma_of(plain.folder).astype(int) - grey).max() > 20
    assert steps(pasted)[0]["step"] == "paste_luma"


@pytest.mark.parametrize("name", ["fbcnn", "qgac"])
def test_restored_jpegs_come_from_folders_of_a_quality(name: str, eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, "jpeg-qf10", tmp_path / "inputs", name)
    for path in (inputs / "jpegs").iterdir():
        save(tmp_path / "test_results" / "set_model" / "10" / f"{path.stem}.png", pixels(path))
    result = imported(eval_set, tmp_path / "test_results", name, "jpeg-qf10", tmp_path / "preds")
    conditions = eval_set.conditions(eval_set.task("jpeg-qf10"))
    for item in eval_set.items:
        assert (pixels(result.folder / f"{item.id}.png") == conditions.of(item).image).all()


def test_two_qualities_in_one_folder_are_duplicates_not_a_choice(eval_set: EvalSet, tmp_path: Path) -> None:
    for quality in ("10", "20"):
        for item in eval_set.items:
            save(tmp_path / "r" / quality / f"{item.id.replace('/', '__')}.png", eval_set.reference(item))
    with pytest.raises(InputError, match="4 duplicate"):
        imported(eval_set, tmp_path / "r", "fbcnn", "jpeg-qf10", tmp_path / "preds")
    assert not (tmp_path / "preds").exists()


def test_infinitygan_is_composited(eval_set: EvalSet, tmp_path: Path) -> None:
    inputs = exported(eval_set, "uncrop", tmp_path / "inputs", "infinitygan")
    for path in (inputs / "images").iterdir():
        near = np.clip(pixels(path).astype(int) + 5, 0, 255).astype(np.uint8)
        near[:, SIZE // 2 :] = FILLED
        save(tmp_path / "logs" / path.name, near)
    result = imported(eval_set, tmp_path / "logs", "infinitygan", "uncrop", tmp_path / "preds")
    assert 4 < known_error(result) <= 5
    assert [verdict.kind for verdict in result.verdicts] == ["known-region"]
    assert result.verdicts[0].severity is Severity.WARNING
    item = eval_set.items[0]
    assert (pixels(result.folder / f"{item.id}.png")[:, :16] == eval_set.reference(item)[:, :16]).all()
    kept = imported(eval_set, tmp_path / "logs", "infinitygan", "uncrop", tmp_path / "kept", Options(composite=False))
    assert (pixels(kept.folder / f"{item.id}.png")[:, :16] != eval_set.reference(item)[:, :16]).any()
    assert steps(kept) == []


def test_every_convention_has_an_input_layout_for_its_tasks() -> None:
    for convention in CONVENTIONS.values():
        layout = INPUT_LAYOUTS[convention.export_layout]
        assert convention.name in ("generic", layout.name)
        assert layout.kinds <= convention.kinds


def test_the_documentation_names_every_layout_and_convention() -> None:
    text = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for name in (*CONVENTIONS, *INPUT_LAYOUTS):
        assert any(f"`{name}`" in row for row in rows), name
