"""What an addition costs: files are written into a copy of the product, and the program uses them.

The pixel metric, the third of these, is in tests/score.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import make_photos

ROOT = Path(__file__).resolve().parents[1]


class Product:
    """A copy of the product, laid out as a wheel is, that can be added to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "palette_bench"
        shutil.copytree(ROOT / "palette_bench", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "protocols", self.package / "protocols")
        (self.package / "leaderboards").symlink_to(ROOT / "leaderboards")
        (self.package / "baselines").mkdir()
        for baseline in (ROOT / "baselines").iterdir():
            (self.package / "baselines" / baseline.name).symlink_to(baseline)

    def run(self, *arguments: object) -> str:
        """What the program prints."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "palette_bench", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "PALETTE_BENCH_HOME": str(self.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(tmp_path)


def test_a_task_is_one_line_of_a_protocol(product: Product) -> None:
    protocol = product.package / "protocols" / "folder.toml"
    text = protocol.read_text()
    assert '"jpeg-qf20"' in text
    protocol.write_text(text.replace('"jpeg-qf20"', '"jpeg-qf20", "jpeg-qf50"'))
    photos = make_photos(product.folder / "photos", 4)
    product.run("prepare", "folder", "--source", photos, "--name", "mine", "--size", 64)
    product.run("predict", "--set", "mine", "--task", "jpeg-qf50", "--model", "input", "--out", "preds")
    product.run("verify", "mine")
    described = json.loads((product.folder / "preds" / "predictions.json").read_text())
    assert described["task"] == "jpeg-qf50"
    assert described["count"] == 4


BLUE = '''
import numpy as np


class Blue:
    """Fills the hole with blue."""

    def __init__(self, setting):
        pass

    def predict(self, inputs):
        images = [given.image.copy() for given in inputs]
        for image, given in zip(images, inputs):
            image[given.hole] = (0, 0, 255)
        return images
'''


def test_a_baseline_is_a_class_and_its_card(product: Product) -> None:
    folder = product.package / "baselines" / "blue"
    folder.mkdir()
    (product.package / "predict" / "models" / "blue.py").write_text(BLUE)
    (folder / "card.toml").write_text(
        'format = 1\nname = "blue"\ntitle = "Blue"\ntasks = ["uncrop"]\nstochastic = false\nlicence = "Apache-2.0"\n'
        '[adapter]\nkind = "python"\nentry = "palette_bench.predict.models.blue:Blue"\n'
    )
    photos = make_photos(product.folder / "photos", 3)
    product.run("prepare", "folder", "--source", photos, "--name", "mine", "--size", 32)
    assert "blue" in product.run("baselines")
    assert "it keeps the rules" in product.run("adapter", "check", "blue")
    product.run("predict", "--set", "mine", "--task", "uncrop", "--model", "blue", "--out", "preds")
    for path in (product.folder / "preds").glob("**/*.png"):
        assert (np.asarray(Image.open(path))[:, 16:] == (0, 0, 255)).all()
