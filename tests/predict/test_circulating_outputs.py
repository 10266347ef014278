"""Outputs as people have them, read alike by ``import`` and by ``score``: names, archives, panels, halves, doubles."""

import shlex
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import locate
from palette_bench.common.errors import InputError, UsageError
from palette_bench.images import canary
from palette_bench.images.decode import encode_png
from palette_bench.images.types import ImageU8
from palette_bench.predict.importing.bring import Crop, Options
from palette_bench.predict.importing.conventions import Axes, ValueRange
from tests.conftest import make_photos, picture
from tests.predict import importing_world as world
from tests.predict.importing_world import SIZE, imported, pixels, save, steps

TASK = "jpeg-qf5"
COUNT = 5


@pytest.fixture(scope="module", autouse=True)
def _one_canary() -> Iterator[None]:
    with mock.patch.object(canary, "measure", cache(canary.measure)):
        yield


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    folder = tmp_path_factory.mktemp("circulating")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(folder / "home"))
        photos = make_photos(folder / "photos", COUNT)
        for number, path in enumerate(sorted(p for p in photos.rglob("*") if p.is_file())):
            path.rename(photos / f"K\u00f6ln (1) {number}{path.suffix}")
        return world.prepare(photos, "circulating")


def image(number: int, sample: int = 0) -> ImageU8:
    return picture(SIZE, SIZE, f"output {number} {sample}")


def check(eval_set: EvalSet, folder: Path, samples: int = 1) -> None:
    """The predictions in a folder are the outputs, each for its item."""
    for item in eval_set.items:
        for sample in range(samples):
            name = f"{item.id}.png" if samples == 1 else f"{item.id}/{sample}.png"
            assert np.array_equal(pixels(folder / name), image(item.index, sample)), name


ONE_SAMPLE: dict[str, Callable[[str], str]] = {
    "a doubled extension": lambda name: f"{name}.png.png",
    "the extension of the source": lambda name: f"{name}.JPEG.png",
    "decomposed letters": lambda name: f"{unicodedata.normalize('NFD', name)}.png",
    "a folder above": lambda name: f"results/test/{name}.png",
    "backslashes": lambda name: f"results\\test\\{name}.png",
}


@pytest.mark.parametrize("form", ONE_SAMPLE)
def test_names_are_read_alike_by_both_commands(form: str, eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        save(tmp_path / "o" / ONE_SAMPLE[form](item.id), image(item.index))
    check(eval_set, imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p").folder)
    predictions, problems = locate(tmp_path / "o", eval_set)
    assert problems == []
    for item in eval_set.items:
        decoded = predictions.decode(predictions.read(item.index, 0))
        assert np.array_equal(decoded.pixels, image(item.index))


SAMPLES: dict[str, Callable[[str, int], str]] = {
    "a number": lambda name, k: f"{name}_{k}.png",
    "from one": lambda name, k: f"{name}-{k + 1}.png",
    "seeds": lambda name, k: f"{name}_seed{(42, 1337)[k]}.png",
    "a word": lambda name, k: f"{name}_sample_{k:03}.png",
    "in a folder of the item": lambda name, k: f"{name}/sample-{k}.png",
    "in folders of the samples": lambda name, k: f"sample_{k}/{name}.png",
    "in folders of seeds": lambda name, k: f"out/{(7, 2024)[k]}/{name}.png",
    "brackets": lambda name, k: f"{name} ({k}).png",
    "a sign": lambda name, k: f"{name}_-{k + 1}.png",
}


@pytest.mark.parametrize("form", SAMPLES)
def test_samples_may_be_numbered_in_any_way(form: str, eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        for sample in range(2):
            save(tmp_path / "o" / SAMPLES[form](item.id, sample), image(item.index, sample))
    check(eval_set, imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p").folder, samples=2)
    predictions, problems = locate(tmp_path / "o", eval_set)
    assert (problems, predictions.samples) == ([], 2)


def test_a_sample_that_one_item_lacks_is_named(eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        for sample in (42, 1337) if item.index else (42,):
            save(tmp_path / "o" / f"{item.id}_seed{sample}.png", image(item.index, sample))
    with pytest.raises(InputError, match=r"expected samples 42, 1337, found 42") as caught:
        imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p")
    assert [problem.kind for problem in caught.value.problems] == ["missing-samples"]


def _clutter(eval_set: EvalSet, folder: Path) -> Path:
    for item in eval_set.items:
        save(folder / f"{item.id}.png", image(item.index))
        save(folder / f"{item.id}_LR.png", image(99))
        save(folder / f"y0_{item.index}.png", image(98))
    return folder


@pytest.mark.parametrize(
    "options", [Options(exclude=("*_LR.png", "y0_*")), Options(pattern=r"(?P<id>(?!y0_).+)(?<!_LR)\.png")]
)
def test_what_lies_beside_the_outputs_is_left_out(options: Options, eval_set: EvalSet, tmp_path: Path) -> None:
    result = imported(eval_set, _clutter(eval_set, tmp_path / "o"), "generic", TASK, tmp_path / "p", options)
    check(eval_set, result.folder)
    declared = result.described["import"]
    assert isinstance(declared, dict)
    assert declared["left_out"] == 2 * COUNT


def test_a_pattern_chooses_what_an_order_is_of(eval_set: EvalSet, tmp_path: Path) -> None:
    for number in range(COUNT):
        save(tmp_path / "o" / f"{number + 8}_-1.png", image(number))
        save(tmp_path / "o" / f"orig_{number}.png", image(99))
    order = tmp_path / "list.txt"
    order.write_text("".join(f"{item.id}\n" for item in eval_set.items))
    for number, path in enumerate((order, Path("set"))):
        options = Options(order=path, pattern=r"(?P<id>\d+)_-1\.png")
        check(eval_set, imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / f"p{number}", options).folder)


@pytest.mark.parametrize(
    "options", [Options(exclude=("nothing*",)), Options(value_range=ValueRange.UNIT), Options(axes=Axes.NCHW)]
)
def test_no_option_does_nothing(options: Options, eval_set: EvalSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing|some options"):
        imported(eval_set, _clutter(eval_set, tmp_path / "o"), "generic", TASK, tmp_path / "p", options)


READY: dict[str, tuple[Callable[[EvalSet, int], str], str]] = {
    "before and after": (
        lambda eval_set, k: f"pred_{eval_set.items[k].id}_fake.png",
        "--strip-prefix=pred_ --strip-suffix=_fake",
    ),
    "numbers": (lambda _, k: f"img{k:04}_out.png", "--order set"),
    "numbers that sort otherwise": (lambda _, k: f"{k + 8}.png", "--order set"),
}


@pytest.mark.parametrize("form", READY)
def test_a_ready_command_imports_outputs_whose_names_are_all_wrong(
    form: str, eval_set: EvalSet, tmp_path: Path
) -> None:
    name, said = READY[form]
    for item in eval_set.items:
        save(tmp_path / "o" / name(eval_set, item.index), image(item.index))
    with pytest.raises(InputError) as from_score:
        locate(tmp_path / "o", eval_set, eval_set.task(TASK))
    with pytest.raises(InputError) as from_import:
        imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p")
    command = from_import.value.next_step or ""
    assert said in command
    assert command in (from_score.value.next_step or "")
    words = shlex.split(command)
    given = dict(pairwise(words)) | dict(w.split("=", 1) for w in words if "=" in w)
    options = Options(
        strip_prefix=given.get("--strip-prefix"),
        strip_suffix=given.get("--strip-suffix"),
        order=Path(given["--order"]) if "--order" in given else None,
    )
    check(eval_set, imported(eval_set, Path(words[2]), "generic", TASK, tmp_path / "p", options).folder)


def test_a_zip_of_powershell_is_read(eval_set: EvalSet, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "win.zip", "w") as archive:
        for item in eval_set.items:
            member = zipfile.ZipInfo("x")
            member.filename = f"results\\test\\{item.id}.png"
            archive.writestr(member, encode_png(image(item.index)))
    check(eval_set, imported(eval_set, tmp_path / "win.zip", "generic", TASK, tmp_path / "p").folder)


@pytest.mark.parametrize("name", ["..\\..\\x.png", "C:\\x.png", "\\x.png"])
def test_a_zip_that_leads_out_of_itself_is_refused(name: str, eval_set: EvalSet, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "win.zip", "w") as archive:
        member = zipfile.ZipInfo("x")
        member.filename = name
        archive.writestr(member, b"")
    with pytest.raises(InputError, match="leads out of the archive"):
        imported(eval_set, tmp_path / "win.zip", "generic", TASK, tmp_path / "p")


def test_git_lfs_pointers_are_said_once(eval_set: EvalSet, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    for item in eval_set.items:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 101234\n"
        (tmp_path / "o" / f"{item.id}.png").write_text(text)
    for read in (
        lambda: imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p"),
        lambda: locate(tmp_path / "o", eval_set),
    ):
        with pytest.raises(InputError, match="git lfs pull") as caught:
            read()
        assert len(caught.value.problems) == 0


@pytest.mark.parametrize("batches", [False, True])
def test_a_list_of_tensors_is_read(batches: bool, eval_set: EvalSet, tmp_path: Path) -> None:
    tensors = [torch.tensor(image(k)).permute(2, 0, 1) for k in range(COUNT)]
    torch.save([torch.stack(tensors[:3]), torch.stack(tensors[3:])] if batches else tensors, tmp_path / "list.pt")
    options = Options(order=Path("set"), axes=Axes.NCHW)
    check(eval_set, imported(eval_set, tmp_path / "list.pt", "generic", TASK, tmp_path / "p", options).folder)


def test_a_list_of_tensors_of_several_shapes_is_named(eval_set: EvalSet, tmp_path: Path) -> None:
    torch.save([torch.zeros(3, 4, 4), torch.zeros(3, 5, 5)], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"(?s)a list of 2, of the shapes \[3, 4, 4\], \[3, 5, 5\].*torch\.stack"):
        imported(eval_set, tmp_path / "list.pt", "generic", TASK, tmp_path / "p", Options(order=Path("set")))


def test_a_panel_of_several_is_taken(eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        panels = np.concatenate([image(98), image(99), image(item.index)], axis=1)
        save(tmp_path / "o" / f"{item.id}.png", panels)
    with pytest.raises(InputError, match=f"3 panels\\? --crop {2 * SIZE},0"):
        imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p")
    result = imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p", Options(crop=Crop(2 * SIZE, 0)))
    check(eval_set, result.folder)
    assert steps(result) == [{"step": "crop", "box": [2 * SIZE, 0, "set", "set"], "outputs": COUNT}]
    with pytest.raises(InputError, match="the part to crop ends at"):
        imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "q", Options(crop=Crop(3 * SIZE, 0)))


@pytest.mark.parametrize("task", ["uncrop", "uncrop-left", "uncrop-top", "uncrop-bottom"])
def test_the_hidden_half_alone_is_put_into_its_place(task: str, eval_set: EvalSet, tmp_path: Path) -> None:
    conditions = eval_set.conditions(eval_set.task(task))
    for item in eval_set.items:
        hole = conditions.of(item).hole
        assert hole is not None
        rows, columns = hole.any(axis=1), hole.any(axis=0)
        save(tmp_path / "o" / f"{item.id}.png", image(item.index)[rows][:, columns])
    result = imported(eval_set, tmp_path / "o", "generic", task, tmp_path / "p")
    for item in eval_set.items:
        condition = conditions.of(item)
        assert condition.hole is not None
        expected = np.where(condition.hole[..., None], image(item.index), eval_set.reference(item))
        assert np.array_equal(pixels(result.folder / f"{item.id}.png"), expected)
    assert steps(result)[0]["step"] == "paste_half"


def test_equal_outputs_of_equal_conditions_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "home"))
    for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2)):
        save(tmp_path / "dup" / f"{name}.png", picture(SIZE, SIZE, f"doubled {seed}"))
        save(tmp_path / "o" / f"{name}.png", image(seed))
        save(tmp_path / "wrong" / f"{name}.png", image(min(seed, 1)))
    doubled = world.prepare(tmp_path / "dup", "dup")
    imported(doubled, tmp_path / "o", "generic", TASK, tmp_path / "p", Options(strict=True))
    with pytest.raises(InputError, match="same-output: outputs: 2 items"):
        imported(doubled, tmp_path / "wrong", "generic", TASK, tmp_path / "q", Options(strict=True))
