"""Two results compared: right numbers from the scorer's own files, and nothing at all from what is not the same."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from palette_bench.artifacts.record import FLOAT32, MetricValue, ResultRecord
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError, VerificationError
from palette_bench.publish.compare import Ahead, Comparison, Method, MetricDifference, compare, open_side
from palette_bench.score.metrics.estimate import of_mean
from palette_bench.score.metrics.frechet import frechet_influence
from tests.publish.paired_results import HOLES, IDS, LABELS, inputs, write_result


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A good model and a worse one."""
    folder = tmp_path_factory.mktemp("pair")
    return write_result(folder / "good", 0.5, own=1), write_result(folder / "worse", 0.6, own=2)


def between(
    first: Path, second: Path, *, only: tuple[str, ...] = (), worst: int = 5, worst_by: str | None = None
) -> Comparison:
    return compare(open_side(first), open_side(second), only=only, worst=worst, worst_by=worst_by)


def of(found: Comparison, recipe: str) -> MetricDifference:
    return next(metric for metric in found.metrics if metric.recipe.name == recipe)


def test_means_of_items(pair: tuple[Path, Path]) -> None:
    found = of(between(*pair), "pd-scenes32")
    sides = [inputs(0.5, own=1), inputs(0.6, own=2)]
    distances = [
        np.linalg.norm(
            side.predicted["scenes32"]["features"].astype("f8") - side.references["scenes32"]["features"], axis=1
        )
        for side in sides
    ]
    expected = of_mean(distances[0] - distances[1])
    assert found.method is Method.BOOTSTRAP
    assert found.difference.value == pytest.approx(expected.value, rel=1e-7)
    assert found.difference.standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    assert (found.first, found.second) == pytest.approx([d.mean() for d in distances], rel=1e-7)
    assert found.first_error is not None
    assert found.second_error is not None
    # Joint errors of the two numbers are those of another question.
    assert math.hypot(found.first_error, found.second_error) > 2 * (expected.standard_error or math.inf)
    assert found.ahead is Ahead.FIRST


def test_fid_by_the_influence_of_items(pair: tuple[Path, Path]) -> None:
    comparison = between(*pair)
    sides = [inputs(0.5, own=1), inputs(0.6, own=2)]
    for recipe, paired in (("fid-scenes32", False), ("fid-scenes32-evalset", True)):
        influences = [
            frechet_influence(
                side.predicted["scenes32"]["features"],
                side.references["scenes32"]["features"] if paired else side.statistics["fid-scenes32"].moments,
                paired=paired,
            )
            for side in sides
        ]
        difference = influences[0].influence - influences[1].influence
        found = of(comparison, recipe)
        assert found.method is Method.JACKKNIFE
        assert found.difference.value == pytest.approx(
            influences[0].distance.value - influences[1].distance.value, rel=1e-6
        )
        assert found.difference.standard_error == pytest.approx(
            math.sqrt(float(np.square(difference).sum()) / (120 * 119)), rel=1e-6
        )


def test_accuracy_by_the_items_on_which_they_disagree(pair: tuple[Path, Path]) -> None:
    found = of(between(*pair), "ca-scenes32")
    right = [
        inputs(badness, own=own).predicted["scenes32"]["logits"].argmax(axis=1) == LABELS
        for badness, own in ((0.5, 1), (0.6, 2))
    ]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert min(only) > 0
    assert found.method is Method.EXACT
    assert found.details == {"only_a": only[0], "only_b": only[1]}
    assert found.difference.value == pytest.approx(100 * (only[0] - only[1]) / 120, rel=1e-12)


def test_what_items_do_not_know_is_unpaired_and_says_so(pair: tuple[Path, Path]) -> None:
    comparison = between(*pair)
    unpaired = {metric.recipe.name for metric in comparison.metrics if metric.method is Method.UNPAIRED}
    assert {"is-scenes32", "kid-scenes32-evalset"} <= unpaired
    assert not unpaired & {"fid-scenes32", "ca-scenes32", "pd-scenes32", "psnr-rgb", "ssim-gauss11-rgb"}
    found = of(comparison, "is-scenes32")
    assert found.difference.standard_error == pytest.approx(math.hypot(found.first_error or 0, found.second_error or 0))


def test_adjusted_values_alone_decide(pair: tuple[Path, Path]) -> None:
    comparison = between(*pair)
    tests = sum(metric.difference.p is not None for metric in comparison.metrics)
    assert tests == len(comparison.metrics) > 7
    least = min(comparison.metrics, key=lambda metric: metric.difference.p or 0.0)
    assert least.adjusted_p == pytest.approx(min(1.0, tests * (least.difference.p or 0.0)))
    for metric in comparison.metrics:
        assert metric.adjusted_p is not None
        assert (metric.ahead is not Ahead.NOBODY) == (metric.adjusted_p < 0.05)
    assert any(
        (metric.difference.p or 0) < 0.05 and metric.ahead is Ahead.NOBODY
        for metric in (*comparison.metrics, *between(pair[0], _near(pair[0])).metrics)
    )
    assert f"{tests} tests" in " ".join(comparison.notes)
    assert f"holm:{tests}" in comparison.signature


def _near(good: Path) -> Path:
    """A model so near to the good one that p is small for some metric and not small enough for all of them."""
    return write_result(good.with_name("near"), 0.515, own=3)


def test_exchanged_results_change_signs_and_nothing_else(pair: tuple[Path, Path]) -> None:
    found, swapped = between(*pair), between(*pair[::-1])
    opposite = {Ahead.FIRST: Ahead.SECOND, Ahead.SECOND: Ahead.FIRST, Ahead.NOBODY: Ahead.NOBODY}
    assert {metric.ahead for metric in found.metrics} > {Ahead.FIRST}
    for one, other in zip(found.metrics, swapped.metrics, strict=True):
        assert other.difference.value == -one.difference.value
        assert (other.difference.p, other.adjusted_p) == pytest.approx((one.difference.p, one.adjusted_p), rel=1e-9)
        assert other.ahead is opposite[one.ahead]
        assert other.difference.low == pytest.approx(-(one.difference.high or math.nan), abs=1e-9)
    assert found.most_different is not None
    assert swapped.most_different is not None
    assert [item.id for item in found.most_different.first_ahead] == [
        item.id for item in swapped.most_different.second_ahead
    ]


def test_a_result_and_itself(pair: tuple[Path, Path]) -> None:
    found = between(pair[0], pair[0])
    for metric in found.metrics:
        assert metric.method is Method.SAME
        assert (metric.difference.value, metric.difference.p, metric.adjusted_p) == (0.0, 1.0, 1.0)
        assert (metric.difference.low, metric.difference.high) == (0.0, 0.0)
        assert metric.ahead is Ahead.NOBODY
    for group in found.groups:
        assert {(value.first - value.second, value.standard_error) for value in group.metrics.values()} == {(0.0, 0.0)}
    assert found.most_different is not None
    assert found.most_different.first_ahead == found.most_different.second_ahead == ()
    assert "same predictions" in found.notes[0]
    json.dumps(found.as_json(), allow_nan=False)


def test_the_rounding_of_another_machine_decides_nothing(tmp_path: Path) -> None:
    def rounded(table: pandas.DataFrame) -> None:
        table["pd-scenes32"] += 1e-7

    def with_it(record: ResultRecord) -> ResultRecord:
        metric = record.metrics["pd-scenes32"]
        return replace(record, metrics={**record.metrics, metric.recipe: replace(metric, value=metric.value + 1e-7)})

    ours = write_result(tmp_path / "ours")
    theirs = write_result(tmp_path / "theirs", items=rounded, change=with_it)
    found = of(between(theirs, ours), "pd-scenes32")
    assert 0 < found.difference.value < 1e-6
    assert (found.difference.p, found.ahead) == (1.0, Ahead.NOBODY)

    def of_others(table: pandas.DataFrame) -> None:
        rounded(table)
        table["prediction_sha256"] = table["id"]

    # The same numbers of other predictions would have been sure.
    other = write_result(tmp_path / "other", items=of_others, change=with_it)
    assert (of(between(other, ours), "pd-scenes32").difference.p or 1.0) < 0.001


Change = Callable[[ResultRecord], ResultRecord]


def scored(**changes: object) -> Change:
    return lambda record: replace(record, scored=replace(record.scored, **changes))  # type: ignore[arg-type]


def metric_changed(name: str, **changes: object) -> Change:
    def change(record: ResultRecord) -> ResultRecord:
        changed: MetricValue = replace(record.metrics[name], **changes)  # type: ignore[arg-type]
        return replace(record, metrics={**record.metrics, name: changed})

    return change


def of_reference(record: ResultRecord) -> ResultRecord:
    assert record.reference is not None
    record = replace(record, reference=replace(record.reference, name="train", count=7))
    return metric_changed("fid-scenes32", fingerprint="7" * 64)(record)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (scored(set_id="places10k"), "other set: set: A has scenes32, B has places10k"),
        (scored(version=2), "other set: version: A has 1, B has 2"),
        (scored(fingerprint="9" * 64), "other set: fingerprint: A has cccc"),
        (scored(data_digest="9" * 64), "other images: data_digest"),
        (scored(task="colorize"), "other task: task: A has uncrop, B has colorize"),
        (scored(task_fingerprint="9" * 64), "other task: fingerprint"),
        (metric_changed("pd-scenes32", fingerprint="9" * 64), "other recipe: pd-scenes32"),
        (metric_changed("pd-scenes32", weights_sha256="9" * 64), "other weights: pd-scenes32"),
        (metric_changed("pd-scenes32", backbone="other"), "other network: pd-scenes32"),
        (metric_changed("pd-scenes32", precision="bfloat16"), "other precision: pd-scenes32: A has float32"),
        (of_reference, "other reference: fid-scenes32: A has reference \\(10 images, 1111.*B has train \\(7 images"),
    ],
)
def test_another_fingerprint_is_refused_by_name(
    pair: tuple[Path, Path], tmp_path: Path, change: Change, named: str
) -> None:
    other = write_result(tmp_path / "other", 0.6, own=2, change=change)
    with pytest.raises(InputError, match=named) as caught:
        between(pair[0], other)
    assert len(caught.value.problems) == 1
    assert caught.value.exit_code == 3


def test_all_differences_are_named_together(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def change(record: ResultRecord) -> ResultRecord:
        record = scored(fingerprint="8" * 64, task="colorize")(record)
        record = metric_changed("psnr-rgb", fingerprint="8" * 64)(record)
        return metric_changed("pd-scenes32", precision="bfloat16", weights_sha256="8" * 64)(record)

    with pytest.raises(InputError) as caught:
        between(pair[0], write_result(tmp_path / "other", 0.6, own=2, change=change))
    assert [(p.kind, p.where) for p in caught.value.problems] == [
        ("other set", "fingerprint"),
        ("other task", "task"),
        ("other weights", "pd-scenes32"),
        ("other precision", "pd-scenes32"),
        ("other recipe", "psnr-rgb"),
    ]


def test_only_compares_what_is_equal(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_result(tmp_path / "other", 0.6, own=2, change=of_reference)
    with pytest.raises(InputError, match="--only"):
        between(pair[0], other)
    found = between(pair[0], other, only=("pd-scenes32",))
    assert [metric.recipe.name for metric in found.metrics] == ["pd-scenes32"]
    assert found.metrics[0].adjusted_p == found.metrics[0].difference.p
    with pytest.raises(UsageError, match="pd-scene32"):
        between(pair[0], other, only=("pd-scene32",))
    moved = write_result(tmp_path / "moved", 0.6, own=2, change=scored(data_digest="9" * 64))
    with pytest.raises(InputError, match="data_digest"):
        between(pair[0], moved, only=("pd-scenes32",))


@pytest.mark.parametrize(
    ("ids", "kinds"),
    [
        ((*IDS[1:], IDS[0]), {"another order"}),
        ((IDS[1], IDS[0], *IDS[2:]), {"another order"}),
        (("elsewhere", *IDS[1:]), {"only in A", "only in B"}),
    ],
)
def test_other_items_are_refused(
    pair: tuple[Path, Path], tmp_path: Path, ids: tuple[str, ...], kinds: set[str]
) -> None:
    with pytest.raises(InputError, match="the same items in the same order") as caught:
        between(pair[0], write_result(tmp_path / "other", 0.6, own=2, ids=ids))
    assert {problem.kind for problem in caught.value.problems} == kinds


def test_another_number_of_items_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="count: A has 120, B has 100"):
        between(pair[0], write_result(tmp_path / "fewer", count=100))


def test_incomparable_records_compare_with_each_other_only(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def change(record: ResultRecord) -> ResultRecord:
        metrics = {name: replace(metric, canonical=False) for name, metric in record.metrics.items()}
        return replace(record, metrics=metrics, incomparable=("the weights of scenes32 are not the published ones",))

    sides = [write_result(tmp_path / str(own), 0.5 + own / 10, own=own, change=change) for own in (0, 1)]
    assert between(*sides).warnings == (
        "these numbers compare with each other only, and with nothing else: the weights of scenes32 are not the "
        "published ones",
    )
    assert between(*pair).warnings == ()


def test_other_numbers_of_samples(tmp_path: Path) -> None:
    many = write_result(tmp_path / "many", 0.5, own=1, samples=8)
    some = write_result(tmp_path / "some", 0.6, own=2, samples=4)
    one = write_result(tmp_path / "one", 0.6, own=2)
    recipe = "diversity-msssim-2scales"
    found = between(many, some)
    metric = of(found, recipe)
    pairs = [inputs(0.5, own=1, samples=8), inputs(0.6, own=2, samples=4)]
    firsts = [side.diversity["ms_ssim"].values[:, :3].mean(axis=1) for side in pairs]
    expected = of_mean(firsts[0] - firsts[1])
    assert metric.difference.value == pytest.approx(expected.value, rel=1e-6)
    assert metric.difference.standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    # The record's own number is of seven pairs and another one.
    assert metric.first != pytest.approx(open_side(many).record.metrics[recipe].value, rel=1e-4)
    assert "only the first 4 of each" in found.notes[0]
    assert of(between(many, many), recipe).first == open_side(many).record.metrics[recipe].value
    alone = between(many, one)
    assert alone.left_out == {recipe: "in A only"}
    assert of(alone, "pd-scenes32").difference == of(found, "pd-scenes32").difference


def test_recipes_of_one_result_alone_are_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def change(record: ResultRecord) -> ResultRecord:
        metrics = dict(record.metrics)
        del metrics["ca-scenes32"]
        metrics["pd-of-tomorrow"] = replace(metrics["pd-scenes32"], recipe="pd-of-tomorrow")
        return replace(record, metrics=metrics, refused={"ca-scenes32": "no labels"})

    sides = [write_result(tmp_path / str(own), 0.5 + own / 10, own=own, change=change) for own in (0, 1)]
    assert between(pair[0], sides[1]).left_out == {
        "ca-scenes32": "in A only; refused in B: no labels",
        "pd-of-tomorrow": "in B only",
    }
    assert between(*sides).left_out == {"pd-of-tomorrow": "this version knows no recipe of this name"}


def test_results_with_no_recipe_in_common_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    empty = write_result(tmp_path / "empty", change=lambda record: replace(record, metrics={}, groups=()))
    with pytest.raises(InputError, match="a recipe in both"):
        between(pair[0], empty)


def set_first(column: str, value: float) -> Callable[[pandas.DataFrame], None]:
    def spoil(table: pandas.DataFrame) -> None:
        table[column] = table[column].astype(float)
        table.loc[0, column] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "error", "fault"),
    [
        (set_first("pd-scenes32", 99.0), VerificationError, "pd-scenes32: the items' mean is"),
        (set_first("correct", 7.0), VerificationError, "ca-scenes32: the items' mean is"),
        (set_first("fid-scenes32_influence", 99.0), VerificationError, "influences sum to"),
        (
            lambda table: table.update({"fid-scenes32_influence": 2 * table["fid-scenes32_influence"]}),
            VerificationError,
            "influences give the standard error",
        ),
        (set_first("psnr", math.nan), InputError, "missing: B: psnr"),
        (lambda table: table.pop("ssim"), InputError, "missing: B: ssim"),
    ],
)
def test_items_that_do_not_make_the_record_are_refused(
    pair: tuple[Path, Path],
    tmp_path: Path,
    spoil: Callable[[pandas.DataFrame], object],
    error: type[PaletteBenchError],
    fault: str,
) -> None:
    with pytest.raises(error, match=fault):
        between(pair[0], write_result(tmp_path / "spoilt", 0.6, own=2, items=spoil))


def test_the_items_that_differ_most(pair: tuple[Path, Path]) -> None:
    found = between(*pair, worst=3).most_different
    assert found is not None
    assert found.recipe.name == "pd-scenes32"
    sides = [open_side(where).items.columns["pd-scenes32"] for where in pair]
    difference = sides[0] - sides[1]
    order = np.argsort(difference)
    assert [item.id for item in found.first_ahead] == [IDS[at] for at in order[:3]]
    assert [item.id for item in found.second_ahead] == [IDS[at] for at in order[::-1][:3]]
    assert found.first_ahead[0].first == sides[0][order[0]]
    assert found.first_ahead[0].second == sides[1][order[0]]
    # Of PSNR more is better.
    by_psnr = between(*pair, worst=1, worst_by="psnr-rgb").most_different
    assert by_psnr is not None
    assert by_psnr.first_ahead[0].first > by_psnr.first_ahead[0].second
    influence = between(*pair, worst=1, worst_by="fid-scenes32").most_different
    assert influence is not None
    assert influence.as_json()["of"] == "influence"
    for wrong in ("ca-scenes32", "is-scenes32", "nothing"):
        with pytest.raises(UsageError, match="pd-scenes32"):
            between(*pair, worst_by=wrong)


def test_groups_are_paired_where_their_members_are_known(pair: tuple[Path, Path]) -> None:
    found = between(*pair)
    sides = [open_side(where).items.columns["pd-scenes32"] for where in pair]
    rows = [label == LABELS for label in range(4)] + [HOLES < 0.25, HOLES > 0.25]
    assert [group.name for group in found.groups] == ["class 0"] * 2 + ["class 1"] * 2 + ["20-25 %", "25-30 %", "some"]
    for group, members in zip(found.groups, rows, strict=False):
        of_group = group.metrics["pd-scenes32"]
        expected = of_mean((sides[0] - sides[1])[members])
        assert of_group.paired
        assert of_group.first - of_group.second == pytest.approx(expected.value, rel=1e-6)
        assert of_group.standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    categories = found.groups[-1].metrics["pd-scenes32"]
    assert not categories.paired
    assert categories.standard_error is not None
    assert categories.standard_error > 2 * (found.groups[0].metrics["pd-scenes32"].standard_error or math.inf) / 3


def test_a_group_whose_members_do_not_make_its_number_is_not_paired(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def other_members(record: ResultRecord) -> ResultRecord:
        classes = [group for group in record.groups if group.grouping == "class"]
        names = [replace(group, name=f"{number}") for number, group in enumerate(classes)]
        return replace(record, groups=(names[1], names[0], *names[2:]))

    sides = [write_result(tmp_path / str(own), 0.5 + own / 10, own=own, change=other_members) for own in (0, 1)]
    found = between(*sides)
    assert [group.metrics["pd-scenes32"].paired for group in found.groups] == [False, False, True, True]
    assert between(pair[0], write_result(tmp_path / "none", 0.6, own=2, groups=False)).groups == ()


def test_few_items_have_no_interval(tmp_path: Path) -> None:
    sides = [write_result(tmp_path / str(own), 0.5, own=own, count=20) for own in (0, 1)]
    found = between(*sides)
    for metric in found.metrics:
        exact = metric.method is Method.EXACT
        assert exact == (metric.recipe.name == "ca-scenes32")
        assert (metric.difference.p is None) == (metric.difference.low is None) == (not exact)
    assert "20 items are too few" in found.notes[0]
    json.dumps(found.as_json(), allow_nan=False)


def test_a_changed_record_is_not_compared(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_result(tmp_path / "other", 0.6, own=2)
    path = other / "result.json"
    path.write_text(path.read_text().replace(f'"precision": "{FLOAT32}"', '"precision": "bfloat16"'))
    with pytest.raises(VerificationError, match="changed after it was written"):
        between(pair[0], other)
