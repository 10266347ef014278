"""Canonical JSON and the digests built on it.

A fingerprint is the sha256 of canonical JSON: keys sorted, no spaces, ASCII, no NaN. A pixel digest covers
dtype and shape as well as the samples, so that a transposed or cropped image cannot share it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError

CHUNK_BYTES = 1 << 20


def canonical_json(value: object) -> bytes:
    """``value`` as canonical JSON. Raises ValueError for NaN and infinities, TypeError for foreign types."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def fingerprint(value: object) -> str:
    """sha256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def bytes_digest(data: bytes) -> str:
    """sha256 of ``data``, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise InputError("a file cannot be read", where=path, found=error.strerror or error) from error
    return digest.hexdigest()


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """sha256 over ``uint8``, the shape and the samples in C order, 64 hexadecimal digits."""
    digest = hashlib.sha256(f"u8:{'x'.join(map(str, pixels.shape))}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def lines_digest(lines: list[str]) -> str:
    """sha256 of ``lines``, UTF-8, each followed by LF."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
