"""Weights and statistics that are not what they should be."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.score.backbones import weights
from tests.adversarial import files
from tests.adversarial.harness import COUNT, TINY, assert_accepted, assert_refused, records, run

INPUT, VERIFICATION = ExitCode.INPUT, ExitCode.VERIFICATION


class _Intruder:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def preds(tiny: Path) -> Path:
    return Path(shutil.copytree(tiny / "references", "preds"))


def _score(preds: Path, *options: object) -> tuple[object, ...]:
    return ("score", "--set", TINY, "--task", "uncrop", "--preds", preds, "--jobs", 1, "--out", "out", *options)


def test_missing_weights_are_told_with_where_to_get_them(preds: Path, home: Path) -> None:
    says = ("weights of inception2015 are missing", weights.INCEPTION_2015.file_name, "weights fetch inception2015")
    assert_refused(run(*_score(preds)), INPUT, str(home / "weights"), *says, next_step=False)
    assert_refused(run("statistics", TINY, "--source", preds), INPUT, *says)
    assert_refused(run("weights", "fetch", "--offline"), INPUT, "network is switched off", weights.INCEPTION_2015.url)
    assert records(Path.cwd()) == []


def test_other_weights_are_refused_unless_they_are_allowed(preds: Path, networks: Path) -> None:
    path = networks / weights.INCEPTION_2015.file_name
    says = ("is not the published one", str(path), weights.INCEPTION_2015.sha256, "--allow-other-weights")
    assert_refused(run("statistics", TINY, "--source", preds), INPUT, *says)
    assert_refused(run(*_score(preds)), INPUT, str(path), "is not the published one", next_step=False)
    assert records(Path.cwd()) == []
    assert_accepted(run(*_score(preds, "--allow-other-weights")))
    assert '"comparable": false' in Path("out/result.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["code", "text", "empty", "half a zip"])
def test_weights_that_are_none_run_nothing(kind: str, preds: Path, home: Path, tmp_path: Path) -> None:
    data = {
        "code": pickle.dumps({"fc.weight": _Intruder(tmp_path / "intruded")}, protocol=2),
        "text": b"weights\n" * 100,
        "empty": b"",
        "half a zip": b"PK\x03\x04" + b"\0" * 200,
    }[kind]
    files.folder_of(home / "weights", {file.file_name: data for file in weights.FILES.values()})
    outcome = run(*_score(preds, "--allow-other-weights"))
    assert_refused(outcome, INPUT, weights.INCEPTION_2015.file_name)
    assert not (tmp_path / "intruded").exists()
    assert records(Path.cwd()) == []


def test_weights_that_are_none_are_not_imported(home: Path, tmp_path: Path) -> None:
    other = files.folder_of(tmp_path, {"mine.pth": b"weights"}) / "mine.pth"
    assert_refused(run("weights", "import", other), INPUT, "none of the published weights", str(other))
    for path in (tmp_path / "no.pth", tmp_path):
        assert_refused(run("weights", "import", path), INPUT, "there is no such file", str(path), next_step=False)
    assert_refused(run("weights", "import", other, "--allow-other-weights"), ExitCode.USAGE, "need a name", "--as NAME")
    unknown = run("weights", "import", other, "--as", "vgg", "--allow-other-weights")
    assert_refused(unknown, ExitCode.USAGE, "no weights of this name", "vgg", next_step=False)
    assert_refused(run("weights", "fetch", "vgg"), ExitCode.USAGE, "no weights of this name", "vgg", next_step=False)
    assert not (home / "weights").exists()


def test_a_device_that_is_not_there_is_usage(preds: Path, home: Path) -> None:
    files.folder_of(home / "weights", {file.file_name: b"" for file in weights.FILES.values()})
    outcome = run(*_score(preds, "--allow-other-weights", "--device", "abacus"))
    assert_refused(outcome, ExitCode.USAGE, "this device cannot be used", "abacus", next_step=False)


_kept: list[tuple[str, bytes]] = []


@pytest.fixture
def statistics(preds: Path, networks: Path) -> Path:
    """The file of the statistics of the set's own folder, computed once for all tests."""
    if not _kept:
        assert_accepted(run("statistics", TINY, "--source", preds, "--allow-other-weights"))
        _kept.extend((path.name, path.read_bytes()) for path in networks.parent.rglob("*.statistics"))
    ((name, data),) = _kept
    return files.folder_of(networks.parent / "statistics", {name: data}) / name


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def _other_count(data: bytes) -> bytes:
    return data.replace(b'"count":8', b'"count":9', 1)


def _other_source(data: bytes) -> bytes:
    at = data.index(b'"data_digest":"') + 20
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


def _no_digest(data: bytes) -> bytes:
    return data.replace(b'"reference_fingerprint"', b'"reference_fingerpaint"', 1)


@pytest.mark.parametrize(
    "damage",
    [_cut, _flipped, _other_count, _other_source, _no_digest, lambda _: b"", lambda _: b"{}\n", lambda _: b"\xff" * 99],
    ids=["cut short", "a flipped bit", "another count", "another source", "a lost field", "empty", "text", "binary"],
)
def test_damaged_statistics_are_refused_until_they_are_computed_again(
    damage: Callable[[bytes], bytes], statistics: Path, preds: Path
) -> None:
    statistics.write_bytes(damage(statistics.read_bytes()))
    outcome = run(*_score(preds, "--allow-other-weights"))
    assert_refused(
        outcome, VERIFICATION, "statistics are damaged", str(statistics), "remove the file", "palette-bench statistics"
    )
    assert records(Path.cwd()) == []
    statistics.unlink()
    outcome = assert_accepted(run(*_score(preds, "--allow-other-weights")))
    assert "are not computed yet" in outcome.out


def test_statistics_are_computed_again_after_they_were_damaged(statistics: Path, preds: Path) -> None:
    whole = statistics.read_bytes()
    statistics.write_bytes(b"damaged")
    assert_accepted(run("statistics", TINY, "--source", preds, "--allow-other-weights"))
    assert statistics.read_bytes() == whole


def test_statistics_need_whole_images(preds: Path, networks: Path, home: Path) -> None:
    command = ("statistics", TINY, "--allow-other-weights", "--source")
    assert_refused(run("statistics", TINY, "--allow-other-weights"), ExitCode.USAGE, "--source DIR", next_step=False)
    assert_refused(run(*command, "nowhere"), INPUT, "the source does not exist", "nowhere")
    (preds / "a003.png").write_bytes(b"no")
    (preds / "a004.png").unlink()
    (preds / "a004.png").symlink_to("nowhere")
    says = ("2 of 8 images", "bad-image: a003.png", "bad-image: a004.png: No such file")
    assert_refused(run(*command, preds), INPUT, str(preds), *says)
    assert not list(home.rglob("*.statistics"))
    one = files.folder_of(Path("one"), {"x.png": files.png()})
    assert_refused(run(*command, one), INPUT, "at least two images", "one")
    assert not list(home.rglob("*.statistics"))


def test_an_unknown_reference_names_those_there_are(preds: Path, networks: Path) -> None:
    outcome = run(*_score(preds, "--allow-other-weights", "--reference", "imagenet"))
    assert_refused(outcome, ExitCode.USAGE, "no FID reference of this name", "own-folder, eval-set", next_step=False)


def test_damaged_features_are_computed_again(preds: Path, networks: Path, home: Path) -> None:
    assert_accepted(run(*_score(preds, "--allow-other-weights")))
    first = Path("out/items.csv").read_bytes()
    shards = list((home / "features").rglob("*.features"))
    assert shards
    for shard in shards:
        shard.write_bytes(shard.read_bytes()[:-7])
    outcome = assert_accepted(run(*_score(preds, "--allow-other-weights")))
    assert "damaged features are ignored" in outcome.err
    assert Path("out/items.csv").read_bytes() == first


def test_features_that_cannot_be_kept_cost_only_time(preds: Path, networks: Path, home: Path) -> None:
    (home / "features").write_text("a file", encoding="utf-8")
    outcome = assert_accepted(run(*_score(preds, "--allow-other-weights")))
    assert "features are not kept" in outcome.err
    assert len(Path("out/items.csv").read_text(encoding="utf-8").splitlines()) == COUNT + 1
