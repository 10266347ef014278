"""The front door: what a notebook does with ``import palette_bench as pb``."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import palette_bench as pb
from palette_bench.images.types import ImageU8
from tests.e2e.conftest import NewHome, Quickstart


def mirrored(given: pb.ModelInput) -> ImageU8:
    """The left half again, the other way round."""
    half = given.image.shape[1] // 2
    return np.concatenate([given.image[:, :half], given.image[:, half - 1 :: -1]], axis=1)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, palette_bench as pb; print(sorted({'numpy', 'torch', 'pandas', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    assert 15 <= len(pb.__all__) <= 25
    assert dir(pb) == sorted(pb.__all__)
    for name in pb.__all__:
        value = getattr(pb, name)
        assert name == "__version__" or name in ("TASKS", "RECIPES") or value.__doc__, name
    for name in pb.metrics.__all__:
        assert getattr(pb.metrics, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pb.nothing  # type: ignore[attr-defined]


def test_from_a_set_to_a_comparison(
    new_home: NewHome, quickstart: Quickstart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_home("api")
    scenes = pb.prepare_set("scenes32")
    assert repr(scenes) == "<EvalSet scenes32@1: 2000 images of 32x32>"
    assert len(scenes) == len(scenes.conditions("uncrop")) == 2000
    item, condition = next(iter(scenes.conditions("uncrop")))
    first, reference = next(scenes.references())
    assert first == item
    assert (condition.image[:, :16] == reference[:, :16]).all()
    assert not condition.image[:, 16:].any()

    monkeypatch.chdir(tmp_path)
    folder = pb.run_model(mirrored, scenes, pb.TASKS["uncrop"], "preds", seed=3)
    with pytest.raises(pb.errors.InputError, match="not empty"):
        pb.run_model(mirrored, scenes, "uncrop", folder)
    result = pb.score_predictions(folder, scenes, "uncrop", out="results/mirrored")
    assert result.record.origin is not None
    assert result.record.origin.model == "mirrored"
    assert len(result.items) == 2000
    assert result.metrics.loc["fid-scenes32", "value"] == result["fid-scenes32"] == result.metrics["value"].iloc[0]
    assert repr(result).startswith("<Result preds: uncrop on scenes32, 2000 items: FID 19.07 ")
    assert "<table" in result._repr_html_()
    assert pb.read_result("results/mirrored").record == result.record

    # What the harness's own mirror of the same pixels scores, as an array and as a folder.
    pixels = np.stack([np.asarray(mirrored_reference(scenes, item)) for item in scenes.items])
    array = pb.score_predictions(pixels, scenes, "uncrop", name="array")
    assert array.record.result_id == result.record.result_id
    classical = pb.score_predictions(quickstart.predictions("tile"), "scenes32", "uncrop", name="tile")
    difference = pb.compare(result, classical, only=["pd-scenes32"])
    assert difference.metrics[0].difference.value == pytest.approx(result["pd-scenes32"] - classical["pd-scenes32"])
    with pytest.raises(pb.errors.InputError, match="another result"):
        classical.save("results/mirrored")
    with pytest.raises(KeyError, match="fid-scenes32"):
        result["fid"]


def mirrored_reference(scenes: pb.EvalSet, item: object) -> ImageU8:
    """The prediction of ``mirrored``, from the reference: the known half is the same."""
    reference = scenes.reference(item)  # type: ignore[arg-type]
    return np.concatenate([reference[:, :16], reference[:, 15::-1]], axis=1)
