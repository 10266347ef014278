"""The classical methods against JPEG: laws, the library called by hand, and what must make it worse."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.restoration import denoise_tv_chambolle

from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.condition import decode_jpeg, encode_jpeg
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput
from palette_bench.predict.models import classical_jpeg as methods
from palette_bench.predict.models.classical import Input
from palette_bench.protocol.tasks import TASKS
from tests.predict.classical_inputs import SIZES, check_laws, given, psnr, reference, setting

ALL = (
    methods.Gaussian,
    methods.Median,
    methods.TotalVariation,
    methods.Bilateral,
    methods.NonLocalMeans,
    methods.ShiftedJpeg,
)


def natural(size: int = 128) -> ImageU8:
    """Shading, edges and a little texture, as photographs have them."""
    y, x = np.mgrid[0:size, 0:size] / size
    shade = 60 + 110 * x + 40 * np.sin(5 * y)
    disc = (x - 0.5) ** 2 + (y - 0.45) ** 2 < 0.09
    image = np.stack([shade + 60 * disc, shade * 0.8 + 20 * disc, shade * 0.6 + 70 * (y > 0.8)], axis=-1)
    image += np.random.default_rng(3).normal(0, 3, image.shape)
    result: ImageU8 = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return result


def decompressing(image: ImageU8, quality: int) -> ModelInput:
    data = encode_jpeg(image, quality)
    return ModelInput("item", decode_jpeg(data), None, data, 5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ALL)
def test_laws(method: type[methods.JpegRepair], size: int) -> None:
    check_laws(method(setting("jpeg-qf5", size)), "jpeg-qf5", size)


@pytest.mark.parametrize("method", ALL)
def test_it_gains_over_the_decoder_at_quality_5(method: type[methods.JpegRepair]) -> None:
    image = natural()
    one = decompressing(image, 5)
    gain = psnr(method(setting("jpeg-qf5", 128)).predict([one])[0], image) - psnr(one.image, image)
    assert gain > 0.1


def test_shifted_compression_needs_the_tables_of_its_file() -> None:
    image = natural()
    one = decompressing(image, 5)
    assert one.jpeg is not None
    tables, subsampling = methods.coding(one.jpeg)
    right = methods.ShiftedJpeg(setting("jpeg-qf5", 128)).predict([one])[0]
    np.testing.assert_array_equal(right, methods.shifted_mean(one.image, tables, subsampling))
    for quality in (20, 95):
        wrong_tables, _ = methods.coding(encode_jpeg(image, quality))
        wrong = methods.shifted_mean(one.image, wrong_tables, subsampling)
        assert psnr(wrong, image) < psnr(right, image) - 0.1
    # The task's name says nothing: under any of them the file's own tables are taken.
    misnamed = methods.ShiftedJpeg(setting("jpeg-qf20", 128)).predict([one])[0]
    np.testing.assert_array_equal(misnamed, right)


@pytest.mark.parametrize("quality", [5, 10, 20])
def test_the_tables_and_the_subsampling_are_those_of_the_file(quality: int) -> None:
    image = natural(64)
    tables, subsampling = methods.coding(encode_jpeg(image, quality))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", qtables=tables, subsampling=subsampling)
    assert buffer.getvalue() == encode_jpeg(image, quality)
    Image.fromarray(image).save(full := io.BytesIO(), "JPEG", quality=quality, subsampling="4:4:4")
    assert methods.coding(full.getvalue()) == (tables, 0)
    assert subsampling == 2


def test_shifted_compression_by_hand() -> None:
    """One grid at a time with quality instead of tables, and a mean in float."""
    one = decompressing(reference(64), 10)
    total = np.zeros((64, 64, 3))
    for down in (0, 5, 10, 15):
        for right in (0, 5, 10, 15):
            padded = cv2.copyMakeBorder(one.image, down, 0, right, 0, cv2.BORDER_REPLICATE)
            total += decode_jpeg(encode_jpeg(padded, 10))[down:, right:]
    output = methods.ShiftedJpeg(setting("jpeg-qf10", 64)).predict([one])[0]
    np.testing.assert_array_equal(output, np.floor(total / 16 + 0.5))
    assert (output != decode_jpeg(encode_jpeg(one.image, 10))).any()


def test_filters_called_by_hand() -> None:
    one = given("jpeg-qf5", 64)
    image = one.image

    def output(method: type[methods.JpegRepair]) -> ImageU8:
        return method(setting("jpeg-qf5", 64)).predict([one])[0]

    np.testing.assert_array_equal(output(methods.Bilateral), cv2.bilateralFilter(image, 5, 30, 3))
    np.testing.assert_array_equal(output(methods.Median), cv2.medianBlur(image, 3))
    blurred = cv2.GaussianBlur(image, (0, 0), 1).astype(int)
    assert np.abs(output(methods.Gaussian).astype(int) - blurred).max() <= 1
    assert np.abs(output(methods.Gaussian).astype(int) - cv2.GaussianBlur(image, (0, 0), 1.2)).max() > 1
    flat = denoise_tv_chambolle(image / 255, weight=0.03, channel_axis=2)
    np.testing.assert_array_equal(output(methods.TotalVariation), np.rint(255 * flat))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    expected = cv2.cvtColor(cv2.fastNlMeansDenoisingColored(bgr, None, 5, 3), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(output(methods.NonLocalMeans), expected)
    assert (expected != cv2.fastNlMeansDenoisingColored(image, None, 5, 3)).any()


@pytest.mark.parametrize("method", ALL)
def test_a_configuration_moves_the_output_and_a_wrong_one_is_refused(method: type[methods.JpegRepair]) -> None:
    one = given("jpeg-qf5", 64)
    plain = method(setting("jpeg-qf5", 64)).predict([one])[0]
    for key, value in method.defaults.items():
        stronger = method(setting("jpeg-qf5", 64, config={key: 3 * value})).predict([one])[0]
        assert (stronger != plain).any(), key
    with pytest.raises(InputError, match="in a classical method"):
        method(setting("jpeg-qf5", 64, config={"quality": 5}))
    for task in ("colorize", "uncrop"):
        with pytest.raises(UsageError):
            method(setting(task))


@pytest.mark.parametrize("task", TASKS)
def test_the_input_is_the_condition(task: str) -> None:
    one = given(task)
    output = Input(setting(task)).predict([one])[0]
    np.testing.assert_array_equal(output, one.image)
    assert output is not one.image
    if one.hole is not None:
        assert (output[one.hole] == 0).all()
        assert one.hole.any()
    assert (output != reference(32)).any()
    with pytest.raises(InputError):
        Input(setting(task, config={"strength": 1}))
