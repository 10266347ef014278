"""The decoder canary: does this machine decode, resize and encode like the one the sets were defined on?

A few tiny committed files are decoded, resized by every geometry and compressed at every quality of the protocols;
the digests must be those in ``canary.json``. It runs before every ``prepare`` and in ``verify``.
"""

import io
import json
from importlib import resources

import numpy as np
import PIL
from PIL import Image
from PIL import features as pillow_features

from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.common.errors import Problem, VerificationError
from palette_bench.common.version import __version__
from palette_bench.images.condition import encode_jpeg
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.geometry import GEOMETRIES
from palette_bench.protocol.definition import GeometryName

SIZES = (32, 64)
QUALITIES = (5, 10, 20)
EXPECTED_FILE = "canary.json"
SAMPLE_SUFFIXES = (".jpg", ".png")


def software() -> dict[str, str]:
    """Versions of everything that turns files into pixels or pixels into files."""
    return {
        "palette-bench": __version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "libjpeg-turbo": str(pillow_features.version_feature("libjpeg_turbo") or pillow_features.version("jpg")),
        "zlib": str(pillow_features.version("zlib")),
    }


def measure() -> dict[str, str]:
    """Digest of every step on every sample.

    ``decode sample``, ``resize geometry size sample``, ``encode quality sample``.
    """
    digests: dict[str, str] = {}
    folder = resources.files("palette_bench.images") / "canary_files"
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(SAMPLE_SUFFIXES)), key=lambda f: f.name):
        try:
            pixels = decode(file.read_bytes()).pixels
        except BadImageError as error:
            digests[f"decode {file.name}"] = str(error)
            continue
        digests[f"decode {file.name}"] = pixel_digest(pixels)
        for name, geometry in GEOMETRIES.items():
            for size in SIZES:
                digests[f"resize {name.value} {size} {file.name}"] = pixel_digest(geometry(pixels, size))
        for quality in QUALITIES:
            digests[f"encode {quality} {file.name}"] = bytes_digest(encode_jpeg(pixels, quality))
    buffer = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, "PNG")
    digests["round trip png"] = pixel_digest(decode(buffer.getvalue()).pixels)
    return digests


def check(geometry: GeometryName) -> None:
    """Raise VerificationError with the library versions when a digest is not the expected one.

    Only the given geometry's resizes count: ``square-area`` is arithmetic of our own, the others are Pillow's and do
    change between its releases.
    """
    file = resources.files("palette_bench.images") / "canary_files" / EXPECTED_FILE
    expected: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    found = measure()
    wrong = [
        Problem("differs", step, f"expected {digest[:16]}, found {found.get(step, 'nothing')[:16]}")
        for step, digest in expected["digests"].items()
        if found.get(step) != digest and (not step.startswith("resize ") or step.split()[1] == geometry.value)
    ]
    if wrong:
        raise VerificationError(
            "this machine decodes, resizes or encodes images differently",
            expected=", ".join(f"{name} {version}" for name, version in expected["software"].items()),
            found=", ".join(f"{name} {version}" for name, version in software().items()),
            problems=wrong,
            next_step="install the expected Pillow from its official wheel: a set made here is comparable with nothing",
        )
