"""The image files of a report: a sheet holds a line for each of several items, a full image is one line by itself.

A line is condition, first sample, reference, further samples, from left to right, so that one crop of a sheet shows
an item. Sheets of small images are exact; of large ones they are lossy thumbnails, and the items that matter most
have their full images beside.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from palette_bench.artifacts.evalset import Conditions, EvalSet
from palette_bench.artifacts.predictions import Predictions
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.files import write_plainly
from palette_bench.common.progress import Progress
from palette_bench.common.workers import run_chunks
from palette_bench.images.condition import Condition
from palette_bench.images.decode import BadImageError
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.publish.report.material import Material
from palette_bench.score.gate import scored_image

LARGEST_FOLDER = 140_000_000
"""Bytes that a folder may have; sheets come first, and full images fill what is left."""
TILES = (96, 64, 48, 32)
"""Edges of thumbnails, the best first."""
LARGEST_EXACT = 96
SHEET_HEIGHT = 1536
PAGE_BYTES_AN_ITEM = 400
_LOSSY_BYTES_A_PIXEL, _EXACT_BYTES_A_PIXEL = 0.36, 2.4
_PNG_SHARE = 0.3
_QUALITY = 78
_CHUNK = 16
_HATCH = (112, 148)


@dataclass(frozen=True, slots=True)
class Layout:
    """How items lie on sheets: ``lines`` items a sheet, each ``columns`` tiles of ``tile`` pixels.

    ``exact`` sheets hold the pixels themselves and are PNG, others are WebP. ``samples`` of an item are shown.
    """

    count: int
    size: int
    tile: int
    samples: int
    exact: bool

    @property
    def columns(self) -> int:
        """Condition, reference and samples."""
        return 2 + self.samples

    @property
    def lines(self) -> int:
        """Items a sheet, the last one aside."""
        return max(SHEET_HEIGHT // self.tile, 1)

    @property
    def sheets(self) -> int:
        """How many there are."""
        return -(-self.count // self.lines)

    @property
    def suffix(self) -> str:
        """Of the sheets' files."""
        return "png" if self.exact else "webp"

    def sheet_name(self, sheet: int) -> str:
        """The path of a sheet in the folder."""
        return f"sheets/{sheet:05d}.{self.suffix}"

    def full_name(self, index: int) -> str:
        """The path of an item's full image."""
        return f"full/{index:06d}.png"


def plan_layout(count: int, size: int, samples: int) -> Layout:
    """Exact sheets of small images if they fit in the folder, else the largest thumbnails that leave room."""
    pixels = count * (2 + samples)
    if size <= LARGEST_EXACT and pixels * size**2 * _EXACT_BYTES_A_PIXEL <= 0.8 * LARGEST_FOLDER:
        return Layout(count, size, size, samples, exact=True)
    fitting = [t for t in TILES if t <= size and pixels * t**2 * _LOSSY_BYTES_A_PIXEL <= 0.8 * LARGEST_FOLDER]
    return Layout(count, size, fitting[0] if fitting else min(TILES[-1], size), samples, exact=False)


@dataclass(frozen=True, slots=True)
class _Job:
    set_folder: Path
    task: str
    predictions: Predictions
    digests: tuple[tuple[str, ...], ...]
    layout: Layout
    out: Path


def write_pictures(
    material: Material, layout: Layout, wanted: Sequence[int], out: Path, *, jobs: int, progress: Progress
) -> tuple[int, ...]:
    """Write all sheets below ``out``, and full images of as many of ``wanted`` as fit; returns whose.

    Equal arguments give equal files. Raises VerificationError for images that changed since they were checked.
    """
    job = _Job(material.eval_set.folder, material.task.name, material.predictions, material.digests, layout, out)
    processes = 1 if material.predictions.array is not None else jobs
    used = layout.count * PAGE_BYTES_AN_ITEM
    with progress.task("drawing sheets", layout.count, "items") as shown:
        for items, size in run_chunks(partial(_Sheets, job), range(layout.sheets), size=1, processes=processes):
            used += size
            shown.advance(items)
    if layout.exact:
        return ()
    room = LARGEST_FOLDER - used
    line_bytes = layout.columns * layout.size**2 * 3
    candidates = list(wanted[: max(int(room / (_PNG_SHARE * line_bytes)), 0)])
    sizes: dict[int, int] = {}
    with progress.task("full images", len(candidates), "items") as shown:
        for written in run_chunks(partial(_FullImages, job), candidates, size=_CHUNK, processes=processes):
            sizes |= written
            shown.advance(len(written))
    return _kept_within(room, candidates, sizes, layout, out)


def _kept_within(
    room: int, candidates: Sequence[int], sizes: Mapping[int, int], layout: Layout, out: Path
) -> tuple[int, ...]:
    """Remove the full images that do not fit: those after the first that would make the folder too large."""
    kept = []
    full = False
    for index in candidates:
        full = full or sizes[index] > room
        if full:
            (out / layout.full_name(index)).unlink()
        else:
            room -= sizes[index]
            kept.append(index)
    return tuple(sorted(kept))


class _Drawer:
    """What draws lines of items."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self._eval_set = EvalSet(job.set_folder)
        self._conditions = self._eval_set.conditions(self._eval_set.task(job.task))

    def line(self, index: int, edge: int) -> ImageU8:
        """Condition, first sample, reference, further samples [edge, columns * edge, 3]."""
        item = self._eval_set.items[index]
        samples = [
            _sample(self.job, self._eval_set, self._conditions, index, sample)
            for sample in range(self.job.layout.samples)
        ]
        images = [condition_image(self._conditions.of(item)), samples[0], self._eval_set.reference(item), *samples[1:]]
        return np.concatenate([_resized(image, edge) for image in images], axis=1)


class _Sheets(_Drawer):
    """Writes sheets: how many items they hold, and bytes."""

    def __call__(self, sheets: Sequence[int]) -> tuple[int, int]:
        written = [self._write(sheet) for sheet in sheets]
        return sum(items for items, _ in written), sum(size for _, size in written)

    def _write(self, sheet: int) -> tuple[int, int]:
        layout = self.job.layout
        indices = range(sheet * layout.lines, min((sheet + 1) * layout.lines, layout.count))
        image = np.concatenate([self.line(index, layout.tile) for index in indices])
        buffer = io.BytesIO()
        if layout.exact:
            Image.fromarray(image).save(buffer, "PNG", compress_level=6)
        else:
            Image.fromarray(image).save(buffer, "WEBP", quality=_QUALITY, method=4)
        write_plainly(self.job.out / layout.sheet_name(sheet), buffer.getvalue())
        return len(indices), buffer.tell()


class _FullImages(_Drawer):
    """Writes full images: bytes by item."""

    def __call__(self, indices: Sequence[int]) -> dict[int, int]:
        layout, sizes = self.job.layout, dict[int, int]()
        for index in indices:
            buffer = io.BytesIO()
            Image.fromarray(self.line(index, layout.size)).save(buffer, "PNG", compress_level=6)
            write_plainly(self.job.out / layout.full_name(index), buffer.getvalue())
            sizes[index] = buffer.tell()
        return sizes


def _sample(job: _Job, eval_set: EvalSet, conditions: Conditions, index: int, sample: int) -> ImageU8:
    """A sample as it was scored."""
    name = f"{job.predictions.where}: {job.predictions.name(index, sample)}"
    try:
        pixels = job.predictions.decode(job.predictions.read(index, sample)).pixels
    except (OSError, BadImageError) as error:
        raise InputError("a prediction can no longer be read", where=name, found=error) from error
    if (found := pixel_digest(pixels)) != job.digests[index][sample]:
        raise VerificationError(
            "a prediction changed while the report was made",
            where=name,
            expected=f"sha256 {job.digests[index][sample]}",
            found=f"sha256 {found}",
            next_step="let nothing write there and run the command again",
        )
    return scored_image(eval_set, conditions.holes, eval_set.items[index], pixels)[0]


def condition_image(condition: Condition) -> ImageU8:
    """A condition as it is drawn: what is hidden is hatched in grey, for no image can be taken for that."""
    image = condition.image
    return image if condition.hole is None else _hatched(image, condition.hole)


def _hatched(image: ImageU8, hole: HoleMask) -> ImageU8:
    size = image.shape[0]
    y, x = np.mgrid[0:size, 0 : image.shape[1]]
    stripe = max(size // 16, 2)
    hatch = np.where((x + y) // stripe % 2 == 0, *_HATCH).astype(np.uint8)
    return np.where(hole[..., None], hatch[..., None], image)


def _resized(image: ImageU8, edge: int) -> ImageU8:
    if image.shape[0] == edge:
        return image
    resized: ImageU8 = np.asarray(Image.fromarray(image).resize((edge, edge), Image.Resampling.LANCZOS))
    return resized
