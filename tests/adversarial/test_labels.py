"""Label files that are wrong in the ways in which label files are wrong."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from palette_bench.common.errors import ExitCode
from palette_bench.prepare.sources.labels import DEVKIT_TRUTH, imagenet_name
from tests.adversarial import files
from tests.adversarial.harness import assert_refused, complete_sets, run

EVERY = 50_000
CLASSES = 1000


def _named(labels: Iterator[object]) -> bytes:
    return "".join(f"{imagenet_name(n)} {label}\n" for n, label in enumerate(labels, 1)).encode()


def _numbers(labels: Iterator[object]) -> bytes:
    return "".join(f"{label}\n" for label in labels).encode()


def _cycle(first: int) -> Iterator[object]:
    return (first + n % CLASSES for n in range(EVERY))


def _shuffled() -> Iterator[object]:
    labels = list(_cycle(0))
    random.Random(0).shuffle(labels)  # noqa: S311
    return iter(labels)


ONE = imagenet_name(1)

LABELS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("the labels of all 50,000 images are needed", "0 labels")),
    "binary": (bytes(range(256)), ("a label file is not text", "UTF-8 text")),
    "UTF-16": (f"{ONE} 1\n".encode("utf-16"), ("a label file is not text",)),
    "zeros": (b"\0" * 64, ("a label file",)),
    "no label": (f"{ONE}\n".encode(), ("not 'name label'", "line 1", ONE)),
    "escape sequence": (b"a \x1b[31m b\n", ("not 'name label'", "\\x1b[31m")),
    "a name twice": (f"{ONE} 1\n{ONE} 2\n".encode(), ("names an image twice", "line 2", ONE)),
    "a name in two extensions": (
        f"{ONE} 1\n{ONE.replace('JPEG', 'jpg')} 2\n".encode(),
        ("names an image twice", ONE.replace("JPEG", "jpg")),
    ),
    "another dataset": (b"Places365_val_00000001.jpg 1\n", ("not an ImageNet val image", "Places365_val_00000001.jpg")),
    "counted from one": (_named(_cycle(1)), ("a label that is no class", "1000", "counted from 1")),
    "a negative label": (f"{ONE} -1\n".encode(), ("a label that is no class", ONE, "-1")),
    "a superscript": (f"{ONE} \u00b2\n".encode(), ("a label that is no class", "\u00b2")),
    "an endless number": (f"{ONE} {'9' * 5000}\n".encode(), ("a label that is no class", ONE)),
    "a word": (f"{ONE} tench\n".encode(), ("a label that is no class", "tench")),
    "one wnid": (f"{ONE} n01440764\n".encode(), ("do not make the 1000 classes", "1")),
    "shuffled": (_named(_shuffled()), ("the labels are not those of ILSVRC 2012", "another class order")),
    "off by one": (_named(_cycle(0)), ("the labels are not those of ILSVRC 2012", "offset of one")),
    "too few numbers": (b"1\n2\n3\n", ("the wrong number of lines", "50000 lines", "3")),
    "numbers and a word": (b"1\n" * (EVERY - 1) + b"x\n", ("a line that is no number", "line 50000", "x")),
    "numbers and a superscript": (b"1\n" * (EVERY - 1) + "\u00b2\n".encode(), ("line 50000",)),
    "shuffled numbers": (_numbers(_shuffled()), ("the labels are not those of ILSVRC 2012",)),
    "numbers too large": (_numbers(_cycle(500)), ("a label that is no class",)),
    "the devkit's without its classes": (_numbers(_cycle(1)), ("meta.mat", "labels 1..1000", "devkit's data folder")),
}


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """A source with three images of the names of ImageNet's."""
    return files.folder_of(tmp_path / "val", {imagenet_name(n): files.png(n) for n in (1, 2, 3)})


@pytest.mark.parametrize("kind", LABELS)
def test_a_wrong_label_file_is_named(kind: str, imagenet: Path, tmp_path: Path, home: Path) -> None:
    content, says = LABELS[kind]
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--labels", path, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(path), *says)
    assert "\x1b" not in outcome.err
    assert complete_sets(home) == []


def test_a_missing_label_file_is_named(imagenet: Path, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "nowhere.txt"
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--labels", path, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(path), "a label file cannot be read", "No such file")


def test_a_folder_that_is_not_the_devkit_is_named(imagenet: Path, tmp_path: Path, home: Path) -> None:
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--labels", tmp_path, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(tmp_path), "not the devkit's", DEVKIT_TRUTH)


def test_no_labels_at_all_are_asked_for(imagenet: Path, home: Path) -> None:
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(imagenet), "the labels of all 50,000 images", "--labels")


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a matrix" * 50)


def _meta(path: Path, count: int = CLASSES) -> None:
    rows = [(n, f"n{n:08d}") for n in range(1, count + 1)]
    table = np.array(rows, dtype=[("ILSVRC2012_ID", "i4"), ("WNID", "O")])
    savemat(path, {"synsets": table}, do_compression=True)


def _cut(path: Path) -> None:
    _meta(path)
    path.write_bytes(path.read_bytes()[:600])


def _flipped(path: Path) -> None:
    _meta(path)
    data = bytearray(path.read_bytes())
    data[400:420] = b"\xff" * 20
    path.write_bytes(data)


def _no_synsets(path: Path) -> None:
    savemat(path, {"other": np.zeros(3)})


def _numbers_only(path: Path) -> None:
    savemat(path, {"synsets": np.zeros((1000, 2))})


METAS: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (_garbage, "meta.mat cannot be read"),
    "empty": (Path.touch, "meta.mat cannot be read"),
    "cut short": (_cut, "meta.mat cannot be read"),
    "damaged": (_flipped, "meta.mat cannot be read"),
    "no classes": (_no_synsets, "meta.mat cannot be read"),
    "numbers": (_numbers_only, "meta.mat cannot be read"),
    "too few classes": (lambda path: _meta(path, 999), "meta.mat lacks classes"),
    "other classes": (_meta, "the labels are not those of ILSVRC 2012"),
}


@pytest.mark.parametrize("kind", METAS)
def test_a_wrong_table_of_the_devkit_is_named(kind: str, imagenet: Path, tmp_path: Path, home: Path) -> None:
    make, says = METAS[kind]
    devkit = files.folder_of(tmp_path / "devkit" / "data", {DEVKIT_TRUTH: _numbers(_cycle(1))})
    make(devkit / "meta.mat")
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--labels", devkit.parent, "--jobs", 1)
    where = devkit.parent if kind == "other classes" else devkit / "meta.mat"
    assert_refused(outcome, ExitCode.INPUT, str(where), says)
    assert complete_sets(home) == []


def test_labels_that_contradict_the_class_folders_are_named(tmp_path: Path, home: Path) -> None:
    source = files.folder_of(tmp_path / "val", {f"n{n:08d}/{imagenet_name(n)}": b"" for n in range(1, CLASSES + 1)})
    path = tmp_path / "labels.txt"
    path.write_bytes(_named((n + 1) % CLASSES for n in range(EVERY)))
    outcome = run("prepare", "imagenet-ctest10k", "--source", source, "--labels", path, "--jobs", 1)
    says = f"contradiction: {ONE}: class folder says 0, the label file 1"
    assert_refused(outcome, ExitCode.INPUT, str(path), "contradicts the class folders", says, "and 992 more")
    assert complete_sets(home) == []


def test_images_in_two_extensions_are_named(imagenet: Path, home: Path) -> None:
    (imagenet / ONE.replace("JPEG", "jpeg")).write_bytes(files.png())
    outcome = run("prepare", "imagenet-ctest10k", "--source", imagenet, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(imagenet), "holds images twice", "duplicate: ", ONE)


def test_another_dataset_is_named(source: Path, home: Path) -> None:
    for protocol, example in (("imagenet-ctest10k", ONE), ("places10k", "Places365_val_00000001.jpg")):
        outcome = run("prepare", protocol, "--source", source, "--jobs", 1)
        assert_refused(outcome, ExitCode.INPUT, str(source), "no image of this dataset", example, "8 other files")


PLACES: dict[str, tuple[bytes | None, tuple[str, ...]]] = {
    "missing": (None, ("the categories of the Places365 images are not known", "places365_val.txt", "--labels")),
    "no category": (b"Places365_val_00000001.jpg 365\n", ("a label that is no category", "0..364", "365")),
    "a superscript": ("Places365_val_00000001.jpg \u00b2\n".encode(), ("a label that is no category", "\u00b2")),
    "too few": (b"Places365_val_00000001.jpg 3\n", ("lacks images of some categories", "short-category: 0: 0 images")),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_wrong_list_of_categories_is_named(kind: str, tmp_path: Path, home: Path) -> None:
    content, says = PLACES[kind]
    source = files.folder_of(tmp_path / "val_256", {"Places365_val_00000001.jpg": files.png()})
    if content is not None:
        (source / "places365_val.txt").write_bytes(content)
    outcome = run("prepare", "places10k", "--source", source, "--jobs", 1)
    assert_refused(outcome, ExitCode.INPUT, str(source), *says)
    assert complete_sets(home) == []
