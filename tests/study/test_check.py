"""``study check``: what it finds, and what it leaves in peace."""

import datetime
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.images.types import ImageU8
from palette_bench.study.check import Weight, auc, check_study, fine_detail, jpeg_grid
from palette_bench.study.definition import Platform, Study
from tests.study.worlds import Blobs, small_study


def told(folder: Path, weight: Weight) -> str:
    return "\n".join(finding.what for finding in check_study(folder) if finding.weight is weight)


def test_a_good_study_has_no_errors(tmp_path: Path) -> None:
    small_study(tmp_path)
    assert told(tmp_path, Weight.ERROR) == ""
    assert "served as PNG of" in told(tmp_path, Weight.NOTE)


def test_everybody_must_know_who_asks(tmp_path: Path) -> None:
    def nobody(study: Study) -> Study:
        past = datetime.date(2020, 1, 1)
        return replace(study, ethics=replace(study.ethics, institution="", contact=" ", approval="", retention=past))

    small_study(tmp_path, change=nobody)
    errors = told(tmp_path, Weight.ERROR)
    assert "institution" in errors
    assert "contact" in errors
    assert "retention 2020-01-01 is past" in errors
    assert "approval" in told(tmp_path, Weight.WARNING)


def test_platforms_need_their_codes_and_https(tmp_path: Path) -> None:
    def prolific(study: Study) -> Study:
        recruitment = replace(
            study.recruitment, platform=Platform.PROLIFIC, return_addresses=("http://app.prolific.com",), codes={}
        )
        return replace(study, recruitment=recruitment)

    small_study(tmp_path, change=prolific)
    errors = told(tmp_path, Weight.ERROR)
    assert "not https" in errors
    assert "no completed" in errors
    assert "no screened" in errors


def test_unbalanced_and_hopeless_designs_are_told(tmp_path: Path) -> None:
    small_study(tmp_path, raters=5, catch=0, models=3)
    warnings = told(tmp_path, Weight.WARNING)
    assert "not a multiple of 6" in warnings
    assert "5 raters" in warnings
    assert "no catch trials" in warnings


class Same(Blobs):
    def output(self, model: int, item: int) -> ImageU8:
        return self.reference(item)


def test_outputs_that_nobody_can_tell_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.study.worlds.Blobs", Same)
    small_study(tmp_path)
    assert "equal their reference" in told(tmp_path, Weight.WARNING)
    assert "equal outputs" in told(tmp_path, Weight.ERROR)


def as_jpeg(image: ImageU8) -> ImageU8:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    decoded: ImageU8 = np.asarray(Image.open(buffer).convert("RGB"))
    return decoded


def soft(item: int, side: int = 64) -> ImageU8:
    """A picture with fine detail of its own but no grid."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    grey = 128 + 50 * np.sin(x / (3 + item % 5) + y / 7) + 30 * np.sin(y / (2 + item % 3))
    noise = Blobs(side).reference(item).astype(np.float64) - 125
    picture: ImageU8 = np.clip(grey[..., None] + 0.2 * noise, 0, 255).astype(np.uint8)
    return picture


def test_jpeg_grids_and_enlarged_outputs_are_told() -> None:
    references = [soft(n) for n in range(20)]
    grids = auc([jpeg_grid(i) for i in references], [jpeg_grid(as_jpeg(i)) for i in references])
    assert grids > 0.95
    small = [np.asarray(Image.fromarray(i).resize((32, 32)).resize((64, 64))) for i in references]
    assert auc([fine_detail(i) for i in references], [fine_detail(i) for i in small]) < 0.05
    assert auc([1.0, 2.0], [1.0, 2.0]) == 0.5


def test_tells_of_a_model_are_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Jpegs(Blobs):
        def reference(self, item: int) -> ImageU8:
            return soft(item)

        def output(self, model: int, item: int) -> ImageU8:
            return as_jpeg(soft(item)) if model == 0 else soft(item + 100)

    monkeypatch.setattr("tests.study.worlds.Blobs", Jpegs)
    small_study(tmp_path, side=64)
    warnings = told(tmp_path, Weight.WARNING)
    assert "model-a: a grid of JPEG blocks alone" in warnings
    assert "model-b" not in warnings


def test_a_broken_study_is_a_finding_and_no_traceback(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    (tmp_path / "stimuli" / f"{study.items[0].reference}.png").unlink()
    assert "missing or changed" in told(tmp_path, Weight.ERROR)
    (tmp_path / "study.toml").write_text("format = 1\n")
    assert "cannot be read" in told(tmp_path, Weight.ERROR)
