"""Reference images as PNG files."""

import io

from PIL import Image

from palette_bench.prepare.images import ImageU8

COMPRESS_LEVEL = 1
"""zlib's fastest: on photographs a file is 2 % larger than at the default level and written twice as fast."""


def encode_png(image: ImageU8) -> bytes:
    """An 8-bit RGB or grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()
