import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from palette_bench.common.home import HOME_VARIABLE
from palette_bench.images import canary
from palette_bench.score.backbones import base, loading, weights
from tests.adversarial import files
from tests.adversarial.harness import COUNT, TINY, assert_accepted, prepare


@pytest.fixture(scope="session", autouse=True)
def _one_canary() -> Iterator[None]:
    """The decoder is measured once and not in each of hundreds of commands."""
    with mock.patch.object(canary, "measure", cache(canary.measure)):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of this test alone, which also runs in a folder of its own."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the set ``tiny``, and its source beside it."""
    folder = tmp_path_factory.mktemp("prepared")
    source = files.images(folder / "source", COUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "home"))
        assert_accepted(prepare(source))
    return folder


@pytest.fixture
def source(prepared: Path, tmp_path: Path) -> Path:
    """The source of ``tiny``, to be spoiled."""
    return Path(shutil.copytree(prepared / "source", tmp_path / "source"))


@pytest.fixture
def tiny(prepared: Path, home: Path) -> Path:
    """The folder of a prepared set, to be spoiled."""
    shutil.copytree(prepared / "home", home)
    return home / "sets" / TINY


class _CheapNetwork:
    """Features that are sums of pixels with fixed signs: the command is tested here, not the networks."""

    def __init__(self, outputs: Mapping[str, int]) -> None:
        self._outputs = outputs

    def extract(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        flat = images.reshape(len(images), -1)[:, ::7].astype(np.float64) / 255
        values = {}
        for output, width in self._outputs.items():
            signs = np.random.default_rng(width).standard_normal((flat.shape[1], width)) / flat.shape[1]
            values[output] = (flat @ signs).astype(np.float32)
        return values


@pytest.fixture
def networks(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cheap networks in place of the three pretrained ones, and a file for each in the weights folder."""

    def build(spec: base.BackboneSpec, plan: object) -> base.Network:
        return _CheapNetwork(spec.outputs)

    monkeypatch.setattr(loading, "_build", build)
    folder = home / "weights"
    files.folder_of(folder, {file.file_name: file.name.encode() for file in weights.FILES.values()})
    return folder


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody may write, not even root."""
    system = Path("/sys/kernel")
    if hasattr(os, "geteuid") and os.geteuid() == 0 and system.is_dir():
        yield system
        return
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)
