"""Reference images as PNG files."""

import io
import zlib

from PIL import Image

from palette_bench.prepare.images import ImageU8

COMPRESS_LEVEL = 1
STRATEGY = zlib.Z_RLE
"""zlib's fastest: on photographs a file is little larger than at Pillow's defaults and written much faster."""


def encode_png(image: ImageU8) -> bytes:
    """An 8-bit RGB or grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=COMPRESS_LEVEL, compress_type=STRATEGY)
    return buffer.getvalue()
