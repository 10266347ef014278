"""Classical colorization: chroma from statistics of training images, luma from the grey image.

Chroma is (a, b) of CIE Lab under D65 (scikit-image). Lab's lightness is not the luma that the task keeps, so every
colour is moved along the grey axis until its luma is the given one, and towards grey where it would leave 0..255: the
output has the condition's luma to within one grey level.
The statistics are a card's weights; ``classical_colour_fit`` makes them.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from palette_bench.common.errors import InputError, Problem
from palette_bench.images.condition import BLUE, GREEN, RED
from palette_bench.images.types import GreyU8, ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models.classical import OneByOne, parameters
from palette_bench.protocol.tasks import TaskKind

LEVELS = 256
BINS = 64
"""Bins of a luminance histogram, four grey levels each."""

CUMULATIVE_ONE = 65_535
"""A whole in the stored cumulative histograms."""

_LUMA = np.array([RED, GREEN, BLUE]) / 65_536

Floats = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]


class ChromaTable(OneByOne):
    """A colour for every grey level. Weights: ``chroma`` [256, 2] float32, (a, b) by luma."""

    kinds = frozenset({TaskKind.COLORIZE})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        parameters(setting, {})
        chroma = _read_weights(setting.weights, {"chroma": ("float32", (LEVELS, 2))})["chroma"].astype(np.float64)
        self._colours = colour(np.arange(LEVELS, dtype=np.uint8), chroma)

    def one(self, given: ModelInput) -> ImageU8:
        """The colours of the grey levels."""
        coloured: ImageU8 = self._colours[given.image[..., 0]]
        return coloured


class Retrieval(OneByOne):
    """The chroma of the training image whose luminance histogram is nearest, at the same places.

    Histograms are compared by the earth mover's distance, ties go to the first. Weights: ``cumulative`` [N, 64] uint16,
    ``chroma`` [N, side, side, 2] int8, enlarged bilinearly.
    """

    kinds = frozenset({TaskKind.COLORIZE})

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        parameters(setting, {})
        tensors = _read_weights(
            setting.weights, {"cumulative": ("uint16", (0, BINS)), "chroma": ("int8", (0, 0, 0, 2))}
        )
        self._cumulative = tensors["cumulative"].astype(np.int64)
        self._chroma = tensors["chroma"].astype(np.float32)
        if len(self._cumulative) != len(self._chroma) or not len(self._chroma):
            raise InputError(
                "the weights of the retrieval do not fit together",
                where=setting.weights,
                expected="one histogram for each chroma, and one at least",
                found=f"{len(self._cumulative)} histograms, {len(self._chroma)} chromas",
            )

    def one(self, given: ModelInput) -> ImageU8:
        """The grey image in the colours of its neighbour."""
        grey = given.image[..., 0]
        return colour(grey, resized(self._chroma[self.nearest(grey)], grey.shape))

    def nearest(self, grey: GreyU8) -> int:
        """Number of the training image whose histogram is nearest to that of ``grey`` [H, W]."""
        distances = np.abs(self._cumulative - cumulative_histogram(grey).astype(np.int64)).sum(axis=1)
        return int(distances.argmin())


def colour(grey: GreyU8, chroma: Floats) -> ImageU8:
    """RGB [..., 3] uint8 of ``grey`` [...] and ``chroma`` [..., 2], (a, b) of Lab. Its luma is ``grey`` within one."""
    from skimage.color import lab2rgb, rgb2lab

    level = grey.astype(np.float64)[..., None]
    lightness = rgb2lab(np.repeat(level / 255.0, 3, axis=-1))[..., :1]
    with warnings.catch_warnings():
        # Colours outside sRGB are clipped, and said to be.
        warnings.simplefilter("ignore", UserWarning)
        rgb = 255.0 * lab2rgb(np.concatenate([lightness, chroma], axis=-1))
    away = rgb - (rgb * _LUMA).sum(axis=-1, keepdims=True)
    room = np.where(away > 0.0, 255.0 - level, level)
    reach = np.divide(room, np.abs(away), out=np.ones_like(away), where=np.abs(away) > room)
    coloured: ImageU8 = np.rint(level + away * reach.min(axis=-1, keepdims=True)).astype(np.uint8)
    return coloured


def cumulative_histogram(grey: GreyU8) -> NDArray[np.uint16]:
    """The cumulative histogram [64] of ``grey``, ``CUMULATIVE_ONE`` at its end, rounded down."""
    counts = np.bincount(grey.reshape(-1) >> 2, minlength=BINS)
    return (np.cumsum(counts) * CUMULATIVE_ONE // grey.size).astype(np.uint16)


def resized(planes: NDArray[np.float32], shape: tuple[int, ...]) -> Floats:
    """Planes [h, w, 2] bilinearly to [H, W, 2]; antialiased where they get smaller."""
    size = (shape[1], shape[0])
    scaled = [
        Image.fromarray(np.ascontiguousarray(planes[..., k])).resize(size, Image.Resampling.BILINEAR) for k in (0, 1)
    ]
    return np.stack([np.asarray(plane, dtype=np.float64) for plane in scaled], axis=-1)


def _read_weights(path: Path | None, wanted: dict[str, tuple[str, tuple[int, ...]]]) -> Tensors:
    """The tensors of a weights file; ``wanted`` gives dtypes and shapes, 0 for any length. Raises InputError."""
    where = path if path is not None else "the card"
    advice = "fit them: python -m palette_bench.predict.models.classical_colour_fit --help"
    if path is None:
        raise InputError("this method needs its statistics as weights", where=where, next_step=advice)
    try:
        tensors: Tensors = safetensors.numpy.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError, KeyError) as error:
        raise InputError("a weights file cannot be read", where=where, found=error, next_step=advice) from error
    problems = []
    for name in sorted({*wanted, *tensors}):
        expected = wanted.get(name)
        tensor = tensors.get(name)
        if expected is None:
            problems.append(Problem("unknown tensor", name, ""))
        elif tensor is None:
            problems.append(Problem("missing tensor", name, ""))
        elif tensor.dtype.name != expected[0] or not _fits(tensor.shape, expected[1]):
            problems.append(Problem("other tensor", name, f"expected {expected}, found {tensor.dtype} {tensor.shape}"))
        elif not np.isfinite(tensor.astype(np.float64)).all():
            problems.append(Problem("other tensor", name, "holds NaN or an infinity"))
    if problems:
        raise InputError("these are not the weights of this method", where=where, problems=problems, next_step=advice)
    return tensors


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (0, length) for length, want in zip(shape, wanted, strict=True))
