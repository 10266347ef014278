"""ImageNet and Places365 in the forms in which they circulate: all say the same."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palette_bench.common.errors import InputError
from palette_bench.prepare.selection.select import with_list
from palette_bench.prepare.sources import labels
from palette_bench.prepare.sources.datasets import open_source
from palette_bench.prepare.sources.labels import (
    IMAGENET_LABELS_SHA256,
    IMAGENET_VAL_IMAGES,
    imagenet_name,
    labels_digest,
    read_imagenet_labels,
)
from palette_bench.protocol.definition import Family, load_protocol

WNIDS = [f"n{10_000_000 + 37 * k:08d}" for k in range(1000)]
TRUTH = [(n * 13) % 1000 for n in range(IMAGENET_VAL_IMAGES)]
EXPECTED = {imagenet_name(n): TRUTH[n - 1] for n in range(1, IMAGENET_VAL_IMAGES + 1)}

Line = Callable[[int, str, int], str]


def _stem(n: int) -> str:
    return f"ILSVRC2012_val_{n:08d}"


FORMS: dict[str, tuple[str, Line]] = {
    "Kaggle's solution": (
        "ImageId,PredictionString\n",
        lambda n, wnid, _: f"{_stem(n)},{wnid} 85 1 499 272 " + (f"{wnid} 3 4 90 80 " if n % 7 == 0 else ""),
    ),
    "timm's CSV": ("ImageId,Class\n", lambda n, wnid, _: f"{_stem(n)},{wnid}"),
    "a CSV of a data frame": (",filename,label\n", lambda n, _, label: f"{n - 1},{imagenet_name(n)},{label}"),
    "quoted": ('"file","class"\n', lambda n, wnid, _: f'"val/{imagenet_name(n)}","{wnid}"'),
    "semicolons": ("", lambda n, _, label: f"{imagenet_name(n)};{label}"),
    "MXNet's list": ("", lambda n, _, label: f"{n - 1}\t{label}.000000\tval/{imagenet_name(n)}"),
    "Windows": ("", lambda n, _, label: f"D:\\My data\\val\\{imagenet_name(n)} {label}\r"),
    "CNTK's map": ("", lambda n, _, label: f"{n}\tval\\{imagenet_name(n)}\t{label}"),
    "with words": ("", lambda n, _, label: f"{imagenet_name(n)} {label} a word or two"),
    "wnid in the name": ("", lambda n, wnid, _: f"{_stem(n)}_{wnid}.JPEG"),
    "wnid of the folder": ("", lambda n, wnid, _: f"./val/{wnid}/{imagenet_name(n)}"),
    "a wnid a line": ("", lambda _, wnid, __: wnid),
    "a wnid a line, with its words": ("", lambda _, wnid, __: f"{wnid} tench, Tinca tinca"),
    "a number a line under a heading": ("label\n", lambda _, __, label: str(label)),
    "a counted number a line": ("", lambda n, _, label: f"{n - 1},{label}"),
}


def _lines(line: Line) -> Iterator[str]:
    return (line(n, WNIDS[TRUTH[n - 1]], TRUTH[n - 1]) + "\n" for n in range(1, IMAGENET_VAL_IMAGES + 1))


@pytest.mark.parametrize("form", FORMS)
def test_every_circulating_label_file_says_the_same(form: str, tmp_path: Path) -> None:
    heading, line = FORMS[form]
    path = tmp_path / "labels.csv"
    path.write_text(heading + "".join(_lines(line)))
    assert read_imagenet_labels(path) == EXPECTED


@pytest.mark.parametrize("as_list", [True, False])
def test_labels_in_json_say_the_same(as_list: bool, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(TRUTH if as_list else EXPECTED))
    assert read_imagenet_labels(path) == EXPECTED


@pytest.mark.parametrize("named", [True, False])
def test_classes_counted_from_one_are_told_by_the_digest_of_all_labels(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("".join(_lines(lambda n, _, label: f"{imagenet_name(n)} {label + 1}" if named else f"{label + 1}")))
    with pytest.raises(InputError):
        read_imagenet_labels(path)
    monkeypatch.setattr(labels, "IMAGENET_LABELS_SHA256", labels_digest(EXPECTED, list(EXPECTED)))
    assert read_imagenet_labels(path) == EXPECTED


def test_the_digest_of_all_labels_is_that_of_the_protocols() -> None:
    assert load_protocol("imagenet-ctest10k").selection.labels_sha256 == IMAGENET_LABELS_SHA256
    assert load_protocol("imagenet-coltran5k").selection.labels_sha256 == IMAGENET_LABELS_SHA256


def test_kaggles_labels_are_found_above_its_images(tmp_path: Path) -> None:
    val = tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    val.mkdir(parents=True)
    (val / imagenet_name(1)).write_bytes(b"1")
    heading, line = FORMS["Kaggle's solution"]
    (tmp_path / "kaggle" / "LOC_val_solution.csv").write_text(heading + "".join(_lines(line)))
    labelled = open_source(Family.IMAGENET, val, None)
    assert labelled.labels == EXPECTED
    assert labelled.labels_from == tmp_path / "kaggle" / "LOC_val_solution.csv"
    assert read_imagenet_labels(tmp_path / "kaggle") == EXPECTED


def test_hugging_faces_names_give_images_and_labels(tmp_path: Path) -> None:
    for n in range(1, 1001):
        (tmp_path / f"{_stem(n)}_{WNIDS[TRUTH[n - 1]]}.JPEG").write_bytes(b"%d" % n)
    labelled = open_source(Family.IMAGENET, tmp_path, None)
    assert labelled.source.read(imagenet_name(17)) == b"17"
    assert labelled.labels == {imagenet_name(n): TRUTH[n - 1] for n in range(1, 1001)}


def _shard(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": b"image %d" % n, "path": f"{_stem(n)}_{WNIDS[TRUTH[n - 1]]}.JPEG"} for n in numbers]
    table = pa.table({"image": rows, "label": [TRUTH[n - 1] for n in numbers]})
    pq.write_table(table, path, row_group_size=7)


def test_hugging_faces_parquet_is_read_in_place(tmp_path: Path) -> None:
    for shard in range(2):
        _shard(tmp_path / "data" / f"validation-{shard:05d}-of-00002.parquet", range(1 + shard, 41, 2))
    _shard(tmp_path / "data" / "train-00000-of-00001.parquet", range(1, 3))
    labelled = open_source(Family.IMAGENET, tmp_path, None)
    assert {labelled.source.read(imagenet_name(n)) for n in range(1, 41)} == {b"image %d" % n for n in range(1, 41)}
    assert labelled.labels == {imagenet_name(n): TRUTH[n - 1] for n in range(1, 41)}


def test_parquet_of_something_else_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "validation-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"(?s)parquet.*validation-00000-of-00001\.parquet"):
        open_source(Family.IMAGENET, tmp_path, None)


def test_folders_of_categories_label_places(tmp_path: Path) -> None:
    names = [f"{letter}_scene{k:02d}-indoor" for letter in "abcdefghijklm" for k in range(29)][:365]
    for category, name in enumerate(names):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / f"Places365_val_{category + 1:08d}.jpg").write_bytes(b"x")
    labelled = open_source(Family.PLACES, tmp_path / "val", None)
    assert labelled.labels == {f"Places365_val_{k + 1:08d}.jpg": k for k in range(365)}
    (tmp_path / "val" / names[0] / "Places365_val_00000001.jpg").unlink()
    with pytest.raises(InputError, match="365 categories"):
        open_source(Family.PLACES, tmp_path / "val", None)


def test_a_list_may_have_paths_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"D:\\data\\val\\ILSVRC2012_val_00000002.JPEG\r\nval/ILSVRC2012_val_00000001.JPEG 65\r\n")
    assert with_list(load_protocol("imagenet-ctest10k"), path)[1] == [imagenet_name(2), imagenet_name(1)]
    path.write_bytes(b"a\\b.png\r\n")
    assert with_list(load_protocol("folder"), path)[1] == ["a/b.png"]
