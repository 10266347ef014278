"""Models that behave, and models that misbehave in one way each."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting


class Painter:
    """Noise from the seed in the hole, or everywhere: a stochastic model that behaves."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        return [self.paint(given) for given in inputs]

    def paint(self, given: ModelInput) -> ImageU8:
        noise = np.random.default_rng(given.seed).integers(0, 256, given.image.shape, np.uint8)
        return noise if given.hole is None else np.where(given.hole[..., None], noise, given.image)


class Copier(Painter):
    """The condition again: deterministic."""

    def paint(self, given: ModelInput) -> ImageU8:
        return given.image.copy()


class Slow(Painter):
    """Takes its time, so that SIGKILL finds it at work."""

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0.02")))
        return super().predict(inputs)


class Loud(Painter):
    """Prints where results belong."""

    def paint(self, given: ModelInput) -> ImageU8:
        sys.stdout.write("I am not JSON\n")
        return super().paint(given)


class Generating(Painter):
    """Gives a generator."""

    def predict(self, inputs: Sequence[ModelInput]) -> Iterator[ImageU8]:  # type: ignore[override]
        yield from map(self.paint, inputs)


class Raising(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        raise ArithmeticError("I cannot divide")


class RaisingOn(Painter):
    """Fails for one item, after others are finished."""

    def paint(self, given: ModelInput) -> ImageU8:
        if given.id == self.setting.config.get("item", "a005") and not Path("repaired").exists():
            raise ArithmeticError("I cannot divide")
        return super().paint(given)


class WrongShape(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        return super().paint(given)[1:]


class Planar(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        return super().paint(given).transpose(2, 0, 1)


class Floats(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        return super().paint(given) / np.float32(255)  # type: ignore[return-value]


class NotNumbers(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        return np.full(given.image.shape, np.nan)


class NoArray(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        return super().paint(given).tolist()  # type: ignore[no-any-return]


class TooFew(Painter):
    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        return super().predict(inputs)[1:]


class Nothing(Painter):
    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        return None  # type: ignore[return-value]


class Hanging(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        time.sleep(3600)
        return given.image


class Dying(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        os.kill(os.getpid(), 9)
        return given.image


class Leaving(Painter):
    def paint(self, given: ModelInput) -> ImageU8:
        sys.exit(7)


class CannotBeBuilt(Painter):
    def __init__(self, setting: Setting) -> None:
        raise RuntimeError("no such device")


class NoAdapter:
    def __init__(self, setting: Setting) -> None:
        pass


class Spy(Painter):
    """Refuses to work if it is given anything but a condition, and spoils what it is given."""

    def paint(self, given: ModelInput) -> ImageU8:
        assert set(given.__slots__) == {"id", "image", "hole", "jpeg", "seed"}
        painted = super().paint(given)
        assert given.hole is not None
        assert not given.image[given.hole].any(), "the hole is black"
        given.image[:] = 255
        given.hole[:] = True
        return painted


class Forgetful(Copier):
    """Ignores the seed, though its card may say otherwise."""


class Restless(Painter):
    """Draws from a generator of its own: the same seed gives another output."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.generator = np.random.default_rng()

    def paint(self, given: ModelInput) -> ImageU8:
        return self.generator.integers(0, 256, given.image.shape, np.uint8)


class Sociable(Painter):
    """Looks at its neighbours in the batch."""

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        shift = np.uint8(7 * len(inputs))
        return [image + shift for image in super().predict(inputs)]


class Rounding(Painter):
    """The last grey level of one pixel depends on the batch, as a network's rounding does."""

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        images = [image // 2 for image in super().predict(inputs)]
        images[0][0, -1, 0] += np.uint8(len(inputs) % 2)
        return images


class Backwards(Painter):
    """Gives the outputs of a batch in another order."""

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        return sorted(super().predict(inputs), key=lambda image: int(image.sum()))


class NeedsHole(Painter):
    """Cannot do without a hole."""

    def paint(self, given: ModelInput) -> ImageU8:
        if given.hole is not None:
            given.hole.nonzero()[0].max()
        return super().paint(given)


class Spoiling(Painter):
    """Writes into what it is given."""

    def paint(self, given: ModelInput) -> ImageU8:
        painted = super().paint(given)
        given.image[0, 0] ^= 255
        return painted


class Littering(Painter):
    """Leaves a file where it stands."""

    def paint(self, given: ModelInput) -> ImageU8:
        Path("remains.txt").write_text(given.id)
        return super().paint(given)


class Tiring(Painter):
    """After many batches it paints otherwise, so a run that was interrupted is not one that was not."""

    calls = 0

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        self.calls += 1
        shift = np.uint8(0 if self.calls <= 8 else 9)
        return [image + shift for image in super().predict(inputs)]


class ZeroToOne(Painter):
    """Forgot to multiply by 255."""

    def paint(self, given: ModelInput) -> ImageU8:
        return super().paint(given) // 128


class Shifted(Painter):
    """Every pixel ten grey levels off, whichever way there is room."""

    def paint(self, given: ModelInput) -> ImageU8:
        return np.where(given.image < 128, given.image + 10, given.image - 10).astype(np.uint8)
