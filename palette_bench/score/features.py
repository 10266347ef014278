"""Network outputs of images, computed once and kept.

`extract` is the only place where images go through networks: every image is loaded once and passes every backbone
that lacks it. `FeatureStore` keeps the outputs by what they depend on, the backbone's fingerprint and the digest of
the pixels, so that nothing has to be invalidated: a changed image or network simply has no entry.
"""

import contextlib
import errno
import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import bytes_digest, canonical_json, pixel_digest
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.files import jsonl_bytes, write_bytes
from palette_bench.common.progress import Progress, Silent
from palette_bench.common.workers import map_unordered
from palette_bench.score.backbones.base import Backbone

SHARD_IMAGES = 64
"""So many images may be computed and not yet written: what a killed process loses."""

PACK_IMAGES = 1024
"""Images a file once all are computed."""

SHARD_FORMAT = 1
BATCH_IMAGES = 16
"""Images a batch at most where the caller does not say; larger batches leave the processor's caches."""

SMALL_PIXELS = 64 * 64
DECODE_THREADS = 2
_SUFFIX = ".features"
ROWS_SUFFIX = ".rows"
_HEADER_BYTES = 1 << 20
_DISK_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))

Features = NDArray[np.float32]
"""[N, D] float32, rows in item order."""

Image = NDArray[np.uint8]
"""[H, W, 3] uint8 RGB."""


@dataclass(frozen=True, slots=True)
class PixelItem:
    """An image by the digest of its pixels (`pixel_digest`), and how to get the pixels if they are needed."""

    digest: str
    load: Callable[[], Image]


@dataclass(frozen=True, slots=True)
class _Shard:
    """The head of a shard file: where each image's row is; the arrays follow from ``start`` on, outputs by name."""

    path: Path
    digests: tuple[str, ...]
    outputs: Mapping[str, int]
    start: int


class Measured(Protocol):
    """What the store must know of whatever makes numbers of images: a `Backbone`, or a measure of pairs."""

    @property
    def outputs(self) -> Mapping[str, int]:
        """Width of each output."""

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that can move an output."""


class FeatureStore:
    """Features in a folder, one sub-folder a backbone fingerprint, in shards of at most `PACK_IMAGES` images.

    A shard is one line of canonical JSON and then float32 little-endian arrays, and its name is the sha256 of its
    bytes: a damaged shard is noticed, ignored and computed again, and processes that write at the same time cannot
    disturb each other. Any file may be deleted. ``more`` are folders of the same kind that are only read; with
    ``adopt`` what is found in them is kept in ``folder`` too.
    """

    def __init__(self, folder: Path, more: Sequence[Path] = (), *, adopt: bool = False) -> None:
        self.folder = folder
        self._folders = (folder, *more)
        self._adopt = adopt
        self._seen: set[Path] = set()
        self._bad: set[Path] = set()
        self._places: dict[str, dict[str, list[tuple[_Shard, int]]]] = {}
        self._told_damage = False
        self._told_unwritable = False

    def load(
        self, backbone: Measured, digests: Sequence[str], *, progress: Progress
    ) -> tuple[dict[str, Features], NDArray[np.bool_]]:
        """What is kept of ``digests``: one [len(digests), width] array an output, and which rows are there.

        Other rows are undefined.
        """
        values = {o: np.empty((len(digests), w), np.float32) for o, w in backbone.outputs.items()}
        found = np.zeros(len(digests), np.bool_)
        places = self._refresh(backbone, progress)
        while True:
            wanted: dict[Path, tuple[_Shard, list[int], list[int]]] = {}
            for row, digest in enumerate(digests):
                if not found[row]:
                    place = next((p for p in places.get(digest, ()) if p[0].path not in self._bad), None)
                    if place is not None:
                        _, sources, targets = wanted.setdefault(place[0].path, (place[0], [], []))
                        sources.append(place[1])
                        targets.append(row)
            if not wanted:
                if self._adopt:
                    self._adopt_rows(backbone, digests, values, found, progress)
                return values, found
            for head, sources, targets in wanted.values():
                arrays = self._read(head, progress)
                if arrays is not None:
                    for output, array in arrays.items():
                        values[output][targets] = array[sources]
                    found[targets] = True

    def _adopt_rows(
        self,
        backbone: Measured,
        digests: Sequence[str],
        values: Mapping[str, Features],
        found: NDArray[np.bool_],
        progress: Progress,
    ) -> None:
        places = self._places[backbone.fingerprint]
        own = self.folder / backbone.fingerprint
        foreign = {
            digest: row
            for row, digest in enumerate(digests)
            if found[row] and not any(s.path.parent == own and s.path not in self._bad for s, _ in places[digest])
        }
        rows = list(foreign.values())
        for start in range(0, len(rows), PACK_IMAGES):
            part = rows[start : start + PACK_IMAGES]
            arrays = {output: array[part] for output, array in values.items()}
            self.write(backbone, [digests[row] for row in part], arrays, progress=progress)

    def write(
        self, backbone: Measured, digests: Sequence[str], values: Mapping[str, Features], *, progress: Progress
    ) -> Path | None:
        """Keep the outputs of up to `PACK_IMAGES` images; the file they are in.

        A folder that may not be written is noted once and costs only time later. Raises InputError for a full disk,
        which the next hour would be lost on.
        """
        outputs = sorted(backbone.outputs)
        head = {
            "format": SHARD_FORMAT,
            "backbone": backbone.fingerprint,
            "digests": list(digests),
            "outputs": {output: backbone.outputs[output] for output in outputs},
        }
        arrays = [np.ascontiguousarray(values[output], dtype="<f4").tobytes() for output in outputs]
        data = b"".join([canonical_json(head), b"\n", *arrays])
        path = self.folder / backbone.fingerprint / (bytes_digest(data) + _SUFFIX)
        try:
            write_bytes(path, data)
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise InputError(
                    "the disk is full: features cannot be kept",
                    where=self.folder,
                    expected=f"room for {len(data)} bytes and more",
                    found=error.strerror or error,
                    next_step="free space and run the same command again: what was written is valid and is not "
                    "computed twice",
                ) from error
            if not self._told_unwritable:
                self._told_unwritable = True
                progress.note(f"features are not kept: {self.folder}: {error.strerror or error}")
            return None
        return path

    def _refresh(self, backbone: Measured, progress: Progress) -> Mapping[str, Sequence[tuple[_Shard, int]]]:
        """Where the rows of each digest are, shards written by other processes since the last call included."""
        places = self._places.setdefault(backbone.fingerprint, {})
        paths: list[Path] = []
        for folder in self._folders:
            with contextlib.suppress(OSError):
                paths += sorted((folder / backbone.fingerprint).iterdir())
        for path in paths:
            if path in self._seen or path.suffix != _SUFFIX or path.name.startswith("."):
                continue
            self._seen.add(path)
            head = _read_head(path, backbone)
            if head is None:
                if path.exists():
                    self._damaged(path, progress)
                continue
            for at, digest in enumerate(head.digests):
                places.setdefault(digest, []).append((head, at))
        return places

    def _read(self, head: _Shard, progress: Progress) -> dict[str, Features] | None:
        """The arrays of a shard whose bytes have the digest in its name; None otherwise, and then never asked again."""
        try:
            data = head.path.read_bytes()
        except FileNotFoundError:
            self._bad.add(head.path)
            return None
        except OSError:
            data = b""
        if bytes_digest(data) + _SUFFIX != head.path.name:
            self._damaged(head.path, progress)
            return None
        arrays: dict[str, Features] = {}
        start = head.start
        for output, width in sorted(head.outputs.items()):
            count = len(head.digests) * width
            arrays[output] = np.frombuffer(data, "<f4", count, start).reshape(len(head.digests), width)
            start += count * 4
        return arrays

    def _damaged(self, path: Path, progress: Progress) -> None:
        self._bad.add(path)
        if not self._told_damage:
            self._told_damage = True
            progress.note(f"damaged features are ignored and computed again: {path}")


def _read_head(path: Path, backbone: Measured) -> _Shard | None:
    """The head of a shard, or None if it is not one of this backbone."""
    try:
        with path.open("rb") as stream:
            line = stream.readline(_HEADER_BYTES)
            size = stream.seek(0, 2)
        value = json.loads(line)
        digests, outputs = tuple(value["digests"]), dict(value["outputs"])
        fits = (
            value["format"] == SHARD_FORMAT
            and value["backbone"] == backbone.fingerprint
            and outputs == dict(backbone.outputs)
            and size == len(line) + 4 * len(digests) * sum(outputs.values())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _Shard(path, digests, outputs, len(line)) if fits else None


def extract(
    items: Sequence[PixelItem],
    backbones: Sequence[Backbone],
    store: FeatureStore | None,
    *,
    batch_size: int | None = None,
    workers: int = 1,
    decode_processes: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Features]]:
    """Outputs of every backbone for every item: ``{backbone name: {output: [len(items), width] float32}}``, rows in
    item order.

    Equal digests are computed once; what ``store`` holds is not computed at all. Each other image is loaded once,
    ahead, and batches hold images of one shape. ``workers`` threads of one core each run the networks;
    ``decode_processes`` load images, 0 for threads of this process. None of these moves a number beyond the networks'
    rounding, nor ``batch_size``, which is at most `BATCH_IMAGES` unless given. At most `SHARD_IMAGES` images are
    computed and not yet written at any time, if a batch for each worker is not more. Raises VerificationError if the
    pixels are not those of the digest, InputError if they are no image or the disk is full; what was computed until
    then stays in the store.
    """
    progress = progress or Silent()
    if len({b.name for b in backbones}) != len(backbones):
        raise ValueError("two backbones have the same name")
    digests = [item.digest for item in items]
    first_rows: dict[str, int] = {}
    for row, digest in enumerate(digests):
        first_rows.setdefault(digest, row)

    results: dict[str, dict[str, Features]] = {}
    missing: dict[str, set[str]] = {}
    for backbone in backbones:
        if store is None:
            values = {o: np.empty((len(items), w), np.float32) for o, w in backbone.outputs.items()}
            missing[backbone.name] = set(first_rows)
        else:
            values, found = store.load(backbone, digests, progress=progress)
            missing[backbone.name] = {d for d, row in first_rows.items() if not found[row]}
        results[backbone.name] = values

    todo = [row for digest, row in first_rows.items() if any(digest in m for m in missing.values())]
    if todo:
        plan = _Plan(backbones, missing, batch_size, workers, decode_processes)
        writer = _Writer(store, progress)
        try:
            with progress.task("networks", len(todo), "image") as task:
                for batch, computed in _computed([items[row] for row in todo], plan, writer):
                    rows = [first_rows[d] for d in batch]
                    for backbone, values in computed:
                        for output, array in values.items():
                            results[backbone.name][output][rows] = array
                        writer.add(backbone, batch, values)
                    task.advance(len(batch))
        finally:
            writer.flush()
        writer.pack(results, first_rows)
    for row, digest in enumerate(digests):
        first = first_rows[digest]
        if row != first:
            for values in results.values():
                for array in values.values():
                    array[row] = array[first]
    return results


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to compute, and with how much at once."""

    backbones: Sequence[Backbone]
    missing: Mapping[str, set[str]]
    batch_size: int | None
    workers: int
    decode_processes: int

    def batch_of(self, shape: tuple[int, ...]) -> int:
        """Images a batch: as many as let every worker be busy with one while one waits, within `SHARD_IMAGES`."""
        if self.batch_size is not None:
            return self.batch_size
        if shape[0] * shape[1] < SMALL_PIXELS:
            return max(SHARD_IMAGES // self.workers, 1)
        return max(min(BATCH_IMAGES, SHARD_IMAGES // (self.workers + 1)), 1)

    def lacking(self, digest: str) -> tuple[str, ...]:
        """Names of the backbones that lack an image."""
        return tuple(name for name, lacking in self.missing.items() if digest in lacking)

    def compute(self, batch: Sequence[str], images: NDArray[np.uint8]) -> list[tuple[Backbone, dict[str, Features]]]:
        """The outputs of every backbone that lacks the images of a batch."""
        lacking = self.lacking(batch[0])
        return [(backbone, backbone.extract(images)) for backbone in self.backbones if backbone.name in lacking]


def _one_core() -> None:
    """A worker's networks use its own core: two workers of one thread are faster than two threads on one batch."""
    import torch

    torch.set_num_threads(1)


_Computed = tuple[list[str], list[tuple[Backbone, dict[str, Features]]]]


def _computed(items: Sequence[PixelItem], plan: _Plan, writer: "_Writer") -> Iterator[_Computed]:
    """Batches and what was computed of them, in order."""
    pool = ThreadPoolExecutor(plan.workers, thread_name_prefix="network", initializer=_one_core)
    running: deque[tuple[list[str], Future[list[tuple[Backbone, dict[str, Features]]]]]] = deque()

    def finished() -> _Computed:
        batch, future = running.popleft()
        return batch, future.result()

    try:
        with contextlib.closing(_batches(items, plan)) as batches:
            for batch, images in batches:
                while len(running) > plan.workers:
                    yield finished()
                while running and len(batch) + sum(len(b) for b, _ in running) + writer.waiting() > SHARD_IMAGES:
                    if writer.waiting():
                        writer.flush()
                    elif len(running) < plan.workers and plan.workers * len(batch) > SHARD_IMAGES:
                        # More workers than the promise has room for: a batch each.
                        break
                    else:
                        yield finished()
                running.append((batch, pool.submit(plan.compute, batch, images)))
            while running:
                yield finished()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(items: Sequence[PixelItem], plan: _Plan) -> Generator[tuple[list[str], NDArray[np.uint8]]]:
    """Digests and stacked images [n, H, W, 3] of one shape that the same backbones lack."""
    waiting: dict[tuple[tuple[int, ...], tuple[str, ...]], list[tuple[str, Image]]] = {}
    load = _loaded_by_processes if plan.decode_processes else _loaded_by_threads
    with contextlib.closing(load(items, plan.decode_processes or DECODE_THREADS)) as loaded:
        for digest, image in loaded:
            key = (image.shape, plan.lacking(digest))
            batch = waiting.setdefault(key, [])
            batch.append((digest, image))
            if len(batch) == plan.batch_of(image.shape):
                del waiting[key]
                yield [d for d, _ in batch], np.stack([i for _, i in batch])
    for batch in waiting.values():
        yield [d for d, _ in batch], np.stack([i for _, i in batch])


def _loaded_by_threads(items: Sequence[PixelItem], threads: int) -> Generator[tuple[str, Image]]:
    """Digests and checked pixels in item order, loaded a bounded number ahead."""
    ahead = threads * BATCH_IMAGES
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        futures: deque[Future[Image]] = deque()
        submitted = 0
        for item in items:
            while submitted < len(items) and len(futures) < ahead:
                futures.append(pool.submit(_checked, items[submitted]))
                submitted += 1
            yield item.digest, futures.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_held: Sequence[PixelItem] = ()
"""The items of a decoding process."""


def _hold(items: Sequence[PixelItem]) -> None:
    global _held
    _held = items


def _load_rows(start: int) -> tuple[int, list[Image]]:
    return start, [_checked(item) for item in _held[start : start + BATCH_IMAGES]]


def _loaded_by_processes(items: Sequence[PixelItem], processes: int) -> Generator[tuple[str, Image]]:
    """As `_loaded_by_threads`, in worker processes: one process cannot decode as fast as a GPU computes."""
    early: dict[int, list[Image]] = {}
    due = 0
    starts = range(0, len(items), BATCH_IMAGES)
    loaded = map_unordered(_load_rows, starts, processes=processes, prepare=partial(_hold, items))
    with contextlib.closing(loaded) as chunks:
        for start, images in chunks:
            early[start] = images
            while due in early:
                for offset, image in enumerate(early.pop(due)):
                    yield items[due + offset].digest, image
                due += BATCH_IMAGES


def _checked(item: PixelItem) -> Image:
    image = item.load()
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            "an image is not what networks take",
            where=f"pixels {item.digest}",
            expected="uint8 RGB [H, W, 3]",
            found=f"{image.dtype} {list(image.shape)}",
        )
    digest = pixel_digest(image)
    if digest != item.digest:
        raise VerificationError(
            "an image changed after it was checked",
            expected=f"pixels {item.digest}",
            found=f"pixels {digest}",
            next_step="run the command again when nothing writes to the files",
        )
    return image


@dataclass(slots=True)
class _Pending:
    """Rows of one backbone that are computed and not yet written."""

    digests: list[str] = field(default_factory=list)
    values: dict[str, list[Features]] = field(default_factory=dict)


class _Writer:
    """Gathers computed rows into shards, and the shards into packs when all is done."""

    def __init__(self, store: FeatureStore | None, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._pending: dict[str, tuple[Backbone, _Pending]] = {}
        self._written: dict[str, tuple[Backbone, list[str], list[Path]]] = {}

    def waiting(self) -> int:
        """The most images that any backbone has waiting to be written."""
        return max((len(pending.digests) for _, pending in self._pending.values()), default=0)

    def add(self, backbone: Backbone, digests: Sequence[str], values: Mapping[str, Features]) -> None:
        """Take rows; write them when a shard is full."""
        if self._store is None:
            return
        _, pending = self._pending.setdefault(backbone.name, (backbone, _Pending()))
        pending.digests.extend(digests)
        for output, array in values.items():
            pending.values.setdefault(output, []).append(array)
        if len(pending.digests) >= SHARD_IMAGES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        pending = list(self._pending.values())
        self._pending.clear()
        for backbone, rows in pending:
            if self._store is not None:
                joined = {output: np.concatenate(arrays) for output, arrays in rows.values.items()}
                path = self._store.write(backbone, rows.digests, joined, progress=self._progress)
                if path is not None:
                    _, digests, paths = self._written.setdefault(backbone.name, (backbone, [], []))
                    digests += rows.digests
                    paths.append(path)

    def pack(self, results: Mapping[str, Mapping[str, Features]], rows: Mapping[str, int]) -> None:
        """Put the rows that this run has written into few large files, and remove its shards."""
        for backbone, digests, paths in self._written.values():
            if self._store is None or len(paths) < 2:
                continue
            packs: list[Path] = []
            for start in range(0, len(digests), PACK_IMAGES):
                part = digests[start : start + PACK_IMAGES]
                of_part = [rows[digest] for digest in part]
                values = {output: array[of_part] for output, array in results[backbone.name].items()}
                path = self._store.write(backbone, part, values, progress=self._progress)
                if path is None:
                    return
                packs.append(path)
            for path in set(paths).difference(packs):
                path.unlink(missing_ok=True)


class KeptRows:
    """Rows of JSON kept by a key: what is known of a file, so that it is not looked at again.

    A folder of files, each canonical JSON lines under the sha256 of its bytes: damage is noticed and ignored, and
    processes that write at the same time cannot disturb each other. Any file may be deleted. What rows depend on
    besides their keys belongs into the folder's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, progress: Progress) -> dict[str, Mapping[str, object]]:
        """All rows by key. A damaged file is noted once and ignored."""
        rows: dict[str, Mapping[str, object]] = {}
        damaged: Path | None = None
        try:
            paths = sorted(path for path in self.folder.iterdir() if path.suffix == ROWS_SUFFIX)
        except OSError:
            return rows
        for path in paths:
            try:
                data = path.read_bytes()
                if bytes_digest(data) + ROWS_SUFFIX != path.name:
                    raise ValueError("the digest does not fit")
                # One call for all lines is twice as fast as one for each.
                for value in json.loads(b"[" + b",".join(data.splitlines()) + b"]"):
                    rows[value["key"]] = value["row"]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError):
                damaged = path
        if damaged is not None:
            progress.note(f"damaged rows are ignored and found again: {damaged}")
        return rows

    def add(self, rows: Mapping[str, Mapping[str, object]], progress: Progress) -> None:
        """Keep rows; a folder that cannot be written is noted and costs only time later."""
        if not rows:
            return
        data = jsonl_bytes({"key": key, "row": rows[key]} for key in sorted(rows))
        try:
            write_bytes(self.folder / (bytes_digest(data) + ROWS_SUFFIX), data)
        except OSError as error:
            progress.note(f"what was found of the files is not kept: {self.folder}: {error.strerror or error}")
