"""The check of entries: what was changed, is missing, extra, forged, doubled or unknown is found and named."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, VerificationError
from palette_bench.images.decode import encode_png
from palette_bench.publish.leaderboard.check import CheckedTree, check_tree
from palette_bench.publish.leaderboard.entry import Tier, Verification, audit_file, packed, unpacked
from tests.publish.leaderboard.results import (
    an_entry,
    metric_of,
    predictions,
    reseal_items,
    reseal_record,
    rewrite,
)


def said(tree: CheckedTree) -> str:
    return "\n".join(str(fault.problem) for fault in tree.faults)


def test_a_good_entry_is_what_it_says(entry: Path) -> None:
    tree = check_tree([entry.parents[3]])
    assert tree.faults == ()
    (one,) = tree.entries
    assert one.where == "scenes32/entries/uncrop/my-model"
    assert one.entry is not None
    assert one.entry.tier is Tier.SCORED
    assert len(one.entry.audit) == 8
    assert check_tree([entry]).faults == check_tree([entry / "entry.json"]).faults == ()


FILES = ["entry.json", "result.json", "items.csv.gz", "audit"]


def a_file(entry: Path, name: str) -> Path:
    return entry / name if name != "audit" else sorted((entry / "audit").iterdir())[0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_one_changed_byte_of_any_file_is_found(entry: Path, name: str, place: float) -> None:
    path = a_file(entry, name)
    data = bytearray(path.read_bytes())
    where = int(len(data) * place)
    # A digit becomes another digit wherever there is one near.
    where = next((at for at in range(where, len(data)) if chr(data[at]).isdigit()), where)
    data[where] = ord("7") if data[where] != ord("7") else ord("3")
    path.write_bytes(data)
    tree = check_tree([entry])
    assert tree.faults
    assert path.name in said(tree)
    with pytest.raises(VerificationError) as raised:
        tree.demand([entry])
    assert raised.value.exit_code == 4


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(entry: Path, name: str) -> None:
    path = a_file(entry, name)
    path.unlink()
    tree = check_tree([entry.parents[3]])
    assert f"missing: scenes32/entries/uncrop/my-model/{path.relative_to(entry).as_posix()}" in said(tree)
    with pytest.raises(InputError) as raised:
        tree.demand([entry])
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    "name", ["extra.txt", "audit/99999.png", "audit/x.png", "inner/a.txt", ".hidden", "a\u202eb\n.png"]
)
def test_an_extra_file_is_found(entry: Path, name: str) -> None:
    path = entry / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    text = said(check_tree([entry]))
    assert "extra" in text
    assert text.isprintable() or "\u202e" not in text


def test_all_faults_are_told_together(entry: Path) -> None:
    (entry / "extra.txt").write_text("x")
    a_file(entry, "audit").unlink()
    (entry / "items.csv.gz").write_bytes(b"no gzip")
    text = said(check_tree([entry]))
    for words in ("extra.txt", "missing", "no whole gzip file", "items.csv.gz: expected sha256"):
        assert words in text


def test_links_are_refused_wherever_they_lead(entry: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(entry / "result.json", outside)
    (entry / "result.json").symlink_to(outside)
    assert "link: my-model/result.json" in said(check_tree([entry]))
    shutil.move(entry, tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert "no link to one" in said(check_tree([entry.parents[3]]))


def test_things_that_are_no_files_do_not_hang_the_check(entry: Path) -> None:
    (entry / "result.json").unlink()
    os.mkfifo(entry / "result.json")
    assert "extra: my-model/result.json: not a file" in said(check_tree([entry]))


def test_a_huge_file_is_not_read(entry: Path) -> None:
    with (entry / "entry.json").open("r+b") as stream:
        stream.truncate(1 << 40)
    assert "too-large: my-model/entry.json" in said(check_tree([entry]))


def test_a_name_that_leads_out_of_the_folder_is_refused(entry: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    content = json.loads((entry / "entry.json").read_text())
    content["audit"][0]["file"] = "../../../../../secret.png"
    (entry / "entry.json").write_text(json.dumps(content))
    text = said(check_tree([entry]))
    assert "audit[0].file" in text
    assert "seal" in text


FORGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "PD": (
        lambda c: metric_of(c, "pd-scenes32").update(value=metric_of(c, "pd-scenes32")["value"] - 0.001),
        "pd-scenes32: value",
    ),
    "CA": (lambda c: metric_of(c, "ca-scenes32").update(value=99.0), "ca-scenes32: value"),
    "the error of FID": (
        lambda c: metric_of(c, "fid-scenes32").update(standard_error=0.01),
        "fid-scenes32: standard_error",
    ),
    "the interval": (lambda c: metric_of(c, "psnr-rgb").update(interval=[1.0, 99.0]), "psnr-rgb: interval"),
    "a recipe": (
        lambda c: metric_of(c, "pd-scenes32").update(fingerprint="a" * 64),
        "another definition of pd-scenes32",
    ),
    "other weights": (
        lambda c: metric_of(c, "pd-scenes32").update(canonical_weights=False),
        "are not the published ones",
    ),
    "bfloat16": (lambda c: metric_of(c, "pd-scenes32").update(precision="bfloat16"), "ran in bfloat16"),
    "a signature": (
        lambda c: metric_of(c, "fid-scenes32").update(
            signature="fid-inception2015-tf1|set:imagenet-ctest10k@1|v:0.1.0"
        ),
        "fid-scenes32: signature",
    ),
    "a network": (lambda c: metric_of(c, "pd-scenes32").update(backbone="inception2015"), "network inception2015"),
    "weights": (lambda c: metric_of(c, "pd-scenes32").update(weights_sha256="a" * 64), "weights aaaa"),
    "a direction": (lambda c: metric_of(c, "ca-scenes32").update(direction="lower"), "direction or headline"),
    "a set": (lambda c: c["set"].update(fingerprint="a" * 64), "another definition of the set"),
    "a version": (lambda c: c["set"].update(version=7), "version 7 of the set"),
    "a size": (lambda c: c["set"].update(size=64), "size 64"),
    "a task": (lambda c: c["task"].update(fingerprint="a" * 64), "another definition of the task"),
    "another task": (lambda c: c["task"].update(name="colorize"), "task"),
    "an own set": (lambda c: c["set"].update(id="my-set", name="my-set"), "none that ships"),
    "a variant": (lambda c: c["set"].update(id="scenes32+x", variant=["x"]), "none that ships"),
    "predictions": (lambda c: c["predictions"].update(digest="a" * 64), "predictions.digest"),
    "a headline": (lambda c: c["metrics"].pop("is-scenes32"), "lacks is-scenes32"),
    "true images": (lambda c: metric_of(c, "pd-scenes32").update(value=0.0), "the predictions are the true images"),
    "a count": (lambda c: c["set"].update(count=1999), "count 1999"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_record_that_was_changed_and_sealed_again_is_found(entry: Path, what: str) -> None:
    forge, words = FORGED[what]

    def change(content: dict[str, Any]) -> None:
        forge(content)
        # A forger who knows what result_id covers makes it fit.
        content["result_id"] = _result_id(content)

    reseal_record(entry, change)
    record_id = json.loads((entry / "result.json").read_text())["result_id"]
    rewrite(entry, lambda made: replace(made, result_id=record_id))
    assert words in said(check_tree([entry]))


def _result_id(content: dict[str, Any]) -> str:
    from palette_bench.artifacts.record import IDENTITY
    from palette_bench.common.canonical import fingerprint

    reference = content["reference"]
    return fingerprint(
        {
            "schema": IDENTITY,
            "set": content["set"]["fingerprint"],
            "data": content["set"]["data_digest"],
            "task": content["task"]["fingerprint"],
            "reference": [reference["fingerprint"], reference["data_digest"]],
            "predictions": content["predictions"]["digest"],
            "metrics": {name: metric["fingerprint"] for name, metric in content["metrics"].items()},
        }
    )


def test_a_record_sealed_again_unchanged_is_good(entry: Path) -> None:
    """The negative twin of every forgery: what they go through is not what is found."""
    reseal_record(entry, lambda content: content.update(result_id=_result_id(content)))
    assert check_tree([entry]).faults == ()


def test_items_that_were_changed_and_sealed_again_are_found(entry: Path) -> None:
    def change(text: str) -> str:
        lines = text.splitlines()
        cells = lines[1].split(",")
        cells[-3] = "0.001"
        return "\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n"

    reseal_items(entry, change)
    assert "pd-scenes32: value" in said(check_tree([entry]))


def test_items_cut_short_are_found(entry: Path) -> None:
    reseal_items(entry, lambda text: "\n".join(text.splitlines()[:1000]) + "\n")
    assert "999 of 2000 items" in said(check_tree([entry]))


def test_items_packed_anew_are_told_by_their_content(entry: Path) -> None:
    path = entry / "items.csv.gz"
    path.write_bytes(packed(unpacked(path.read_bytes()).replace(b"scene-00000", b"scene-x0000")))
    rewrite(entry)
    assert "the record's items have sha256" in said(check_tree([entry]))


def test_an_image_of_another_prediction_is_found(entry: Path) -> None:
    path = a_file(entry, "audit")
    other = predictions(0)[0]
    path.write_bytes(encode_png(other))
    item = int(path.stem)
    rewrite(
        entry,
        lambda made: replace(
            made,
            audit=tuple(
                replace(image, pixels_sha256=pixel_digest(other)) if image.item == item else image
                for image in made.audit
            ),
        ),
    )
    assert f"the prediction of scene-{item:05d} that was scored" in said(check_tree([entry]))


def test_images_that_the_author_chose_are_found(entry: Path) -> None:
    path = a_file(entry, "audit")
    mine = next(item for item in range(2000) if not (entry / audit_file(item)).exists())
    path.unlink()
    (entry / audit_file(mine)).write_bytes(encode_png(predictions(0)[mine]))
    digest = pixel_digest(predictions(0)[mine])
    rewrite(
        entry,
        lambda made: replace(
            made,
            audit=tuple(
                replace(image, item=mine, file=audit_file(mine), pixels_sha256=digest)
                if image.item == int(path.stem)
                else image
                for image in made.audit
            ),
        ),
    )
    assert "wrong images" in said(check_tree([entry]))


def test_an_image_that_cannot_be_decoded_is_found(entry: Path) -> None:
    a_file(entry, "audit").write_bytes(b"\x89PNG nothing")
    rewrite(entry)
    assert "undecodable" in said(check_tree([entry]))


def test_an_author_cannot_claim_more_than_scored(entry: Path) -> None:
    claimed = Verification(tier=Tier.RERUN, result_id="a" * 64, differences={})
    rewrite(entry, lambda made: replace(made, verification=claimed))
    assert check_tree([entry]).faults == ()
    assert "an author can claim 'scored' alone, found 'rerun'" in said(check_tree([entry], submitted=True))


def test_the_folder_must_be_that_of_set_task_and_name(entry: Path) -> None:
    root = entry.parents[3]
    shutil.move(entry, entry.with_name("another"))
    assert "belongs into a folder 'my-model'" in said(check_tree([root]))
    shutil.move(root / "scenes32", root / "places10k")
    assert "among those of places10k" in said(check_tree([root]))


def test_stray_files_among_entries_are_found(entry: Path) -> None:
    (entry.parent / "note.txt").write_text("x")
    (entry.parent.parent / "note.txt").write_text("x")
    (entry.parent / "empty").mkdir()
    text = said(check_tree([entry.parents[3]]))
    assert text.count("not-a-folder") == 2
    assert "missing: scenes32/entries/uncrop/empty/entry.json" in text


def test_two_entries_may_not_be_the_same(entry: Path, tmp_path: Path) -> None:
    root = entry.parents[3]
    an_entry(tmp_path / "other" / "leaderboards", "Another model", seed=1)
    shutil.copytree(
        tmp_path / "other/leaderboards/scenes32/entries/uncrop/another-model", entry.with_name("another-model")
    )
    assert check_tree([root]).faults == ()
    copied = entry.with_name("my-copy")
    shutil.copytree(entry, copied)
    rewrite(copied, lambda made: replace(made, name="My copy"))
    assert "the same result_id as scenes32/entries/uncrop/my-copy" in said(check_tree([root]))
    shutil.rmtree(copied)
    rewrite(entry.with_name("another-model"), lambda made: replace(made, name="MY model"))
    assert "the same name as scenes32/entries/uncrop/another-model" in said(check_tree([root]))


def test_the_references_score_the_same_in_every_record(entry: Path, tmp_path: Path) -> None:
    other = an_entry(tmp_path / "other" / "leaderboards", "Another model", seed=1)
    assert check_tree([entry, other]).faults == ()
    reseal_record(other, lambda content: metric_of(content, "fid-scenes32").update(reference_value=9.0))
    assert "the references score 9.0, and 0.21 in my-model" in said(check_tree([entry, other]))


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no entry here"):
        check_tree([tmp_path])
    with pytest.raises(InputError, match="nothing here"):
        check_tree([tmp_path / "nowhere"])
