"""The design: who sees what, balanced as promised, and a file that is what it says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError, UsageError
from palette_bench.study.definition import (
    STUDY_FILE,
    Assignment,
    Layout,
    Study,
    load_preset,
    preset_names,
    read_study,
)
from palette_bench.study.design import Design, Kind, images_of, seat_count, seat_of, trials_of
from tests.study.worlds import small_study


def test_every_preset_gives_a_source_for_every_field() -> None:
    assert preset_names() == ["palette-3s", "palette-5s", "sr3-task1", "sr3-task2", "zhang2016"]
    for name in preset_names():
        preset = load_preset(name)
        fields = set(type(preset.trials).__dataclass_fields__)
        assert set(preset.sources) == fields | {"exclusions"}
        assert all(source.note for source in preset.sources.values())


def test_presets_are_what_the_papers_say() -> None:
    three, five = load_preset("palette-3s").trials, load_preset("palette-5s").trials
    assert (three.exposure_ms, five.exposure_ms) == ((3000,), (5000,))
    assert three.sets * three.items_per_set == 100
    assert three.raters_per_set == 50
    assert replace(five, exposure_ms=(3000,)) == three
    assert load_preset("sr3-task1").trials.layout is Layout.TRIPLE
    zhang = load_preset("zhang2016").trials
    assert (zhang.layout, zhang.exposure_ms, zhang.items_per_set + zhang.catch) == (Layout.SEQUENCE, (1000,), 40)


def test_a_study_reads_back_as_it_was_written(tmp_path: Path) -> None:
    study = small_study(tmp_path, preset="sr3-task1", exposure_ms=(100, 200))
    assert read_study(tmp_path) == study
    assert read_study(tmp_path).fingerprint == study.fingerprint


def test_items_are_drawn_disjoint_and_the_same_for_other_models(tmp_path: Path) -> None:
    two = small_study(tmp_path / "two", models=2)
    three = small_study(tmp_path / "three", models=3)
    shown = [item.id for item in (*two.items, *two.practice, *two.catch)]
    assert len(set(shown)) == len(shown)
    assert shown == [item.id for item in (*three.items, *three.practice, *three.catch)]
    assert not {i.id for i in two.items_of(1)} & {i.id for i in two.items_of(2)}
    other = small_study(tmp_path / "seed", models=2, seed="1")
    assert [item.id for item in other.items] != [item.id for item in two.items]


@pytest.mark.parametrize(("models", "items"), [(1, 5), (2, 50), (3, 50), (4, 50), (2, 7), (5, 12)])
def test_the_square_is_balanced(tmp_path: Path, models: int, items: int) -> None:
    study = small_study(tmp_path, models=models, items=items, raters=2 * models, catch=0, practice=0)
    cells: Counter[tuple[int, int | None, bool]] = Counter()
    for number in range(seat_count(study)):
        trials = [trial for trial in trials_of(study, number) if trial.kind is Kind.MAIN]
        assert len({trial.item for trial in trials}) == items, "a rater sees an item once"
        assert {study.items[trial.item].set for trial in trials} == {seat_of(study, number).set}
        left = sum(trial.real_left for trial in trials)
        assert abs(2 * left - items) <= items % 2, "sides are balanced for a rater"
        counts = Counter(trial.model for trial in trials)
        assert max(counts.values()) - min(counts[m] for m in range(models)) <= 1
        cells.update((trial.item, trial.model, trial.real_left) for trial in trials)
    assert set(cells.values()) == {1}, "2 M seats a set show every item with every model on both sides once"
    assert len(cells) == len(study.items) * models * 2


def test_one_model_a_rater(tmp_path: Path) -> None:
    study = small_study(tmp_path, preset="zhang2016", models=3, items=10, raters=2, sets=1)
    assert study.trials.assignment is Assignment.ONE_MODEL
    assert seat_count(study) == 6
    models = []
    for number in range(6):
        trials = [trial for trial in trials_of(study, number) if trial.kind is Kind.MAIN]
        assert len({trial.model for trial in trials}) == 1
        assert sum(trial.real_left for trial in trials) == 5
        models.append(trials[0].model)
    assert Counter(models) == {0: 2, 1: 2, 2: 2}


def test_groups_take_turns_and_every_exposure_has_its_raters(tmp_path: Path) -> None:
    study = small_study(tmp_path, exposure_ms=(3000, 5000), raters=3)
    seats = [seat_of(study, number) for number in range(seat_count(study))]
    groups = Counter((seat.set, seat.exposure_ms) for seat in seats)
    assert set(groups) == {(1, 3000), (2, 3000), (1, 5000), (2, 5000)}
    assert set(groups.values()) == {3}
    assert len({(seat.set, seat.exposure_ms) for seat in seats[:4]}) == 4


def test_catch_trials_hide_among_the_others(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=40, catch=4, raters=8)
    places = set()
    for number in range(seat_count(study)):
        trials = [trial for trial in trials_of(study, number) if trial.kind in (Kind.MAIN, Kind.CATCH)]
        catch = [place for place, trial in enumerate(trials) if trial.kind is Kind.CATCH]
        assert len(catch) == 4
        assert catch[0] > 0
        assert sum(trials[place].real_left for place in catch) == 2
        places.add(tuple(catch))
    assert len(places) > 12


def test_orders_differ_between_seats_and_repeat_between_runs(tmp_path: Path) -> None:
    study = small_study(tmp_path, items=20)
    assert trials_of(study, 3) == Design(read_study(tmp_path)).trials(3)
    assert [t.item for t in trials_of(study, 0)] != [t.item for t in trials_of(study, 2)]


def test_both_images_are_those_of_the_trial(tmp_path: Path) -> None:
    study = small_study(tmp_path, preset="sr3-task1")
    trial = next(t for t in trials_of(study, 1) if t.kind is Kind.MAIN)
    item = study.items[trial.item]
    shown = images_of(study, trial)
    assert shown["left" if trial.real_left else "right"] == item.reference
    assert shown["right" if trial.real_left else "left"] == item.outputs[trial.model or 0]
    assert shown["middle"] == item.condition != ""


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    small_study(tmp_path)
    path = tmp_path / STUDY_FILE
    text = path.read_text()
    path.write_text(text.replace('layout = "pair"', 'layout = "pear"').replace("catch = 1", 'catch = "one"\nmore = 1'))
    with pytest.raises(InputError) as raised:
        read_study(tmp_path)
    assert {problem.where for problem in raised.value.problems} == {
        "trials.layout",
        "trials.catch",
        "trials.more",
    }


def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    def twice(study: Study) -> Study:
        items = (*study.items[:-1], replace(study.items[0], set=2))
        return replace(study, stimuli=replace(study.stimuli, items=items))

    small_study(tmp_path, change=twice)
    with pytest.raises(InputError, match="contradicts itself"):
        read_study(tmp_path)


def test_a_set_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        small_study(tmp_path, items=150)


def test_a_study_is_never_made_over_another(tmp_path: Path) -> None:
    small_study(tmp_path)
    with pytest.raises(UsageError, match="already"):
        small_study(tmp_path)
