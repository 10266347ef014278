"""How alike two images are: MS-SSIM, SSIM and PSNR of uint8 RGB pairs.

MS-SSIM is Wang, Simoncelli and Bovik (2003) as ``tf.image.ssim_multiscale`` computes it: a Gaussian window of 11x11
pixels and deviation 1.5 at all places where it fits, K1 = 0.01, K2 = 0.03, means of 2x2 pixels between scales, a
product over scales for each channel, and only then the mean of R, G and B. Peers that join channels before the product
are 0.15 off for unlike images.

Pixels are float32. On images with texture that is 1e-7 from float64. Where one half is black and the other white, both
nearly flat, it can be 4e-5, as it can in TensorFlow.

What depends on one image alone is in its `ImageMaps`, so that k samples of an input cost 2k filters and one for each
pair. Images are kept less their mean colour, which no variance or covariance feels: in float32 that is worth two digits
where an image is bright and flat. Nothing here needs torch.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

Image = NDArray[np.uint8]
"""[H, W, 3] RGB."""

Planes = NDArray[np.float32]
"""[H, 3, W]: rows of whole colour planes, so that both passes of a filter run along contiguous memory."""

# SCORE: window, constants and weights.
WINDOW = 11
DEVIATION = 1.5
C1 = (0.01 * 255.0) ** 2
C2 = (0.03 * 255.0) ** 2
WANG_2003 = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The published weights, finest scale first. They sum to 1.0001 and are used as they are."""

PSNR_CAP = 100.0
"""Decibels of identical images, which have no finite PSNR. One grey level in one sample of 256x256 is 101.07 dB."""

_TILE = 16
_REACH = _TILE + WINDOW - 1


def _band() -> Planes:
    """The window as a band matrix [`_TILE`, `_REACH`]: row i holds it from column i on."""
    offsets = np.arange(WINDOW) - (WINDOW - 1) / 2
    window = np.exp(-0.5 * np.square(offsets / DEVIATION))
    window /= window.sum()
    band = np.zeros((_TILE, _REACH), np.float32)
    for row in range(_TILE):
        band[row, row : row + WINDOW] = window
    return band


_DOWN = _band()
_ACROSS = np.ascontiguousarray(_DOWN.T)


@dataclass(frozen=True, slots=True)
class ScaleWeights:
    """A definition of MS-SSIM by its scales: ``weights`` are the exponents, finest scale first."""

    name: str
    weights: tuple[float, ...]

    @property
    def scales(self) -> int:
        """How many."""
        return len(self.weights)


def weights_for(scales: int) -> ScaleWeights:
    """The definition with 1 to 5 scales.

    Five are `WANG_2003`, named ``wang2003``. Fewer, for images in which five do not fit, are the first ones divided by
    their sum, named ``wang2003-first2`` and so on: other numbers, never to be set beside those of five scales.
    """
    if not 1 <= scales <= len(WANG_2003):
        raise InputError("MS-SSIM has no such number of scales", expected=f"1 to {len(WANG_2003)}", found=scales)
    if scales == len(WANG_2003):
        return ScaleWeights("wang2003", WANG_2003)
    first = WANG_2003[:scales]
    total = math.fsum(first)
    return ScaleWeights(f"wang2003-first{scales}", tuple(weight / total for weight in first))


FIVE_SCALES = weights_for(5)


def scales_that_fit(height: int, width: int) -> int:
    """How many scales, up to five, still have a side of at least `WINDOW`: 5 from 161 pixels on, 2 at 32, 0 below 11.

    A side of n pixels has ceil(n / 2) at the next scale.
    """
    side, scales = min(height, width), 0
    while side >= WINDOW and scales < len(WANG_2003):
        side, scales = -(-side // 2), scales + 1
    return scales


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One scale of one image.

    ``pixels`` [H, 3, W] are the samples less the image's ``colour`` [3, 1] float32; ``mean`` and ``variance``
    [H - 10, 3, W - 10] are those of each window.
    """

    colour: Planes
    pixels: Planes
    mean: Planes
    variance: Planes


@dataclass(frozen=True, slots=True, eq=False)
class ImageMaps:
    """What SSIM and MS-SSIM need of one image of ``shape`` [H, W, 3], a `Level` for each scale, finest first.

    About 3.5 MB with five scales at 256x256.
    """

    shape: tuple[int, ...]
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, image: Image, *, scales: int = 5) -> Self:
        """The maps of ``image`` [H, W, 3] uint8; one scale is enough for `ssim`.

        InputError for other arrays, and for images too small for ``scales``.
        """
        _check_image(image)
        fitting = scales_that_fit(*image.shape[:2])
        if not 1 <= scales <= fitting:
            raise InputError(
                f"the window of {WINDOW} pixels does not fit at every scale",
                expected=f"1 to {fitting} scales for this image" if fitting else f"sides of {WINDOW} pixels or more",
                found=f"{scales} scales of an image of {image.shape[0]}x{image.shape[1]}",
            )
        pixels = np.empty((image.shape[0], 3, image.shape[1]), np.float32)
        np.copyto(pixels, image.transpose(0, 2, 1))
        colour = np.rint(_plane_sums(pixels) / (image.size // 3)).astype(np.float32)[:, None]
        pixels -= colour
        levels = [_level(colour, pixels)]
        while len(levels) < scales:
            pixels = _halved(pixels)
            levels.append(_level(colour, pixels))
        return cls(image.shape, tuple(levels))


@dataclass(frozen=True, slots=True)
class MsSsim:
    """``value`` in 0 to 1; ``clamped`` if a channel's factor at some scale was negative and counts as 0."""

    value: float
    clamped: bool


def ms_ssim(first: ImageMaps, second: ImageMaps, *, weights: ScaleWeights = FIVE_SCALES) -> MsSsim:
    """MS-SSIM of two images of one shape.

    Agrees with ``tf.image.ssim_multiscale`` to 5e-6 (tests/oracle/test_tensorflow.py) and with the definition in
    float64 to 2e-6 (tests/oracle/test_similarity.py). A side of odd length has its last row or column doubled before it
    is halved, as TensorFlow does. Raises InputError for images of different shapes and maps with too few scales.
    """
    _check_pair(first, second, weights.scales)
    product = np.ones(3)
    clamped = False
    last = weights.scales - 1
    for index, weight in enumerate(weights.weights):
        # SCORE: contrast and structure alone, but for the coarsest scale; clamped channel by channel.
        factor = _factors(first.levels[index], second.levels[index], with_luminance=index == last)
        clamped = clamped or bool((factor < 0).any())
        product *= np.maximum(factor, 0.0) ** weight
    return MsSsim(value=min(float(product.mean()), 1.0), clamped=clamped)


def ssim(first: ImageMaps, second: ImageMaps) -> float:
    """SSIM at full size, the mean over windows and channels, in -1 to 1.

    Agrees with ``tf.image.ssim`` to 5e-6, and with float64 to 2e-6. Raises InputError for images of different shapes.
    """
    _check_pair(first, second, 1)
    value = float(_factors(first.levels[0], second.levels[0], with_luminance=True).mean())
    return min(max(value, -1.0), 1.0)


def psnr(first: Image, second: Image) -> float:
    """10 log10(255² / mean squared difference) over all samples of two images [H, W, 3], in decibels.

    The sum of squares is exact. At most `PSNR_CAP`. Raises InputError for images of different shapes.
    """
    _check_image(first)
    _check_image(second)
    if first.shape != second.shape:
        raise _unlike(first.shape, second.shape)
    difference = np.subtract(first, second, dtype=np.float32).ravel()
    # Blocks of 256 squares stay below 2^24, where float32 counts exactly.
    whole = len(difference) // 256 * 256
    blocks = difference[:whole].reshape(-1, 256)
    squares = float(np.einsum("bi,bi->b", blocks, blocks).sum(dtype=np.float64))
    squares += float(np.square(difference[whole:]).sum())
    if squares == 0:
        return PSNR_CAP
    return min(10.0 * math.log10(255.0**2 * len(difference) / squares), PSNR_CAP)


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts`` of values between neighbouring ``edges``, one edge more than counts; the last bin holds both."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


def histogram(values: NDArray[np.float64], *, bins: int = 50) -> Histogram:
    """Counts of ``values`` [n] in ``bins`` equal bins of 0 to 1, as the pairwise MS-SSIM figure of the paper shows.

    The edges do not depend on the values, so that histograms of different sets can be set side by side. Raises
    InputError for values outside 0 to 1.
    """
    if bins < 1:
        raise InputError("a histogram needs bins", expected=">= 1", found=bins)
    outside = ~((values >= 0.0) & (values <= 1.0))
    if values.ndim != 1 or outside.any():
        raise InputError(
            "these numbers do not fit a histogram of 0 to 1",
            expected="[n], 0 to 1",
            found=f"{list(values.shape)}, {int(outside.sum())} outside",
        )
    edges = np.arange(bins + 1) / bins
    counts, _ = np.histogram(values, bins=edges)
    return Histogram(tuple(edges.tolist()), tuple(int(count) for count in counts))


def _factors(first: Level, second: Level, *, with_luminance: bool) -> NDArray[np.float64]:
    """The mean over windows, for each channel [3], of contrast and structure (2 cov + C2) / (var + var + C2), times
    luminance if asked for.
    """
    above = _filtered(first.pixels * second.pixels)
    above -= first.mean * second.mean
    above *= 2.0
    above += np.float32(C2)
    below = first.variance + second.variance
    below += np.float32(C2)
    above /= below
    if with_luminance:
        mean, other = first.mean + first.colour, second.mean + second.colour
        np.multiply(mean, other, out=below)
        below *= 2.0
        below += np.float32(C1)
        above *= below
        below = np.square(mean, out=mean)
        below += np.square(other, out=other)
        below += np.float32(C1)
        above /= below
    return _plane_sums(above) / (above.size // 3)


def _level(colour: Planes, pixels: Planes) -> Level:
    mean = _filtered(pixels)
    variance = _filtered(np.square(pixels))
    variance -= np.square(mean)
    return Level(colour, pixels, mean, variance)


def _filtered(planes: Planes) -> Planes:
    """``planes`` [H, 3, W] under the Gaussian window wherever it fits, [H - 10, 3, W - 10].

    Products of a band matrix with overlapping tiles: half the time of shifted sums. The tiles are views, made
    without ``as_strided``, whose own work is a noticeable part of a small image's time.
    """
    height, channels, width = planes.shape
    rows, columns = height - WINDOW + 1, width - WINDOW + 1
    flat = planes.reshape(height, -1)
    down = np.empty((rows, channels * width), np.float32)
    whole = rows // _TILE * _TILE
    if whole:
        down_one, right_one = flat.strides
        shape, strides = (whole // _TILE, _REACH, flat.shape[1]), (_TILE * down_one, down_one, right_one)
        tiles = np.ndarray(shape, flat.dtype, flat, strides=strides)
        np.matmul(_DOWN, tiles, out=down[:whole].reshape(-1, _TILE, channels * width))
    if rest := rows - whole:
        np.matmul(_DOWN[:rest, : rest + WINDOW - 1], flat[whole:], out=down[whole:])
    lines = down.reshape(-1, width)
    across = np.empty((len(lines), columns), np.float32)
    whole = columns // _TILE * _TILE
    if whole:
        down_one, right_one = lines.strides
        shape, strides = (whole // _TILE, len(lines), _REACH), (_TILE * right_one, down_one, right_one)
        tiles = np.ndarray(shape, lines.dtype, lines, strides=strides)
        np.matmul(tiles, _ACROSS, out=across[:, :whole].reshape(len(lines), -1, _TILE).transpose(1, 0, 2))
    if rest := columns - whole:
        np.matmul(lines[:, whole:], _ACROSS[: rest + WINDOW - 1, :rest], out=across[:, whole:])
    return across.reshape(rows, channels, columns)


def _halved(planes: Planes) -> Planes:
    """Means of 2x2 pixels, the last row or column doubled where their number is odd."""
    height, _, width = planes.shape
    # SCORE: TensorFlow's symmetric padding at the far end; others pad zeros on both sides.
    if height % 2 or width % 2:
        planes = np.pad(planes, ((0, height % 2), (0, 0), (0, width % 2)), mode="edge")
    rows = planes[0::2] + planes[1::2]
    halved: Planes = rows[..., 0::2] + rows[..., 1::2]
    halved *= 0.25
    return halved


def _plane_sums(planes: Planes) -> NDArray[np.float64]:
    """The sum of each channel [3] of [H, 3, W]; a row is summed in float32, rows in float64."""
    sums: NDArray[np.float64] = (planes @ np.ones(planes.shape[2], np.float32)).sum(axis=0, dtype=np.float64)
    return sums


def _check_image(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError("this is no image", expected="uint8 RGB [H, W, 3]", found=f"{image.dtype} {list(image.shape)}")


def _check_pair(first: ImageMaps, second: ImageMaps, scales: int) -> None:
    if first.shape != second.shape:
        raise _unlike(first.shape, second.shape)
    held = min(len(first.levels), len(second.levels))
    if not 1 <= scales <= held:
        raise InputError("the maps of an image have too few scales", expected=scales, found=held)


def _unlike(first: tuple[int, ...], second: tuple[int, ...]) -> InputError:
    return InputError("only images of one shape can be compared", expected=list(first), found=list(second))
