"""Filled tables: the paper's rows as printed, records in their place, and nothing ranked that does not compare."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import as_file

import pytest

from palette_bench.artifacts.record import Origin, ResultRecord, read_record
from palette_bench.common import resources
from palette_bench.common.errors import InputError, UsageError
from palette_bench.protocol.definition import GeometryName
from palette_bench.publish.tables import printed as published
from palette_bench.publish.tables.layout import layouts
from palette_bench.publish.tables.paper import fill, fill_layout
from palette_bench.publish.tables.ranking import Contender, Place, standings
from palette_bench.publish.tables.table import Source, Table, TableCell, TableRow
from palette_bench.score.recipes.base import Direction
from tests.publish.paper_records import CA, FID, GOOD, IS, PD, photo_record, with_metric

NUMBERS = ("1", "2", "3", "4", "5", "6", "C.1", "C.2", "C.3", "C.4")


def row(table: Table, label: str, group: int | None = None) -> TableRow:
    groups = table.groups if group is None else table.groups[group : group + 1]
    [found] = [row for group in groups for row in group.rows if row.label == label]
    return found


def notes_of(table: Table, cell: TableCell, row: TableRow) -> str:
    return "; ".join(dict(table.notes)[mark] for mark in (*row.marks, *cell.marks))


def ranks(table: Table) -> dict[tuple[int, str, int], int | None]:
    return {
        (g, row.label, index): cell.rank
        for g, group in enumerate(table.groups)
        for row in group.rows
        if row.source is Source.PRINTED
        for index, cell in enumerate(row.cells)
    }


@pytest.mark.parametrize("number", NUMBERS)
def test_a_table_without_records_is_the_papers(number: str) -> None:
    printed = published.table(number)
    table = fill(printed)
    assert [(c.over, c.head) for c in table.columns] == [(c.over, c.head) for c in printed.columns]
    assert [group.title for group in table.groups] == [group.title for group in printed.groups]
    for ours, theirs in zip(table.groups, printed.groups, strict=True):
        assert [(row.label, row.cites) for row in ours.rows] == [(row.label, row.cites) for row in theirs.rows]
        assert [[c.text for c in row.cells] for row in ours.rows] == [[c.text for c in r.cells] for r in theirs.rows]
    assert all(c.rank is None for g in table.groups for r in g.rows if r.reference for c in r.cells)
    assert all(not c.undecided for c in table.cells)


def test_a_record_stands_in_the_group_of_its_task_before_the_reference_and_in_the_columns_of_its_set() -> None:
    table = fill(published.table("2"), [photo_record(task="inpaint-center")])
    assert [[row.label for row in group.rows] for group in table.groups] == [
        ["DeepFillv2", "HiFill", "Palette (Ours)"],
        ["DeepFillv2", "HiFill", "Palette (Ours)", "mine"],
        ["Reference"],
    ]
    mine = row(table, "mine")
    assert [cell.text for cell in mine.cells] == ["1.50 ± 0.06", "300.0 ± 1.4", "90.0 ± 0.5%", "9.0 ± 0.4", "-", "-"]
    assert [cell.rank for cell in mine.cells] == [1, 1, 1, 1, None, None]
    assert [cell.place for cell in row(table, "Palette (Ours)", 1).cells] == [Place.SECOND] * 4 + [Place.BEST] * 2
    assert [cell.rank for cell in row(table, "Palette (Ours)", 0).cells] == [1] * 6
    uncrop = fill(published.table("3"), [photo_record()])
    assert [row.label for row in uncrop.groups[0].rows] == ["Boundless", "Palette (Ours)", "mine", "Reference"]


def test_titles_of_groups_decide_nothing() -> None:
    printed = published.table("1")
    table = fill(printed, [photo_record(set_name="imagenet-coltran5k", task="colorize")])
    assert [group.title for group in table.groups] == ["Prior Work", "This paper", "Further rows"]
    assert [row(table, name).cells[0].rank for name in ("cGAN", "Regression", "Palette", "mine")] == [6, 3, 2, 1]
    renamed = replace(printed, title="x", groups=tuple(replace(group, title="same") for group in printed.groups))
    assert ranks(fill(renamed)) == ranks(fill(printed))
    other_tasks = replace(printed.groups[0], tasks=("uncrop",))
    assert ranks(fill(replace(printed, groups=(other_tasks, printed.groups[1])))) != ranks(fill(printed))


EVALSET = f"{FID}-evalset"
CASES: dict[str, tuple[Callable[[ResultRecord], ResultRecord], str]] = {
    "weights": (lambda r: with_metric(r, FID, canonical=False), "not the published ones"),
    "precision": (lambda r: with_metric(r, FID, precision="bfloat16"), "ran in bfloat16"),
    "recipe": (lambda r: with_metric(r, FID, fingerprint="9" * 64), "another definition of fid-inception2015-tf1"),
    "reference": (
        lambda r: replace(r, reference=replace(r.reference, name="train", fingerprint="9" * 64)),  # type: ignore[type-var]
        "another reference set of FID: train, not imagenet-val",
    ),
    "no reference": (lambda r: replace(r, reference=None), "the reference set of FID is not known"),
    "evaluation set": (
        lambda _: photo_record(values={EVALSET: (1.0, 0.1)}),
        "against the references of the evaluation set, not the full validation set",
    ),
    "resize": (
        lambda _: photo_record(values={"fid-inception2015-halfpixel": (1.0, 0.1)}),
        "another recipe: fid-inception2015-halfpixel",
    ),
    "variant": (lambda _: photo_record(variant=GeometryName.ADM), "another variant of the set: adm"),
    "version": (lambda r: replace(r, scored=replace(r.scored, version=2)), "version 2 of the set, not 1"),
    "set": (lambda r: replace(r, scored=replace(r.scored, fingerprint="9" * 64)), "another definition of the set"),
    "task": (
        lambda r: replace(r, scored=replace(r.scored, task_fingerprint="9" * 64)),
        "another definition of the task",
    ),
    "reconstruction": (
        lambda r: replace(r, scored=replace(r.scored, status="reconstruction")),
        "this set is a reconstruction",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_compare_is_shown_with_its_reason_and_moves_no_rank(case: str) -> None:
    change, reason = CASES[case]
    printed = published.table("3")
    table = fill(printed, [change(photo_record())])
    mine = row(table, "mine")
    cell = mine.cells[0]
    assert cell.value is not None
    assert (cell.rank, cell.place, cell.comparable, cell.undecided) == (None, Place.OTHER, False, ())
    assert reason in notes_of(table, cell, mine)
    fid = {key: rank for key, rank in ranks(table).items() if key[2] == 0}
    assert fid == {key: rank for key, rank in ranks(fill(printed)).items() if key[2] == 0}
    assert row(fill(printed, [photo_record()]), "mine").cells[0].rank == 1


def test_one_wrong_number_takes_only_itself_out() -> None:
    table = fill(published.table("3"), [with_metric(photo_record(), CA, canonical=False)])
    assert [cell.rank for cell in row(table, "mine").cells] == [1, 1, None, 1, None, None, None]
    assert row(table, "mine").marks == ()


def test_places_is_a_reconstruction_whatever_its_numbers() -> None:
    table = fill(published.table("3"), [photo_record(set_name="places10k")])
    mine = row(table, "mine")
    assert [cell.rank for cell in mine.cells] == [None] * 7
    assert [cell.value is None for cell in mine.cells] == [True] * 4 + [False, False, True]
    assert "reconstruction" in notes_of(table, mine.cells[4], mine)


def test_records_of_other_pixels_are_not_ranked_with_each_other() -> None:
    names = ("first", "other decoder", "other reference")
    records = [photo_record(names[0]), photo_record(names[1], data="e"), photo_record(names[2], reference_data="3")]
    table = fill(published.table("3"), records)
    assert [row(table, name).cells[0].rank for name in names] == [1, None, None]
    assert [row(table, name).cells[1].rank for name in names] == [1, None, 1]
    assert "other pixels of the set than first's" in notes_of(
        table, row(table, names[1]).cells[0], row(table, names[1])
    )
    assert "other pixels of FID's reference set" in notes_of(table, row(table, names[2]).cells[0], row(table, names[2]))


def test_later_papers_of_another_protocol_are_never_ranked() -> None:
    others = [row for row in published.all_published_rows() if row.paper.key != published.PALETTE]
    table = fill(published.table("4"), others=others)
    i2sb = row(table, "I²SB", 0)
    value, palette = i2sb.cells[0].value, row(table, "Palette (Ours)", 0).cells[0]
    assert value is not None
    assert palette.value is not None
    assert value < palette.value
    assert (i2sb.cells[0].rank, palette.rank) == (None, 1)
    assert "libjpeg" in notes_of(table, i2sb.cells[0], i2sb)
    # A later row of the same protocol is ranked.
    places = fill(published.table("2"), others=others)
    assert row(places, "Co-ModGAN", 0).cells[4].rank == 2
    assert row(places, "Co-ModGAN", 0).cells[0].value is None
    assert "Co-ModGAN" not in str(fill(published.table("2")))


def test_a_refused_recipe_says_why_and_a_missing_one_is_a_dash() -> None:
    values = {name: GOOD[name] for name in (FID, IS)}
    record = replace(photo_record(values=values), refused={CA: "no labels"})
    table = fill(published.table("C.1"), [replace(record, scored=photo_record(task="colorize").scored)])
    mine = row(table, "mine")
    assert [cell.text for cell in mine.cells] == ["1.50 ± 0.06", "300.0 ± 1.4", "refused", "-"]
    assert f"no {CA}: no labels" in notes_of(table, mine.cells[2], mine)
    assert mine.cells[2].value is None


def test_samples_and_warnings_are_remarks_and_keep_nothing_out_of_the_ranking() -> None:
    warned = replace(photo_record(), samples=4, warnings=("3 predictions are lossy files",))
    table = fill(published.table("3"), [warned])
    mine = row(table, "mine")
    assert mine.cells[0].rank == 1
    said = notes_of(table, mine.cells[0], mine)
    assert said == "the first of 4 samples per item; 3 predictions are lossy files"


@pytest.mark.parametrize(("number", "task", "doubted"), [("2", "inpaint-center", True), ("3", "uncrop", False)])
def test_untouched_images_that_score_otherwise_than_the_tables_raise_a_doubt(
    number: str, task: str, *, doubted: bool
) -> None:
    # Table 2 prints 5.1 for the references of ImageNet and Table 3 prints 2.7.
    record = with_metric(photo_record(task=task), FID, reference_value=2.74)
    table = fill(published.table(number), [record])
    mine = row(table, "mine")
    text = "the untouched images of this set score 2.74, those of the table 5.1: they may be others"
    assert (text in notes_of(table, mine.cells[0], mine)) is doubted
    assert mine.cells[0].rank == 1
    assert mine.cells[1].marks == ()


def origin(weights: str) -> Origin:
    return Origin(
        model="m",
        title="M",
        kind="python",
        fingerprint="5" * 64,
        weights_sha256=weights * 64,
        seed=0,
        stochastic=True,
        post_processing=(),
    )


def test_records_of_one_name_are_numbered_and_one_model_on_two_sets_is_one_row() -> None:
    worse = {**GOOD, FID: (100.0, 0.1)}
    one, two = photo_record(), replace(photo_record(values=worse), predictions_digest="8" * 64)
    table = fill(published.table("3"), [one, two])
    assert [row(table, f"mine ({n})").cells[0].value for n in (1, 2)] == [1.5, 100.0]
    places = photo_record(set_name="places10k")
    table = fill(published.table("3"), [one, places])
    assert [cell.value is None for cell in row(table, "mine").cells] == [False] * 6 + [True]
    table = fill(published.table("3"), [replace(one, origin=origin("1")), replace(places, origin=origin("2"))])
    assert [cell.value is None for cell in row(table, "mine (1)").cells] == [False] * 4 + [True] * 3
    assert [cell.value is None for cell in row(table, "mine (2)").cells] == [True] * 4 + [False] * 2 + [True]


def test_records_without_a_place_are_refused_all_at_once() -> None:
    records = [photo_record(), photo_record("b", task="colorize"), photo_record("c", set_name="imagenet-coltran5k")]
    with pytest.raises(InputError, match="no place in Table 3") as caught:
        fill(published.table("3"), records)
    assert [(p.kind, p.where) for p in caught.value.problems] == [
        ("another task", "b"),
        ("another set", "c"),
    ]
    with pytest.raises(InputError, match="top-50 categories"):
        fill(published.table("C.3"), [photo_record(set_name="places10k")])


def test_columns_of_one_set_alone() -> None:
    table = fill(published.table("2"), only_set="places10k")
    assert [(column.over, column.head) for column in table.columns] == [("Places2", "FID ↓"), ("Places2", "PD ↓")]
    assert [cell.text for cell in table.groups[0].rows[0].cells] == ["13.5", "63.0"]
    with pytest.raises(UsageError, match="no column of this set"):
        fill(published.table("4"), only_set="places10k")
    with pytest.raises(InputError, match="no place"):
        fill(published.table("2"), [photo_record(task="inpaint-center")], only_set="places10k")


def test_differences_within_the_error_bars_are_marked() -> None:
    near = {FID: (5.7, 0.06), IS: (139.0, 1.0), CA: (70.0, 0.1), PD: (85.94, 0.001)}
    table = fill(published.table("3"), [photo_record(values=near)])
    mine, palette = row(table, "mine"), row(table, "Palette (Ours)")
    assert [cell.rank for cell in mine.cells[:4]] == [1, 1, 1, 2]
    assert [cell.undecided for cell in palette.cells[:4]] == [("mine (yours)",), ("mine (yours)",), (), ()]
    # 85.9 may be anything from 85.85 to 85.95 before rounding.
    assert mine.cells[3].undecided == ("Palette (Ours) (Palette v1)",)
    far = fill(published.table("3"), [photo_record(values={**near, PD: (85.96, 0.001)})])
    assert row(far, "mine").cells[3].undecided == ()
    assert any("printed rows have none" in text for text in table.legend())


def test_standings() -> None:
    def of(*numbers: Contender | None, direction: Direction = Direction.LOWER) -> list[tuple[int, Place] | None]:
        return [None if s is None else (s.rank, s.place) for s in standings(numbers, direction)]

    one, two, three = (Contender(value, 0.1) for value in (1.0, 2.0, 3.0))
    assert of(three, one, None, two) == [(3, Place.OTHER), (1, Place.BEST), None, (2, Place.SECOND)]
    assert of(three, one, two, direction=Direction.HIGHER)[0] == (1, Place.BEST)
    assert of(one, one, two) == [(1, Place.BEST), (1, Place.BEST), (3, Place.OTHER)]
    assert of(one, two) == [(1, Place.BEST), (2, Place.OTHER)]
    assert of(one) == [(1, Place.OTHER)]
    [_, standing] = standings([Contender(1.0, 0.3), Contender(1.8, 0.3)], Direction.LOWER)
    assert standing is not None
    assert standing.undecided == (0,)
    [_, standing] = standings([Contender(1.0, 0.3), Contender(1.9, 0.3)], Direction.LOWER)
    assert standing is not None
    assert standing.undecided == ()
    [_, standing] = standings([Contender(1.0, None, 0.5), Contender(1.1, None, 0.5)], Direction.LOWER)
    assert standing is not None
    assert standing.undecided == ()


def shipped(task: str, model: str) -> ResultRecord:
    with as_file(resources.leaderboards() / "scenes32" / "records" / task / f"{model}.json") as path:
        return read_record(path).record


def test_the_miniature_fills_its_layout_and_says_what_is_missing() -> None:
    [layout] = [layout for layout in layouts() if layout.number == "3"]
    there = {
        ("uncrop", model): shipped("uncrop", model) for model in ("classical-mirror", "classical-tile", "reference")
    }
    table = fill_layout(layout, there)
    assert [row.label for row in table.groups[0].rows] == [row.label for row in layout.groups[0].rows]
    assert row(table, "Mirror").cells[0].text == "19.07 ± 0.37"
    assert {row(table, name).cells[0].rank for name in ("Mirror", "Tile")} == {1, 2}
    assert row(table, "Reference").cells[0].rank is None
    edge = row(table, "Edge")
    assert [cell.text for cell in edge.cells] == ["-"] * 5
    assert notes_of(table, edge.cells[0], edge) == "no record yet"


def test_a_record_among_the_miniatures_is_ranked_by_fingerprint_and_pixels() -> None:
    [layout] = [layout for layout in layouts() if layout.number == "3"]
    there = {("uncrop", "classical-mirror"): shipped("uncrop", "classical-mirror")}
    mine = shipped("uncrop", "classical-tile")
    assert row(fill_layout(layout, there, [mine]), "classical-tile").cells[0].rank is not None
    changed = with_metric(mine, "fid-scenes32", fingerprint="9" * 64)
    table = fill_layout(layout, there, [changed])
    cell = row(table, "classical-tile").cells[0]
    assert (cell.rank, cell.reasons) == (None, ("another definition of fid-scenes32 under its name",))
    assert row(table, "classical-tile").cells[1].rank is not None
    elsewhere = replace(mine, scored=replace(mine.scored, data_digest="9" * 64))
    assert {cell.rank for cell in row(fill_layout(layout, there, [elsewhere]), "classical-tile").cells} == {None}
    with pytest.raises(InputError, match="no place in Table 3 of scenes32"):
        fill_layout(layout, there, [shipped("colorize", "input")])


def test_several_groups_of_one_task_get_one_group_of_added_rows() -> None:
    [layout] = [layout for layout in layouts() if layout.number == "5"]
    table = fill_layout(layout, {}, [shipped("inpaint-center", "classical-mean")])
    assert [group.title for group in table.groups] == ["Fully convolutional", "Self-attention", "Further rows"]
    assert [row.label for row in table.groups[2].rows] == ["classical-mean"]
    assert PD not in str(table)


def test_a_result_that_is_in_the_table_already_is_one_row_and_not_ranked_against_itself() -> None:
    [layout] = [layout for layout in layouts() if layout.number == "3"]
    there = {("uncrop", model): shipped("uncrop", model) for model in ("classical-mirror", "classical-tile")}
    given = replace(shipped("uncrop", "classical-tile"), name="mine")
    table = fill_layout(layout, there, [given, replace(given, name="copy")])
    assert "mine" not in [row.label for row in table.rows]
    tile = row(table, "Tile")
    assert tile.source is Source.YOURS
    assert notes_of(table, tile.cells[0], tile) == "your record mine is this result"
    assert tile.cells[0].rank == 1
    twice = fill(published.table("3"), [photo_record("mine"), replace(photo_record("mine"), name="copy")])
    assert [row.label for row in twice.rows if row.source is Source.YOURS] == ["mine"]


def test_a_warning_about_a_number_that_the_table_does_not_have_is_no_footnote() -> None:
    [layout] = [layout for layout in layouts() if layout.number == "1"]
    record = shipped("colorize", "palette-scenes32-colorize")
    assert any("are clamped" in warning for warning in record.warnings)
    table = fill_layout(layout, {("colorize", "palette-scenes32-colorize"): record})
    assert not any("clamped" in text for _, text in table.notes)
