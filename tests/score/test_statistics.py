from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.common.home import features_folder, statistics_folder
from palette_bench.common.progress import Silent
from palette_bench.prepare.build import build
from palette_bench.prepare.frozen import FrozenSet
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.score import statistics
from palette_bench.score.features import FeatureStore
from palette_bench.score.statistics import ReferenceStatistics
from tests.conftest import make_photos


class Counting:
    """A backbone of eight features that counts the images it sees and can be made to die."""

    name = "counting"
    outputs: Mapping[str, int] = {"features": 8}
    fingerprint = fingerprint("counting")

    def __init__(self, dies_after: int = 10**9) -> None:
        self.seen = 0
        self.dies_after = dies_after

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        if self.seen >= self.dies_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        rows = images.astype(np.float32).mean(axis=(2, 3))
        return {"features": rows.reshape(len(images), 8, -1).mean(axis=2)}


@pytest.fixture
def opened(home: Path, photo_folder: Path) -> FrozenSet:
    choices = Choices(source=photo_folder, name="photos", size=32)
    return FrozenSet(
        build(make_plan("folder", choices, progress=Silent()), jobs=1, replace=False, progress=Silent()).folder
    )


def compute(opened: FrozenSet, source: Path, backbone: Counting) -> ReferenceStatistics:
    computed, _ = statistics.compute(
        opened,
        statistics.OWN_FOLDER,
        backbone,
        "features",
        source=source,
        labels=None,
        store=FeatureStore(features_folder()),
        progress=Silent(),
        batch_size=8,
    )
    return computed


def test_an_interrupted_run_continues_where_it_was(
    opened: FrozenSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BLOCK", 64)
    source = make_photos(tmp_path / "others", 150)
    with pytest.raises(KeyboardInterrupt):
        compute(opened, source, Counting(dies_after=100))
    assert statistics.load(opened, statistics.OWN_FOLDER, Counting.fingerprint, "features") is None
    again = Counting()
    resumed = compute(opened, source, again)
    assert again.seen <= 150 - 64
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "elsewhere"))
    whole = compute(opened, source, Counting())
    assert resumed.data_digest == whole.data_digest
    assert (resumed.moments.mean == whole.moments.mean).all()
    assert (resumed.moments.covariance == whole.moments.covariance).all()


def test_statistics_are_those_of_the_features(opened: FrozenSet, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "others", 20)
    compute(opened, source, Counting())
    kept = statistics.load(opened, statistics.OWN_FOLDER, Counting.fingerprint, "features")
    assert kept is not None
    from palette_bench.prepare.decode import decode
    from palette_bench.prepare.degrade.geometry import square_area

    images = np.stack([square_area(decode(path.read_bytes()).pixels, 32) for path in sorted(source.rglob("*.jpg"))])
    features = Counting().extract(images)["features"].astype(np.float64)
    assert kept.moments.count == 20
    assert kept.moments.mean == pytest.approx(features.mean(axis=0), rel=1e-12)
    assert kept.moments.covariance == pytest.approx(np.cov(features.T), rel=1e-9)


def test_a_flipped_bit_is_found(opened: FrozenSet, tmp_path: Path) -> None:
    compute(opened, make_photos(tmp_path / "others", 20), Counting())
    path = next(statistics_folder().glob("*.statistics"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(VerificationError, match="statistics are damaged"):
        statistics.load(opened, statistics.OWN_FOLDER, Counting.fingerprint, "features")


def test_a_bad_image_leaves_no_statistics(opened: FrozenSet, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "others", 20)
    (source / "cats" / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 21 images.*"):
        compute(opened, source, Counting())
    assert not list(statistics_folder().glob("*.statistics"))


def test_references_are_known_by_name(opened: FrozenSet) -> None:
    assert statistics.reference_name(opened, None) == statistics.OWN_FOLDER
    with pytest.raises(UsageError, match="eval-set"):
        statistics.reference_name(opened, "imagenet-val")
