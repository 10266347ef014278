"""The newcomer's first command, as it is."""

import json

from PIL import Image

from tests.conftest import RunCommand
from tests.e2e.conftest import NewHome, Quickstart


def test_quickstart_prints_a_table_and_leaves_records(quickstart: Quickstart) -> None:
    assert quickstart.returncode == 0, quickstart.stderr
    assert "uncrop on scenes32 version 1, 2000 images" in quickstart.stdout
    records = {
        method: json.loads((quickstart.out / "results" / f"uncrop-{method}" / "result.json").read_text())
        for method in ("biharmonic", "mirror")
    }
    for record in records.values():
        metrics = record["metrics"]
        assert record["comparable"] is True
        assert record["known_region_change"] == 0.0
        assert 90 <= metrics["ca-scenes32"]["reference_value"] <= 97
        assert metrics["fid-scenes32"]["reference_value"] < 1 < metrics["fid-scenes32"]["value"]
        assert metrics["ca-scenes32"]["value"] < 50
        assert f"{metrics['fid-scenes32']['value']:.2f} ± " in quickstart.stdout
    fid = {method: record["metrics"]["fid-scenes32"]["value"] for method, record in records.items()}
    assert fid["mirror"] < fid["biharmonic"]
    assert len(list(quickstart.predictions("mirror").glob("*.png"))) == 2000
    assert Image.open(quickstart.out / "scenes32.png").width > 1000


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
