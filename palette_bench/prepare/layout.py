"""The files of a frozen set, and the layout of mask files."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError
from palette_bench.prepare.images import HoleMask
from palette_bench.protocol.tasks import Task

SCHEMA = 2
SET_FILE = "set.json"
MANIFEST_FILE = "manifest.jsonl"
CONDITIONS_FILE = "conditions.jsonl"
MASKS_FILE = "masks.npz"
EARLIEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def reference_path(folder: Path, item_id: str) -> Path:
    """Where the reference of an item lies in a set's folder."""
    return folder / "references" / f"{item_id}.png"


def task_folder(folder: Path, task: Task) -> Path:
    """Where a task's conditions and masks lie in a set's folder."""
    return folder / "tasks" / task.name


def mask_key(task: Task) -> str:
    """The key of a free-form task's array, as in the released mask files: ``10-20% freeform``."""
    low, high = task.area_percent
    return f"{low}-{high}% freeform"


def pack(mask: HoleMask) -> NDArray[np.uint8]:
    """Eight pixels a byte, [H * W / 8]; 1 = hole."""
    return np.packbits(mask)


def unpack(packed: NDArray[np.uint8], size: int) -> HoleMask:
    """The mask [size, size] of a packed one."""
    return np.unpackbits(packed, count=size * size).reshape(size, size).astype(np.bool_)


def write_masks(stream: BinaryIO, key: str, count: int, row_bytes: int, parts: Iterable[NDArray[np.uint8]]) -> None:
    """Write packed masks [count, row_bytes] as the only array of an npz file, part by part.

    Equal masks give equal bytes.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        info = zipfile.ZipInfo(f"{key}.npy", EARLIEST_ZIP_DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": (count, row_bytes)}
        )
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for part in parts:
                member.write(np.ascontiguousarray(part).tobytes())


def read_masks(path: Path, key: str, count: int, size: int) -> NDArray[np.uint8]:
    """Packed masks [count, size * size / 8] of an npz file, ours or a released one. Raises InputError."""
    row_bytes = size * size // 8
    # A damaged file may raise anything.
    try:
        with np.load(path, allow_pickle=False) as archive:
            packed = np.asarray(archive[key])
    except Exception as error:
        raise InputError(
            "a mask file cannot be read",
            where=path,
            expected=f"an npz with the key {key!r}",
            found=f"{type(error).__name__}: {error}",
        ) from error
    if packed.dtype != np.uint8 or packed.size != count * row_bytes:
        raise InputError(
            "a mask file has the wrong content",
            where=path,
            expected=f"np.packbits of [{count}, {size}, {size}]: {count * row_bytes} bytes",
            found=f"{packed.size} of {packed.dtype}",
        )
    return packed.reshape(count, row_bytes)
