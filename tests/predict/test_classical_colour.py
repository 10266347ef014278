"""Classical colorization: luma is kept, chroma is the training images', and bad weights are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from skimage.color import rgb2lab

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.condition import luma
from palette_bench.images.types import GreyU8, ImageU8
from palette_bench.predict.adapters.base import ModelInput
from palette_bench.predict.card import find_card
from palette_bench.predict.models import classical_colour as methods
from palette_bench.predict.models import classical_colour_fit as fitting
from palette_bench.predict.models.classical_colour_fit import Method, fit, training_images
from palette_bench.prepare.sources import scenes32
from tests.conftest import make_photos, picture
from tests.predict.classical_inputs import SIZES, check_laws, given, psnr, reference, setting

CLASSES = {
    Method.MEAN: methods.ChromaTable,
    Method.BY_LUMINANCE: methods.ChromaTable,
    Method.RETRIEVAL: methods.Retrieval,
}
Tensors = methods.Tensors


def save(tensors: Tensors, path: Path) -> Path:
    path.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))
    return path


def build(
    method: Method, images: list[ImageU8], folder: Path, size: int = 32
) -> methods.ChromaTable | methods.Retrieval:
    weights = save(fit(method, images), folder / f"{method.value}.safetensors")
    made = CLASSES[method](setting("colorize", size, weights=weights))
    assert isinstance(made, (methods.ChromaTable, methods.Retrieval))
    return made


def grey_input(grey: GreyU8) -> ModelInput:
    return ModelInput("item", np.repeat(grey[..., None], 3, axis=2), None, None, 5)


def tinted(grey: GreyU8, tint: tuple[int, int, int]) -> ImageU8:
    """Grey plus a tint of no luma of its own, up to rounding."""
    moved = grey[..., None].astype(np.int64) + tint
    result: ImageU8 = np.clip(moved, 0, 255).astype(np.uint8)
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", Method)
def test_laws_and_luma(method: Method, size: int, tmp_path: Path) -> None:
    adapter = build(method, [picture(40, 40, f"train {k}") for k in range(4)], tmp_path, size)
    check_laws(adapter, "colorize", size)
    one = given("colorize", size)
    output = adapter.predict([one])[0]
    assert np.abs(luma(output).astype(int) - one.image[..., 0]).max() <= 1
    assert (output != one.image).any(axis=2).mean() > 0.5


@pytest.mark.parametrize("chroma", [(0, 0), (127, 127), (-127, 127), (127, -127), (-127, -127), (30, -10)])
def test_luma_is_kept_for_every_level_and_any_chroma(chroma: tuple[int, int]) -> None:
    levels = np.arange(256, dtype=np.uint8)
    output = methods.colour(levels, np.tile(np.array(chroma, dtype=np.float64), (256, 1)))
    assert np.abs(luma(output).astype(int) - levels).max() <= 1
    colourful = (output.max(axis=1) - output.min(axis=1).astype(int)) > 0
    assert colourful[20:235].all() == (chroma != (0, 0))
    assert colourful.any() == (chroma != (0, 0))


def test_without_chroma_the_grey_comes_back_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(methods.colour(levels, np.zeros((256, 2))), np.repeat(levels[:, None], 3, axis=1))


def test_small_chromas_arrive_as_they_were_asked_for() -> None:
    levels = np.arange(60, 200, dtype=np.uint8)
    asked = np.tile([12.0, -9.0], (len(levels), 1))
    found = rgb2lab(methods.colour(levels, asked))[:, 1:]
    np.testing.assert_allclose(found, asked, atol=1.5)
    assert np.abs(found - asked[:, ::-1]).min() > 10


def test_the_mean_is_over_pixels_and_one_for_all_levels() -> None:
    images = [picture(8, 8, "small"), picture(40, 24, "large")]
    chroma = fit(Method.MEAN, images)["chroma"]
    pixels = np.concatenate([rgb2lab(image)[..., 1:].reshape(-1, 2) for image in images])
    np.testing.assert_allclose(chroma, np.broadcast_to(pixels.mean(axis=0), (256, 2)), rtol=1e-5)
    of_images = np.mean([rgb2lab(image)[..., 1:].mean(axis=(0, 1)) for image in images], axis=0)
    assert np.abs(chroma[0] - of_images).max() > 1e-2


def test_each_level_has_its_own_mean_drawn_to_that_of_all() -> None:
    image = picture(64, 64, "levels")
    chroma = fit(Method.BY_LUMINANCE, [image])["chroma"]
    level, ab = luma(image), rgb2lab(image)[..., 1:]
    for value in (90, 120, 150, 255):
        there = ab[level == value]
        expected = (there.sum(axis=0) + 1000 * ab.mean(axis=(0, 1))) / (len(there) + 1000)
        np.testing.assert_allclose(chroma[value], expected, rtol=1e-5)
    assert len(np.unique(chroma[:, 0])) > 100


def test_dark_and_bright_get_back_the_colours_they_had(tmp_path: Path) -> None:
    """Blue shadows, yellow lights: a table by luminance knows, one colour for all does not."""
    bits = np.random.default_rng(0).integers(0, 2, (64, 64))
    grey = np.where(bits == 1, 190, 70).astype(np.uint8)
    image = np.where((bits == 1)[..., None], tinted(grey, (15, 5, -60)), tinted(grey, (-12, -5, 60)))
    by_level = build(Method.BY_LUMINANCE, [image] * 3, tmp_path).predict([grey_input(luma(image))])[0]
    mean = build(Method.MEAN, [image] * 3, tmp_path).predict([grey_input(luma(image))])[0]
    assert psnr(by_level, image) > psnr(mean, image) + 6


def test_retrieval_takes_the_image_of_the_nearest_histogram(tmp_path: Path) -> None:
    greys = [luma(picture(32, 32, f"histogram {k}")) // 2 + 20 * k for k in range(4)]
    tints = [(30, -10, -25), (-30, 14, 5), (10, -15, 52), (-10, 10, -25)]
    images = [tinted(grey.astype(np.uint8), tint) for grey, tint in zip(greys, tints, strict=True)]
    adapter = build(Method.RETRIEVAL, images, tmp_path)
    assert isinstance(adapter, methods.Retrieval)
    for number, image in enumerate(images):
        grey = luma(image)
        assert adapter.nearest(grey) == number
        assert adapter.nearest(np.ascontiguousarray(grey[::-1, ::-1])) == number
        output = adapter.predict([grey_input(grey)])[0]
        assert psnr(output, image) > 35
        assert all(psnr(output, other) < 35 for other in images if other is not image)
    twice = build(Method.RETRIEVAL, [images[1], images[0], images[1]], tmp_path)
    assert isinstance(twice, methods.Retrieval)
    assert twice.nearest(luma(images[1])) == 0


def test_the_distance_of_histograms_is_the_earth_movers() -> None:
    """A histogram two bins away is nearer than one ten bins away, though neither overlaps."""
    at = [methods.cumulative_histogram(np.full((8, 8), value, dtype=np.uint8)) for value in (100, 108, 140)]
    near, far = (np.abs(at[0].astype(int) - other.astype(int)).sum() / 65_535 for other in at[1:])
    assert (near, far) == (2.0, 10.0)
    assert at[0][-1] == 65_535


def test_the_shipped_statistics_are_what_the_recipe_gives() -> None:
    names = {
        Method.MEAN: "classical-mean-chroma",
        Method.BY_LUMINANCE: "classical-chroma-by-luminance",
        Method.RETRIEVAL: "classical-retrieval",
    }
    scenes = list(training_images(None, max(fitting.IMAGES.values()), 32))
    for method, name in names.items():
        path = find_card(name).checked_weights()
        assert path is not None
        assert path.stat().st_size < 300_000
        shipped = safetensors.numpy.load(path.read_bytes())
        again = fit(method, scenes[: fitting.IMAGES[method]])
        assert shipped.keys() == again.keys()
        # Powers differ in their last digits between machines, and whole numbers of chroma with them, rarely by one.
        atol = 1.0 if method is Method.RETRIEVAL else 1e-4
        for key, tensor in again.items():
            np.testing.assert_allclose(shipped[key].astype(float), tensor.astype(float), atol=atol)
        fewer = fit(method, scenes[1 : fitting.IMAGES[method]])
        assert (
            fewer["chroma"].shape != shipped["chroma"].shape or np.abs(fewer["chroma"] - shipped["chroma"]).max() > atol
        )


def test_scenes_come_from_the_train_split_alone() -> None:
    images = list(training_images(None, 3, 32))
    np.testing.assert_array_equal(images, scenes32.render(scenes32.Split.TRAIN, range(3))[0])
    assert (images[0] != scenes32.render(scenes32.Split.EVAL, [0])[0][0]).any()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fit_program(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            fitting.main([str(word) for word in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_user_fits_a_card_of_photographs(fit_program: Run, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 7)
    out = tmp_path / "mine.safetensors"
    for method in Method:
        arguments = (method.value, "--out", out, "--source", tmp_path / "photos", "--images", 5, "--size", 48)
        code, stdout, stderr = fit_program(*arguments)
        assert (code, stderr) == (0, "")
        assert stdout == f'[weights]\nfile = "mine.safetensors"\nsha256 = "{bytes_digest(out.read_bytes())}"\n'
        output = CLASSES[method](setting("colorize", 48, weights=out)).predict([grey_input(luma(reference(48)))])[0]
        assert output.shape == (48, 48, 3)
    tensors = safetensors.numpy.load(out.read_bytes())
    assert tensors["chroma"].shape == (5, 16, 16, 2)


def test_fitting_reports_what_is_wrong(fit_program: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    folder = make_photos(tmp_path / "photos", 4)
    for number in (1, 2):
        next(folder.rglob(f"photo-0{number}.jpg")).write_bytes(b"no picture")
    code, _, stderr = fit_program("mean", "--out", out, "--source", folder)
    assert code == 3
    assert "photo-01.jpg" in stderr
    assert "photo-02.jpg" in stderr
    assert fit_program("mean", "--out", out, "--source", tmp_path / "nowhere")[0] == 3
    assert fit_program("mean", "--out", out, "--images", 0)[0] == 2
    assert fit_program("median", "--out", out)[0] == 2
    assert fit_program("retrieval", "--images", 2, "--out", tmp_path)[0] == 3
    assert not out.exists()
    for method in Method:
        with pytest.raises(InputError, match="no training images"):
            fit(method, [])


def _bad(tmp_path: Path) -> dict[str, Path | None]:
    good = fit(Method.RETRIEVAL, [picture(32, 32)])
    table = fit(Method.MEAN, [picture(32, 32)])
    whole = save(table, tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-7])
    (tmp_path / "empty").write_bytes(b"")
    Image.fromarray(picture(8, 8)).save(tmp_path / "picture.png")
    broken = table["chroma"].copy()
    broken[3, 1] = np.nan
    return {
        "none": None,
        "not there": tmp_path / "nowhere",
        "cut short": tmp_path / "cut",
        "empty": tmp_path / "empty",
        "a picture": tmp_path / "picture.png",
        "another shape": save({"chroma": table["chroma"][:255]}, tmp_path / "shape"),
        "another type": save({"chroma": table["chroma"].astype(np.float64)}, tmp_path / "type"),
        "one more": save({**table, "more": np.zeros(1, dtype=np.float32)}, tmp_path / "more"),
        "not finite": save({"chroma": broken}, tmp_path / "nan"),
        "no neighbour": save({"cumulative": good["cumulative"][:0], "chroma": good["chroma"][:0]}, tmp_path / "zero"),
        "not as many": save({"cumulative": good["cumulative"], "chroma": good["chroma"][:0]}, tmp_path / "fewer"),
    }


@pytest.mark.parametrize("method", [methods.ChromaTable, methods.Retrieval])
def test_bad_weights_are_refused(method: type[methods.ChromaTable | methods.Retrieval], tmp_path: Path) -> None:
    for name, path in _bad(tmp_path).items():
        with pytest.raises(InputError) as refused:
            method(setting("colorize", weights=path))
        assert refused.value.next_step or refused.value.found, name
    swapped = {methods.ChromaTable: Method.RETRIEVAL, methods.Retrieval: Method.MEAN}[method]
    others = save(fit(swapped, [picture(32, 32)]), tmp_path / "others")
    with pytest.raises(InputError) as caught:
        method(setting("colorize", weights=others))
    assert len(caught.value.problems) == 2 if method is methods.ChromaTable else 1
    for task in ("uncrop", "jpeg-qf5"):
        with pytest.raises(UsageError):
            method(setting(task, weights=others))
