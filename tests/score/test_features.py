import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.files import write_bytes
from palette_bench.common.progress import Silent
from palette_bench.score.features import PACK_IMAGES, SHARD_IMAGES, FeatureStore, PixelItem, extract

Image = NDArray[np.uint8]


class Sums:
    """A backbone whose features are sums of pixels, and that counts what it is asked."""

    def __init__(self, name: str = "sums", *, version: str = "1", fail_after: int | None = None) -> None:
        self.name = name
        self.outputs: Mapping[str, int] = {"rows": 4, "colours": 3}
        self.fingerprint = hashlib.sha256(f"{name}{version}".encode()).hexdigest()
        self.seen: list[int] = []
        self._fail_after = fail_after

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if self._fail_after is not None and sum(self.seen) >= self._fail_after:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        exact = images.astype(np.float32)
        return {"colours": exact.sum(axis=(1, 2)), "rows": exact[:, :4].sum(axis=(2, 3))}


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def make_images(count: int, *, size: int = 6, seed: int = 0) -> list[Image]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def items_of(images: Sequence[Image], loads: list[int] | None = None) -> list[PixelItem]:
    def loader(index: int) -> Callable[[], Image]:
        def load() -> Image:
            if loads is not None:
                loads.append(index)
            return images[index]

        return load

    return [PixelItem(pixel_digest(image), loader(i)) for i, image in enumerate(images)]


def check(found: dict[str, dict[str, NDArray[np.float32]]], images: Sequence[Image], name: str = "sums") -> None:
    expected = [Sums().extract(image[None]) for image in images]
    for output in ("rows", "colours"):
        np.testing.assert_array_equal(found[name][output], np.concatenate([e[output] for e in expected]))


def rows_in(folder: Path) -> int:
    """How many rows all shards below ``folder`` hold."""
    heads = [path.read_bytes().partition(b"\n")[0] for path in folder.rglob("*.features")]
    return sum(len(json.loads(head)["digests"]) for head in heads)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 500])
@pytest.mark.parametrize("kept", [True, False])
def test_rows_are_in_item_order_for_any_batch(tmp_path: Path, batch_size: int | None, kept: bool) -> None:
    images = make_images(40)
    images[10:20] = make_images(10, size=9)
    images[33] = images[2]
    images[34] = images[12]
    store = FeatureStore(tmp_path) if kept else None
    check(extract(items_of(images), [Sums()], store, batch_size=batch_size), images)
    order = np.random.default_rng(1).permutation(40)
    shuffled = [images[i] for i in order]
    check(extract(items_of(shuffled), [Sums()], store, batch_size=batch_size), shuffled)


def test_a_wrong_order_would_be_seen() -> None:
    images = make_images(5)
    found = extract(items_of(images[::-1]), [Sums()], None)
    with pytest.raises(AssertionError):
        check(found, images)


def test_batches_hold_one_shape_and_duplicates_are_computed_once() -> None:
    images = [*make_images(20), *make_images(10, size=9), *make_images(20)]
    network, loads = Sums(), list[int]()
    check(extract(items_of(images, loads), [network], None, batch_size=8), images)
    assert sorted(network.seen) == [2, 4, 8, 8, 8]
    assert sorted(loads) == list(range(30))


def test_nothing_is_computed_or_loaded_twice(tmp_path: Path) -> None:
    images = make_images(3 * SHARD_IMAGES + 5)
    extract(items_of(images), [Sums()], FeatureStore(tmp_path))
    network, loads = Sums(), list[int]()
    check(extract(items_of(images, loads), [network], FeatureStore(tmp_path)), images)
    assert network.seen == []
    assert loads == []
    more = [*make_images(4, seed=9), *images]
    check(extract(items_of(more, loads), [network], FeatureStore(tmp_path)), more)
    assert network.seen == [4]
    assert sorted(loads) == [0, 1, 2, 3]


def test_an_image_is_loaded_once_for_every_backbone_that_lacks_it(tmp_path: Path) -> None:
    images = make_images(30)
    store = FeatureStore(tmp_path)
    extract(items_of(images[:10]), [Sums("one")], store)
    extract(items_of(images[5:15]), [Sums("two")], store)
    one, two, loads = Sums("one"), Sums("two"), list[int]()
    found = extract(items_of(images, loads), [one, two], store)
    check(found, images, "one")
    check(found, images, "two")
    assert sum(one.seen) == 20
    assert sum(two.seen) == 20
    assert sorted(loads) == [*range(5), *range(10, 30)]


def test_another_fingerprint_shares_nothing(tmp_path: Path) -> None:
    images = make_images(5)
    extract(items_of(images), [Sums(version="1")], FeatureStore(tmp_path))
    network = Sums(version="2")
    extract(items_of(images), [network], FeatureStore(tmp_path))
    assert sum(network.seen) == 5


def test_no_items() -> None:
    found = extract([], [Sums()], None)
    assert found["sums"]["rows"].shape == (0, 4)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "header", "name"])
def test_a_damaged_shard_is_noted_once_and_computed_again(tmp_path: Path, damage: str) -> None:
    images = make_images(4 * SHARD_IMAGES)
    for start in range(0, len(images), SHARD_IMAGES):
        extract(items_of(images[start : start + SHARD_IMAGES]), [Sums()], FeatureStore(tmp_path))
    shards = sorted(tmp_path.rglob("*.features"))
    assert len(shards) == 4
    for shard in shards[:2]:
        data = bytearray(shard.read_bytes())
        match damage:
            case "flip":
                data[-1] ^= 1
            case "cut":
                del data[len(data) // 2 :]
            case "empty":
                data.clear()
            case "header":
                data[:1] = b"!"
            case _:
                shard.rename(shard.with_name("0" * 63 + shard.name[0] + ".features"))
                continue
        shard.write_bytes(data)
    network, progress = Sums(), Notes()
    check(extract(items_of(images), [network], FeatureStore(tmp_path), progress=progress), images)
    assert sum(network.seen) == 2 * SHARD_IMAGES
    assert len(progress.notes) == 1
    assert "damaged" in progress.notes[0]
    again = Sums()
    check(extract(items_of(images), [again], FeatureStore(tmp_path)), images)
    assert again.seen == []


def test_the_store_may_be_deleted_or_unwritable(tmp_path: Path) -> None:
    images = make_images(5)
    store = FeatureStore(tmp_path / "features")
    extract(items_of(images), [Sums()], store)
    for shard in tmp_path.rglob("*.features"):
        shard.unlink()
    check(extract(items_of(images), [Sums()], store), images)
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    progress = Notes()
    check(extract(items_of(images), [Sums()], FeatureStore(blocked), progress=progress), images)
    assert len(progress.notes) == 1


def test_what_was_computed_before_an_interruption_is_kept(tmp_path: Path) -> None:
    images = make_images(100)
    with pytest.raises(KeyboardInterrupt):
        extract(items_of(images), [Sums(fail_after=40)], FeatureStore(tmp_path), batch_size=10)
    network = Sums()
    check(extract(items_of(images), [network], FeatureStore(tmp_path), batch_size=10), images)
    assert sum(network.seen) == 60


def test_two_writers_at_once(tmp_path: Path) -> None:
    images = make_images(300)
    results: list[dict[str, dict[str, NDArray[np.float32]]]] = []

    def work() -> None:
        results.append(extract(items_of(images), [Sums()], FeatureStore(tmp_path), batch_size=3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for found in results:
        check(found, images)
    network = Sums()
    check(extract(items_of(images), [network], FeatureStore(tmp_path)), images)
    assert network.seen == []


KILLED = """
import sys, time
from pathlib import Path
from tests.score.test_features import Sums, make_images, items_of
from palette_bench.score.features import FeatureStore, extract

class Slow(Sums):
    def extract(self, images):
        time.sleep(0.01)
        return super().extract(images)

extract(items_of(make_images(20000)), [Slow()], FeatureStore(Path(sys.argv[1])), batch_size=16)
"""


def test_a_killed_process_leaves_whole_shards(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    limit = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.features"))) < 5 and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = rows_in(tmp_path)
    assert kept >= 5
    network, progress = Sums(), Notes()
    images = make_images(20000)[: kept + 10]
    check(extract(items_of(images), [network], FeatureStore(tmp_path), progress=progress), images)
    assert sum(network.seen) == 10
    assert progress.notes == []


def test_pixels_that_are_not_those_of_the_digest_are_an_error(tmp_path: Path) -> None:
    images = make_images(3)
    items = items_of(images)
    changed = images[1].copy()
    changed[0, 0, 0] ^= 1
    items[1] = PixelItem(items[1].digest, lambda: changed)
    with pytest.raises(VerificationError, match="changed"):
        extract(items, [Sums()], FeatureStore(tmp_path))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3))],
)
def test_what_is_no_image_is_an_error(image: NDArray[np.generic]) -> None:
    item = PixelItem("0" * 64, lambda: image)  # type: ignore[arg-type,return-value]
    with pytest.raises(InputError, match="not what networks take"):
        extract([item], [Sums()], None)


def test_an_error_of_a_loader_arrives_unchanged() -> None:
    def broken() -> Image:
        raise InputError("a prediction cannot be decoded", where="7.png")

    with pytest.raises(InputError, match=r"7\.png"):
        extract([PixelItem("0" * 64, broken)], [Sums()], None)


def test_two_backbones_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same name"):
        extract([], [Sums(), Sums()], None)


@pytest.mark.parametrize("workers", [1, 2, 4, 30])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 64])
def test_workers_change_nothing_and_risk_little(tmp_path: Path, workers: int, batch_size: int | None) -> None:
    """At most 64 images, or a batch for each worker, are computed and not yet written at any time."""
    kept: set[str] = set()
    begun: set[str] = set()
    risks: list[int] = []
    lock = threading.Lock()

    class Watched(Sums):
        def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
            with lock:
                begun.update(pixel_digest(image) for image in images)
                risks.append(len(begun - kept))
            time.sleep(0.001)
            return super().extract(images)

    class Watching(FeatureStore):
        def write(self, *arguments: object, **options: object) -> Path | None:
            path = super().write(*arguments, **options)  # type: ignore[arg-type]
            with lock:
                kept.update(arguments[1])  # type: ignore[arg-type]
            return path

    images = make_images(400)
    found = extract(items_of(images), [Watched()], Watching(tmp_path), batch_size=batch_size, workers=workers)
    check(found, images)
    assert max(risks) <= max(SHARD_IMAGES, workers * (batch_size or 1))


def test_small_shards_become_few_packs(tmp_path: Path) -> None:
    images = make_images(PACK_IMAGES + 50)
    extract(items_of(images), [Sums("one"), Sums("two")], FeatureStore(tmp_path))
    assert len(list(tmp_path.rglob("*.features"))) == 4
    network = Sums("one")
    check(extract(items_of(images), [network], FeatureStore(tmp_path)), images, "one")
    assert network.seen == []


class Stored:
    """A picklable loader."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def __call__(self) -> Image:
        return self.image


def test_images_may_be_loaded_by_processes(tmp_path: Path) -> None:
    images = [*make_images(40), *make_images(30, size=9)]
    items = [PixelItem(pixel_digest(image), Stored(image)) for image in images]
    check(extract(items, [Sums()], FeatureStore(tmp_path), workers=2, decode_processes=2), images)
    items[50] = PixelItem(items[50].digest, Stored(images[0]))
    with pytest.raises(VerificationError, match="changed"):
        extract(items, [Sums("other")], None, decode_processes=2)


def test_a_second_folder_is_read_and_never_written(tmp_path: Path) -> None:
    images = make_images(30)
    extract(items_of(images[:20]), [Sums()], FeatureStore(tmp_path / "other"))
    before = {path: path.read_bytes() for path in (tmp_path / "other").rglob("*.features")}
    network = Sums()
    store = FeatureStore(tmp_path / "own", [tmp_path / "other", tmp_path / "nothing"])
    check(extract(items_of(images), [network], store), images)
    assert sum(network.seen) == 10
    assert {path: path.read_bytes() for path in (tmp_path / "other").rglob("*.features")} == before


def test_a_full_disk_is_an_error_and_leaves_the_store_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images(300)
    written = list[Path]()

    def fill(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_bytes(path, data)
        written.append(path)

    monkeypatch.setattr("palette_bench.score.features.write_bytes", fill)
    with pytest.raises(InputError, match="disk is full"):
        extract(items_of(images), [Sums()], FeatureStore(tmp_path), batch_size=16)
    monkeypatch.undo()
    kept = rows_in(tmp_path)
    assert kept > 100
    network, progress = Sums(), Notes()
    check(extract(items_of(images), [network], FeatureStore(tmp_path), progress=progress), images)
    assert sum(network.seen) == 300 - kept
    assert progress.notes == []
