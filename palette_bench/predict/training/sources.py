"""Where training images come from: drawn scenes, or photographs in folders and tar files, read in place.

The examples of a photograph source do not depend on how it is stored: ImageNet as class folders, as a folder of class
tars or as the tar of class tars gives the same image for the same index.
"""

import io
import itertools
import os
import re
import tarfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from palette_bench.common.canonical import bytes_digest, canonical_json, lines_digest
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import write_bytes
from palette_bench.common.listing import list_files
from palette_bench.images.decode import IMAGE_SUFFIXES, MAX_PIXELS, BadImageError, decode
from palette_bench.images.types import ImageU8
from palette_bench.predict.training.examples import TrainingSource
from palette_bench.predict.training.recipe import Recipe, SourceKind
from palette_bench.prepare.sources import scenes32
from palette_bench.protocol.definition import ExifPolicy

IMAGENET_NAME = re.compile(r"(n\d{8})_\d+\.(?:jpe?g|png)", re.IGNORECASE)
"""A training image of ImageNet; those of the validation set are named otherwise and are not taken."""
CLASS_TAR = re.compile(r"(n\d{8})\.tar", re.IGNORECASE)
PLACES_NAME = re.compile(r"(?:.*/)?([a-z]/[^/]+/.*\.jpe?g)", re.IGNORECASE)
"""A training image of Places365: its category's folder below the folder of its first letter."""

CROP_WORD = 0xA5C7_91E3_5F0D_2B86
"""Separates the draws of crop and flip from those of the rest of an example."""
FLIP_RATE = 0.5
REDUCING_GAP = 2.0
"""JPEGs are decoded, and images box-averaged, to no less than this times the final size before the Lanczos filter."""
JPEG_START = b"\xff\xd8\xff"
FEISTEL_ROUNDS = 6
_WORD = (1 << 64) - 1
SCENES_A_CHUNK = 2048


class SceneStream:
    """The train split of scenes32, which has no end: scene number i for index i; no scene is seen twice.

    Drawing takes a tenth of a small network's training. With a folder ``kept`` scenes are drawn once, in chunks, and
    read from there by every training that uses the same folder: 3 KB a scene.
    """

    size = scenes32.SIZE

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        """One scene [32, 32, 3] for each index."""
        if self._kept is None:
            images, _ = scenes32.render(scenes32.Split.TRAIN, np.asarray(indices, dtype=np.int64))
            return list(images)
        return [self._chunk(index // SCENES_A_CHUNK)[index % SCENES_A_CHUNK] for index in indices]

    @lru_cache(maxsize=4)  # noqa: B019
    def _chunk(self, number: int) -> NDArray[np.uint8]:
        if self._kept is None:
            raise RuntimeError("no folder to keep scenes in")
        path = self._kept / f"scenes32-{scenes32.WORLD_VERSION}-train-{number:07d}.npy"
        if not path.is_file():
            start = number * SCENES_A_CHUNK
            images, _ = scenes32.render(scenes32.Split.TRAIN, np.arange(start, start + SCENES_A_CHUNK))
            buffer = io.BytesIO()
            np.save(buffer, images)
            write_bytes(path, buffer.getvalue())
        try:
            chunk: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(
                "kept scenes cannot be read", where=path, found=error, next_step="remove the file"
            ) from error
        return chunk

    def identity(self) -> Mapping[str, object]:
        """What tells this source from others."""
        return {"kind": SourceKind.SCENES32.value}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files in the order of their names, as arrays, so that a million of them travel quickly to other processes.

    ``names`` [n] are UTF-8 and do not depend on the storage. ``containers`` are the tar files, or one folder;
    ``container`` [n] is the index into them. In a tar a file is ``sizes`` bytes at ``offsets``; in a folder it is
    ``paths`` [n], relative, and the sizes are -1.
    """

    names: NDArray[np.bytes_]
    containers: tuple[Path, ...]
    container: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    paths: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.names)

    def without(self, positions: Sequence[int]) -> "ImageFiles":
        """All files but those at some places."""
        left = np.delete(np.arange(len(self)), list(positions))
        columns = {name: getattr(self, name)[left] for name in ("names", "container", "offsets", "sizes", "paths")}
        return replace(self, **columns)

    def where(self, position: int) -> str:
        """The file, for people."""
        folder = self.containers[self.container[position]]
        if self.sizes[position] < 0:
            return str(folder / os.fsdecode(bytes(self.paths[position])))
        return f"{folder}: {os.fsdecode(bytes(self.names[position]))}"

    def read(self, position: int) -> bytes:
        """The bytes of one file. Raises InputError."""
        folder = self.containers[self.container[position]]
        size = int(self.sizes[position])
        try:
            if size < 0:
                path: Path = folder / os.fsdecode(bytes(self.paths[position]))
                return path.read_bytes()
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                return os.pread(descriptor, size, int(self.offsets[position]))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InputError(
                "a training image cannot be read",
                where=self.where(position),
                found=error.strerror or error,
                next_step="the run goes on from its last checkpoint when the file is back",
            ) from error


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    container: Path
    offset: int
    size: int
    path: str


def _packed(entries: Sequence[_Entry], *, where: Path) -> ImageFiles:
    """Entries in the order of their names. Raises InputError when two have the same."""
    ordered = sorted(entries, key=lambda entry: entry.name)
    problems = [
        Problem("duplicate", one.name, f"in {one.container} and {other.container}")
        for one, other in itertools.pairwise(ordered)
        if one.name == other.name
    ]
    if problems:
        raise InputError(
            "the source holds images twice",
            where=where,
            expected="every image once",
            problems=problems,
            next_step="remove one of each, or point --source at one copy",
        )
    containers = tuple(dict.fromkeys(entry.container for entry in ordered))
    number = {container: index for index, container in enumerate(containers)}
    return ImageFiles(
        names=np.array([os.fsencode(entry.name) for entry in ordered]),
        containers=containers,
        container=np.array([number[entry.container] for entry in ordered], dtype=np.int32),
        offsets=np.array([entry.offset for entry in ordered], dtype=np.int64),
        sizes=np.array([entry.size for entry in ordered], dtype=np.int64),
        paths=np.array([os.fsencode(entry.path) for entry in ordered]),
    )


def _entries(where: Path) -> Iterator[_Entry]:
    """Every file of a folder or tar, its name the relative path."""
    listing = list_files(where)
    for path, (offset, size) in listing.entries.items():
        yield _Entry(path, where, offset, size if listing.is_tar else -1, "" if listing.is_tar else path)


def _inner_members(outer: _Entry) -> Iterator[_Entry]:
    """The members of a tar inside a tar, at their places in the outer one. Raises InputError."""
    end = outer.offset + outer.size
    try:
        with outer.container.open("rb") as stream:
            stream.seek(outer.offset)
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    # Offsets are those of the stream, which is the outer archive's.
                    if member.offset_data + member.size > end:
                        raise tarfile.ReadError(f"{member.name} reaches beyond the end")
                    if member.isreg():
                        yield _Entry(member.name, outer.container, member.offset_data, member.size, "")
                if archive.offset + tarfile.BLOCKSIZE > end:
                    raise tarfile.ReadError("no end mark")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise InputError(
            "a class archive inside the source is not a whole tar file",
            where=f"{outer.container}: {outer.name}",
            found=error,
            next_step="compare the archive's size and checksum with the download page's",
        ) from error


def _class_members(entry: _Entry) -> Iterator[_Entry]:
    """The members of a class archive, which lies in a folder or in another archive."""
    return _inner_members(entry) if entry.size >= 0 else _entries(entry.container / entry.path)


def list_imagenet(where: Path) -> ImageFiles:
    """The training images of ImageNet, named ``n01440764/n01440764_10026.JPEG``, however they are stored.

    Class folders, a folder of class tars, a tar of either. Raises InputError.
    """
    found: list[_Entry] = []
    for entry in _entries(where):
        base = PurePosixPath(entry.name).name
        members = _class_members(entry) if CLASS_TAR.fullmatch(base) else (entry,)
        for member in members:
            file = PurePosixPath(member.name).name
            if match := IMAGENET_NAME.fullmatch(file):
                name = f"{match[1]}/{file}"
                found.append(_Entry(name, member.container, member.offset, member.size, member.path))
    if not found:
        raise _nothing(where, "n01440764/n01440764_10026.JPEG, or n01440764.tar", "the training images of ImageNet")
    return _packed(found, where=where)


def list_places(where: Path) -> ImageFiles:
    """The training images of Places365, named ``a/airfield/00000001.jpg``, in folders or a tar. Raises InputError."""
    found = [
        _Entry(match[1], entry.container, entry.offset, entry.size, entry.path)
        for entry in _entries(where)
        if (match := PLACES_NAME.fullmatch(entry.name))
    ]
    if not found:
        raise _nothing(where, "data_256/a/airfield/00000001.jpg", "the training images of Places365")
    return _packed(found, where=where)


def list_folder(where: Path) -> ImageFiles:
    """All images below a folder or in a tar, named by their relative paths. Raises InputError."""
    found = [entry for entry in _entries(where) if PurePosixPath(entry.name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise _nothing(where, f"files ending in {', '.join(sorted(IMAGE_SUFFIXES))}", "images")
    return _packed(found, where=where)


def _nothing(where: Path, example: str, what: str) -> InputError:
    return InputError(
        f"the source does not hold {what}",
        where=where,
        expected=f"files such as {example}",
        found="none",
        next_step="check --source",
    )


@lru_cache(maxsize=8)
def _round_keys(seed: int, epoch: int) -> tuple[int, ...]:
    """The keys of the rounds: SHA-256 of what the order is for."""
    parts = (bytes.fromhex(bytes_digest(canonical_json(["training order", seed, epoch, half]))) for half in (0, 1))
    data = b"".join(parts)
    return tuple(int.from_bytes(data[8 * i : 8 * i + 8], "little") for i in range(FEISTEL_ROUNDS))


def _mixed(value: int) -> int:
    """Steele, Lea and Flood's finaliser of 64 bits (SplitMix, OOPSLA 2014)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)


def position_of(index: int, count: int, seed: int) -> int:
    """Which of ``count`` images a global index sees: every epoch of ``count`` indices sees each once.

    A Feistel network over the next even power of two, walked until it lands below ``count``: no state, no table, the
    same on every machine.
    """
    epoch, place = divmod(index, count)
    keys = _round_keys(seed, epoch)
    bits = max(1, ((count - 1).bit_length() + 1) // 2)
    low = (1 << bits) - 1
    while True:
        left, right = place >> bits, place & low
        for key in keys:
            left, right = right, left ^ (_mixed((right + key) & _WORD) & low)
        place = (left << bits) | right
        if place < count:
            return place


@dataclass(frozen=True, slots=True)
class Photographs:
    """Photographs by global index: in a new order each epoch, cropped and mirrored at random.

    The shorter side becomes ``size`` and the crop slides along the longer one (A16: the paper does not say).
    """

    kind: SourceKind
    files: ImageFiles
    size: int
    seed: int

    def fault(self, position: int) -> str | None:
        """Why the image at a place of ``files`` cannot be used, None if it can."""
        try:
            random_crop(self.files.read(position), self.size, np.random.default_rng(0), exif=self.exif)
        except BadImageError as error:
            return str(error)
        except InputError as error:
            return str(error.found)
        return None

    @property
    def exif(self) -> ExifPolicy:
        """As the sets of this source are decoded: a phone's photographs are turned upright."""
        return ExifPolicy.APPLY if self.kind is SourceKind.FOLDER else ExifPolicy.IGNORE

    def without(self, positions: Sequence[int]) -> "Photographs":
        """The same source without some images."""
        return replace(self, files=self.files.without(positions))

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        """One image [size, size, 3] for each index. Raises InputError naming a file that cannot be read."""
        return [self._image(index) for index in indices]

    def identity(self) -> Mapping[str, object]:
        """How many images under which names; not what is in them."""
        names = [os.fsdecode(bytes(name)).encode("utf-8", "backslashreplace").decode() for name in self.files.names]
        return {"kind": self.kind.value, "images": len(self.files), "names_sha256": lines_digest(names)}

    def _image(self, index: int) -> ImageU8:
        position = position_of(index, len(self.files), self.seed)
        key = np.array([self.seed ^ CROP_WORD, index], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        data = self.files.read(position)
        try:
            return random_crop(data, self.size, generator, exif=self.exif)
        except BadImageError as error:
            raise InputError(
                "a training image cannot be used",
                where=self.files.where(position),
                found=error,
                next_step="fetch the file again: it changed since the images were looked at",
            ) from error


def random_crop(
    data: bytes, size: int, generator: np.random.Generator, *, exif: ExifPolicy = ExifPolicy.IGNORE
) -> ImageU8:
    """An image file's bytes to a square [size, size, 3] of it, mirrored half of the time. Raises BadImageError."""
    mirrored, place = generator.random() < FLIP_RATE, float(generator.random())
    image = _opened(data, round(size * REDUCING_GAP), exif)
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    left, top = int(place * (width - size + 1)), int(place * (height - size + 1))
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def _opened(data: bytes, least: int, exif: ExifPolicy) -> Image.Image:
    """The image in RGB; a plain JPEG decoded at a fraction of its size that keeps ``least`` pixels a side."""
    if data.startswith(JPEG_START):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                    if image.mode in ("RGB", "L") and image.width * image.height <= MAX_PIXELS:
                        image.draft(image.mode, (least, least))
                        upright = ImageOps.exif_transpose(image) if exif is ExifPolicy.APPLY else image
                        return upright.convert("RGB")
        # Readers of damaged files raise anything.
        except Exception as error:
            raise BadImageError(f"cannot be decoded: {error or type(error).__name__}") from error
    return Image.fromarray(decode(data, exif=exif).pixels)


_LISTS = {
    SourceKind.IMAGENET: list_imagenet,
    SourceKind.PLACES365: list_places,
    SourceKind.FOLDER: list_folder,
}


def open_training_source(recipe: Recipe, where: Path | None, *, kept_scenes: Path | None = None) -> TrainingSource:
    """The source that a recipe names, images of the network's size.

    Raises UsageError when it needs a folder and none is given, or the reverse; InputError for one without images.
    """
    size = recipe.network_config.size
    if recipe.source is SourceKind.SCENES32:
        if where is not None:
            raise UsageError("scenes32 is drawn by the program", expected="no --source", found=where)
        if scenes32.SIZE % recipe.network_config.multiple:
            raise UsageError(
                "this network cannot take the images of scenes32",
                expected=f"a multiple of {recipe.network_config.multiple} pixels",
                found=scenes32.SIZE,
            )
        return SceneStream(kept_scenes)
    if where is None:
        raise UsageError(
            "this recipe needs training images",
            expected=f"--source: a folder or .tar of {recipe.source.value}",
            found="none",
            next_step=f"give --source, such as --source /data/{recipe.source.value}/train",
        )
    return Photographs(recipe.source, _LISTS[recipe.source](where), size, recipe.seed)
