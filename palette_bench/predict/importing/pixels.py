"""From the values of an output to an image of the set's size."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.images.condition import Condition, luma
from palette_bench.images.decode import FORMATS, MAX_PIXELS, REFUSED, BadImageError, Conversion, decode
from palette_bench.images.types import GreyU8, ImageU8
from palette_bench.predict.importing.conventions import Axes, ComesIn, Convention, Resize, ValueRange

SLACK = 0.0005
"""How far beyond its range, as a share of it, a value may lie: 0.001 for -1..1."""
ROWS_AT_ONCE = 64

FILTERS = {
    Resize.NEAREST: Image.Resampling.NEAREST,
    Resize.AREA: Image.Resampling.BOX,
    Resize.BILINEAR: Image.Resampling.BILINEAR,
    Resize.BICUBIC: Image.Resampling.BICUBIC,
    Resize.LANCZOS: Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Raw:
    """An output as RGB [H, W, 3] uint8, of its own size.

    ``flattened``: it had transparent pixels. ``grey``: it had one channel.
    """

    pixels: ImageU8
    lossy: bool = False
    flattened: bool = False
    grey: bool = False


def read_image(data: bytes) -> Raw:
    """An image file. Transparency is flattened on black, grey is replicated. Raises BadImageError, for 16 bits too."""
    try:
        decoded = decode(data)
    except BadImageError:
        pixels = _flattened(data)
        if pixels is None:
            raise
        return Raw(pixels, flattened=True)
    refused = REFUSED.intersection(decoded.conversions)
    if refused:
        raise BadImageError(f"expected 8-bit RGB, found {', '.join(sorted(refused))}")
    return Raw(decoded.pixels, lossy=decoded.lossy, grey=Conversion.GREY in decoded.conversions)


def _flattened(data: bytes) -> ImageU8 | None:
    """The pixels of an image with transparent ones, on black; None for anything else."""
    # Damaged files raise anything.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                deep = image.format == "PNG" and len(data) > 24 and data[24] == 16
                if not clear or deep or getattr(image, "n_frames", 1) > 1 or image.width * image.height > MAX_PIXELS:
                    return None
                return _on_black(np.asarray(image.convert("RGBA")))
    except Exception:  # noqa: BLE001
        return None


def _on_black(rgba: NDArray[np.uint8]) -> ImageU8:
    alpha = rgba[..., 3:].astype(np.uint16)
    flat: ImageU8 = ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return flat


def as_nhwc(array: NDArray[Any], axes: Axes | None) -> tuple[NDArray[Any], Axes]:
    """A view [N, H, W, C] of an array, C in 1, 3, 4. Raises InputError when the axes are not as declared or not clear.

    [N, H, W] is grey.
    """
    shape = list(array.shape)
    if 0 in shape:
        raise InputError("an array is empty", expected="images", found=f"shape {shape}", next_step="write it again")
    if array.ndim == 3:
        return array[..., None], axes or Axes.NHWC
    channels = {Axes.NHWC: 3, Axes.NCHW: 1}
    fitting = [known for known, axis in channels.items() if array.ndim == 4 and shape[axis] in (1, 3, 4)]
    if axes not in fitting and (axes is not None or not fitting):
        looks = f", which looks like {fitting[0].value}" if fitting else ""
        raise InputError(
            "an array does not hold images",
            expected=f"{axes.value if axes else 'NHWC or NCHW'} with 3 channels",
            found=f"shape {shape}{looks}",
            next_step="say how the axes lie with --axes, or which array it is with --array-key",
        )
    if axes is None and len(fitting) > 1:
        raise UsageError("it is not clear which axis is colour", expected="--axes NHWC or NCHW", found=f"shape {shape}")
    chosen = axes or fitting[0]
    return (array if chosen is Axes.NHWC else array.transpose(0, 2, 3, 1)), chosen


def check_values(array: NDArray[Any], declared: ValueRange | None, *, clip: bool) -> tuple[ValueRange, int]:
    """The range of an array [N, H, W, C], and how many values are to be clipped.

    Raises UsageError when floats come without a declared range, InputError with every image that holds no numbers, or
    when values are not what was declared: beyond it by more than ``SLACK``, or all in another range.
    """
    if array.dtype == np.uint8:
        if declared not in (None, ValueRange.BYTES):
            raise InputError(
                "an array is not in the declared range",
                expected=f"numbers of {declared.value}",
                found="uint8, which is 0..255",
                next_step="declare --range 0..255",
            )
        return ValueRange.BYTES, 0
    if array.dtype.kind != "f":
        raise InputError(
            "an array has samples that cannot be used",
            expected="uint8, or floats with a declared range",
            found=str(array.dtype),
            next_step="save 8-bit images",
        )
    if declared is None:
        raise UsageError(
            "what black and white are in an array of floats has to be said",
            expected="--range -1..1, 0..1 or 0..255",
            found=f"{array.dtype} without --range",
        )
    low, high = declared.bounds
    slack = SLACK * (high - low)
    least, most, beyond = np.inf, -np.inf, 0
    problems: list[Problem] = []
    for start, part in _parts(array):
        finite = np.isfinite(part).all(axis=(1, 2, 3))
        problems += [Problem("not-a-number", f"row {start + row}", "") for row in np.flatnonzero(~finite)]
        if finite.any():
            good = part[finite]
            least, most = min(least, float(good.min())), max(most, float(good.max()))
            beyond += int(np.count_nonzero((good < low - slack) | (good > high + slack)))
    if problems:
        raise InputError(
            f"{len(problems)} of {len(array)} outputs hold NaN or infinity",
            expected="numbers",
            problems=problems,
            next_step="find out why the model failed on them",
        )
    _check_range(declared, least, most, beyond, clip=clip)
    return declared, beyond


def _parts(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    for start in range(0, len(array), ROWS_AT_ONCE):
        yield start, array[start : start + ROWS_AT_ONCE]


def _check_range(declared: ValueRange, least: float, most: float, beyond: int, *, clip: bool) -> None:
    low, high = declared.bounds
    likely = looks_like(least, most)
    other = likely is not None and likely is not declared
    if not other and (not beyond or (clip and least >= 2 * low - high and most <= 2 * high - low)):
        return
    raise InputError(
        "an array is not in the declared range",
        expected=f"values of {declared.value}",
        found=f"{least:.4g} to {most:.4g}"
        + (f": looks like {likely.value}" if other and likely else "")
        + (f", {beyond} values beyond it" if beyond else ""),
        next_step=f"declare --range {likely.value}"
        if other and likely
        else "clip them with --clip if the model does not",
    )


def looks_like(least: float, most: float) -> ValueRange | None:
    """The range that the smallest and largest of all values suggest; None where nothing fits."""
    slack = 2 * SLACK
    if least < -slack:
        # A little below black is a model that does not clip, in any range.
        return ValueRange.SIGNED if -2 <= least < -0.2 and most <= 2 else None
    if most <= 1 + slack:
        return ValueRange.UNIT
    return ValueRange.BYTES if most > 2 else None


def row_image(row: NDArray[Any], values: ValueRange) -> Raw:
    """One image [H, W, C] of an array, in ``values`` or a little beyond, as RGB: rounded half to even, then clipped."""
    if row.dtype != np.uint8:
        low, high = values.bounds
        # SCORE: rounding, where a truncation would darken by half a level.
        scaled = np.rint((np.asarray(row, dtype=np.float64) - low) * (255.0 / (high - low)))
        row = np.clip(scaled, 0, 255).astype(np.uint8)
    pixels: ImageU8 = np.ascontiguousarray(row)
    if pixels.shape[-1] == 4:
        clear = bool((pixels[..., 3] != 255).any())
        return Raw(_on_black(pixels), flattened=clear)
    if pixels.shape[-1] == 1:
        return Raw(np.repeat(pixels, 3, axis=2), grey=True)
    return Raw(pixels)


@dataclass(frozen=True, slots=True)
class Fitted:
    """An output of the set's size.

    ``how`` says what was done for it: ``as-is``, ``pasted``, ``resized``, ``cropped`` or both.
    """

    pixels: ImageU8
    how: str


def paste_half(pixels: ImageU8, condition: Condition) -> Fitted | None:
    """An output that is the hidden half alone, in its place; None for one of another shape.

    A half is no square, so that no whole image can be taken for one.
    """
    if condition.hole is None:
        return None
    rows, columns = np.flatnonzero(condition.hole.any(axis=1)), np.flatnonzero(condition.hole.any(axis=0))
    if not len(rows):
        return None
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = len(rows), len(columns)
    if height == width or pixels.shape[:2] != (height, width) or not condition.hole[box].all():
        return None
    whole = np.array(condition.image)
    whole[box] = pixels
    return Fitted(whole, "pasted")


def fit(pixels: ImageU8, size: int, convention: Convention, resize: Resize | None) -> Fitted:
    """An output [H, W, 3] as [size, size, 3]. ``resize`` is what the user asked for. Raises BadImageError."""
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return Fitted(pixels, "as-is")
    known = {ComesIn.TWICE: 2 * size, ComesIn.ONE_MORE: size + 1, ComesIn.SURROUNDINGS: 2 * size, None: size}
    comes = known[convention.comes_in]
    surrounded = convention.comes_in is ComesIn.SURROUNDINGS
    if height == width == comes and surrounded:
        return Fitted(_centre(pixels, size), "cropped")
    method = resize or (convention.resize if height == width == comes else None)
    if method is None or height != width:
        also = f" or {comes}x{comes}" if comes != size else ""
        panels = width // size
        hint = f": {panels} panels? --crop {(panels - 1) * size},0 takes the last" if panels > 1 else ""
        hint = hint if height == size and width == panels * size else ""
        raise BadImageError(f"expected {size}x{size}{also}, found {width}x{height}{hint}")
    if surrounded:
        return Fitted(_centre(_resized(pixels, comes, method), size), "resized and cropped")
    return Fitted(_resized(pixels, size, method), "resized")


def _centre(pixels: ImageU8, size: int) -> ImageU8:
    margin = (pixels.shape[0] - size) // 2
    return pixels[margin : margin + size, margin : margin + size]


def _resized(pixels: ImageU8, size: int, method: Resize) -> ImageU8:
    # SCORE: the filter, which the user or the convention declares.
    return np.asarray(Image.fromarray(pixels).resize((size, size), FILTERS[method]))


def paste_luma(pixels: ImageU8, grey: GreyU8) -> ImageU8:
    """The colours of an output on the luma [H, W] of the condition: in YCbCr every channel moves by the difference."""
    moved = pixels.astype(np.int16) + (grey.astype(np.int16) - luma(pixels))[..., None]
    pasted: ImageU8 = np.clip(moved, 0, 255).astype(np.uint8)
    return pasted
