"""What the tests of the classical methods give them: pictures, holes, and settings built by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from palette_bench.images.condition import hole_of, make_condition
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.adapters.base import Adapter, ModelInput, Setting
from palette_bench.prepare.sources import scenes32
from palette_bench.protocol.tasks import TASKS
from tests.conftest import picture

SIZES = (32, 64)
UNCROPPING = tuple(name for name in TASKS if name.startswith("uncrop"))
INPAINTING = tuple(name for name in TASKS if name.startswith("inpaint"))


def setting(
    task: str, size: int = 32, *, config: Mapping[str, object] | None = None, weights: Path | None = None
) -> Setting:
    """A setting without a card."""
    return Setting(task=TASKS[task], size=size, config=config or {}, weights=weights)


def reference(size: int, number: int = 0) -> ImageU8:
    """A scene at 32 pixels, a picture with structure at every scale above."""
    if size == scenes32.SIZE:
        scenes, _ = scenes32.render(scenes32.Split.TRAIN, [1000 + number])
        scene: ImageU8 = scenes[0]
        return scene
    return picture(size, size, f"reference {number}")


def blot(size: int) -> HoleMask:
    """A free-form hole of about a fifth of the image that touches its border: a disc and a stroke."""
    y, x = np.mgrid[0:size, 0:size] / size
    mask: HoleMask = ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.04) | (np.abs(x - y + 0.35) < 0.05)
    return mask


def given(task: str, size: int = 32, number: int = 0, *, seed: int = 5) -> ModelInput:
    """The input of a reference for a task."""
    hole = hole_of(TASKS[task], size, blot(size))
    condition = make_condition(TASKS[task], reference(size, number), hole)
    return ModelInput(f"item-{number}", condition.image, condition.hole, condition.jpeg, seed)


def check_laws(adapter: Adapter, task: str, size: int) -> None:
    """Shape and type, the same output again, and each output its own whatever else is in the batch."""
    inputs = [given(task, size, number) for number in range(3)]
    before = [one.image.copy() for one in inputs]
    together = adapter.predict(inputs)
    assert len(together) == 3
    for output in together:
        assert output.dtype == np.uint8
        assert output.shape == (size, size, 3)
    alone = [adapter.predict([one])[0] for one in reversed(inputs)][::-1]
    for output, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(output, other)
    assert any((together[0] != other).any() for other in together[1:])
    for one, image in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(one.image, image)


def psnr(image: ImageU8, other: ImageU8) -> float:
    """Peak signal-to-noise ratio in dB."""
    difference = image.astype(np.float64) - other.astype(np.float64)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))
