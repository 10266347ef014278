"""`calibrate` on tiny sets of photographs-like pictures, with random weights of the right shapes."""

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from palette_bench.cli import main
from palette_bench.common import resources
from palette_bench.prepare.selection.tfds_order import tfds_order
from palette_bench.prepare.sources.labels import IMAGENET_VAL_IMAGES, imagenet_name
from palette_bench.publish.tables import printed as published
from palette_bench.score.backbones import weights
from palette_bench.score.backbones.loading import LoadedBackbone
from tests.conftest import picture
from tests.score import random_weights

SET = "imagenet-coltran5k"
COUNT, OF_REFERENCE = 4, 2
Answer = dict[str, object]
Locate = Callable[[weights.WeightsFile], weights.LocatedWeights]
PROTOCOL = f"""
format = 1
name = "{SET}"
version = 1
title = "Four pictures"
description = "A protocol with two reference sets."
status = "checked"
family = "imagenet"
[selection]
rule = "tfds-range"
count = {COUNT}
[images]
kind = "original"
size = 64
geometry = "square-area"
exif = "ignore"
[tasks]
masks = "generated"
names = ["colorize"]
[fid_reference]
default = "next5k"
[fid_reference.next5k]
rule = "tfds-range"
start = {COUNT}
count = {OF_REFERENCE}
[fid_reference.tfds10k-15k]
rule = "tfds-range"
start = {COUNT + OF_REFERENCE}
count = {OF_REFERENCE}
"""


def program(*arguments: object) -> tuple[int, str, str]:
    """Run the program in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patched.setattr("sys.argv", ["palette-bench", *map(str, arguments)])
        code = main._run()
    return code, out.getvalue(), err.getvalue()


def done(*arguments: object) -> str:
    code, out, err = program(*arguments)
    assert code == 0, err
    return out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with two of three geometries of a tiny set, and one reference set's statistics for one of them."""
    folder = tmp_path_factory.mktemp("calibrate")
    protocols, source, home = folder / "protocols", folder / "val", folder / "home"
    for each in (protocols, source, home):
        each.mkdir()
    for file in resources.toml_files(resources.protocols()):
        (protocols / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    (protocols / f"{SET}.toml").write_text(PROTOCOL)
    names = tfds_order(imagenet_name(n) for n in range(1, IMAGENET_VAL_IMAGES + 1))[: COUNT + 2 * OF_REFERENCE]
    for place, name in enumerate(names):
        Image.fromarray(picture(80 + 3 * place, 100 - 2 * place, name)).save(source / name, quality=90)
    (source / "val_labels.txt").write_text("".join(f"{name} {place}\n" for place, name in enumerate(names)))
    (home / "weights").symlink_to(random_weights.shared_home(tmp_path_factory) / "weights")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PALETTE_BENCH_HOME", str(home))
        patched.setattr(resources, "protocols", lambda: protocols)
        for geometry in ("square-area", "adm"):
            done("prepare", SET, "--source", source, "--geometry", geometry, "--jobs", 1)
        common = ("--source", source, "--allow-other-weights", "--jobs", 1)
        done("statistics", f"{SET}+adm", *common)
        yield folder
    published._shipped.cache_clear()


@pytest.fixture(scope="module")
def located() -> Locate:
    """The random weights files, their digests computed once."""
    return functools.cache(partial(weights.locate, allow_other=True))


@pytest.fixture
def published_weights(located: Locate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the random weights be the published ones."""

    def canonical(file: weights.WeightsFile, *, allow_other: bool = False) -> weights.LocatedWeights:
        return replace(located(file), canonical=True)

    monkeypatch.setattr(weights, "locate", canonical)


Print = Callable[..., None]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Print]:
    """Print a reference row in the paper's place: texts of FID, IS and CA for each table."""

    def write(*rows: tuple[str, str, str]) -> None:
        head = 'format = 2\nkey = "p"\nname = "Paper"\nversion = "1"\ntitle = "T"\nauthors = ["A"]\nyear = 2021\n'
        head += 'venue = "V"\nurl = "https://example.org"\n[metrics.fid]\n[metrics.is]\n[metrics.ca]\n'
        for number, cells in enumerate(rows, 1):
            columns = "".join(
                f'[[table.column]]\nmetric = "{name}"\nhead = "{name} ↑"\nset = "{SET}"\n'
                for name in ("fid", "is", "ca")
            )
            head += f'[[table]]\nnumber = "{number}"\ntitle = "Table"\n{columns}[[table.group]]\ntasks = ["colorize"]\n'
            head += f'rows = [{{ model = "Reference", reference = true, cells = {json.dumps(cells)} }}]\n'
        paper = tmp_path / "leaderboards" / "paper"
        paper.mkdir(parents=True, exist_ok=True)
        (paper / "paper.toml").write_text(head, encoding="utf-8")
        published._shipped.cache_clear()

    monkeypatch.setattr(resources, "leaderboards", lambda: tmp_path / "leaderboards")
    yield write
    published._shipped.cache_clear()


def calibrate(*more: object) -> Answer:
    answer: Answer = json.loads(done("calibrate", "--set", SET, "--json", "--jobs", 1, *more))
    return answer


EXACT = ("--band", "fid=0", "--band", "is=0", "--band", "ca=0")


def variants(answer: Answer) -> dict[str, dict[str, list[Answer]]]:
    found = answer["variants"]
    assert isinstance(found, list)
    return {variant["set"]: variant for variant in found}


def value(answer: Answer, set_id: str, recipe: str, reference: str | None = None) -> float:
    numbers = variants(answer)[set_id]["numbers"]
    return next(  # type: ignore[return-value]
        each["value"] for each in numbers if (each["recipe"], each["reference"]) == (recipe, reference)
    )


def verdicts(answer: Answer) -> set[object]:
    numbers = [number for variant in variants(answer).values() for number in variant["numbers"]]
    return {judged["verdict"] for number in numbers for judged in number["judged"]}  # type: ignore[attr-defined]


TRUE_CHOICE = ("fid-inception2015-tf1", "next5k"), ("is-inception2015-biased-1split", None)


def of_adm(answer: Answer) -> tuple[str, str]:
    """FID and IS of the adm geometry, as a paper with many digits would print them."""
    fid, score = (value(answer, f"{SET}+adm", *choice) for choice in TRUE_CHOICE)
    return f"{fid:.6f}", f"{score:.6f}"


@pytest.mark.usefixtures("world")
def test_other_weights_reproduce_nothing(printed: Print) -> None:
    printed(("1.0", "1.0", "1.0"))
    answer = calibrate("--allow-other-weights")
    printed((*of_adm(answer), "-"))
    answer = calibrate("--allow-other-weights")
    assert answer["outcome"] == "not-comparable"
    assert verdicts(answer) == {"not-comparable"}
    text = done("calibrate", "--set", SET, "--jobs", 1, "--allow-other-weights")
    assert "reproduces" not in text
    assert "Nothing is said to be reproduced: the weights of inception2015 are not the published ones" in text


@pytest.mark.usefixtures("world", "published_weights")
def test_the_variant_that_was_printed_is_found(printed: Print, tmp_path: Path) -> None:
    printed(("1.0", "1.0", "1.0"))
    digits = of_adm(calibrate())
    printed((*digits, "-"))
    answer = calibrate(*EXACT, "--out", tmp_path / "page.md")
    assert answer["outcome"] == "explained"
    assert answer["together"] == [
        {
            "variants": [f"{SET}+adm"],
            "recipes": {"fid": ["fid-inception2015-tf1 against next5k"], "is": ["is-inception2015-biased-1split"]},
            "count": 1,
        }
    ]
    untested = answer["untested"]
    assert isinstance(untested, list)
    assert f"{SET}+short-side-bilinear" in untested
    assert f"{SET}+adm: fid-inception2015-tf1 against tfds10k-15k" in untested
    assert f"{SET}: fid-inception2015-tf1 against next5k" in untested
    assert f"{SET}+adm: fid-inception2015-tf1 against next5k" not in untested
    page = (tmp_path / "page.md").read_text()
    assert "Exactly one set of choices explains the printed row" in page
    assert f"reproduces {digits[0]}" in page
    assert f"palette-bench prepare {SET} --source DIR --geometry short-side-bilinear" in page
    assert f"palette-bench statistics {SET}+adm --source DIR --reference tfds10k-15k" in page


@pytest.mark.usefixtures("world", "published_weights")
@pytest.mark.parametrize("column", [0, 1])
def test_one_digit_off_and_nothing_is_found(printed: Print, column: int) -> None:
    printed(("1.0", "1.0", "1.0"))
    digits = list(of_adm(calibrate()))
    digits[column] = f"{float(digits[column]) + 2e-6:.6f}"
    printed((*digits, "-"))
    answer = calibrate(*EXACT)
    assert answer["outcome"] == "none"
    assert answer["together"] == []
    text = done("calibrate", "--set", SET, "--jobs", 1, *EXACT)
    assert "No set of choices explains the printed row." in text
    # The stated band covers it, and the band is part of what is printed.
    assert calibrate("--band", "fid=0.00001", "--band", "is=0.00001")["outcome"] == "explained"


@pytest.mark.usefixtures("world", "published_weights")
def test_recipes_that_agree_leave_it_undecided(printed: Print) -> None:
    """Four images: some of the networks and crops find equally many of them."""
    printed(("1.0", "1.0", "1.0"))
    first = calibrate()
    # Other tests may have made the weights of further networks in the meantime.
    of_variant = variants(first)[f"{SET}+adm"]["numbers"]
    names = [str(each["recipe"]) for each in of_variant if str(each["recipe"]).startswith("ca-")]
    assert len(names) >= 3
    accuracies = [value(first, f"{SET}+adm", name) for name in names]
    printed((*of_adm(first), f"{accuracies[0]:.6f}"))
    answer = calibrate(*EXACT)
    same = [name for name, found in zip(names, accuracies, strict=True) if found == accuracies[0]]
    assert len(same) > 1
    assert answer["outcome"] == "undecided"
    assert answer["together"][0]["recipes"]["ca"] == same  # type: ignore[index]
    assert answer["together"][0]["count"] == len(same)  # type: ignore[index]


@pytest.mark.usefixtures("world", "published_weights")
def test_two_rows_of_two_geometries(printed: Print) -> None:
    """As the paper's tables: no geometry explains both rows, and one for each does."""
    printed(("1.0", "1.0", "1.0"))
    first = calibrate()
    scores = [f"{value(first, set_id, *TRUE_CHOICE[1]):.6f}" for set_id in (f"{SET}+adm", SET)]
    printed(*(("-", score, "-") for score in scores))
    answer = calibrate(*EXACT)
    assert answer["outcome"] == "none"
    assert [found["variants"] for found in answer["mixed"]] == [[f"{SET}+adm", SET]]  # type: ignore[attr-defined]
    by_row = answer["by_row"]
    assert isinstance(by_row, dict)
    assert [by_row[row][0]["variants"] for row in ("0", "1")] == [[f"{SET}+adm"], [SET]]


@pytest.mark.usefixtures("world", "published_weights")
def test_a_second_run_computes_nothing(printed: Print, monkeypatch: pytest.MonkeyPatch) -> None:
    printed(("1.0", "1.0", "1.0"))
    first = calibrate()

    def never(*_: object) -> None:
        raise AssertionError("a network was run")

    monkeypatch.setattr(LoadedBackbone, "extract", never)
    monkeypatch.setattr("palette_bench.score.calibrating.compute", never)
    assert calibrate() == first


@pytest.mark.usefixtures("world", "published_weights")
def test_one_reference_set_alone(printed: Print) -> None:
    printed(("1.0", "1.0", "1.0"))
    found = variants(calibrate("--reference", "tfds10k-15k"))[f"{SET}+adm"]
    assert {number["reference"] for number in found["numbers"]} == {None}
    assert "tfds10k-15k" in {missing["reference"] for missing in found["missing"]}
    assert "next5k" not in {missing["reference"] for missing in found["missing"]}
    code, _, err = program("calibrate", "--set", SET, "--reference", "imagenet-val")
    assert code == 2
    assert "next5k, tfds10k-15k" in err


@pytest.mark.usefixtures("world", "published_weights")
def test_few_images_have_no_expectation_and_say_so(printed: Print) -> None:
    printed(("1.0", "1.0", "1.0"))
    (fid,) = [each for each in variants(calibrate())[f"{SET}+adm"]["numbers"] if each["reference"] == "next5k"]
    assert fid["expected"] == []
    assert "4 images are too few for 2048 features" in str(fid["unexpected"])


def test_a_folder_has_numbers_and_nothing_printed(world: Path) -> None:
    done("prepare", "folder", "--source", world / "val", "--name", "mine", "--size", 64, "--jobs", 1)
    text = done("calibrate", "--set", "mine", "--jobs", 1, "--allow-other-weights")
    assert "No paper prints a reference row for this set" in text
    assert "is-inception2015-biased-1split" in text
    assert "palette-bench prepare folder --source DIR --name mine --size 64 --geometry adm" in text
    assert "palette-bench statistics mine --source DIR --recipe fid-inception2015-clean" in text
    assert "the set has no labels: its images are not in class folders" in text


def test_what_cannot_be_calibrated(world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, _, err = program("calibrate", "--set", "places10k", "--allow-other-weights")
    assert code == 3
    assert "set places10k is not prepared" in err
    for band in ("pd=1", "fid=-1", "fid=much", "fid"):
        code, _, err = program("calibrate", "--set", SET, "--band", band)
        assert code == 2, err
        assert "fid=0.05" in err
    home = tmp_path / "home"
    home.mkdir()
    (home / "sets").symlink_to(world / "home" / "sets")
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(home))
    code, _, err = program("calibrate", "--set", SET)
    assert code == 3
    assert "pt_inception-2015-12-05-6726825d.pth" in err


@pytest.mark.parametrize("damaged", [(f"{SET}+adm",), (SET, f"{SET}+adm")])
def test_a_damaged_variant_is_told_before_anything_is_computed(world: Path, damaged: tuple[str, ...]) -> None:
    paths = [world / "home" / "sets" / set_id / "manifest.jsonl" for set_id in damaged]
    kept = [path.read_bytes() for path in paths]
    try:
        for path, data in zip(paths, kept, strict=True):
            path.write_bytes(data.replace(b'"label":1', b'"label":2'))
            assert path.read_bytes() != data
        code, out, err = program("calibrate", "--set", SET, "--allow-other-weights")
    finally:
        for path, data in zip(paths, kept, strict=True):
            path.write_bytes(data)
    assert (code, out) == (4, "")
    assert err.count("manifest was changed") == len(damaged)
    for set_id in damaged:
        assert f"{set_id}/manifest.jsonl" in err
