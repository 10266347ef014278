"""Every example runs as it stands, as a reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.e2e.conftest import NewHome, Quickstart

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "first_five_minutes.ipynb"


def example(name: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of ``examples`` in the current folder."""
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def mirror(quickstart: Quickstart) -> Path:
    return quickstart.predictions("mirror")


@pytest.fixture(autouse=True)
def _home(new_home: NewHome) -> None:
    new_home("home")


def test_score_my_folder(mirror: Path, tmp_path: Path) -> None:
    done = example("score_my_folder.py", mirror, "--out", "results/mine")
    assert done.returncode == 0, done.stderr
    assert "fid-scenes32" in done.stdout
    assert "the five items with the lowest PSNR" in done.stdout
    assert (tmp_path / "results" / "mine" / "items.csv").is_file()


def test_a_folder_that_cannot_be_scored_is_explained(mirror: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "scene-00000.png").hardlink_to(mirror / "scene-00000.png")
    done = example("score_my_folder.py", few)
    assert done.returncode != 0
    assert "scene-00001" in done.stderr
    assert "Traceback" not in done.stderr


def test_plug_in_a_pytorch_model(tmp_path: Path) -> None:
    done = example("plug_in_a_pytorch_model.py", "--out", tmp_path / "preds")
    assert done.returncode == 0, done.stderr
    assert "uncrop on scenes32, 2000 items: FID" in done.stdout
    assert len(list((tmp_path / "preds").glob("*.png"))) == 2000


def test_add_a_metric(mirror: Path, tmp_path: Path) -> None:
    package = EXAMPLES / "mean_absolute_error"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    installed = tmp_path / "installed"
    copy = tmp_path / "mean_absolute_error"
    copy.mkdir()
    for path in (package / "pyproject.toml", package / "mean_absolute_error.py"):
        (copy / path.name).write_text(path.read_text())
    subprocess.run([*pip, "--target", installed, copy], check=True)
    done = example("add_a_metric.py", mirror, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MAE ")
    assert "mae-rgb|set:scenes32@1|task:uncrop|n:2000" in done.stdout


def test_a_metric_that_is_not_installed_is_missed(mirror: Path) -> None:
    done = example("add_a_metric.py", mirror)
    assert done.returncode != 0
    assert "pip install examples/mean_absolute_error" in done.stderr


def test_add_a_set(tmp_path: Path) -> None:
    # A home of its own: the sets of the others are shared with other tests.
    done = example("add_a_set.py", PALETTE_BENCH_HOME=str(tmp_path / "own"))
    assert done.returncode == 0, done.stderr
    assert "<EvalSet my-pictures@1: 8 images of 64x64>" in done.stdout
    assert done.stdout.count("hidden, PSNR") == 8


def test_compare_in_ci(quickstart: Quickstart) -> None:
    results = quickstart.out / "results"
    before, now = results / "uncrop-classical-tile", results / "uncrop-classical-mirror"
    worse = example("compare_in_ci.py", before, now)
    assert worse.returncode != 0
    assert "decidedly worse than before: fid-scenes32" in worse.stderr
    better = example("compare_in_ci.py", now, before, "--only", "fid-scenes32")
    assert better.returncode == 0, better.stderr
    assert "better" in better.stdout
    same = example("compare_in_ci.py", now, now)
    assert same.returncode == 0, same.stderr


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("text/html" in output.get("data", {}) for output in shown)
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert any("ahead: A" in output.get("text", "") for output in shown)


def test_a_cell_that_fails_is_found(tmp_path: Path) -> None:
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)
    notebook.cells = [notebook.cells[1], nbformat.v4.new_code_cell("pb.nothing")]
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}})
    with pytest.raises(CellExecutionError):
        client.execute()
