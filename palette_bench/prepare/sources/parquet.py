"""Hugging Face's parquet files of ImageNet val, read in place: a column ``image`` of bytes and path, one ``label``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.prepare.sources.labels import IMAGENET_CLASSES, LISTED_IMAGENET, base_name, imagenet_name

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SUFFIX = ".parquet"
GROUPS_HELD = 2
"""Row groups of images in memory, per process."""


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Images in rows of parquet files; ``rows`` maps a name to file, row group and row in it."""

    where: Path
    files: tuple[Path, ...]
    rows: Mapping[str, tuple[int, int, int]]

    def names(self) -> Sequence[str]:
        """Names of all images."""
        return list(self.rows)

    def read(self, name: str) -> bytes:
        """The bytes of one image file. Raises OSError."""
        file, group, row = self.rows[name]
        return _images(self.files[file], group)[row]


@lru_cache(maxsize=GROUPS_HELD)
def _images(path: Path, group: int) -> list[bytes]:
    # A damaged file may raise anything.
    try:
        column = _open(path).read_row_group(group, columns=["image.bytes"]).column("image")
        return [image["bytes"] for image in column.to_pylist()]
    except Exception as error:
        raise OSError(f"row group {group} of {path.name} cannot be read: {error}") from error


def _open(path: Path) -> "pq.ParquetFile":
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(
            "parquet files are read by pyarrow, which is not installed",
            where=path,
            next_step="install palette-bench with its extra 'parquet'",
        ) from error
    return pq.ParquetFile(path)


def parquet_files(where: Path) -> tuple[Path, ...]:
    """The parquet files at ``where``: itself, or those of a folder and its ``data`` that hold the validation split.

    Nothing where a folder has none, or has other files of images too.
    """
    if where.is_file():
        return (where,) if where.suffix == SUFFIX else ()
    for folder in (where, where / "data"):
        files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        named = [file for file in files if file.name.startswith("val")]
        if files:
            return tuple(named or files)
    return ()


def read_parquet(where: Path, files: Sequence[Path]) -> tuple[ParquetSource, dict[str, str], dict[str, int]]:
    """The source of ImageNet val images in parquet files, name -> path and name -> label. Raises InputError."""
    rows: dict[str, tuple[int, int, int]] = {}
    paths: dict[str, str] = {}
    labels: dict[str, int] = {}
    problems: list[Problem] = []
    for number, file in enumerate(files):
        for group, row, path, label in _rows_of(file):
            place = f"{file.name}, row group {group}, row {row}"
            match = LISTED_IMAGENET.fullmatch(base_name(path)) if isinstance(path, str) else None
            if match is None:
                problems.append(Problem("unnamed", place, f"path {path!r}"))
                continue
            name = imagenet_name(int(match[1]))
            if name in rows:
                problems.append(Problem("duplicate", place, f"the same image as {paths[name]}"))
            rows[name], paths[name] = (number, group, row), path
            if isinstance(label, int) and 0 <= label < IMAGENET_CLASSES:
                labels[name] = label
    if problems or not rows:
        raise InputError(
            "the parquet files do not hold the validation images of ImageNet",
            where=where,
            expected=f"rows with an image whose path is like {imagenet_name(1)}, every image once",
            found=f"{len(rows)} such rows",
            problems=problems,
            next_step="give the shards validation-*.parquet of imagenet-1k as they are distributed",
        )
    return ParquetSource(where, tuple(files), rows), paths, labels


def _rows_of(file: Path) -> list[tuple[int, int, Any, Any]]:
    try:
        opened = _open(file)
        rows = []
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group, columns=["image.path", "label"])
            columns = zip(table.column("image").to_pylist(), table.column("label").to_pylist(), strict=True)
            rows += [(group, row, image and image["path"], label) for row, (image, label) in enumerate(columns)]
    except UsageError:
        raise
    # A damaged file may raise anything.
    except Exception as error:
        raise InputError(
            "a parquet file cannot be read",
            where=file,
            expected="columns image (bytes, path) and label",
            found=f"{type(error).__name__}: {error}",
            next_step="compare its size and checksum with the download page's",
        ) from error
    return rows
