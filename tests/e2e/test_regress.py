"""`palette-bench regress` on real predictions and a real model: exit codes, reports, what is found again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from palette_bench.common.errors import ExitCode
from tests.e2e.conftest import NewHome, Quickstart

RunCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def manifest(quickstart: Quickstart, new_home: NewHome, tmp_path: Path) -> Path:
    """A manifest of one row, the mirror's of quickstart, whose record lies beside it, in a home with no features."""
    new_home("home")
    record = tmp_path / "records" / "uncrop" / "mirror.json"
    record.parent.mkdir(parents=True)
    shutil.copyfile(quickstart.out / "results" / "uncrop-classical-mirror" / "result.json", record)
    metrics = json.loads(record.read_text())["metrics"]
    fid, ca = (metrics[f"{name}-scenes32"]["value"] for name in ("fid", "ca"))
    path = tmp_path / "regression.toml"
    path.write_text(f"""
format = 1
name = "one row"
[[table]]
number = "3"
title = "Uncropping"
[[table.row]]
label = "Mirror"
record = "records/uncrop/mirror.json"
model = "classical-mirror"
printed = {{ fid-scenes32 = "{fid:.2f}", ca-scenes32 = "{ca:.1f}" }}
""")
    return path


def preds_of(quickstart: Quickstart, tmp_path: Path, method: str) -> Path:
    """A folder of predictions, where ``--preds`` looks for the row's."""
    folder = tmp_path / "preds" / "uncrop"
    folder.mkdir(parents=True)
    (folder / "Mirror").symlink_to(quickstart.predictions(method))
    return tmp_path / "preds"


def cells(out: str) -> dict[str, dict[str, object]]:
    return {cell["recipe"]: cell for cell in json.loads(out)["cells"]}


def test_published_predictions_reproduce(
    manifest: Path, quickstart: Quickstart, run: RunCommand, tmp_path: Path
) -> None:
    preds = preds_of(quickstart, tmp_path, "mirror")
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    code, out, err = run(
        *("regress", manifest, "--preds", preds, "--json", "--junit", tmp_path / "j.xml", "--summary", summary)
    )
    assert code == ExitCode.OK, err
    assert {cell["status"] for cell in cells(out).values()} == {"reproducing"}
    assert "bit for bit" in str(cells(out)["fid-scenes32"]["detail"])
    [suite] = ElementTree.parse(tmp_path / "j.xml").getroot()  # noqa: S314
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert summary.read_text().startswith("earlier\n## one row: 2 published numbers")


def test_other_predictions_do_not(manifest: Path, quickstart: Quickstart, run: RunCommand, tmp_path: Path) -> None:
    preds = preds_of(quickstart, tmp_path, "tile")
    code, out, _ = run("regress", manifest, "--preds", preds, "--junit", tmp_path / "j.xml")
    assert code == ExitCode.REGRESSION
    assert "not-reproducing" in out
    assert "other predictions" in out
    [suite] = ElementTree.parse(tmp_path / "j.xml").getroot()  # noqa: S314
    assert suite.get("failures") == "2"


def test_from_the_model_the_same_images_come_out(manifest: Path, run: RunCommand, tmp_path: Path) -> None:
    code, out, err = run("regress", manifest, "--from-model", "--work", tmp_path / "work", "--json")
    assert code == ExitCode.OK, err
    assert all("bit for bit" in str(cell["detail"]) for cell in cells(out).values())
    assert list((tmp_path / "work" / "uncrop").iterdir())


def test_without_predictions_and_models_nothing_is_tested_and_that_is_said(manifest: Path, run: RunCommand) -> None:
    code, out, _ = run("regress", manifest)
    assert code == ExitCode.OK
    assert "2 untested" in out
    assert "nothing was scored" in out


def test_a_printed_digit_that_the_record_does_not_hold_fails_without_any_scoring(
    manifest: Path, run: RunCommand
) -> None:
    manifest.write_text(manifest.read_text().replace('fid-scenes32 = "', 'fid-scenes32 = "1'))
    code, out, _ = run("regress", manifest)
    assert code == ExitCode.REGRESSION
    assert "itself says" in out


def test_a_record_of_another_card_is_not_comparable(manifest: Path, run: RunCommand) -> None:
    manifest.write_text(manifest.read_text().replace("classical-mirror", "classical-tile"))
    for more in ((), ("--from-model",)):
        code, out, _ = run("regress", manifest, *more, "--json")
        assert code == ExitCode.REGRESSION
        assert {cell["status"] for cell in cells(out).values()} == {"not-comparable"}


def test_an_edited_record_is_refused(manifest: Path, run: RunCommand, tmp_path: Path) -> None:
    record = tmp_path / "records" / "uncrop" / "mirror.json"
    record.write_text(record.read_text().replace('"samples": 1', '"samples": 2'))
    code, _, err = run("regress", manifest)
    assert code == ExitCode.VERIFICATION
    assert "changed after it was written" in err


def test_rows_are_chosen_by_pattern(manifest: Path, run: RunCommand) -> None:
    assert run("regress", manifest, "--rows", "uncrop/*")[0] == ExitCode.OK
    code, _, err = run("regress", manifest, "--rows", "colorize/*")
    assert code == ExitCode.USAGE
    assert "no row" in err
