"""What all tests share: a home of their own, and small photographs-like pictures."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.common.bits import CounterBits, sincos
from palette_bench.images.types import ImageU8

# One browser per test process: a second one could not be started beside it.
from tests.e2e.browser import browser, page_of  # noqa: F401

# Several test processes, each with a thread for every processor, would spend their time waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PALETTE_BENCH_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(folder))
    return folder


def picture(height: int, width: int, purpose: str = "picture") -> ImageU8:
    """Waves, an edge and noise: something with structure at every scale; a pure function of its arguments."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    bits = CounterBits(["test picture", purpose])
    a, b, c = (bits.uniform(3) * 8 + 3).tolist()
    noise = bits.normal(height * width * 3).reshape(height, width, 3)
    waves = np.stack([sincos(x / a + y / b)[0], sincos(y / c)[1], sincos((x + 2 * y) / (a + b))[0]], axis=-1)
    image = 120.0 + 60.0 * waves + 8.0 * noise + 40.0 * (x > y * a / 6)[..., None]
    result: ImageU8 = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return result


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Eleven JPEGs of several sizes in two class folders."""
    return make_photos(tmp_path / "photos", 11)


def make_photos(folder: Path, count: int, *, classes: tuple[str, ...] = ("cats", "dogs")) -> Path:
    """``count`` JPEGs below ``folder``, spread over class folders."""
    for number in range(count):
        path = folder / classes[number % len(classes)] / f"photo-{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = picture(60 + 7 * (number % 13), 110 - 5 * (number % 17), f"photo {number}")
        Image.fromarray(image).save(path, quality=90)
    return folder


RunCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Run the program in this process: exit code, stdout, stderr."""
    from palette_bench.cli import main

    def run_command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["palette-bench", *map(str, arguments)])
        code = main._run()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command
