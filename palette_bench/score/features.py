"""Network outputs of images, computed once and kept.

`extract` is the only place where images go through networks: every image is loaded once and passes every backbone
that lacks it. `FeatureStore` keeps the outputs by what they depend on, the backbone's fingerprint and the digest of
the pixels, so that nothing has to be invalidated: a changed image or network simply has no entry.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import bytes_digest, canonical_json, pixel_digest
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.files import write_bytes
from palette_bench.common.progress import Progress, Silent
from palette_bench.score.backbones.base import Backbone

SHARD_IMAGES = 64
"""At most so many images a shard: what a killed process loses, and what a damaged file costs."""

SHARD_FORMAT = 1
BATCH_IMAGES = 16
"""Images a batch where the caller does not say; larger batches leave the processor's caches."""

SMALL_BATCH_IMAGES = 256
SMALL_PIXELS = 64 * 64
DECODE_THREADS = 2
_SUFFIX = ".features"
_HEADER_BYTES = 16_384

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


class FeatureStore:
    """Features in a folder, one sub-folder a backbone fingerprint, in shards of at most `SHARD_IMAGES` images.

    A shard is one line of canonical JSON and then float32 little-endian arrays, and its name is the sha256 of its
    bytes: a damaged shard is noticed, ignored and computed again, and processes that write at the same time cannot
    disturb each other. Any file may be deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: set[Path] = set()
        self._bad: set[Path] = set()
        self._places: dict[str, dict[str, list[tuple[_Shard, int]]]] = {}
        self._told_damage = False
        self._told_unwritable = False

    def load(
        self, backbone: Backbone, digests: Sequence[str], *, progress: Progress
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
                return values, found
            for head, sources, targets in wanted.values():
                arrays = self._read(head, progress)
                if arrays is not None:
                    for output, array in arrays.items():
                        values[output][targets] = array[sources]
                    found[targets] = True

    def write(
        self, backbone: Backbone, digests: Sequence[str], values: Mapping[str, Features], *, progress: Progress
    ) -> None:
        """Keep the outputs of up to `SHARD_IMAGES` images.

        A folder that cannot be written is noted once and costs only time later.
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
        try:
            write_bytes(self.folder / backbone.fingerprint / (bytes_digest(data) + _SUFFIX), data)
        except OSError as error:
            if not self._told_unwritable:
                self._told_unwritable = True
                progress.note(f"features are not kept: {self.folder}: {error.strerror or error}")

    def _refresh(self, backbone: Backbone, progress: Progress) -> Mapping[str, Sequence[tuple[_Shard, int]]]:
        """Where the rows of each digest are, shards written by other processes since the last call included."""
        places = self._places.setdefault(backbone.fingerprint, {})
        try:
            paths = sorted((self.folder / backbone.fingerprint).iterdir())
        except OSError:
            return places
        for path in paths:
            if path in self._seen or path.suffix != _SUFFIX or path.name.startswith("."):
                continue
            self._seen.add(path)
            head = _read_head(path, backbone)
            if head is None:
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


def _read_head(path: Path, backbone: Backbone) -> _Shard | None:
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


@dataclass(slots=True)
class _Pending:
    """Rows of one backbone that are computed and not yet written."""

    digests: list[str] = field(default_factory=list)
    values: dict[str, list[Features]] = field(default_factory=dict)


def extract(
    items: Sequence[PixelItem],
    backbones: Sequence[Backbone],
    store: FeatureStore | None,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Features]]:
    """Outputs of every backbone for every item: ``{backbone name: {output: [len(items), width] float32}}``, rows in
    item order.

    Equal digests are computed once; what ``store`` holds is not computed at all. Each other image is loaded once, in
    threads that run ahead, and batches hold images of one shape. ``batch_size`` is `BATCH_IMAGES`, for images below
    64x64 `SMALL_BATCH_IMAGES`, unless given: it moves no number beyond the networks' rounding. Raises
    VerificationError if the pixels are not those of the digest, InputError if they are no image; what was computed
    until then stays in the store.
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
        with progress.task("networks", len(todo), "image") as task:
            writer = _Writer(store, progress)
            try:
                for batch, images in _batches([items[row] for row in todo], missing, batch_size):
                    for backbone in backbones:
                        if batch[0] not in missing[backbone.name]:
                            continue
                        computed = backbone.extract(images)
                        for output, array in computed.items():
                            results[backbone.name][output][[first_rows[d] for d in batch]] = array
                        writer.add(backbone, batch, computed)
                    task.advance(len(batch))
            finally:
                writer.flush()
    for row, digest in enumerate(digests):
        first = first_rows[digest]
        if row != first:
            for values in results.values():
                for array in values.values():
                    array[row] = array[first]
    return results


def _batches(
    items: Sequence[PixelItem], missing: Mapping[str, set[str]], batch_size: int | None
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Digests and stacked images [n, H, W, 3] of one shape that the same backbones lack."""
    waiting: dict[tuple[tuple[int, ...], tuple[str, ...]], list[tuple[str, Image]]] = {}
    for digest, image in _loaded(items):
        key = (image.shape, tuple(name for name, lacking in missing.items() if digest in lacking))
        batch = waiting.setdefault(key, [])
        batch.append((digest, image))
        if len(batch) == (batch_size or _default_batch(image.shape)):
            del waiting[key]
            yield [d for d, _ in batch], np.stack([i for _, i in batch])
    for batch in waiting.values():
        yield [d for d, _ in batch], np.stack([i for _, i in batch])


def _default_batch(shape: tuple[int, ...]) -> int:
    return SMALL_BATCH_IMAGES if shape[0] * shape[1] < SMALL_PIXELS else BATCH_IMAGES


def _loaded(items: Sequence[PixelItem]) -> Iterator[tuple[str, Image]]:
    """Digests and checked pixels in item order, loaded a bounded number ahead."""
    ahead = DECODE_THREADS * BATCH_IMAGES
    pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")
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


class _Writer:
    """Gathers computed rows into whole shards."""

    def __init__(self, store: FeatureStore | None, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._pending: dict[str, tuple[Backbone, _Pending]] = {}

    def add(self, backbone: Backbone, digests: Sequence[str], values: Mapping[str, Features]) -> None:
        """Take rows; write every shard that is full."""
        if self._store is None:
            return
        _, pending = self._pending.setdefault(backbone.name, (backbone, _Pending()))
        pending.digests.extend(digests)
        for output, array in values.items():
            pending.values.setdefault(output, []).append(array)
        while len(pending.digests) >= SHARD_IMAGES:
            self._write(backbone, pending, SHARD_IMAGES)

    def flush(self) -> None:
        """Write what is left."""
        for backbone, pending in self._pending.values():
            if pending.digests:
                self._write(backbone, pending, len(pending.digests))

    def _write(self, backbone: Backbone, pending: _Pending, count: int) -> None:
        joined = {output: np.concatenate(arrays) for output, arrays in pending.values.items()}
        if self._store is not None:
            self._store.write(
                backbone, pending.digests[:count], {o: a[:count] for o, a in joined.items()}, progress=self._progress
            )
        del pending.digests[:count]
        pending.values = {o: [a[count:]] for o, a in joined.items()}
