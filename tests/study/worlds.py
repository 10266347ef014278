"""Small studies for tests: images that are functions of their names, and models that are known to differ."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from palette_bench.common.bits import CounterBits
from palette_bench.common.progress import Silent
from palette_bench.images.types import ImageU8
from palette_bench.study.create import Settings, make_study
from palette_bench.study.definition import Source, Study

SIDE = 16
DIGEST = "0" * 64


class Blobs:
    """Reference images of soft noise; a model's output is its reference with some rows of another shade."""

    def __init__(self, side: int = SIDE) -> None:
        self.side = side

    def reference(self, item: int) -> ImageU8:
        bits = CounterBits(["study test image", item])
        return bits.integers(30, 220, self.side * self.side * 3).reshape(self.side, self.side, 3).astype(np.uint8)

    def output(self, model: int, item: int) -> ImageU8:
        image = self.reference(item).copy()
        image[:, self.side // 2 :] = (image[:, self.side // 2 :] // 2 + 10 * model + 40).astype(np.uint8)
        return image

    def condition(self, item: int) -> ImageU8:
        image = self.reference(item).copy()
        image[:, self.side // 2 :] = 0
        return image


def source(*, side: int = SIDE, enlarge: int = 1) -> Source:
    return Source(
        set="blobs",
        name="blobs",
        version=1,
        status="embedded",
        variant=(),
        fingerprint=DIGEST,
        data_digest=DIGEST,
        count=200,
        size=side,
        geometry="square-area",
        task="uncrop",
        task_fingerprint=DIGEST,
        enlarge=enlarge,
    )


def small_study(
    folder: Path,
    *,
    models: int = 2,
    items: int = 6,
    raters: int = 4,
    practice: int = 2,
    catch: int = 1,
    sets: int = 2,
    preset: str = "palette-3s",
    exposure_ms: tuple[int, ...] = (100,),
    colour: bool = False,
    side: int = SIDE,
    enlarge: int = 1,
    change: Callable[[Study], Study] | None = None,
    **settings: object,
) -> Study:
    """A study in ``folder``, written as ``study new`` does."""
    from palette_bench.study.definition import write_study

    study = make_study(
        folder,
        Settings(
            name="small",
            preset=preset,
            sets=sets,
            items_per_set=items,
            raters_per_set=raters,
            practice=practice,
            catch=catch,
            exposure_ms=exposure_ms,
            institution="A laboratory",
            contact="lab@example.org",
            approval="none needed for a test",
            **settings,  # type: ignore[arg-type]
        ),
        source(side=side, enlarge=enlarge),
        [f"blob-{number:03d}" for number in range(200)],
        [(f"model-{chr(97 + number)}", f"Model {chr(65 + number)}") for number in range(models)],
        Blobs(side),
        colour=colour,
        progress=Silent(),
    )
    if change is not None:
        study = change(study)
        write_study(study, folder)
    return study
