"""What a user points at: a folder, a .zip or a .tar of images, or files of arrays that hold all outputs."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from palette_bench.common.errors import InputError, Problem
from palette_bench.common.listing import Listing, list_files
from palette_bench.images.decode import IMAGE_SUFFIXES
from palette_bench.predict.importing.conventions import Convention
from palette_bench.predict.importing.tensors import ARRAY_SUFFIXES, PICKLE_SUFFIXES, pickle_refused

LARGEST_MEMBER = 1 << 28


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files below a folder or in an archive, by relative path; ``others`` are files that are no images.

    Plain data, for worker processes. ``offsets`` are a tar's, ``members`` what a zip calls the paths that it writes
    with backslashes. Archives are read in place and never extracted.
    """

    where: Path
    kind: str
    paths: tuple[str, ...]
    others: tuple[str, ...]
    offsets: Mapping[str, tuple[int, int]]
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def listing(self) -> Listing | None:
        """The files as they lie in a folder or tar; None for a zip, whose members would have to be unpacked."""
        return None if self.kind == "zip" else Listing(self.where, self.offsets, is_tar=self.kind == "tar")

    def read(self, path: str) -> bytes:
        """The bytes of one image file. Raises OSError, and whatever a damaged archive raises."""
        if self.kind == "zip":
            return _open_zip(self.where).read(self.members.get(path, path))
        return Listing(self.where, self.offsets, is_tar=self.kind == "tar").source({path: path}).read(path)


@dataclass(frozen=True, slots=True)
class ArrayFiles:
    """Files of arrays that hold all outputs, one after the other."""

    paths: tuple[Path, ...]


@lru_cache(maxsize=2)
def _open_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def look(where: Path, convention: Convention) -> ImageFiles | ArrayFiles:
    """What is at ``where``. Raises InputError when there is nothing that could be outputs."""
    if where.is_dir():
        return _folder(where, convention)
    if not where.is_file():
        raise InputError(
            "there are no outputs here",
            where=where,
            expected="a folder, an archive of images, or a file of arrays",
            found="a special file" if where.exists() else "nothing",
            next_step="check the path",
        )
    suffix = where.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return ArrayFiles((where,))
    if suffix in PICKLE_SUFFIXES:
        raise pickle_refused(where)
    if suffix == ".zip" or (suffix != ".tar" and zipfile.is_zipfile(where)):
        return _zip(where)
    return _tar(where)


def _folder(where: Path, convention: Convention) -> ImageFiles | ArrayFiles:
    listing = list_files(where)
    images = [path for path in listing.entries if _is_image(path)]
    arrays = [path for path in listing.entries if PurePosixPath(path).suffix.lower() in ARRAY_SUFFIXES]
    if convention.array_files is not None and (found := _named_arrays(where, arrays, convention.array_files)):
        return ArrayFiles(found)
    if not images and len(arrays) == 1:
        return ArrayFiles((where / arrays[0],))
    if not images:
        pickles = [path for path in listing.entries if PurePosixPath(path).suffix.lower() in PICKLE_SUFFIXES]
        if pickles:
            raise pickle_refused(where / pickles[0])
        raise InputError(
            "there are no outputs here",
            where=where,
            expected="images, or one file of arrays",
            found=f"{len(arrays)} files of arrays: {', '.join(arrays[:5])}"
            if arrays
            else f"{len(listing.entries)} other files",
            next_step="point at the folder or file that holds the outputs",
        )
    others = tuple(path for path in listing.entries if not _is_image(path))
    return ImageFiles(where, "folder", tuple(images), others, dict.fromkeys(images, (0, 0)))


def _named_arrays(where: Path, arrays: list[str], pattern: str) -> tuple[Path, ...]:
    """The array files of a convention: one, or all its parts in order. Raises InputError when it is not clear which."""
    matches = [(path, match) for path in arrays if (match := re.fullmatch(pattern, PurePosixPath(path).name))]
    whole = [path for path, match in matches if not match.groupdict().get("parts")]
    parts = {path: (int(m["part"]), int(m["parts"])) for path, m in matches if m.groupdict().get("parts")}
    if len(whole) == 1 and not parts:
        return (where / whole[0],)
    if not whole and not parts:
        return ()
    problems = [Problem("candidate", path, "") for path, _ in matches]
    if whole or len({(str(PurePosixPath(path).parent), total) for path, (_, total) in parts.items()}) > 1:
        raise InputError(
            "there is more than one set of outputs here",
            where=where,
            expected="one file, or the parts of one",
            problems=problems,
            next_step="point at the one that is meant",
        )
    total = next(iter(parts.values()))[1]
    there = {part for part, _ in parts.values()}
    missing = sorted(set(range(total)) - there)
    if missing or there - set(range(total)):
        raise InputError(
            f"not all {total} parts of the outputs are here",
            where=where,
            expected=f"parts 0 to {total - 1}",
            problems=[Problem("missing-part", f"{part} of {total}", "") for part in missing] or problems,
            next_step="copy the missing parts here",
        )
    return tuple(where / path for path, _ in sorted(parts.items(), key=lambda row: row[1]))


def _zip(where: Path) -> ImageFiles:
    problems: list[Problem] = []
    names: dict[str, str] = {}
    # A damaged archive may raise anything.
    try:
        with zipfile.ZipFile(where) as archive:
            for member in archive.infolist():
                # Old versions of PowerShell's Compress-Archive write backslashes.
                name = member.filename.replace("\\", "/")
                if name.endswith("/") or _is_hidden(name):
                    continue
                reason = _unusable(member, name)
                if name in names:
                    reason = "is in the archive twice"
                if reason:
                    problems.append(Problem("unusable-member", member.filename, reason))
                names[name] = member.filename
    except Exception as error:
        raise InputError(
            "an archive cannot be read",
            where=where,
            expected="a whole .zip",
            found=f"{type(error).__name__}: {error}",
            next_step="write or copy it again, or unpack it",
        ) from error
    if problems:
        raise InputError(
            f"{len(problems)} members of the archive cannot be used",
            where=where,
            expected="plain files inside the archive",
            problems=problems,
            next_step="write the archive again without them",
        )
    files = _archived(where, "zip", dict.fromkeys(names, (0, 0)))
    return replace(files, members={name: member for name, member in names.items() if name != member})


def _unusable(member: zipfile.ZipInfo, name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
        return "leads out of the archive"
    if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        return "is a link or a device, not a file"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.file_size > LARGEST_MEMBER:
        return f"has {member.file_size} bytes, more than any image"
    return ""


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.split("/")) or path.startswith("__MACOSX/")


def _tar(where: Path) -> ImageFiles:
    try:
        listing = list_files(where)
    except InputError as error:
        raise InputError(
            "this is not a file of outputs, nor an archive that can be read in place",
            where=error.where,
            expected="a folder, a .zip, an uncompressed .tar, .npz, .npy, .pt or .safetensors",
            found=f"{error.what}: {error.found}" if error.found else error.what,
            problems=error.problems,
            next_step="unpack it, and give the folder",
        ) from error
    return _archived(where, "tar", listing.entries)


def _archived(where: Path, kind: str, entries: Mapping[str, tuple[int, int]]) -> ImageFiles:
    images = [path for path in entries if _is_image(path)]
    if not images:
        raise InputError(
            "there are no images in this archive",
            where=where,
            expected="image files",
            found=f"{len(entries)} other files",
            next_step="point at the archive that holds the outputs; files of arrays are not looked for in archives",
        )
    others = tuple(path for path in entries if not _is_image(path))
    return ImageFiles(where, kind, tuple(images), others, {path: entries[path] for path in images})


def _is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES
