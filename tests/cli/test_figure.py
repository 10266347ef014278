"""The command ``figure`` as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palette_bench.artifacts.record import save
from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import ExitCode
from palette_bench.common.home import HOME_VARIABLE
from tests.conftest import RunCommand
from tests.predict import small_set
from tests.records import ITEMS, a_record


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the set ``tiny``, and a folder with predictions: two stochastic samples, and one of a mirror."""
    folder = tmp_path_factory.mktemp("world")
    small_set.prepare(folder)
    for arguments in (
        ("--model", "tests.predict.adapters:Painter", "--samples", "2", "--out", "painted"),
        ("--model", "classical-mirror", "--out", "mirrored"),
    ):
        subprocess.run(
            [sys.executable, "-m", "palette_bench", "predict", "--task", "uncrop", "--jobs", "1", *arguments],
            cwd=folder,
            env=_environment(folder),
            check=True,
            capture_output=True,
        )
    return folder


def _environment(folder: Path, **more: str) -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, HOME_VARIABLE: str(folder / "home"), "PYTHONPATH": root, **more}


@pytest.fixture(autouse=True)
def _here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(world / "home"))
    monkeypatch.chdir(tmp_path)


def test_a_grid_is_three_files_and_another_process_makes_the_same(run: RunCommand, world: Path, tmp_path: Path) -> None:
    arguments = ["figure", "grid", "--preds", world / "mirrored", "--preds", world / "painted", "--count", 2]
    code, out, err = run(*arguments, "--out", "figures/one", "--jobs", 1)
    assert code == 0, err
    assert out.splitlines()[:3] == [f"figures/one{suffix}" for suffix in (".png", ".pdf", ".json")]
    assert "Mirror and Painter on tiny version 1. 2 of 12 items, spread evenly over the set" in out
    said = json.loads(Path("figures/one.json").read_text())
    assert said["files"] == {kind: bytes_digest(Path(f"figures/one.{kind}").read_bytes()) for kind in ("png", "pdf")}
    assert [entry["id"] for entry in said["items"]] == ["a000", "a006"]
    assert said["tasks"][0]["name"] == "uncrop"
    assert str(world) not in json.dumps(said)

    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "matplotlibrc").write_text("font.size: 30\ntext.usetex: True\nsavefig.dpi: 11\n")
    result = subprocess.run(
        [sys.executable, "-m", "palette_bench", *map(str, arguments), "--out", "two.png", "--json"],
        env=_environment(world, PYTHONHASHSEED="7", MPLCONFIGDIR=str(tmp_path / "settings"), SOURCE_DATE_EPOCH="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == said
    for suffix in (".png", ".pdf", ".json"):
        assert Path(f"two{suffix}").read_bytes() == Path(f"figures/one{suffix}").read_bytes()


def test_diversity_takes_items_by_name(run: RunCommand, world: Path) -> None:
    arguments = ["figure", "diversity", "--preds", world / "painted", "--out", "d", "--jobs", 1]
    code, out, err = run(*arguments, "--item", "a005", "--items", "a002", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert [entry["id"] for entry in said["items"]] == ["a005", "a002"]
    assert said["chosen"] == {"how": "by hand", "rule": "named by whoever made the figure", "of": 12}
    assert said["columns"] == ["Input", "Sample 1", "Sample 2", "Original"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["grid", "--preds", "nowhere", "--task", "uncrop"], ExitCode.INPUT, "there are no predictions here"),
        (["grid", "--preds", "nowhere"], ExitCode.USAGE, "--task"),
        (["grid", "--preds", "painted", "--task", "colorize"], ExitCode.INPUT, "other conditions"),
        (["grid", "--preds", "painted", "--set", "other"], ExitCode.INPUT, "not prepared"),
        (["grid", "--preds", "painted", "--item", "a0l1"], ExitCode.USAGE, "unknown: a0l1: did you mean"),
        (["grid", "--preds", "painted", "--item", "a001", "--count", "2"], ExitCode.USAGE, "ids or a count"),
        (["grid", "--preds", "painted", "--count", "13"], ExitCode.USAGE, "1..12"),
        (["grid", "--preds", "painted", "--preds", "painted"], ExitCode.USAGE, "--name"),
        (["grid", "--preds", "painted", "--name", "a", "--name", "b"], ExitCode.USAGE, "not one name for each"),
        (["grid", "--preds", "painted", "--result", "record"], ExitCode.INPUT, "records of other predictions"),
        (["diversity", "--preds", "mirrored"], ExitCode.INPUT, "2 samples an item or more"),
        (["histogram", "nowhere"], ExitCode.INPUT, "no record here"),
        (["histogram", "record"], ExitCode.INPUT, "no histogram"),
        (["panorama"], ExitCode.USAGE, "nothing to draw"),
        (["panorama", "p.png", "--seed", "0"], ExitCode.USAGE, "cannot be made otherwise"),
        (["panorama", "p.png"], ExitCode.INPUT, "no panorama file here"),
        (["panorama", "--model", "classical-mirror", "--item", "x"], ExitCode.USAGE, "no such items"),
    ],
)
def test_refusals(
    run: RunCommand, world: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: ExitCode, says: str
) -> None:
    save(a_record(), ITEMS, world / "record")
    monkeypatch.chdir(world)
    found, _, err = run("figure", *arguments, "--out", world / "refused")
    assert (found, says in err, "Traceback" in err) == (code, True, False), err
    assert not list(world.glob("refused*"))


def test_a_panorama_is_the_same_from_its_file_and_from_the_model(run: RunCommand) -> None:
    model = ("--model", "classical-mirror", "--item", "a003")
    assert run("panorama", *model, "--width", 3, "--out", "wide.png")[0] == 0
    code, out, err = run("figure", "panorama", "wide.png", "--out", "from-file", "--json")
    assert code == 0, err
    assert json.loads(out)["items"][0]["id"] == "a003"
    code, out, err = run("figure", "panorama", *model, "--images", 3, "--out", "from-model")
    assert code == 0, err
    assert "Panorama uncropping by Mirror" in out
    for suffix in (".png", ".pdf", ".json"):
        assert Path(f"from-file{suffix}").read_bytes() == Path(f"from-model{suffix}").read_bytes()


@pytest.mark.parametrize("kind", ["grid", "diversity", "histogram", "panorama"])
def test_every_figure_has_an_example_and_names_the_extra(
    run: RunCommand, world: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    code, out, _ = run("figure", kind, "--help")
    assert code == 0
    assert f"palette-bench figure {kind}" in out
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    others: dict[str, tuple[object, ...]] = {"histogram": (world / "record",), "panorama": ("p.png",)}
    given = others.get(kind, ("--preds", world / "painted"))
    code, _, err = run("figure", kind, *given, "--out", "x")
    assert code == ExitCode.USAGE
    assert "palette-bench[figures]" in err
