"""The newcomer's first command, as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image


def test_quickstart_prints_a_table_and_leaves_records(tmp_path: Path) -> None:
    environment = {**os.environ, "PALETTE_BENCH_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        [sys.executable, "-m", "palette_bench", "quickstart"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "uncrop on scenes32 version 1, 2000 images" in result.stdout
    out = tmp_path / "palette-bench-quickstart"
    records = {
        method: json.loads((out / "results" / f"uncrop-{method}" / "result.json").read_text())
        for method in ("biharmonic", "mirror")
    }
    for record in records.values():
        metrics = record["metrics"]
        assert record["comparable"] is True
        assert record["known_region_change"] == 0.0
        assert 90 <= metrics["ca-scenes32"]["reference_value"] <= 97
        assert metrics["fid-scenes32"]["reference_value"] < 1 < metrics["fid-scenes32"]["value"]
        assert metrics["ca-scenes32"]["value"] < 50
        assert f"{metrics['fid-scenes32']['value']:.2f}" in result.stdout
    fid = {method: record["metrics"]["fid-scenes32"]["value"] for method, record in records.items()}
    assert fid["mirror"] < fid["biharmonic"]
    assert len(list((out / "uncrop" / "mirror").glob("*.png"))) == 2000
    assert Image.open(out / "scenes32.png").width > 1000
