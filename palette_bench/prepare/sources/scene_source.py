"""The embedded world in the form of a source: names are indices into a split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import VerificationError
from palette_bench.images.decode import encode_png
from palette_bench.prepare.sources import scenes32
from palette_bench.prepare.sources.datasets import LabelledSource


@dataclass(frozen=True, slots=True)
class SceneSource:
    """A split of scenes32; scenes are drawn, not read."""

    split: scenes32.Split

    @property
    def where(self) -> Path:
        """A name in place of a path."""
        return Path(f"scenes32:{self.split.value}")

    def names(self) -> list[str]:
        """``scene-00000`` and so on, in order."""
        return [f"scene-{i:05d}" for i in range(scenes32.SPLIT_COUNTS[self.split])]

    def render(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """The scenes [N, 32, 32, 3]."""
        images, _ = scenes32.render(self.split, [_index(name) for name in names])
        return images

    def read(self, name: str) -> bytes:
        """One scene as a PNG file."""
        return encode_png(self.render([name])[0])


def _index(name: str) -> int:
    return int(name.rpartition("-")[2])


def check_drawing(split: scenes32.Split) -> None:
    """Raise VerificationError when this machine draws other pixels than those the split was defined with."""
    found = scenes32.split_digest(*scenes32.render_split(split))
    if found != scenes32.DIGESTS[split]:
        raise VerificationError(
            "this machine draws the embedded world differently",
            where=f"scenes32, {split.value}",
            expected=f"sha256 {scenes32.DIGESTS[split]}",
            found=f"sha256 {found}, numpy {np.__version__}",
            next_step="report it with the versions: a set made here is comparable with nothing",
        )


def open_scenes(split: str) -> LabelledSource:
    """A split of the embedded world with its labels."""
    source = SceneSource(scenes32.Split(split))
    names = source.names()
    facts = scenes32.describe(source.split, range(len(names)))
    labels = {name: int(label) for name, label in zip(names, facts.label, strict=True)}
    return LabelledSource(source, labels, source.where, tuple(scenes32.CLASSES))
