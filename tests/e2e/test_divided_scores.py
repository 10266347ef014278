"""However a score is divided, the record is the same: workers, batches, parts, ranks, a warm or a cold cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand
from tests.e2e.conftest import NewHome, Quickstart

Record = dict[str, object]
ALSO = ("--also", "kid-scenes32-evalset", "--by", "class")


def score(run: RunCommand, preds: Path, *more: object) -> Record:
    code, out, err = run("score", "--task", "uncrop", "--preds", preds, "--name", "mirror", "--json", *more)
    assert code == 0, err
    record: Record = json.loads(out)
    return record


def comparable(record: Record) -> Record:
    """Everything but where it was computed."""
    return {key: value for key, value in record.items() if key != "environment"}


def numbers(record: Record) -> dict[str, float]:
    metrics = record["metrics"]
    assert isinstance(metrics, dict)
    return {f"{n}.{k}": m[k] for n, m in metrics.items() for k in ("value", "standard_error") if m[k] is not None}


def features_in(home: Path) -> int:
    return len(list((home / "features").rglob("*.features")))


@pytest.fixture
def whole(quickstart: Quickstart, new_home: NewHome, run: RunCommand) -> Record:
    """The record of one process that does everything."""
    new_home("whole")
    return score(run, quickstart.predictions("mirror"), *ALSO, "--jobs", 1, "--out", "whole-record")


def test_workers_and_batches(quickstart: Quickstart, new_home: NewHome, run: RunCommand, whole: Record) -> None:
    of_64: list[Record] = []
    for batch, jobs in ((1, 2), (7, 4), (64, 1), (64, 2), (64, 4)):
        new_home(f"batch-{batch}-jobs-{jobs}")
        again = score(run, quickstart.predictions("mirror"), *ALSO, "--batch-size", batch, "--jobs", jobs)
        assert again["result_id"] == whole["result_id"]
        assert numbers(again) == pytest.approx(numbers(whole), rel=1e-6)
        if batch == 64:
            of_64.append(comparable(again))
    assert of_64[0] == of_64[1] == of_64[2]


def test_another_prediction_is_another_record(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, whole: Record
) -> None:
    """The twin of the tests above: what they call equal is not always equal."""
    new_home("other")
    other = score(run, quickstart.predictions("tile"), *ALSO)
    assert other["result_id"] != whole["result_id"]
    assert numbers(other) != pytest.approx(numbers(whole), rel=1e-6)


def test_parts_on_machines_of_their_own_merge(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, whole: Record, tmp_path: Path
) -> None:
    preds = quickstart.predictions("mirror")
    for number in (3, 1, 2):
        new_home(f"machine-{number}")
        arguments = ("--shard", f"{number}/3", "--out", f"part-{number}", *ALSO[:2])
        code, _, err = run("score", "--task", "uncrop", "--preds", preds, *arguments)
        assert code == 0, err
    new_home("merging")
    parts = [tmp_path / f"part-{number}" for number in (2, 3, 1)]
    code, out, err = run("merge", *parts, "--name", "mirror", "--json", *ALSO[2:], "--out", tmp_path / "merged")
    assert code == 0, err
    assert comparable(json.loads(out)) == comparable(whole)
    assert (tmp_path / "merged" / "items.csv").read_bytes() == (tmp_path / "whole-record" / "items.csv").read_bytes()

    code, _, err = run("merge", *parts[:2], "--name", "mirror")
    assert code == ExitCode.INPUT
    assert "part 1/3" in err
    code, _, err = run("merge", *parts, parts[0], "--name", "mirror")
    assert code == ExitCode.INPUT
    assert "doubled" in err
    lost = shutil.copytree(parts[0], tmp_path / "lost")
    shutil.rmtree(lost / "features")
    new_home("without")
    code, _, err = run("merge", lost, *parts[1:], "--name", "mirror")
    assert code == ExitCode.INPUT
    assert "lacks features" in err
    damaged = shutil.copytree(parts[0], tmp_path / "damaged")
    text = (damaged / "part.json").read_text().replace('"known_change": 0.0', '"known_change": 9.0', 1)
    (damaged / "part.json").write_text(text)
    code, _, err = run("merge", damaged, *parts[1:], "--name", "mirror")
    assert code == ExitCode.INPUT
    assert "damaged" in err


def test_parts_of_other_scores_are_refused(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, tmp_path: Path
) -> None:
    new_home("one")
    for number, more in ((1, ()), (2, ("--also", "density-scenes32-evalset-k5"))):
        arguments = ("--shard", f"{number}/2", "--out", f"part-{number}", *more)
        code, _, err = run("score", "--task", "uncrop", "--preds", quickstart.predictions("mirror"), *arguments)
        assert code == 0, err
    code, _, err = run("merge", tmp_path / "part-1", tmp_path / "part-2", "--name", "mixed")
    assert code == ExitCode.INPUT
    assert "of another score" in err


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_part_is_refused(quickstart: Quickstart, new_home: NewHome, run: RunCommand, text: str) -> None:
    new_home("home")
    code, _, err = run("score", "--task", "uncrop", "--preds", quickstart.predictions("mirror"), "--shard", text)
    assert code == ExitCode.USAGE
    assert "I/N" in err


def torchrun(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Two ranks of the program."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "palette_bench", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_ranks(quickstart: Quickstart, new_home: NewHome, whole: Record, tmp_path: Path) -> None:
    home = new_home("ranks")
    preds = quickstart.predictions("mirror")
    result = torchrun("score", "--task", "uncrop", "--preds", preds, "--name", "mirror", "--json", *ALSO)
    assert result.returncode == 0, result.stderr
    assert comparable(json.loads(result.stdout)) == comparable(whole)
    assert features_in(home) > 0

    bad = tmp_path / "bad"
    shutil.copytree(preds, bad)
    first, last = sorted(bad.glob("*.png"))[0], sorted(bad.glob("*.png"))[-1]
    first.write_bytes(b"no image")
    last.unlink()
    result = torchrun("score", "--task", "uncrop", "--preds", bad)
    assert result.returncode != 0
    assert "2 faults in the predictions" in result.stderr
    assert first.name in result.stderr


def test_scoring_again_computes_nothing_and_one_change_one_image(
    quickstart: Quickstart,
    new_home: NewHome,
    run: RunCommand,
    whole: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from palette_bench.artifacts import predictions
    from palette_bench.images import decode
    from palette_bench.score import gate
    from palette_bench.score.backbones.loading import LoadedBackbone

    home = new_home("again")
    preds = tmp_path / "preds"
    shutil.copytree(quickstart.predictions("mirror"), preds)
    first = score(run, preds, "--jobs", 1)
    seen: list[int] = []
    decoded: list[int] = []
    extract = LoadedBackbone.extract

    def counting(self: LoadedBackbone, images: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> object:
        seen.append(len(images))
        return extract(self, images)

    def decoding(data: bytes) -> decode.DecodedImage:
        decoded.append(len(data))
        return decode.decode(data)

    monkeypatch.setattr(LoadedBackbone, "extract", counting)
    monkeypatch.setattr(predictions, "decode", decoding)
    assert comparable(score(run, preds, "--jobs", 1)) == comparable(first)
    assert (seen, decoded) == ([], [])

    changed = sorted(preds.glob("*.png"))[7]
    Image.fromarray(255 - np.asarray(Image.open(changed))).save(changed)
    after = score(run, preds, "--jobs", 1, "--replace")
    assert after["result_id"] != first["result_id"]
    assert seen == [1]
    assert len(decoded) == 2, "once in the gate, once for the network"

    for path in (*(home / "features").rglob("*.features"), *(home / "features").rglob("*.rows")):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    code, out, err = run("score", "--task", "uncrop", "--preds", preds, "--name", "mirror", "--json", "--jobs", 1)
    assert code == 0
    assert err.count("damaged features are ignored") == 1
    assert err.count("damaged rows are ignored") == 1
    assert comparable(json.loads(out)) == comparable(after)
    assert gate.CHUNK == 64
    assert whole["result_id"] != after["result_id"]


def test_two_ranks_compute_the_statistics_of_one(
    quickstart: Quickstart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "sets").symlink_to(quickstart.home / "sets")
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(home))
    result = torchrun("statistics", "scenes32", "--json")
    assert result.returncode == 0, result.stderr
    made = list((home / "statistics").glob("*.statistics"))
    expected = list((quickstart.home / "statistics").glob("*.statistics"))
    assert [path.name for path in made] == [path.name for path in expected]
    assert made[0].read_bytes() == expected[0].read_bytes()
    assert json.loads(result.stdout)["file"] == str(made[0])
