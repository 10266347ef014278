"""From a source image to a square reference: the three geometries in public use.

``square-area``: the largest centred square, then exact area averaging (ColTran). ``short-side-bilinear``: Pillow's
antialiased bilinear to a shorter side of ``size``, then the centre (I2SB, CDDB). ``adm``: halving with a box filter
while the shorter side is at least twice ``size``, bicubic to ``size``, then the centre (guided-diffusion, DDRM).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palette_bench.images.types import ImageU8
from palette_bench.protocol.definition import GeometryName


def centred_square(image: ImageU8) -> ImageU8:
    """The largest centred square [s, s, 3]; an odd margin leaves the extra row or column at the end."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _area_taps(n: int, size: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Input pixels [size] and their weights [size], tap by tap, that add up to each output; weights of one add up to n.

    Output i covers the interval [i * n / size, (i + 1) * n / size) of the input; in units of 1 / size all overlaps are
    integers.
    """
    start = np.arange(size) * n
    first = start // size
    for tap in range(-(-n // size) + 1):
        pixel = first + tap
        overlap = np.minimum(start + n, (pixel + 1) * size) - np.maximum(start, pixel * size)
        if (overlap > 0).any():
            yield np.minimum(pixel, n - 1), np.maximum(overlap, 0)


def square_area(image: ImageU8, size: int) -> ImageU8:
    """Centred square, then the exact mean over each output pixel's area, rounded half to even; [size, size, 3].

    The sums are exact integers, and so is the rounding: a float64 quotient of integers below 2**53 is on the same side
    of a half as the true one. TensorFlow's area resize is the same in float32 and may differ in the last grey
    level where a mean falls near a half.
    """
    square = np.ascontiguousarray(centred_square(image))
    side = square.shape[0]
    if side == size:
        return square
    # SCORE: the weights and the rounding of the headline geometry.
    wide: type[np.signedinteger[Any]] = np.int32 if 255 * side * side < 2**31 else np.int64
    taps = [(pixels, weights.astype(wide)) for pixels, weights in _area_taps(side, size)]
    flat = square.reshape(side, side * 3)
    rows = np.zeros((size, side * 3), dtype=wide)
    for pixels, weights in taps:
        rows += np.multiply(flat[pixels], weights[:, None], dtype=wide)
    columns = rows.reshape(size, side, 3)
    sums = np.zeros((size, size * 3), dtype=wide)
    for pixels, weights in taps:
        sums += columns.take(pixels, axis=1).reshape(size, size * 3) * np.repeat(weights, 3)
    means: ImageU8 = np.rint(sums / (side * side)).astype(np.uint8)
    return means.reshape(size, size, 3)


def _centre(image: Image.Image, size: int, left: int, top: int) -> ImageU8:
    return np.asarray(image.crop((left, top, left + size, top + size)))


def short_side_bilinear(image: ImageU8, size: int) -> ImageU8:
    """torchvision's ``Resize(size)`` on a Pillow image and ``CenterCrop(size)``; [size, size, 3]."""
    height, width = image.shape[:2]
    if width <= height:
        new_width, new_height = size, int(size * height / width)
    else:
        new_width, new_height = int(size * width / height), size
    # SCORE: filter and truncation of the longer side.
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return _centre(resized, size, left, top)


def adm(image: ImageU8, size: int) -> ImageU8:
    """guided-diffusion's centre crop: box halving, bicubic, centre; [size, size, 3]."""
    picture = Image.fromarray(image)
    # SCORE: halving steps and filters.
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    return _centre(picture, size, (picture.width - size) // 2, (picture.height - size) // 2)


GEOMETRIES: dict[GeometryName, Callable[[ImageU8, int], ImageU8]] = {
    GeometryName.SQUARE_AREA: square_area,
    GeometryName.SHORT_SIDE_BILINEAR: short_side_bilinear,
    GeometryName.ADM: adm,
}
