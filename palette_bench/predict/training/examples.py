"""Training examples, each a function of (seed, global index), whatever the ranks, microbatches and interruptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.seeds import generator_of
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.models.diffusion import DiffusionConfig, gamma_of
from palette_bench.predict.training.degradations import RECTANGLE_AREA, Family, degrade

Floats32 = NDArray[np.float32]


class TrainingSource(Protocol):
    """Images without end, by global index."""

    def images(self, indices: Sequence[int]) -> Sequence[ImageU8]:
        """One image [size, size, 3] for each index, augmented; a function of the index alone."""
        ...

    def identity(self) -> Mapping[str, object]:
        """What tells this source from others, as plain data."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side, channels first, images in [-1, 1].

    ``condition``, ``image`` and ``noise`` [n, 3, H, W], ``hole`` [n, 1, H, W] (1 = predicted) float32; ``gamma`` [n]
    float64; ``indices`` [n].
    """

    condition: Floats32
    image: Floats32
    hole: Floats32
    noise: Floats32
    gamma: NDArray[np.float64]
    indices: NDArray[np.int64]


def to_signed(image: ImageU8) -> Floats32:
    """uint8 [H, W, 3] to float32 [3, H, W] in [-1, 1]."""
    signed: Floats32 = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) * np.float32(1 / 127.5) - 1.0
    return signed


@dataclass(frozen=True, slots=True)
class ExampleStream:
    """Draws examples: which task, which noise level, what is hidden, which noise.

    ``weights`` are the relative rates of the tasks; ``global_batch`` matters for stratified noise levels alone.
    """

    source: TrainingSource
    weights: Mapping[Family, float]
    diffusion: DiffusionConfig
    seed: int
    global_batch: int
    rectangle_area: tuple[float, float] = RECTANGLE_AREA

    def batch(self, indices: Sequence[int]) -> Batch:
        """The examples of these global indices."""
        images = self.source.images(indices)
        families, cumulated = tuple(self.weights), np.cumsum(list(self.weights.values()))
        shape = (len(indices), 3, images[0].shape[0], images[0].shape[1])
        condition, image, noise = (np.empty(shape, dtype=np.float32) for _ in range(3))
        hole = np.ones((len(indices), 1, *shape[2:]), dtype=np.float32)
        draws = np.empty((len(indices), 2))
        for row, (index, pixels) in enumerate(zip(indices, images, strict=True)):
            generator = generator_of(self.seed, index)
            pick = generator.random() * cumulated[-1]
            family = families[min(int(np.searchsorted(cumulated, pick, side="right")), len(families) - 1)]
            draws[row] = generator.random(2)
            if self.diffusion.stratified:
                draws[row, 0] = (draws[row, 0] + index % self.global_batch) / self.global_batch
            given, hidden = degrade(family, pixels, generator, rectangle_area=self.rectangle_area)
            noise[row] = generator.standard_normal(shape[1:], dtype=np.float32)
            image[row] = to_signed(pixels)
            condition[row] = to_signed(given)
            if hidden is not None:
                fill_hole(condition[row], hidden, generator)
                hole[row, 0] = hidden
        gamma = gamma_of(draws, self.diffusion.gamma_distribution)
        return Batch(condition, image, hole, noise, gamma, np.asarray(indices, dtype=np.int64))


def fill_hole(condition: Floats32, hole: HoleMask, generator: np.random.Generator) -> None:
    """Fill the hole of a condition [3, H, W] in place with fresh draws of N(0, 1).

    Never with the noise of the noisy image: that is what the network is to find.
    """
    np.copyto(condition, generator.standard_normal(condition.shape, dtype=np.float32), where=hole[None])
