"""Files of every kind that a program meets, made on the spot."""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXIF_ORIENTATION = 0x0112
ROTATED = 6


def photo(seed: int, width: int = 50, height: int = 40) -> NDArray[np.uint8]:
    """A coloured image [height, width, 3] that no other seed has."""
    rng = np.random.default_rng([seed, width, height])
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / rng.uniform(2, 9) + y / rng.uniform(2, 9)) for _ in range(3)], axis=-1)
    return (128 + 90 * waves + rng.normal(0, 12, waves.shape)).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture(seed: int = 0, mode: str = "RGB", width: int = 50, height: int = 40) -> Image.Image:
    """A Pillow image of any mode."""
    return Image.fromarray(photo(seed, width, height)).convert(mode)


def png(seed: int = 0, width: int = 50, height: int = 40) -> bytes:
    """A plain PNG."""
    return encoded(picture(seed, width=width, height=height), "PNG")


def with_exif(file_format: str) -> bytes:
    """An image that its EXIF says is lying on its side."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = ROTATED
    return encoded(picture(), file_format, exif=exif)


def sixteen_bit_rgb_png(width: int = 50, height: int = 40) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write."""
    rows = photo(0, width, height).astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return png_of_chunks(width, height, raw, depth=16)


def png_of_chunks(width: int, height: int, raw: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with this header around these samples, fitting or not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def broken_checksum(data: bytes) -> bytes:
    """A PNG with one bit of its samples flipped."""
    middle = data.index(b"IDAT") + 40
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def transparent(mode: str) -> Image.Image:
    """An image some pixels of which are transparent."""
    image = picture(mode=mode)
    image.putpixel((3, 3), (9, 9, 9, 0) if mode == "RGBA" else (9, 0))
    return image


def animated(file_format: str) -> bytes:
    """Two frames."""
    return encoded(picture(0), file_format, save_all=True, append_images=[picture(1)])


def folder_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def images(folder: Path, count: int, *, width: int = 50, height: int = 40) -> Path:
    """A folder of plain images ``a000.png`` and so on."""
    return folder_of(folder, {f"a{k:03}.png": png(k, width, height) for k in range(count)})


def tar_member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; ``fields`` are attributes of its header."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes], file_format: int = tarfile.GNU_FORMAT) -> bytes:
    """An uncompressed archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=file_format) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def plain_tar(count: int = 3) -> bytes:
    """An archive of plain images."""
    return tar_bytes(*(tar_member(f"val/a{k}.png", png(k)) for k in range(count)))


Make = Callable[[], bytes]


def palette_with_hole(file_format: str) -> bytes:
    """A palette image that shows its transparent colour."""
    image = picture(mode="P")
    return encoded(image, file_format, transparency=image.getpixel((0, 0)))
