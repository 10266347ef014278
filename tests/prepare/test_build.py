import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet, open_only_set, open_set
from palette_bench.common.canonical import file_digest, pixel_digest
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.common.progress import Silent
from palette_bench.images.geometry import square_area
from palette_bench.prepare import masks as masks_module
from palette_bench.prepare.build import BuiltSet, build
from palette_bench.prepare.contact_sheet import contact_sheet
from palette_bench.prepare.export import HoleColour, export
from palette_bench.prepare.masks import ReleasedMasks, recognise
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.prepare.sources import scenes32
from palette_bench.prepare.verify import verify
from palette_bench.protocol.definition import GeometryName, load_protocol
from palette_bench.protocol.tasks import TaskKind
from tests.conftest import RunCommand, make_photos, picture

FROZEN_FILES = ("manifest.jsonl", "set.json")


def prepare(source: Path, *, jobs: int = 1, size: int = 32, replace: bool = False, **choices: object) -> BuiltSet:
    made = Choices(source=source, size=size, name="photos", **choices)  # type: ignore[arg-type]
    return build(make_plan("folder", made, progress=Silent()), jobs=jobs, replace=replace, progress=Silent())


def save_arrays(path: Path, arrays: dict[str, NDArray[np.uint8]]) -> None:
    """An npz with keys that are no identifiers."""
    np.savez(path, allow_pickle=False, **arrays)


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_set_is_the_same_bytes_whatever_the_number_of_jobs(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = []
    for number, jobs in enumerate((1, 2, 1)):
        monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / f"home-{number}"))
        monkeypatch.setattr("palette_bench.prepare.build.CHUNK", 4)
        trees.append(tree(prepare(photo_folder, jobs=jobs).folder))
    assert trees[0] == trees[1] == trees[2]
    assert len(trees[0]) == 11 + len(FROZEN_FILES) + 13 + 3


@pytest.mark.usefixtures("home")
def test_a_changed_pixel_is_another_set(photo_folder: Path) -> None:
    first = prepare(photo_folder)
    path = photo_folder / "cats" / "photo-00.jpg"
    image = np.asarray(Image.open(path)).copy()
    image[:20] = 255 - image[:20]
    Image.fromarray(image).save(path, quality=90)
    second = prepare(photo_folder, replace=True)
    assert first.data_digest != second.data_digest
    assert EvalSet(first.folder).fingerprint == EvalSet(second.folder).fingerprint


@pytest.mark.usefixtures("home")
def test_recompressing_a_reference_changes_nothing(photo_folder: Path) -> None:
    folder = prepare(photo_folder).folder
    path = folder / "references" / "cats" / "photo-00.png"
    before = path.read_bytes()
    Image.open(path).save(path, compress_level=9)
    assert path.read_bytes() != before
    assert verify(open_set("photos"), jobs=1, progress=Silent()).images == 11


def test_killed_at_any_moment_the_same_command_finishes_the_same_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_photos(tmp_path / "many", 330)
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "whole"))
    expected = tree(prepare(source, jobs=2, size=64).folder)
    home = tmp_path / "killed"
    command = [sys.executable, "-m", "palette_bench", "prepare", "folder", "--name", "photos", "--size", "64"]
    command += ["--source", str(source), "--jobs", "2"]
    environment = {**os.environ, "PALETTE_BENCH_HOME": str(home)}
    killed = 0
    for wanted in (1, 3):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len(list((home / "sets" / ".building" / "photos" / "journal").glob("*.json"))) >= wanted:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
            time.sleep(0.01)
        assert not (home / "sets" / "photos").exists() or process.returncode == 0
    assert killed >= 1
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "continuing: " in finished.stderr
    assert tree(home / "sets" / "photos") == expected


@pytest.mark.usefixtures("home")
def test_every_bad_image_is_reported_and_nothing_looks_finished(photo_folder: Path, home: Path) -> None:
    (photo_folder / "cats" / "broken.jpg").write_bytes(b"not an image")
    truncated = photo_folder / "dogs" / "photo-01.jpg"
    whole = truncated.read_bytes()
    truncated.write_bytes(whole[:300])
    with pytest.raises(InputError, match=r"2 of 12 images") as caught:
        prepare(photo_folder)
    assert {p.where for p in caught.value.problems} == {"cats/broken.jpg", "dogs/photo-01.jpg"}
    assert not (home / "sets" / "photos").exists()
    (photo_folder / "cats" / "broken.jpg").unlink()
    truncated.write_bytes(whole)
    assert prepare(photo_folder).count == 11


@pytest.mark.usefixtures("home")
def test_references_are_what_the_geometry_says(photo_folder: Path) -> None:
    eval_set = EvalSet(prepare(photo_folder).folder)
    item = next(item for item in eval_set.items if item.id == "dogs/photo-03")
    source = np.asarray(Image.open(photo_folder / "dogs" / "photo-03.jpg").convert("RGB"))
    assert (eval_set.reference(item) == square_area(source, 32)).all()
    assert item.label == 1
    assert eval_set.classes == ("cats", "dogs")


@pytest.mark.usefixtures("home")
def test_variants_live_beside_each_other(photo_folder: Path) -> None:
    plain = prepare(photo_folder)
    other = prepare(photo_folder, geometry=GeometryName.SHORT_SIDE_BILINEAR)
    assert other.folder.name == "photos+short-side-bilinear"
    assert plain.data_digest != other.data_digest
    assert EvalSet(other.folder).protocol.fingerprint() == EvalSet(other.folder).fingerprint
    with pytest.raises(UsageError, match=r"photos, photos\+short-side-bilinear"):
        open_only_set(None, "uncrop")


@pytest.mark.usefixtures("home")
def test_a_set_that_is_there_is_not_built_again(photo_folder: Path) -> None:
    assert prepare(photo_folder).fresh
    assert not prepare(photo_folder).fresh
    assert prepare(photo_folder, replace=True).fresh


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("damage", ["reference", "missing", "conditions", "masks", "manifest", "version"])
def test_verify_finds_every_kind_of_damage(photo_folder: Path, damage: str) -> None:
    folder = prepare(photo_folder).folder
    reference = folder / "references" / "cats" / "photo-02.png"
    match damage:
        case "reference":
            image = np.asarray(Image.open(reference)).copy()
            image[0, 0, 0] ^= 1
            Image.fromarray(image).save(reference)
        case "missing":
            reference.unlink()
        case "conditions":
            path = folder / "tasks" / "uncrop" / "conditions.jsonl"
            path.write_bytes(path.read_bytes().replace(b'"sha256":"', b'"sha256":"0', 1))
        case "masks":
            first, second = (folder / "tasks" / f"inpaint-freeform-{band}" / "masks.npz" for band in ("10-20", "20-30"))
            packed = np.load(first)["10-20% freeform"]
            save_arrays(second, {"20-30% freeform": packed})
        case "manifest":
            path = folder / "manifest.jsonl"
            path.write_bytes(path.read_bytes().replace(b'"label":0', b'"label":1', 1))
        case "version":
            path = folder / "set.json"
            described = json.loads(path.read_text())
            described["version"], described["fingerprint"] = 0, "0" * 64
            path.write_text(json.dumps(described))
    with pytest.raises(VerificationError):
        verify(open_set("photos"), jobs=1, progress=Silent())


@pytest.mark.usefixtures("home")
def test_the_canary_stops_a_machine_that_decodes_otherwise(
    photo_folder: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    from palette_bench.images import canary

    true_measure = canary.measure
    monkeypatch.setattr(canary, "measure", lambda: {**true_measure(), "decode grey.jpg": "0" * 64})
    with pytest.raises(VerificationError, match=r"(?s)pillow.*decode grey\.jpg"):
        prepare(photo_folder)
    assert not (home / "sets" / "photos").exists()
    monkeypatch.setattr(canary, "measure", lambda: {**true_measure(), "resize adm 32 tall.png": "0" * 64})
    assert prepare(photo_folder).fresh


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("colour", [HoleColour.WHITE, HoleColour.BLACK])
def test_exported_masks_have_the_chosen_polarity(photo_folder: Path, tmp_path: Path, colour: HoleColour) -> None:
    eval_set = EvalSet(prepare(photo_folder).folder)
    task = eval_set.task("inpaint-freeform-20-30")
    out = tmp_path / "out"
    written = export(eval_set, task, out, holes=colour, references=False, jobs=1, progress=Silent())
    assert written.parts == ("images", "masks")
    item = eval_set.items[4]
    hole = eval_set.holes(task).of(item)
    assert hole is not None
    mask = np.asarray(Image.open(out / "masks" / f"{item.id}.png"))
    assert set(np.unique(mask).tolist()) == {0, 255}
    assert ((mask == 255) == (hole if colour is HoleColour.WHITE else ~hole)).all()
    image = np.asarray(Image.open(out / "images" / f"{item.id}.png"))
    assert (image[hole] == 0).all()
    assert (image[~hole] == eval_set.reference(item)[~hole]).all()
    assert not (out / "references").exists()
    assert (out / "list.txt").read_text().splitlines() == [item.id for item in eval_set.items]
    described = json.loads((out / "export.json").read_text())
    assert described["holes"] == colour.value
    assert all(file_digest(out / name) == digest for name, digest in described["files"].items())


@pytest.mark.usefixtures("home")
def test_every_task_exports_what_was_frozen(photo_folder: Path, tmp_path: Path) -> None:
    eval_set = EvalSet(prepare(photo_folder).folder)
    for name in eval_set.task_names:
        task = eval_set.task(name)
        out = tmp_path / name
        export(eval_set, task, out, holes=HoleColour.WHITE, references=True, jobs=1, progress=Silent())
        digests = eval_set.condition_digests(task)
        for item, digest in zip(eval_set.items, digests, strict=True):
            if task.kind is TaskKind.JPEG:
                assert file_digest(out / "jpegs" / f"{item.id}.jpg") == digest
            else:
                pixels = np.asarray(Image.open(out / "images" / f"{item.id}.png"))
                assert pixel_digest(pixels) == digest
            assert (np.asarray(Image.open(out / "references" / f"{item.id}.png")) == eval_set.reference(item)).all()


@pytest.mark.usefixtures("home")
def test_masks_need_a_polarity(photo_folder: Path, tmp_path: Path) -> None:
    eval_set = EvalSet(prepare(photo_folder).folder)
    with pytest.raises(UsageError, match="disagree on what is white"):
        export(
            eval_set, eval_set.task("uncrop"), tmp_path / "x", holes=None, references=False, jobs=1, progress=Silent()
        )
    export(eval_set, eval_set.task("colorize"), tmp_path / "y", holes=None, references=False, jobs=1, progress=Silent())


@pytest.mark.usefixtures("home")
def test_a_contact_sheet_shows_every_task(photo_folder: Path) -> None:
    eval_set = EvalSet(prepare(photo_folder).folder)
    sheet = contact_sheet(eval_set, rows=3)
    assert sheet.width > 14 * 96
    pixels = np.asarray(sheet)
    assert (pixels == (255, 0, 255)).all(axis=-1).sum() > 1000


def test_released_masks_are_known_by_their_digest(tmp_path: Path) -> None:
    protocol = load_protocol("imagenet-ctest10k")
    path = tmp_path / "masks.npz"
    save_arrays(path, {"10-20% freeform": np.zeros(4, dtype=np.uint8)})
    with pytest.raises(InputError, match="e302a537d0c17ebeaf53e27c6cccb78cb0cc9c201916876e491e5ecc2e172626"):
        recognise(path, protocol)
    known = ReleasedMasks("masks.npz", file_digest(path), "imagenet-ctest10k", 10_000)
    assert recognise(path, protocol, [known]) is known
    with pytest.raises(UsageError, match="no mask file was released"):
        recognise(path, load_protocol("imagenet-coltran5k"))


@pytest.mark.usefixtures("home")
def test_released_masks_are_used_line_by_line(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The released file has np.packbits of [N, 256, 256] under each band; mask k goes with line k of the list."""
    drawn = np.stack([picture(32, 32, f"mask {k}")[..., 0] > 128 for k in range(11)])
    path = tmp_path / "released.npz"
    save_arrays(path, {f"{low}-{low + 10}% freeform": np.packbits(drawn ^ (low == 20)) for low in (10, 20, 30)})
    monkeypatch.setattr(masks_module, "RELEASED", (ReleasedMasks(path.name, file_digest(path), "photos", 11),))
    monkeypatch.setattr(recognise, "__defaults__", (masks_module.RELEASED,))
    eval_set = EvalSet(prepare(photo_folder, released_masks=path).folder)
    assert eval_set.set_id == "photos+released-masks"
    for low in (10, 20, 30):
        holes = eval_set.holes(eval_set.task(f"inpaint-freeform-{low}-{low + 10}"))
        for item in eval_set.items:
            assert (holes.of(item) == (drawn[item.index] ^ (low == 20))).all()


@pytest.mark.usefixtures("home")
def test_the_commands_do_it_all(photo_folder: Path, tmp_path: Path, run: RunCommand) -> None:
    code, out, _ = run(
        "prepare", "folder", "--source", photo_folder, "--name", "p", "--size", 32, "--jobs", 1, "--json"
    )
    assert code == 0
    assert json.loads(out)["count"] == 11
    assert run("verify", "p", "--jobs", 1)[0] == 0
    code, out, _ = run("sets", "--json")
    assert [row["set"] for row in json.loads(out)["prepared"]] == ["p"]
    assert run("show", "p", "--out", tmp_path / "sheet.png")[0] == 0
    assert Image.open(tmp_path / "sheet.png").width > 1000
    assert run("export", "--task", "jpeg-qf5", "--out", tmp_path / "conditions", "--jobs", 1)[0] == 0
    assert len(list((tmp_path / "conditions" / "jpegs").rglob("*.jpg"))) == 11
    code, _, err = run("export", "--task", "jpeg-qf5", "--out", tmp_path / "conditions")
    assert code == 3
    assert "not empty" in err


@pytest.mark.usefixtures("home")
def test_a_machine_that_draws_other_scenes_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eval_digest = scenes32.DIGESTS[scenes32.Split.EVAL]
    monkeypatch.setitem(scenes32.DIGESTS, scenes32.Split.EVAL, "0" * 64)
    with pytest.raises(VerificationError, match=f"(?s)draws the embedded world differently.*{eval_digest}"):
        make_plan("scenes32", Choices(), progress=Silent())
    assert not (home / "sets" / "scenes32").exists()
    monkeypatch.setitem(scenes32.DIGESTS, scenes32.Split.EVAL, eval_digest)
    assert len(make_plan("scenes32", Choices(), progress=Silent()).items) == 2000
