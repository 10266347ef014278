"""Columns, flips, lists and groups of a report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palette_bench.artifacts.record import GroupRecord, GroupValue
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.publish.report.facts import LISTED, Facts, find_facts, first_shown, order
from palette_bench.publish.report.material import Material, gather
from tests.publish.report.world import CA, FID, PD, WNIDS, World, distances, influences, make_world, wrong


def facts_of(world: World) -> tuple[Material, Facts]:
    material = gather(world.result, world.preds, jobs=1, progress=Silent())
    return material, find_facts(material, jobs=1, progress=Silent())


def listed(facts: Facts, key: str) -> list[int]:
    return [int(row) for row in order(facts, next(view for view in facts.views if view.key == key))]


def test_lists_are_in_the_order_of_their_numbers(world: World) -> None:
    _, facts = facts_of(world)
    count = world.eval_set.count
    by_distance = sorted(range(count), key=lambda item: distances(count)[item])
    assert listed(facts, "all") == list(range(count))
    assert listed(facts, "best") == by_distance
    assert listed(facts, "worst") == by_distance[::-1]
    assert listed(facts, "influence") == sorted(range(count), key=lambda item: -influences(count)[item])


def test_a_flip_needs_a_right_reference_and_a_wrong_prediction(world: World) -> None:
    _, facts = facts_of(world)
    # References 1 and 7 are classified wrongly too.
    expected = [item for item in wrong(12) if item % 6 != 1]
    assert expected == [4, 10]
    assert sorted(listed(facts, "flips")) == expected
    assert facts.classes.words[207] == WNIDS[1]
    assert facts.classes.reference is not None
    assert facts.classes.reference[1] == 9


def test_without_the_references_features_nothing_is_called_a_flip(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets").symlink_to(world.home / "sets")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    _, facts = facts_of(world)
    assert facts.classes.flips is None
    assert "is not kept here" in facts.classes.unknown
    assert "flips" not in [view.key for view in facts.views]
    # What the record itself says stays.
    assert facts.classes.right is not None
    assert [int(item) for item in np.flatnonzero(~facts.classes.right)] == wrong(12)


def test_groups_come_from_items_where_the_record_has_none(world: World) -> None:
    _, facts = facts_of(world)
    by_class, by_hole = facts.tables
    assert [group.name for group in by_class.groups] == list(WNIDS)
    assert sum(group.count for group in by_hole.groups) == 12
    first = [item for item in range(12) if world.eval_set.items[item].label == 0]
    value = by_class.groups[0].metrics[PD]
    assert value.value == pytest.approx(np.mean([distances(12)[item] for item in first]))
    assert by_class.groups[0].metrics[CA].value == pytest.approx(
        100 * np.mean([item not in wrong(12) for item in first])
    )
    # FID is no mean over items: a group's cannot be made of them.
    assert FID not in by_class.groups[0].metrics


def test_groups_of_the_record_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = GroupRecord(
        grouping="class",
        name="some",
        count=3,
        metrics={PD: GroupValue(value=1.5, standard_error=0.1, low=1.3, high=1.7)},
    )
    world = make_world(tmp_path, count=4, change=lambda record: replace(record, groups=(group,)))
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    _, facts = facts_of(world)
    assert facts.tables[0].groups == (group,)
    assert facts.tables[0].note == "as recorded"


def test_a_set_without_classes_has_no_flips_and_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path, count=4, classes=("",), task="uncrop")
    monkeypatch.setenv(HOME_VARIABLE, str(world.home))
    _, facts = facts_of(world)
    assert facts.classes.labels is None
    assert facts.tables == ()
    assert [view.key for view in facts.views] == ["all", "worst", "best", "influence"]


def test_full_images_are_first_those_at_the_heads_of_lists(world: World) -> None:
    _, facts = facts_of(world)
    shown = first_shown(facts, 12)
    assert sorted(shown) == list(range(12))
    heads = [listed(facts, view.key)[0] for view in facts.views]
    assert shown[: len(set(heads))] == list(dict.fromkeys(heads))
    assert LISTED >= 12
