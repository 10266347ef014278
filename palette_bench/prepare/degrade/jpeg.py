"""JPEG compression as a degradation: libjpeg through Pillow, 4:2:0."""

import io

import numpy as np
from PIL import Image

from palette_bench.prepare.images import ImageU8


def encode(image: ImageU8, quality: int) -> bytes:
    """Baseline JPEG of ``image`` at a libjpeg quality of 1..95, chroma 4:2:0, standard Huffman tables."""
    buffer = io.BytesIO()
    # SCORE: the encoder and its options.
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False)
    return buffer.getvalue()


def decode(data: bytes) -> ImageU8:
    """The pixels [H, W, 3] of a JPEG made by ``encode``."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        return np.asarray(picture.convert("RGB"))
