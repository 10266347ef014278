"""Where studies arrive: the paper's tables, the figure of fool rates, and the regression of published studies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError, VerificationError
from palette_bench.common.progress import Silent
from palette_bench.publish.figures.fool_rate import fool_rate
from palette_bench.publish.regress.studies import regress_study, studies_in
from palette_bench.publish.tables import printed
from palette_bench.publish.tables.paper import fill
from palette_bench.study.analyze import analyze
from palette_bench.study.definition import Study, write_study
from palette_bench.study.record import StudyRecord, read_study_record, save_record
from palette_bench.study.simulate import REHEARSAL, Behaviour, simulate
from tests.study.worlds import small_study

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "leaderboards" / "scenes32" / "studies"


def study_on(folder: Path, name: str, task: str) -> StudyRecord:
    """A rehearsed study that says it is of a set of the paper."""

    def moved(study: Study) -> Study:
        return replace(study, source=replace(study.source, set=name, name=name, task=task))

    study = small_study(folder, items=4, raters=2, practice=0, change=moved, exposure_ms=(3000,))
    write_study(study, folder)
    behaviour = Behaviour(fooled={"model-a": 0.6, "model-b": 0.4})
    simulate(folder, study, raters=4, behaviour=behaviour, progress=Silent(), at_once=4)
    found = analyze(study, folder / REHEARSAL)
    return save_record(found.record, found.tables(), folder / "results")


def test_table_1_and_table_3_take_studies_in_their_fool_rate_column(tmp_path: Path) -> None:
    for number, name, task in (("1", "imagenet-coltran5k", "colorize"), ("3", "places10k", "uncrop")):
        record = study_on(tmp_path / number, name, task)
        table = fill(printed.table(number), studies=[record])
        column = next(n for n, c in enumerate(table.columns) if c.head.startswith("Fool rate") and c.set_name == name)
        rows = {row.label: row for group in table.groups for row in group.rows}
        for model in ("Model A", "Model B"):
            cell = rows[model].cells[column]
            rate = record.rate(f"model-{model[-1].lower()}", exposure_ms=3000)
            assert rate is not None
            assert rate.kept is not None
            assert cell.value == pytest.approx(100 * rate.kept.value)
            assert cell.signature == rate.signature
            assert any("simulated" in reason for reason in cell.reasons)
            assert cell.rank is None, "fool rates of other raters are not ranked with the paper's"
        assert rows["Palette" if number == "1" else "Palette (Ours)"].cells[column].rank == 1


def test_a_study_of_other_images_has_no_place(tmp_path: Path) -> None:
    record = study_on(tmp_path, "places10k", "uncrop")
    with pytest.raises(InputError, match="no place"):
        fill(printed.table("1"), studies=[record])
    with pytest.raises(InputError, match="no place"):
        fill(printed.table("4"), studies=[record])


def test_the_figure_shows_every_set_and_says_what_it_is_of(tmp_path: Path) -> None:
    record = study_on(tmp_path, "places10k", "uncrop")
    made = fool_rate([record])
    again = fool_rate([record])
    assert made.drawn.png == again.drawn.png
    assert "simulated" in made.caption
    rates = made.described["studies"][0]["rates"]  # type: ignore[index]
    assert {(rate["set"], rate["model"]) for rate in rates} == {
        (number, f"model-{letter}") for number in (0, 1, 2) for letter in "ab"
    }
    other = replace(record, source=replace(record.source, task="colorize"))
    with pytest.raises(InputError, match="different images"):
        fool_rate([record, other])


def test_the_published_study_comes_out_of_its_trials() -> None:
    found = studies_in(GOLDEN)
    assert [path.name for path in found] == ["uncrop-simulated"]
    outcomes = list(regress_study(found[0]))
    assert len(outcomes) == 6
    assert not any(outcome.fails for outcome in outcomes)
    record = read_study_record(found[0])
    assert record.simulated
    for model, truth in (("mirror", 0.4), ("mean", 0.1)):
        rate = record.rate(model, exposure_ms=3000)
        assert rate is not None
        assert rate.kept is not None
        assert (rate.kept.low or 0) < truth < (rate.kept.high or 1)


def test_a_changed_study_does_not_come_out(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(GOLDEN / "uncrop-simulated", folder)
    text = (folder / "trials.csv").read_text()
    (folder / "trials.csv").write_text(text.replace(",1,1,0,", ",0,1,0,", 1))
    with pytest.raises(InputError, match="not those of its record"):
        list(regress_study(folder))
    values = json.loads((folder / "result.json").read_text())
    values["rates"][0]["kept"]["value"] += 0.01
    (folder / "result.json").write_text(json.dumps(values))
    with pytest.raises(VerificationError):
        list(regress_study(folder))
