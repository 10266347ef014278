"""Against the shared folder beside the checkout: the released lists, the labels, real photographs."""

import os
from pathlib import Path

import pytest

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.listing import FolderSource
from palette_bench.common.progress import Silent
from palette_bench.prepare.build import build
from palette_bench.prepare.export import HoleColour, export
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.prepare.selection.select import select
from palette_bench.prepare.selection.tfds_order import tfds_order
from palette_bench.prepare.sources.datasets import LabelledSource
from palette_bench.prepare.sources.labels import imagenet_name, read_imagenet_labels
from palette_bench.prepare.verify import verify
from palette_bench.protocol.definition import load_protocol

SHARED = Path(os.environ.get("PALETTE_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
DATA = SHARED / "data"
pytestmark = pytest.mark.shared


def lines(name: str) -> list[str]:
    return (DATA / name).read_text().split()


@pytest.fixture(scope="module")
def labels() -> dict[str, int]:
    return read_imagenet_labels(DATA / "ilsvrc2012_val_labels.txt")


def source(labels: dict[str, int], names: list[str]) -> LabelledSource:
    return LabelledSource(FolderSource(DATA, dict(zip(names, names, strict=True))), labels, DATA)


def test_ctest10k_equals_the_released_list(labels: dict[str, int]) -> None:
    items = select(load_protocol("imagenet-ctest10k"), source(labels, list(labels)))
    assert [item.name for item in items] == lines("ctest10k.txt")
    assert [item.label for item in items] == [labels[item.name] for item in items]


def test_the_ten_thousand_files_alone_are_enough_with_all_labels(labels: dict[str, int]) -> None:
    items = select(load_protocol("imagenet-ctest10k"), source(labels, lines("ctest10k.txt")))
    assert [item.name for item in items] == lines("ctest10k.txt")


def test_the_ten_thousand_files_in_class_folders_are_enough_without(labels: dict[str, int]) -> None:
    names = lines("ctest10k.txt")
    items = select(load_protocol("imagenet-ctest10k"), source({name: labels[name] for name in names}, names))
    assert [item.name for item in items] == names


def test_one_wrong_label_of_fifty_thousand_is_found(labels: dict[str, int]) -> None:
    wrong = {**labels, imagenet_name(7): (labels[imagenet_name(7)] + 1) % 1000}
    with pytest.raises(Exception, match="not those of ILSVRC 2012"):
        select(load_protocol("imagenet-ctest10k"), source(wrong, list(labels)))


def test_coltran_lists_equal_the_released_ones(labels: dict[str, int]) -> None:
    items = select(load_protocol("imagenet-coltran5k"), source(labels, list(labels)))
    assert [item.name for item in items] == lines("coltran5k_eval.txt")
    assert tfds_order(labels)[10000:15000] == lines("coltran5k_reference.txt")


def test_the_excluded_numbers_are_those_of_the_list() -> None:
    assert list(load_protocol("imagenet-ctest10k").selection.excluded_numbers) == [
        int(number) for number in lines("ctest10k_excluded_ids.txt")
    ]


@pytest.mark.usefixtures("home")
def test_real_photographs_become_a_set_and_are_exported(tmp_path: Path) -> None:
    choices = Choices(source=DATA / "imagenet-sample", name="sample")
    built = build(make_plan("folder", choices, progress=Silent()), jobs=2, replace=False, progress=Silent())
    eval_set = EvalSet(built.folder)
    assert (built.count, len(eval_set.classes)) == (500, 500)
    assert verify(eval_set, jobs=2, progress=Silent()).conditions == 500 * 13
    task = eval_set.task("jpeg-qf10")
    written = export(
        eval_set, task, tmp_path / "out", holes=HoleColour.WHITE, references=False, jobs=2, progress=Silent()
    )
    assert written.count == len(list((tmp_path / "out" / "jpegs").rglob("*.jpg"))) == 500
