"""Classical methods against the blocks and rings of JPEG: filters, and compression once more.

What the decoder gives, untouched, is the baseline ``input``.
"""

import io
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from palette_bench.common.errors import InputError
from palette_bench.images.condition import decode_jpeg
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models.classical import OneByOne, library, parameters
from palette_bench.protocol.tasks import TaskKind

OFFSETS = (0, 5, 10, 15)
"""Offsets of the shifted grids in pixels, the same in x and y: all different on luma's grid of 8 and chroma's of 16."""


class JpegRepair(OneByOne):
    """A method that makes a decoded JPEG look less like one."""

    kinds = frozenset({TaskKind.JPEG})
    defaults: ClassVar[dict[str, float]] = {}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.parameters = parameters(setting, self.defaults)


class Gaussian(JpegRepair):
    """A Gaussian of standard deviation ``sigma`` pixels, cut off at three of them, borders reflected (SciPy)."""

    defaults: ClassVar[dict[str, float]] = {"sigma": 1.0}

    def one(self, given: ModelInput) -> ImageU8:
        """The image, blurred."""
        from scipy.ndimage import gaussian_filter

        sigma = self.parameters["sigma"]
        blurred = gaussian_filter(given.image.astype(np.float64), (sigma, sigma, 0.0), mode="mirror", truncate=3.0)
        prediction: ImageU8 = np.rint(blurred).astype(np.uint8)
        return prediction


class Median(JpegRepair):
    """The median of ``window`` by ``window`` pixels of each channel, borders repeated (SciPy)."""

    defaults: ClassVar[dict[str, float]] = {"window": 3}

    def one(self, given: ModelInput) -> ImageU8:
        """The image of medians."""
        from scipy.ndimage import median_filter

        window = int(self.parameters["window"])
        filtered: ImageU8 = median_filter(given.image, size=(window, window, 1), mode="nearest")
        return filtered


class TotalVariation(JpegRepair):
    """The image near the given one with little total variation (Chambolle 2004), through scikit-image."""

    defaults: ClassVar[dict[str, float]] = {"weight": 0.03}

    def one(self, given: ModelInput) -> ImageU8:
        """The image, flattened where it varies little."""
        from skimage.restoration import denoise_tv_chambolle

        flat = denoise_tv_chambolle(given.image / 255.0, weight=self.parameters["weight"], channel_axis=-1)
        prediction: ImageU8 = np.rint(np.clip(flat, 0.0, 1.0) * 255.0).astype(np.uint8)
        return prediction


class Bilateral(JpegRepair):
    """A mean over near pixels of similar colour (Tomasi, Manduchi 1998), through OpenCV.

    ``diameter`` in pixels, ``sigma_colour`` in grey levels summed over the channels, ``sigma_space`` in pixels.
    """

    defaults: ClassVar[dict[str, float]] = {"diameter": 5, "sigma_colour": 30.0, "sigma_space": 3.0}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._cv2 = library("cv2", "opencv")

    def one(self, given: ModelInput) -> ImageU8:
        """The image, smoothed within its edges."""
        filtered: ImageU8 = self._cv2.bilateralFilter(
            given.image,
            int(self.parameters["diameter"]),
            self.parameters["sigma_colour"],
            self.parameters["sigma_space"],
        )
        return filtered


class NonLocalMeans(JpegRepair):
    """A mean over pixels with similar surroundings (Buades, Coll, Morel 2005), through OpenCV.

    ``strength`` and ``strength_colour`` are OpenCV's h for lightness and for the two channels of colour in Lab.
    """

    defaults: ClassVar[dict[str, float]] = {"strength": 5.0, "strength_colour": 3.0}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._cv2 = library("cv2", "opencv")

    def one(self, given: ModelInput) -> ImageU8:
        """The image, denoised; OpenCV takes it in the order blue, green, red and goes through Lab."""
        bgr = np.ascontiguousarray(given.image[..., ::-1])
        denoised: ImageU8 = self._cv2.fastNlMeansDenoisingColored(
            bgr, None, self.parameters["strength"], self.parameters["strength_colour"]
        )
        return np.ascontiguousarray(denoised[..., ::-1])


class ShiftedJpeg(JpegRepair):
    """Compressed again on sixteen shifted grids with the file's own tables, and averaged (Nosratinia 2001).

    Tables and chroma subsampling are read from the file. Borders are repeated for the shifts.
    """

    def one(self, given: ModelInput) -> ImageU8:
        """The mean of the sixteen, rounded."""
        if given.jpeg is None:
            raise InputError("an input of this task has no JPEG file", where=given.id)
        tables, subsampling = coding(given.jpeg)
        return shifted_mean(given.image, tables, subsampling)


def coding(data: bytes) -> tuple[dict[int, list[int]], int]:
    """The quantisation tables of a JPEG file and its chroma subsampling, as Pillow numbers it (2 is 4:2:0)."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        if not isinstance(picture, JpegImagePlugin.JpegImageFile):
            raise InputError("this is not a JPEG file", found=picture.format)
        tables = {index: list(table) for index, table in picture.quantization.items()}
        return tables, JpegImagePlugin.get_sampling(picture)


def shifted_mean(image: ImageU8, tables: dict[int, list[int]], subsampling: int) -> ImageU8:
    """The mean over ``OFFSETS`` x ``OFFSETS`` of ``image`` [H, W, 3] compressed with its grid shifted, half up."""
    total: NDArray[np.uint32] = np.zeros(image.shape, dtype=np.uint32)
    for down in OFFSETS:
        for right in OFFSETS:
            shifted = np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="edge")
            buffer = io.BytesIO()
            Image.fromarray(shifted).save(buffer, "JPEG", qtables=tables, subsampling=subsampling)
            total += decode_jpeg(buffer.getvalue())[down:, right:]
    count = len(OFFSETS) ** 2
    return ((total + count // 2) // count).astype(np.uint8)
