"""What is built from the entries: the site, a README for each set, the manifest that guards the project's own tables.

And whether what lies there is up to date.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from palette_bench.common import resources
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import write_bytes
from palette_bench.publish.leaderboard.board import boards
from palette_bench.publish.leaderboard.check import check_tree
from palette_bench.publish.leaderboard.readme import (
    MINIATURE,
    miniature_readme,
    missing_of_miniature,
    readme,
)
from palette_bench.publish.leaderboard.site import site
from palette_bench.publish.tables import miniature

README = "README.md"
NEXT = "palette-bench leaderboard build"


@dataclass(frozen=True, slots=True)
class Built:
    """The bytes of every file by its path: pages of the site, files beside the entries; what waits, and for what."""

    pages: Mapping[Path, bytes]
    beside: Mapping[Path, bytes]
    notes: tuple[str, ...]

    @property
    def files(self) -> dict[Path, bytes]:
        """All files."""
        return {**self.pages, **self.beside}


def built(leaderboards: Path, out: Path) -> Built:
    """The site in ``out`` and the files of ``leaderboards``. Raises what is wrong with any entry."""
    tree = check_tree([leaderboards])
    tree.demand([leaderboards])
    found = boards(tree)
    pages = {out / name: data for name, data in site(found).items()}
    beside: dict[Path, bytes] = {}
    notes: list[str] = []
    for board in found:
        folder = leaderboards / board.set_id
        if board.set_id != MINIATURE:
            beside[folder / README] = readme(board).encode()
        elif missing := missing_of_miniature(folder):
            notes.append(f"{folder / README} waits for {len(missing)} records, such as {missing[0]}")
        else:
            beside[folder / README] = miniature_readme(folder, board).encode()
            beside[folder / resources.own_manifest().name] = miniature.render_manifest(folder).encode()
    return Built(pages, beside, tuple(notes))


def write(found: Built, out: Path) -> list[Path]:
    """Write every file that differs; the paths of those. Raises InputError where ``out`` holds anything else."""
    strange = list(_strange(found, out))
    if strange:
        raise InputError(
            f"{len(strange)} files in the folder of the site are none of it",
            where=out,
            expected="an empty folder, or a site of these leaderboards",
            problems=[Problem("extra", path.relative_to(out).as_posix(), "") for path in strange],
            next_step="remove them if they are pages of entries that are gone, or choose another --out",
        )
    stale = [path for path, data in found.files.items() if not _is(path, data)]
    for path in stale:
        write_bytes(path, found.files[path])
    return stale


def demand_fresh(found: Built, out: Path) -> None:
    """Raise VerificationError when a file is missing, differs, or should not be there."""
    problems = [
        Problem("stale" if path.exists() else "missing", str(path), "")
        for path, data in found.files.items()
        if not _is(path, data)
    ]
    problems += [Problem("extra", str(path), "") for path in _strange(found, out)]
    if problems:
        raise VerificationError(
            f"{len(problems)} built files are stale", where=out, problems=problems, next_step=f"{NEXT}, and commit"
        )


def _strange(found: Built, out: Path) -> Iterator[Path]:
    yield from (path for path in sorted(out.rglob("*")) if not path.is_dir() and path not in found.pages)


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data
