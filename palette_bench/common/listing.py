"""What a source of images is, and the two kinds of storage: a folder and a tar file read in place."""

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from palette_bench.common.errors import InputError, Problem


class Source(Protocol):
    """Images by name. Instances are plain data, so that worker processes get a copy."""

    @property
    def where(self) -> Path:
        """The folder or file that the user named."""

    def names(self) -> Sequence[str]:
        """Names of all images, in no particular order."""

    def read(self, name: str) -> bytes:
        """The bytes of one image file. Raises OSError."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Files below a folder; ``paths`` maps a name to a path relative to ``where``."""

    where: Path
    paths: Mapping[str, str]

    def names(self) -> Sequence[str]:
        """Names of all images."""
        return list(self.paths)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self.where / self.paths[name]).read_bytes()


@dataclass(frozen=True, slots=True)
class TarSource:
    """Members of an uncompressed tar file.

    ``members`` maps a name to (offset, size) of its bytes. Nothing is extracted.
    """

    where: Path
    members: Mapping[str, tuple[int, int]]

    def names(self) -> Sequence[str]:
        """Names of all images."""
        return list(self.members)

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        offset, size = self.members[name]
        return os.pread(_descriptor(self.where), size, offset)


@lru_cache(maxsize=4)
def _descriptor(path: Path) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


@dataclass(frozen=True, slots=True)
class Listing:
    """Every file of a folder or tar: relative POSIX path -> (offset, size), both 0 in a folder.

    ``left_out`` are folders of thumbnails and deleted files, which are not gone into.
    """

    where: Path
    entries: Mapping[str, tuple[int, int]]
    is_tar: bool
    left_out: tuple[str, ...] = ()

    def head(self, path: str, size: int) -> bytes:
        """The first bytes of an entry. Raises OSError."""
        if self.is_tar:
            offset, whole = self.entries[path]
            return os.pread(_descriptor(self.where), min(size, whole), offset)
        with (self.where / path).open("rb") as stream:
            return stream.read(size)

    def heads(self, paths: Sequence[str], size: int) -> Iterator[bytes]:
        """The first bytes of some entries; of one that cannot be read none."""
        for path in paths:
            try:
                yield self.head(path, size)
            except OSError:
                yield b""

    def source(self, paths: Mapping[str, str]) -> Source:
        """A source of the entries in ``paths`` (name -> entry)."""
        if self.is_tar:
            return TarSource(self.where, {name: self.entries[path] for name, path in paths.items()})
        return FolderSource(self.where, dict(paths))


def list_files(where: Path) -> Listing:
    """All files below a folder (links followed, loops refused) or in an uncompressed tar file. Raises InputError."""
    try:
        if where.is_dir():
            left_out: list[str] = []
            entries = dict.fromkeys(_walk(where, "", (), left_out), (0, 0))
            return Listing(where, entries, is_tar=False, left_out=tuple(left_out))
        if where.is_file():
            members = _tar_members(where)
            inside = {path: folder for path in members if (folder := _clutter_folder(path)) is not None}
            entries = {path: place for path, place in members.items() if path not in inside}
            return Listing(where, entries, is_tar=True, left_out=tuple(dict.fromkeys(inside.values())))
    except OSError as error:
        raise InputError(
            "the source cannot be read",
            where=error.filename or where,
            expected="a folder of images or an uncompressed .tar file",
            found=error.strerror or error,
            next_step="check the path and who may read it",
        ) from error
    raise InputError(
        "the source does not exist",
        where=where,
        expected="a folder of images or an uncompressed .tar file",
        found="a special file" if where.exists() else "nothing",
        next_step="check --source",
    )


def _clutter_folder(path: str) -> str | None:
    """The folder of thumbnails or deleted files that a path lies in."""
    parts = path.split("/")
    place = next((k for k, part in enumerate(parts[:-1]) if part.casefold() in CLUTTER), None)
    return None if place is None else "/".join(parts[: place + 1])


def _walk(root: Path, below: str, ancestors: tuple[tuple[int, int], ...], left_out: list[str]) -> Iterator[str]:
    folder = root / below
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if len(ancestors) > DEEPEST:
        raise InputError(
            "folders are nested too deeply",
            where=f"{str(folder)[:200]}...",
            expected=f"at most {DEEPEST} folders in each other",
            next_step="point at the folder that holds the images",
        )
    if identity in ancestors:
        raise InputError(
            "a symbolic link leads back to a folder above it",
            where=folder,
            expected="folders without loops",
            next_step="remove the link",
        )
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
                if not is_folder and not is_file and os.path.exists(entry.path):  # noqa: PTH110
                    raise InputError(
                        "something is neither a file nor a folder",
                        where=root / path,
                        expected="image files",
                        found="a pipe, a socket or a device",
                        next_step="remove it",
                    )
            except OSError as error:
                raise InputError(
                    "a symbolic link leads nowhere", where=root / path, found=error.strerror, next_step="remove it"
                ) from error
            if is_folder and entry.name.casefold() in CLUTTER:
                left_out.append(path)
            elif is_folder:
                yield from _walk(root, path, (*ancestors, identity), left_out)
            else:
                yield path


DEEPEST = 100
CLUTTER = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin", "lost+found"),
        *("system volume information", "__macosx", "found.000", "recycler"),
    )
)
"""Folders, in small letters, that network storage and systems put among images: thumbnails and deleted files."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd", b"PK": "zip"}


def _tar_members(path: Path) -> dict[str, tuple[int, int]]:
    with path.open("rb") as stream:
        magic = stream.read(2)
    if magic in COMPRESSED:
        raise InputError(
            "the source is a compressed archive",
            where=path,
            expected="an uncompressed .tar, whose members can be read in place",
            found=COMPRESSED[magic],
            next_step="decompress it, or extract it and give the folder",
        )
    total = path.stat().st_size
    members: dict[str, tuple[int, int]] = {}
    problems: list[Problem] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.size < 0:
                    raise tarfile.ReadError(f"{member.name} has a size of {member.size}")
                if member.isdir():
                    continue
                name = member.name.removeprefix("./")
                parts = name.split("/")
                if name.startswith("/") or ".." in parts:
                    problems.append(Problem("unsafe-member", member.name, "leads out of the archive"))
                elif not member.isreg():
                    problems.append(Problem("special-member", member.name, "is a link or a device, not a file"))
                elif member.issparse():
                    problems.append(Problem("special-member", member.name, "is stored sparsely, not as it is"))
                elif name in members:
                    problems.append(Problem("duplicate-member", member.name, "is in the archive twice"))
                elif member.offset_data + member.size > total:
                    problems.append(Problem("truncated-member", member.name, "the archive ends before it does"))
                elif not any(part.startswith(".") for part in parts):
                    members[name] = (member.offset_data, member.size)
            # A damaged or cut header ends the loop as the mark at the end does.
            with path.open("rb") as stream:
                stream.seek(archive.offset)
                if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                    raise tarfile.ReadError(f"no member and no end mark at byte {archive.offset}")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            "the source is not a whole tar file",
            where=path,
            expected="a folder or an uncompressed .tar",
            found=error,
            next_step="compare its size and checksum with the download page's",
        ) from error
    if problems:
        raise InputError(
            f"{len(problems)} members of the archive cannot be used",
            where=path,
            expected="plain files inside the archive",
            problems=problems,
            next_step="use the archive as it is distributed",
        )
    return members
