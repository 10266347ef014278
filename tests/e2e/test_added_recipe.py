"""A pixel metric of another package: one file and an entry point, and `score` shows, records and keeps it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.score.recipes import catalogue

MAE = """
import numpy as np

from palette_bench.score.recipes.base import PIXELS, Direction, Recipe
from palette_bench.score.recipes.pixels import Pixels


def mae(image, reference):
    return float(np.abs(image.astype(np.int16) - reference).mean())


RECIPE = Recipe(
    name="mae-rgb",
    version=1,
    metric=Pixels(mae, identical=0.0),
    backbone=PIXELS,
    output="mae",
    parameters={"error": "mean over pixels and channels", "average": "items"},
    title="MAE",
    unit="",
    direction=Direction.LOWER,
    digits=3,
    headline=False,
    doc="Mean over items of the mean absolute difference of prediction and reference, in grey levels.",
)
"""


def install(folder: Path, module: str, value: str) -> Path:
    """A package with one module and the entry point ``mae = module:value``, as pip leaves it in ``folder``."""
    about = folder / "palette_bench_mae-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: palette-bench-mae\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{catalogue.GROUP}]\nmae = {value}\n")
    (folder / "mae_for_palette.py").write_text(module)
    return folder


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Packages that a test installs are no others' packages."""
    catalogue.installed.cache_clear()
    yield
    catalogue.installed.cache_clear()
    sys.modules.pop("mae_for_palette", None)


def run(home: Path, package: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "palette_bench", *map(str, arguments)]
    settings = {**os.environ, "PALETTE_BENCH_HOME": str(home), "PYTHONPATH": str(package)}
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=False)


def test_a_pixel_metric_is_one_file(tmp_path: Path) -> None:
    home, package, preds = tmp_path / "home", install(tmp_path / "site", MAE, "mae_for_palette:RECIPE"), tmp_path / "p"
    assert run(home, package, "prepare", "scenes32").returncode == 0
    assert (
        run(home, package, "predict", "--task", "uncrop", "--model", "classical-tile", "--out", preds).returncode == 0
    )
    out = tmp_path / "result"
    scored = run(home, package, "score", "--task", "uncrop", "--preds", preds, "--out", out)
    assert scored.returncode == 0, scored.stderr
    record = json.loads((out / "result.json").read_text())
    metric = record["metrics"]["mae-rgb"]
    assert metric["value"] > 0
    assert metric["reference_value"] == 0.0
    assert f"mae-rgb: {metric['value']:.3f}" in scored.stdout
    header, first = (out / "items.csv").read_text().splitlines()[:2]
    assert float(dict(zip(header.split(","), first.split(","), strict=True))["mae"]) >= 0

    # Its fingerprint says whose it is, and ours say what they said without it.
    listed = {row["name"]: row for row in json.loads(run(home, package, "recipes", "--json").stdout)}
    assert listed["mae-rgb"]["provider"] == "palette-bench-mae"
    assert listed["mae-rgb"]["fingerprint"] == metric["fingerprint"]
    assert all("provider" not in row for name, row in listed.items() if name != "mae-rgb")

    # Two records that have it are compared by it; without the package it is left out with a reason.
    twin = tmp_path / "twin"
    shutil.copytree(out, twin)
    compared = json.loads(run(home, package, "compare", out, twin, "--json").stdout)
    assert "mae-rgb" in compared["metrics"]
    compared = json.loads(run(home, tmp_path / "nowhere", "compare", out, twin, "--json").stdout)
    assert compared["not_compared"]["mae-rgb"] == "this version knows no recipe of this name"


@pytest.mark.parametrize(
    ("module", "value", "found"),
    [
        ("import no_such_module", "mae_for_palette:RECIPE", "ModuleNotFoundError"),
        ("RECIPE = 1", "mae_for_palette:RECIPE", "a int"),
        (MAE.replace("mae-rgb", "psnr-rgb"), "mae_for_palette:RECIPE", "a second recipe of the name psnr-rgb"),
        (MAE.replace("headline=False", "headline=True"), "mae_for_palette:RECIPE", "a column of the paper"),
        (MAE.replace('output="mae"', 'output="ssim"'), "mae_for_palette:RECIPE", "the column ssim"),
        (MAE.replace('output="mae"', 'output="label"'), "mae_for_palette:RECIPE", "the column label"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(tmp_path: Path, module: str, value: str, found: str) -> None:
    package = install(tmp_path / "site", module, value)
    failed = run(tmp_path, package, "recipes")
    assert failed.returncode == ExitCode.INPUT
    assert "palette-bench-mae" in failed.stderr
    assert f"mae = {value}" in failed.stderr
    assert found in failed.stderr
    assert "Traceback" not in failed.stderr
    # Whoever needs none of its recipes does not notice.
    assert run(tmp_path, package, "sets").returncode == 0
    assert run(tmp_path, package, "recipes", "fid-scenes32").returncode == 0


@pytest.mark.usefixtures("forgotten")
def test_recipes_of_others_never_stand_among_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, MAE, "mae_for_palette:RECIPE"))
    (recipe,) = catalogue.installed().values()
    assert recipe.provider == "palette-bench-mae"
    for family in ("imagenet", "places", "scenes32"):
        assert recipe not in catalogue.for_protocol(family)
        assert catalogue.for_scoring(family)[-1] == recipe
    assert "mae-rgb" not in catalogue.RECIPES
    assert catalogue.named("mae-rgb") == recipe
