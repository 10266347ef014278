from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import file_digest, fingerprint
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.common.home import features_folder, statistics_folder
from palette_bench.common.parts import Part
from palette_bench.common.progress import Silent
from palette_bench.images.decode import decode
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.score import statistics
from palette_bench.score.features import FeatureStore
from palette_bench.score.recipes.base import ReferenceStatistics
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
def eval_set(home: Path, photo_folder: Path) -> EvalSet:
    choices = Choices(source=photo_folder, name="photos", size=32)
    return EvalSet(
        build(make_plan("folder", choices, progress=Silent()), jobs=1, replace=False, progress=Silent()).folder
    )


def compute(eval_set: EvalSet, source: Path, backbone: Counting) -> ReferenceStatistics:
    computed, _ = statistics.compute(
        eval_set,
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
    eval_set: EvalSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BLOCK", 64)
    source = make_photos(tmp_path / "others", 150)
    with pytest.raises(KeyboardInterrupt):
        compute(eval_set, source, Counting(dies_after=100))
    assert statistics.load(eval_set, statistics.OWN_FOLDER, Counting.fingerprint, "features") is None
    again = Counting()
    resumed = compute(eval_set, source, again)
    assert again.seen <= 150 - 64
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "elsewhere"))
    whole = compute(eval_set, source, Counting())
    assert resumed.data_digest == whole.data_digest
    assert (resumed.moments.mean == whole.moments.mean).all()
    assert (resumed.moments.covariance == whole.moments.covariance).all()


def test_statistics_are_those_of_the_features(eval_set: EvalSet, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "others", 20)
    compute(eval_set, source, Counting())
    kept = statistics.load(eval_set, statistics.OWN_FOLDER, Counting.fingerprint, "features")
    assert kept is not None
    from palette_bench.images.decode import decode
    from palette_bench.images.geometry import square_area

    images = np.stack([square_area(decode(path.read_bytes()).pixels, 32) for path in sorted(source.rglob("*.jpg"))])
    features = Counting().extract(images)["features"].astype(np.float64)
    assert kept.moments.count == 20
    assert kept.moments.mean == pytest.approx(features.mean(axis=0), rel=1e-12)
    assert kept.moments.covariance == pytest.approx(np.cov(features.T), rel=1e-9)


def test_a_flipped_bit_is_found(eval_set: EvalSet, tmp_path: Path) -> None:
    compute(eval_set, make_photos(tmp_path / "others", 20), Counting())
    path = next(statistics_folder().glob("*.statistics"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(VerificationError, match="statistics are damaged"):
        statistics.load(eval_set, statistics.OWN_FOLDER, Counting.fingerprint, "features")


def test_a_bad_image_leaves_no_statistics(eval_set: EvalSet, tmp_path: Path) -> None:
    source = make_photos(tmp_path / "others", 20)
    (source / "cats" / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of 21 images.*"):
        compute(eval_set, source, Counting())
    assert not list(statistics_folder().glob("*.statistics"))


def test_references_are_known_by_name(eval_set: EvalSet) -> None:
    assert statistics.reference_name(eval_set, None) == statistics.OWN_FOLDER
    with pytest.raises(UsageError, match="eval-set"):
        statistics.reference_name(eval_set, "imagenet-val")


def moments_file(path: Path, **changes: NDArray[np.float64]) -> Path:
    width = 8
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(width, width))
    arrays = {"mu": rng.normal(size=width), "sigma": factor @ factor.T, **changes}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_moments_of_others_are_kept_under_their_digest(eval_set: EvalSet, tmp_path: Path) -> None:
    path = moments_file(tmp_path / "stats.npz")
    name, _ = statistics.import_moments(eval_set, path, Counting(), "features", count=50_000)
    assert name == f"imported-{file_digest(path)[:12]}"
    assert statistics.reference_name(eval_set, name) == name
    kept = statistics.load(eval_set, name, Counting.fingerprint, "features")
    assert kept is not None
    assert kept.data_digest == file_digest(path)
    assert kept.moments.count == 50_000
    with np.load(path) as archive:
        np.testing.assert_array_equal(kept.moments.mean, archive["mu"])
        np.testing.assert_allclose(kept.moments.covariance, archive["sigma"], rtol=1e-15)
    assert statistics.load(eval_set, name, "0" * 64, "features") is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mu": np.zeros(7)}, "mu [7]"),
        ({"sigma": np.zeros((8, 7))}, "sigma [8, 7]"),
        ({"mu": np.full(8, np.nan)}, "not finite"),
        ({"sigma": np.triu(np.ones((8, 8)))}, "no covariance"),
        ({"sigma": -np.eye(8)}, "no covariance"),
    ],
)
def test_what_are_no_moments_is_refused(
    eval_set: EvalSet, tmp_path: Path, changes: dict[str, NDArray[np.float64]], says: str
) -> None:
    path = moments_file(tmp_path / "stats.npz", **changes)
    with pytest.raises(InputError) as raised:
        statistics.import_moments(eval_set, path, Counting(), "features", count=100)
    assert says in str(raised.value)
    assert "mu [8] and sigma [8, 8]" in str(raised.value)


def test_a_file_of_anything_else_is_refused(eval_set: EvalSet, tmp_path: Path) -> None:
    path = tmp_path / "stats.npz"
    for data in (b"", b"PK\x03\x04 broken", b"text"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="no feature statistics"):
            statistics.import_moments(eval_set, path, Counting(), "features", count=100)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(InputError, match="no feature statistics"):
        statistics.import_moments(eval_set, path, Counting(), "features", count=100)


def test_parts_on_machines_of_their_own_make_the_same_statistics(
    eval_set: EvalSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_photos(tmp_path / "others", 150)
    whole = compute(eval_set, source, Counting())
    parts = []
    for number in (1, 2, 3):
        monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / f"machine-{number}"))
        folder = tmp_path / f"part-{number}"
        backbone = Counting()
        done = statistics.compute_part(
            eval_set,
            statistics.OWN_FOLDER,
            backbone,
            "features",
            Part(number, 3),
            source=source,
            labels=None,
            store=FeatureStore(folder, [features_folder()], adopt=True),
            progress=Silent(),
        )
        assert backbone.seen <= done < 150
        parts.append(folder)
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "merging"))
    nothing = Counting(dies_after=0)
    merged, _ = statistics.compute(
        eval_set,
        statistics.OWN_FOLDER,
        nothing,
        "features",
        source=source,
        labels=None,
        store=FeatureStore(features_folder(), parts, adopt=True),
        progress=Silent(),
    )
    assert merged.data_digest == whole.data_digest
    assert (merged.moments.covariance == whole.moments.covariance).all()
    again, _ = statistics.compute(
        eval_set,
        statistics.OWN_FOLDER,
        nothing,
        "features",
        source=source,
        labels=None,
        store=FeatureStore(features_folder()),
        progress=Silent(),
    )
    assert again.data_digest == whole.data_digest


def test_a_file_that_is_known_is_not_decoded_again(
    eval_set: EvalSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_photos(tmp_path / "others", 20)
    first = compute(eval_set, source, Counting())
    decoded: list[int] = []

    def counting(data: bytes, **options: object) -> object:
        decoded.append(len(data))
        return decode(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("palette_bench.score.statistics.decode", counting)
    assert compute(eval_set, source, Counting(dies_after=0)).data_digest == first.data_digest
    assert decoded == []
    extra = make_photos(tmp_path / "more", 21) / "cats" / "photo-20.jpg"
    extra.rename(source / "cats" / "photo-20.jpg")
    assert compute(eval_set, source, Counting()).data_digest != first.data_digest
    assert len(decoded) == 1
