import json
import re
from pathlib import Path

import pytest

from palette_bench.artifacts.record import ResultRecord, save
from palette_bench.common.errors import ExitCode
from tests.conftest import RunCommand
from tests.publish.paper_records import FID, photo_record

NUMBERS = ("1.50 ±0.06", "300.0 ±1.4", "90.0 ±0.5%", "9.0 ±0.4")
MANY = ("md", "latex", "csv", "json", "html")


def saved(folder: Path, record: ResultRecord) -> Path:
    save(record, "id\n", folder)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The folder of a record on uncropping."""
    return saved(tmp_path / "mine", photo_record())


def test_without_a_number_the_tables_are_listed(run: RunCommand) -> None:
    code, out, _ = run("table")
    assert code == 0
    assert "palette-bench table C.4\n" in out
    assert "palette-bench table C.1 --set scenes32\n" in out
    code, out, _ = run("table", "--json")
    assert [row["table"] for row in json.loads(out)][:2] == ["1", "2"]


def test_a_table_is_printed_with_a_record_in_its_place(run: RunCommand, mine: Path) -> None:
    code, out, err = run("table", "3", mine)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Table 3 (Palette v1): Quantitative scores and human raters' Fool rates on uncropping."
    [row] = [line for line in lines if "mine" in line]
    assert re.split(r"\s{2,}", row.strip()) == ["▸ mine", *(f"**{n}**" for n in NUMBERS), "-", "-", "-"]
    assert "▸ your records" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("form", MANY)
def test_every_format_holds_the_number_on_stdout_and_in_a_file(
    form: str, run: RunCommand, mine: Path, tmp_path: Path
) -> None:
    code, out, err = run("table", "3", mine, "--format", form)
    assert (code, err) == (0, "")
    assert "1.5" in out
    assert "mine" in out
    path = tmp_path / "deep" / f"table.{form}"
    assert run("table", "3", mine, "--format", form, "--out", path)[0] == 0
    assert path.read_text() == out


def test_json_is_json(run: RunCommand, mine: Path) -> None:
    code, out, _ = run("table", "3", mine, "--json")
    assert code == 0
    assert json.loads(out) == json.loads(run("table", "3", mine, "--format", "json")[1])


def test_the_bibliography_has_what_the_latex_cites(run: RunCommand, mine: Path, tmp_path: Path) -> None:
    bib = tmp_path / "refs.bib"
    code, out, _ = run("table", "3", mine, "--format", "latex", "--bib", bib)
    assert code == 0
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", out) for key in keys.split(",")}
    assert cited == set(re.findall(r"@\w+\{([^,]+),", bib.read_text()))


def test_the_miniature_fills_the_same_layout(run: RunCommand) -> None:
    code, out, _ = run("table", "3", "--set", "scenes32", "--format", "csv")
    assert code == 0
    assert "Mirror,scenes32,false,FID" in out
    assert "19.0722" in out


def test_later_rows_are_there_when_asked_for(run: RunCommand) -> None:
    assert "I²SB" not in run("table", "4")[1]
    out = run("table", "4", "--later")[1]
    assert "I²SB (I2SB)" in out
    assert "another protocol" in out


def edited(folder: Path) -> Path:
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"value": 1.5', '"value": 0.5'))
    return folder


def with_nan(folder: Path) -> Path:
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"value": 1.5', '"value": NaN'))
    return folder


def test_bad_records_are_never_a_table(run: RunCommand, mine: Path, tmp_path: Path) -> None:
    task = saved(tmp_path / "task", photo_record(task="colorize"))
    cases: list[tuple[list[object], ExitCode, str]] = [
        ([edited(saved(tmp_path / "edited", photo_record()))], ExitCode.VERIFICATION, "changed after it was written"),
        ([with_nan(saved(tmp_path / "nan", photo_record()))], ExitCode.INPUT, "NaN"),
        ([tmp_path / "nothing"], ExitCode.INPUT, "nothing"),
        ([task], ExitCode.INPUT, "another task: mine: colorize: the table has uncrop"),
        ([tmp_path / "nothing", tmp_path / "nowhere"], ExitCode.INPUT, "2 of 2 records cannot be used"),
    ]
    for paths, code, message in cases:
        found, out, err = run("table", "3", *paths)
        assert (found, out) == (code, "")
        assert message in err
        assert "Traceback" not in err


def test_wrong_usage_lists_what_there_is(run: RunCommand, tmp_path: Path) -> None:
    for arguments, message in (
        (["7"], "one of 1, 2, 3, 4, 5, 6, C.1, C.2, C.3, C.4"),
        (["C.4", "--set", "scenes32"], "one of 1, 2, 3, 4, 5, 6, C.1"),
        (["4", "--set", "places10k"], "one of imagenet-ctest10k"),
        (["C.3", "--set", "nowhere"], "none: the list of the top-50"),
        (["4", "--out", tmp_path / "x"], "--format md, latex, csv, json or html"),
        (["4", "--json", "--format", "csv"], "--json or --format"),
        (["4", "--set", "scenes32", "--later"], "no --later"),
        (["4", "--format", "pdf"], "'rich', 'md', 'latex', 'csv', 'json', 'html'"),
    ):
        code, out, err = run("table", *arguments)
        assert code == ExitCode.USAGE
        assert message in err
        # An error is JSON where JSON was asked for, and never a table.
        assert out == "" or json.loads(out)["error"] == "UsageError"


def test_a_table_without_any_record_needs_no_home(run: RunCommand, home: Path) -> None:
    assert run("table", "c.1")[0] == 0
    assert not home.exists()
    assert FID in run("table", "C.1", "--format", "csv")[1]
