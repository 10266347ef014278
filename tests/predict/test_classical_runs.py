"""Classical baselines and the references, run from their cards over a prepared set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.artifacts.predictions import read
from palette_bench.common.errors import UsageError
from palette_bench.common.progress import Silent
from palette_bench.images.decode import decode
from palette_bench.images.types import ImageU8
from palette_bench.predict.card import find_card
from palette_bench.predict.run import Options, predict
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from tests.conftest import make_photos


@pytest.fixture
def photos(home: Path, tmp_path: Path) -> EvalSet:
    """Five photographs as a set of 32 pixels."""
    plan = make_plan(
        "folder", Choices(source=make_photos(tmp_path / "source", 5), size=32, name="photos"), progress=Silent()
    )
    build(plan, jobs=1, replace=False, progress=Silent())
    return open_set(plan.protocol.set_id)


def run(eval_set: EvalSet, task: str, name: str, out: Path, options: Options) -> list[ImageU8]:
    predict(eval_set, task, find_card(name), out, options, progress=Silent())
    return [decode((out / f"{item.id}.png").read_bytes()).pixels for item in eval_set.items]


def test_the_reference_as_a_submission_is_the_reference_and_says_so(photos: EvalSet, tmp_path: Path) -> None:
    expected = [photos.reference(item) for item in photos.items]
    copied = run(photos, "colorize", "reference", tmp_path / "reference", Options())
    np.testing.assert_array_equal(copied, expected)
    described = read(tmp_path / "reference")
    assert described is not None
    assert described["status"] == "finished"
    model = described["model"]
    assert isinstance(model, dict)
    assert (model["name"], model["kind"]) == ("reference", "reference")
    condition = run(photos, "colorize", "input", tmp_path / "input", Options())
    assert all((one != other).any() for one, other in zip(condition, expected, strict=True))


def test_batches_and_processes_do_not_move_patchmatch_and_its_seed_does(photos: EvalSet, tmp_path: Path) -> None:
    alone, divided, reseeded = (
        run(photos, "uncrop", "patchmatch", tmp_path / str(number), options)
        for number, options in enumerate((Options(seed=3), Options(seed=3, batch=2, jobs=2), Options(seed=4)))
    )
    np.testing.assert_array_equal(alone, divided)
    assert all((one != other).any() for one, other in zip(alone, reseeded, strict=True))
    for image, item in zip(alone, photos.items, strict=True):
        np.testing.assert_array_equal(image[:, :16], photos.reference(item)[:, :16])


def test_statistics_of_scenes_are_not_for_other_sizes_and_several_samples_need_a_seed(
    tmp_path: Path, home: Path
) -> None:
    plan = make_plan(
        "folder", Choices(source=make_photos(tmp_path / "source", 2), size=48, name="larger"), progress=Silent()
    )
    build(plan, jobs=1, replace=False, progress=Silent())
    eval_set = open_set(plan.protocol.set_id)
    with pytest.raises(UsageError, match="size"):
        run(eval_set, "colorize", "retrieval", tmp_path / "out", Options())
    with pytest.raises(UsageError, match="samples"):
        run(eval_set, "uncrop", "mirror", tmp_path / "out", Options(samples=2))
    with pytest.raises(UsageError, match="cannot do this task"):
        run(eval_set, "colorize", "mirror", tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_a_usage_error_before_any_image(photos: EvalSet, tmp_path: Path) -> None:
    """In processes of their own, with an OpenCV that cannot be imported."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "cv2.py").write_text('raise ImportError("libGL.so.1: cannot open shared object file")\n')

    def run_program(model: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "palette_bench", "predict", "--set", photos.set_id, "--task", "uncrop"]
        return subprocess.run(
            [*command, "--model", model, "--out", str(tmp_path / model)],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "stub")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    refused, done = run_program("telea"), run_program("mirror")
    assert refused.returncode == 2, refused.stderr
    assert "pip install 'palette-bench[opencv]'" in refused.stderr
    assert "libGL.so.1" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.glob("telea/**/*.png"))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "mirror").rglob("*.png"))) == photos.count
