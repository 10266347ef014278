"""Where training images come from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palette_bench.common.errors import UsageError
from palette_bench.predict.training.examples import TrainingSource
from palette_bench.predict.training.recipe import Recipe, SourceKind
from palette_bench.prepare.images import ImageU8
from palette_bench.prepare.sources import scenes32


class SceneStream:
    """The train split of scenes32, which has no end: scene number i for index i; no scene is seen twice."""

    size = scenes32.SIZE

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        """One scene [32, 32, 3] for each index."""
        images, _ = scenes32.render(scenes32.Split.TRAIN, np.asarray(indices, dtype=np.int64))
        return list(images)


def open_training_source(recipe: Recipe, where: Path | None) -> TrainingSource:
    """The source that a recipe names. Raises UsageError when it needs a folder and none is given, or the reverse."""
    if recipe.source is SourceKind.SCENES32:
        if where is not None:
            raise UsageError("scenes32 is drawn by the program", expected="no --source", found=where)
        return SceneStream()
    raise UsageError("this source is not there yet", found=recipe.source.value)
