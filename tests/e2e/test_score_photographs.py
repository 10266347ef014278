"""Prepare, predict, score on photographs-like images, with random weights of the right shapes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.common.canonical import file_digest
from palette_bench.score.backbones import weights
from palette_bench.score.recipes.catalogue import for_protocol
from tests.conftest import RunCommand, make_photos
from tests.score import random_weights
from tests.score.test_lpips import alexnet_state

COUNT = 12


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with random weights."""
    return random_weights.shared_home(tmp_path_factory)


@pytest.fixture
def photos(shared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: RunCommand) -> EvalSet:
    """A prepared set of twelve 64-pixel images named by wnid."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "weights").mkdir()
    for path in (shared_home / "weights").iterdir():
        (home / "weights" / path.name).symlink_to(path)
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    source = make_photos(tmp_path / "photos", COUNT, classes=("n01440764", "n02099601"))
    assert run("prepare", "folder", "--source", source, "--size", 64, "--jobs", 1)[0] == 0
    return open_set("photos")


def write_references(eval_set: EvalSet, folder: Path) -> Path:
    """The references as predictions."""
    for item in eval_set.items:
        path = folder / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(eval_set.reference(item)).save(path)
    return folder


def score(run: RunCommand, task: str, preds: Path, *more: object) -> dict[str, object]:
    code, out, err = run(
        "score", "--task", task, "--preds", preds, "--jobs", 1, "--json", "--allow-other-weights", *more
    )
    assert code == 0, err
    record: dict[str, object] = json.loads(out)
    return record


def values(record: dict[str, object]) -> dict[str, float]:
    metrics = record["metrics"]
    assert isinstance(metrics, dict)
    return {name: metric["value"] for name, metric in metrics.items()}


ONE_TASK_A_KIND = ("colorize", "inpaint-freeform-20-30", "uncrop-all", "jpeg-qf5")


def test_the_references_are_perfect_predictions_of_every_kind_of_task(
    photos: EvalSet, tmp_path: Path, run: RunCommand
) -> None:
    preds = write_references(photos, tmp_path / "preds")
    for task in ONE_TASK_A_KIND:
        record = score(run, task, preds, "--reference", "eval-set")
        found = values(record)
        assert found["fid-inception2015-tf1-evalset"] == pytest.approx(0.0, abs=1e-6)
        assert {v for name, v in found.items() if name.startswith("pd-")} == {0.0}
        assert record["known_region_change"] in (None, 0.0)
        assert record["comparable"] is False
        assert record["warnings"] == []


def test_a_worse_prediction_scores_worse(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    good = values(score(run, "uncrop", write_references(photos, tmp_path / "good"), "--reference", "eval-set"))
    rng = np.random.default_rng(0)
    for item in photos.items:
        path = tmp_path / "bad" / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = photos.reference(item).astype(int) + rng.integers(-60, 60, (64, 64, 3))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
    record = score(run, "uncrop", tmp_path / "bad", "--reference", "eval-set")
    bad = values(record)
    for name in good:
        if name.startswith(("fid-", "pd-")):
            assert bad[name] > good[name] + 1e-3
    change = record["known_region_change"]
    assert isinstance(change, float)
    assert 20 < change < 40
    warnings = record["warnings"]
    assert isinstance(warnings, list)
    assert any("known region was changed" in text for text in warnings)


def test_only_the_hole_counts(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    """Noise in the known half is composited away; the same noise in the hole is not."""
    clean = values(score(run, "uncrop", write_references(photos, tmp_path / "clean"), "--reference", "eval-set"))
    results = {}
    for name, half in (("known", slice(0, 32)), ("hole", slice(32, 64))):
        for item in photos.items:
            path = tmp_path / name / f"{item.id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = photos.reference(item).copy()
            image[:, half] = 255 - image[:, half]
            Image.fromarray(image).save(path)
        results[name] = values(score(run, "uncrop", tmp_path / name, "--reference", "eval-set"))
    assert results["known"] == clean
    assert results["hole"] != clean


def test_fid_without_its_reference_is_refused_and_then_computed(
    photos: EvalSet, tmp_path: Path, run: RunCommand
) -> None:
    preds = write_references(photos, tmp_path / "preds")
    record = score(run, "colorize", preds)
    assert "fid-inception2015-tf1" not in values(record)
    refused = record["refused"]
    assert isinstance(refused, dict)
    assert "palette-bench statistics photos" in refused["fid-inception2015-tf1"]
    others = make_photos(tmp_path / "others", 20, classes=("x", "y"))
    code, _, err = run("statistics", "photos", "--source", others, "--allow-other-weights")
    assert code == 0, err
    again = score(run, "colorize", preds)
    assert values(again)["fid-inception2015-tf1"] > 0
    reference = again["reference"]
    assert isinstance(reference, dict)
    assert (reference["name"], reference["count"]) == ("own-folder", 20)
    assert again["result_id"] != record["result_id"]


def test_items_and_layouts(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    preds = write_references(photos, tmp_path / "preds")
    first = score(run, "jpeg-qf5", preds, "--reference", "eval-set", "--out", tmp_path / "record")
    with (tmp_path / "record" / "items.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [item.id for item in photos.items]
    saved = json.loads((tmp_path / "record" / "result.json").read_text())
    assert saved["items_sha256"] == file_digest(tmp_path / "record" / "items.csv")
    correct = sum(int(row["correct"]) for row in rows)
    assert values(first)["ca-resnet50v1-crop224"] == pytest.approx(100 * correct / COUNT)
    distances = [float(row["pd-googlenet-pool-l2"]) for row in rows]
    assert values(first)["pd-googlenet-pool-l2"] == pytest.approx(float(np.mean(distances)), abs=1e-9)

    array = np.stack([photos.reference(item) for item in photos.items])
    np.savez(tmp_path / "array.npz", arr_0=array)
    for item in photos.items:
        samples = tmp_path / "samples" / item.id
        samples.mkdir(parents=True)
        Image.fromarray(array[item.index]).save(samples / "0.png")
        Image.fromarray(255 - array[item.index]).save(samples / "1.png")
        doubled = tmp_path / "doubled" / f"{item.id}.JPEG.png"
        doubled.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array[item.index]).save(doubled)
    for layout in ("array.npz", "samples", "doubled"):
        again = score(run, "jpeg-qf5", tmp_path / layout, "--reference", "eval-set")
        assert values(again) == values(first)


def test_lossy_predictions_are_accepted_and_marked(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    for item in photos.items:
        path = tmp_path / "lossy" / f"{item.id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photos.reference(item)).save(path, quality=90)
    record = score(run, "colorize", tmp_path / "lossy", "--reference", "eval-set")
    assert isinstance(record["predictions"], dict)
    assert record["predictions"]["lossy"] == COUNT
    assert isinstance(record["warnings"], list)
    assert any("12 predictions are lossy" in text for text in record["warnings"])


def test_the_table_names_what_is_not_comparable(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    preds = write_references(photos, tmp_path / "preds")
    code, out, _ = run("score", "--task", "uncrop", "--preds", preds, "--jobs", 1, "--allow-other-weights")
    assert code == 0
    assert "not comparable with anything: the weights of inception2015" in out
    assert "refused" not in out.splitlines()[0]
    assert "pd-inception2015-pool3-l2sq|set:photos@1|task:uncrop|n:12" in out
    code, _, err = run("score", "--task", "uncrop", "--preds", preds, "--jobs", 1)
    assert code == 3
    assert "pt_inception-2015-12-05-6726825d.pth" in err


def groups(record: dict[str, object]) -> dict[str, dict[str, object]]:
    found = record["groups"]
    assert isinstance(found, list)
    return {f"{group['grouping']} {group['name']}": group for group in found}


def test_numbers_of_classes_categories_and_hole_sizes(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    rng = np.random.default_rng(0)
    for item in photos.items:
        path = tmp_path / "preds" / f"{item.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = photos.reference(item).astype(int) + rng.integers(-60, 60, (64, 64, 3))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
    (tmp_path / "fish.txt").write_text("n01440764\n")
    more = ("--by", "class", "--categories", tmp_path / "fish.txt", "--out", tmp_path / "record")
    record = score(run, "inpaint-freeform-20-30", tmp_path / "preds", *more)
    found = groups(record)
    fish = [item.index for item in photos.items if item.label == 0]
    assert found["categories fish"] == {**found["class n01440764"], "grouping": "categories", "name": "fish"}
    assert found["categories fish"]["count"] == len(fish)
    with (tmp_path / "record" / "items.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    metrics = found["categories fish"]["metrics"]
    assert isinstance(metrics, dict)
    expected = np.mean([float(rows[index]["pd-googlenet-pool-l2"]) for index in fish])
    assert metrics["pd-googlenet-pool-l2"]["value"] == pytest.approx(expected, rel=1e-7)
    assert metrics["fid-inception2015-tf1-evalset"]["value"] > 0
    bands = [group for name, group in found.items() if name.startswith("hole-size")]
    assert {group["name"] for group in bands} <= {"20-25 %", "25-30 %"}
    assert sum(group["count"] for group in bands) in (0, COUNT)  # type: ignore[misc]
    shares = [float(row["hole_share"]) for row in rows]
    assert 0.2 <= min(shares) <= max(shares) <= 0.3
    assert (len(bands) == 2) == (min(shares) < 0.25 <= max(shares))

    influence = [float(row["fid-inception2015-tf1-evalset_influence"]) for row in rows]
    assert abs(sum(influence)) < 1e-5 * max(map(abs, influence))
    code, out, err = run(
        *("score", "--task", "inpaint-freeform-20-30", "--preds", tmp_path / "preds", "--allow-other-weights"), *more
    )
    assert code == 0, err
    assert "class n02099601" in out
    assert "±" in out


def test_every_recipe_on_request(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    """With two samples an item; what cannot be computed says why, and nothing is left out in silence."""
    torch.save(alexnet_state(), weights.ALEXNET.path)
    random_weights.make_efficientnet_b0(weights.EFFICIENTNET_B0.path)
    rng = np.random.default_rng(0)
    for item in photos.items:
        for sample in range(2):
            path = tmp_path / "preds" / item.id / f"{sample}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noisy = photos.reference(item).astype(int) + rng.integers(-40, 40, (64, 64, 3))
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)
    record = score(run, "colorize", tmp_path / "preds", "--also", "all", "--out", tmp_path / "record")
    refused, metrics = record["refused"], record["metrics"]
    assert isinstance(refused, dict)
    assert isinstance(metrics, dict)
    assert {*refused, *metrics} == {recipe.name for recipe in for_protocol("imagenet")}
    assert set(refused) == {
        "fid-inception2015-tf1",
        "fid-inception2015-halfpixel",
        "fid-inception2015-clean",
        "kid-inception2015-tf1-evalset-subsets",
        "diversity-msssim-5scales",
    }
    assert "too small for 5 scales" in refused["diversity-msssim-5scales"]
    assert "at least 1000 images" in refused["kid-inception2015-tf1-evalset-subsets"]
    assert "--recipe fid-inception2015-clean" in refused["fid-inception2015-clean"]
    assert metrics["diversity-lpips-alexnet"]["value"] > 0
    values_of_fid = {metrics[f"fid-inception2015-{name}-evalset"]["value"] for name in ("tf1", "halfpixel", "clean")}
    assert len(values_of_fid) == 3
    for name, metric in metrics.items():
        # One or two images a split leave nothing to judge by.
        without = name.endswith("-10splits")
        assert (metric["standard_error"] is None) == without, name
    again = score(run, "colorize", tmp_path / "preds", "--also", "all")
    assert again["result_id"] == record["result_id"]


def test_a_recipe_that_the_reference_leaves_out_says_so(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    preds = write_references(photos, tmp_path / "preds")
    record = score(run, "colorize", preds, "--reference", "eval-set", "--also", "fid-inception2015-tf1")
    refused = record["refused"]
    assert isinstance(refused, dict)
    assert "--reference eval-set leaves out" in refused["fid-inception2015-tf1"]
    assert "fid-inception2015-tf1-evalset" in values(record)


def test_what_cannot_be_grouped_is_refused_before_anything_is_computed(
    photos: EvalSet, tmp_path: Path, run: RunCommand
) -> None:
    preds = write_references(photos, tmp_path / "preds")
    common = ("score", "--task", "colorize", "--preds", preds, "--allow-other-weights")
    code, _, err = run(*common, "--by", "hole-size")
    assert code == 2
    assert "this task hides nothing" in err
    (tmp_path / "list.txt").write_text("no such class\n")
    code, _, err = run(*common, "--categories", tmp_path / "list.txt")
    assert code == 3
    assert "no such class" in err
    assert not (photos.folder.parents[1] / "features").exists()


def test_an_unknown_or_foreign_recipe_is_refused(photos: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    preds = write_references(photos, tmp_path / "preds")
    for name in ("fid", "fid-scenes32"):
        code, _, err = run("score", "--task", "colorize", "--preds", preds, "--allow-other-weights", "--also", name)
        assert code == 2
        assert "fid-inception2015-tf1" in err
