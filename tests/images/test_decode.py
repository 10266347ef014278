import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from palette_bench.images.decode import BadImageError, Conversion, decode
from palette_bench.protocol.definition import ExifPolicy
from tests.conftest import picture


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


COLOUR = picture(20, 30)
PHOTO = Image.fromarray(COLOUR)


def test_png_is_read_as_it_is() -> None:
    decoded = decode(saved(PHOTO, "PNG"))
    assert (decoded.pixels == COLOUR).all()
    assert decoded.conversions == ()
    assert not decoded.lossy


def test_grey_is_replicated() -> None:
    grey = PHOTO.convert("L")
    decoded = decode(saved(grey, "PNG"))
    assert (decoded.pixels == np.asarray(grey)[..., None]).all()
    assert decoded.conversions == (Conversion.GREY,)


def test_cmyk_palette_and_sixteen_bits_are_converted_and_said() -> None:
    cmyk = decode(saved(PHOTO.convert("CMYK"), "JPEG", quality=95))
    assert cmyk.conversions == (Conversion.CMYK,)
    assert cmyk.lossy
    assert np.abs(cmyk.pixels.astype(int) - COLOUR).mean() < 12
    palette = decode(saved(PHOTO.quantize(64), "PNG"))
    assert palette.conversions == (Conversion.PALETTE,)
    deep = (np.arange(600, dtype=np.uint16).reshape(20, 30) * 109).astype(np.uint16)
    sixteen = decode(saved(Image.fromarray(deep), "PNG"))
    assert set(sixteen.conversions) == {Conversion.SIXTEEN_BIT, Conversion.GREY}
    assert (sixteen.pixels[..., 0] == deep >> 8).all()


def test_sixteen_bit_colour_png_is_said() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    samples = (np.arange(2 * 3 * 3, dtype=np.uint16) * 3001).astype(">u2").reshape(2, 9)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    decoded = decode(data)
    assert Conversion.SIXTEEN_BIT in decoded.conversions
    assert (decoded.pixels.reshape(2, 9) == samples >> 8).all()


def test_opaque_alpha_is_dropped_and_transparency_refused() -> None:
    opaque = PHOTO.convert("RGBA")
    assert (decode(saved(opaque, "PNG")).pixels == COLOUR).all()
    assert decode(saved(opaque, "PNG")).conversions == (Conversion.OPAQUE_ALPHA,)
    clear = opaque.copy()
    clear.putpixel((3, 3), (1, 2, 3, 254))
    with pytest.raises(BadImageError, match="transparent"):
        decode(saved(clear, "PNG"))
    palette = PHOTO.quantize(16)
    with pytest.raises(BadImageError, match="transparent"):
        decode(saved(palette, "PNG", transparency=palette.getpixel((0, 0))))


def test_exif_orientation_is_applied_only_where_the_protocol_says_so() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(PHOTO, "JPEG", quality=95, exif=exif.tobytes())
    ignored = decode(data, exif=ExifPolicy.IGNORE)
    applied = decode(data, exif=ExifPolicy.APPLY)
    assert ignored.pixels.shape == (20, 30, 3)
    assert ignored.conversions == (Conversion.ORIENTATION_IGNORED,)
    assert applied.pixels.shape == (30, 20, 3)
    assert applied.conversions == (Conversion.ORIENTED,)
    assert (np.rot90(ignored.pixels, -1) == applied.pixels).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b"", "empty"),
        (lambda: b"this is text, not an image", "not an image"),
        (lambda: saved(PHOTO, "JPEG")[:-40], "cannot be decoded"),
        (lambda: saved(PHOTO, "PNG")[:-60], "cannot be decoded"),
        (lambda: saved(Image.fromarray(COLOUR[..., 0].astype(np.int32) << 20), "TIFF"), "32-bit"),
        (lambda: saved(Image.fromarray(COLOUR[..., 0].astype(np.float32)), "TIFF"), "32-bit"),
        (lambda: saved(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(90)]), "2 frames"),
        (lambda: _bomb(30_000, 30_000), "pixels"),
        (lambda: _bomb(9_000, 9_000), "9000x9000"),
    ],
)
def test_what_has_no_single_right_answer_is_refused(make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(BadImageError, match=message):
        decode(make())


def _bomb(width: int, height: int) -> bytes:
    """A small PNG whose header promises a huge image."""
    data = bytearray(saved(Image.new("L", (1, 1)), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_the_content_decides_and_not_the_metadata() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "x" * 1000)
    assert (decode(saved(PHOTO, "PNG", pnginfo=info)).pixels == COLOUR).all()


def test_lossy_files_are_told_from_lossless_ones() -> None:
    assert decode(saved(PHOTO, "JPEG")).lossy
    assert decode(saved(PHOTO, "WEBP", quality=80)).lossy
    assert not decode(saved(PHOTO, "WEBP", lossless=True)).lossy
    assert not decode(saved(PHOTO, "BMP")).lossy
