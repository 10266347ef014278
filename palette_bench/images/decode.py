"""From the bytes of an image file to RGB pixels, with one defined behaviour for every kind of file.

The content decides the format, never the extension. Grey is replicated, CMYK and palettes are converted by
Pillow, of 16-bit samples the high byte is kept. What has no single right answer is refused: transparency,
animation, 32-bit samples, more than ``MAX_PIXELS``. Colour profiles are ignored, as the public pipelines do. Of a
phone's multi-picture JPEG the first picture is taken, as every JPEG decoder does; HEIC is read with the extra ``heif``.
"""

import io
import warnings
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from palette_bench.images.types import ImageU8
from palette_bench.protocol.definition import ExifPolicy

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm"),
        *(".mpo", ".heic", ".heif", ".avif"),
    )
)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
PHONE_FORMATS = ("AVIF", "HEIF")
"""Formats that need a decoder which is not in every installation."""
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"8BPS": "PSD",
    b"v/1\x01": "OpenEXR",
    b"qoif": "QOI",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"
)
_LFS = b"version https://git-lfs.github.com/spec/"
HEAD_BYTES = 64
MAX_PIXELS = 80_000_000
EXIF_ORIENTATION = 0x0112


class Conversion(StrEnum):
    """What was done to a file's samples to make RGB; kept in the manifest where it is not nothing."""

    GREY = "grey"
    PALETTE = "palette"
    CMYK = "cmyk"
    OTHER_COLOUR_SPACE = "other-colour-space"
    SIXTEEN_BIT = "16-bit"
    ORIENTED = "exif-orientation-applied"
    ORIENTATION_IGNORED = "exif-orientation-ignored"
    OPAQUE_ALPHA = "opaque-alpha-dropped"


REFUSED = frozenset((Conversion.SIXTEEN_BIT, Conversion.CMYK, Conversion.OTHER_COLOUR_SPACE))
"""Conversions that would lose or bend what a model meant: outputs that need one are refused."""


class BadImageError(Exception):
    """A file that cannot become a reference or a prediction; the message says why."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels [H, W, 3] uint8 and what was done to get them. ``lossy`` is True for JPEG and lossy WebP."""

    pixels: ImageU8
    conversions: tuple[Conversion, ...]
    format: str
    lossy: bool


def format_of(head: bytes) -> str | None:
    """The image format of a file by its first ``HEAD_BYTES``, read here or not; None for anything else."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def is_readable(file_format: str) -> bool:
    """Whether files of a format can be decoded here."""
    return file_format in FORMATS or (file_format in PHONE_FORMATS and file_format in _phone_formats())


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins so stands for one that git-lfs has not fetched."""
    return head.startswith(_LFS)


@lru_cache(maxsize=1)
def _phone_formats() -> tuple[str, ...]:
    """Of ``PHONE_FORMATS`` those that can be decoded here."""
    try:
        import pillow_heif
    except ImportError:
        heif: tuple[str, ...] = ()
    else:
        pillow_heif.register_heif_opener(thumbnails=False)
        heif = ("HEIF",)
    return ("AVIF", *heif) if features.check("avif") else heif


def decode(data: bytes, *, exif: ExifPolicy = ExifPolicy.IGNORE) -> DecodedImage:
    """Decode one image file. Raises BadImageError."""
    if not data:
        raise BadImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is either harmless here or checked below.
            warnings.simplefilter("ignore")
            formats = (*FORMATS, *_phone_formats()) if format_of(data[:HEAD_BYTES]) in PHONE_FORMATS else FORMATS
            with Image.open(io.BytesIO(data), formats=formats) as image:
                return _convert(image, data, exif)
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(_unidentified(data)) from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"more than {MAX_PIXELS} pixels: {error}") from error
    # Readers of damaged files raise anything, struct.error for one.
    except Exception as error:
        raise BadImageError(f"cannot be decoded: {error or type(error).__name__}") from error


def _unidentified(data: bytes) -> str:
    if is_lfs_pointer(data):
        return "a git-lfs pointer, not the image: git lfs pull"
    file_format = format_of(data[:HEAD_BYTES])
    if file_format in PHONE_FORMATS and file_format not in _phone_formats():
        return f"{file_format}, which is read with the extra 'heif' of palette-bench"
    if file_format is not None and file_format not in FORMATS:
        return f"{file_format} is a format that is not read ({', '.join(FORMATS)} are)"
    return f"not an image of a known format ({', '.join(FORMATS)})"


def _convert(image: Image.Image, data: bytes, exif: ExifPolicy) -> DecodedImage:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{width}x{height} is more than {MAX_PIXELS} pixels")
    # Of several pictures in one file the first is the photograph: a JPEG decoder never sees the others.
    if getattr(image, "n_frames", 1) > 1 and image.format not in ("MPO", "HEIF"):
        raise BadImageError(f"{getattr(image, 'n_frames', 1)} frames where one image is expected")
    file_format = "JPEG" if image.format == "MPO" else image.format or ""
    conversions: list[Conversion] = []
    orientation = image.getexif().get(EXIF_ORIENTATION, 1) if image.info.get("exif") else 1
    sixteen_bit_png = file_format == "PNG" and len(data) > 24 and data[24] == 16
    image.load()
    if exif is ExifPolicy.APPLY and orientation != 1:
        image = ImageOps.exif_transpose(image)
        conversions.append(Conversion.ORIENTED)
    elif orientation != 1:
        conversions.append(Conversion.ORIENTATION_IGNORED)
    if sixteen_bit_png or image.mode.startswith("I;16"):
        conversions.append(Conversion.SIXTEEN_BIT)
    pixels = _rgb(image, conversions)
    return DecodedImage(pixels, tuple(conversions), file_format, _is_lossy(file_format, data))


def _rgb(image: Image.Image, conversions: list[Conversion]) -> ImageU8:
    """SCORE: RGB samples of a loaded image of any supported mode."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)
    if mode.startswith("I;16"):
        conversions.append(Conversion.GREY)
        high = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=2)
    if mode in ("I", "F"):
        raise BadImageError("32-bit samples have no defined range: save as 8 or 16 bits")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            raise BadImageError("has transparent pixels, and what lies under them is undefined: flatten it first")
        conversions.append(Conversion.OPAQUE_ALPHA)
        if mode in ("LA", "La", "L"):
            conversions.append(Conversion.GREY)
        return np.asarray(with_alpha.convert("RGB"))
    if mode in ("L", "1"):
        conversions.append(Conversion.GREY)
    elif mode == "P":
        conversions.append(Conversion.PALETTE)
    elif mode == "CMYK":
        conversions.append(Conversion.CMYK)
    else:
        conversions.append(Conversion.OTHER_COLOUR_SPACE)
    return np.asarray(image.convert("RGB"))


def _is_lossy(file_format: str, data: bytes) -> bool:
    return file_format in ("JPEG", *PHONE_FORMATS) or (file_format == "WEBP" and b"VP8L" not in data[:64])


COMPRESS_LEVEL = 1
STRATEGY = zlib.Z_RLE
"""zlib's fastest: on photographs a file is little larger than at Pillow's defaults and written much faster."""


def encode_png(image: ImageU8) -> bytes:
    """An 8-bit RGB or grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=COMPRESS_LEVEL, compress_type=STRATEGY)
    return buffer.getvalue()
