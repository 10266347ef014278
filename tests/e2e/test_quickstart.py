"""The newcomer's first command, as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.cli.quickstart import RUNS
from tests.conftest import RunCommand
from tests.e2e.conftest import NewHome, Quickstart

PALETTE, REGRESSION = "palette-scenes32-multitask", "regression-scenes32-multitask"


def test_quickstart_prints_a_table_and_leaves_records(quickstart: Quickstart) -> None:
    assert quickstart.returncode == 0, quickstart.stderr
    assert "scenes32 version 1, 2000 images per task" in quickstart.stdout
    for task, classical in RUNS.items():
        metrics = {}
        for model in (*classical, PALETTE, REGRESSION):
            record = json.loads((quickstart.out / "results" / f"{task}-{model}" / "result.json").read_text())
            metrics[model] = {name: metric["value"] for name, metric in record["metrics"].items()}
            of_references = {name: metric["reference_value"] for name, metric in record["metrics"].items()}
            assert record["comparable"] is True
            assert record["known_region_change"] in (0.0, None)
            assert 90 <= of_references["ca-scenes32"] <= 97
            assert of_references["fid-scenes32"] < 1 < metrics[model]["fid-scenes32"]
            assert f"{metrics[model]['fid-scenes32']:.2f} ±" in quickstart.stdout
            assert len(list((quickstart.out / task / model).glob("*.png"))) == 2000
        # The paper's point in one line: what looks right is not what is near in every pixel. Tiles repeat what is
        # right, and this small generalist is level with them.
        for model in (*classical, REGRESSION):
            level = 1.05 if model == "classical-tile" else 1.0
            assert metrics[PALETTE]["fid-scenes32"] < level * metrics[model]["fid-scenes32"]
        assert metrics[REGRESSION]["psnr-rgb"] > metrics[PALETTE]["psnr-rgb"]
    assert Image.open(quickstart.out / "scenes32.png").width > 1000
    models = Image.open(quickstart.out / "models.png")
    assert models.width > 700
    assert models.height > 1000


def test_the_doctor_finds_that_the_embedded_set_would_work(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand
) -> None:
    new_home("doctor")
    code, out, _ = run("doctor", "--jobs", 1)
    assert code == 0, out
    assert "ok    set scenes32" in out
    assert "note  weights inception2015" in out
    assert "images/s: about" in out
    assert out.endswith("scoring would work\n")


def test_samples_of_an_item_have_their_diversity(
    quickstart: Quickstart, new_home: NewHome, run: RunCommand, tmp_path: Path
) -> None:
    new_home("samples")
    for path in quickstart.predictions("mirror").glob("*.png"):
        samples = tmp_path / "preds" / path.stem
        samples.mkdir(parents=True)
        (samples / "0.png").hardlink_to(path)
        (samples / "1.png").hardlink_to(quickstart.predictions("tile") / path.name)
    arguments = ("score", "--task", "uncrop", "--preds", tmp_path / "preds", "--json", "--out", tmp_path / "record")
    code, out, err = run(*arguments)
    assert code == 0, err
    record = json.loads(out)
    assert record["predictions"]["samples"] == 2
    found = record["metrics"]["diversity-msssim-2scales"]
    assert 0.2 < found["value"] < 0.95
    assert 0 < found["standard_error"] < 0.05
    assert 0 <= found["details"]["clamped_share"] < 1
    assert sum(record["ms_ssim_histogram"]) == found["details"]["pairs"] == 2000
    mirror = json.loads((quickstart.out / "results" / "uncrop-classical-mirror" / "result.json").read_text())
    assert record["metrics"]["fid-scenes32"]["value"] == mirror["metrics"]["fid-scenes32"]["value"]
    lines = (tmp_path / "record" / "items.csv").read_text().splitlines()
    assert lines[0].endswith(",ms_ssim_1")
    of_items = np.array([float(line.rpartition(",")[2]) for line in lines[1:]])
    assert found["value"] == pytest.approx(of_items.mean(), rel=1e-7)
    assert found["standard_error"] == pytest.approx(of_items.std(ddof=1) / 2000**0.5, rel=1e-6)
