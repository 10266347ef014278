"""From predictions that passed the gate to everything that recipes are functions of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from palette_bench.artifacts.evalset import EvalSet, Holes
from palette_bench.artifacts.predictions import Predictions
from palette_bench.common.errors import InputError
from palette_bench.common.progress import Progress
from palette_bench.images.types import ImageU8
from palette_bench.protocol.tasks import Task
from palette_bench.score import diversity
from palette_bench.score.backbones.base import LoadedBackbone
from palette_bench.score.diversity import Lpips
from palette_bench.score.features import FeatureStore, PixelItem, extract
from palette_bench.score.gate import Admitted, Checked, scored_image
from palette_bench.score.recipes.base import FloatArray, Needs, Outputs, PairNumbers, Recipe
from palette_bench.score.recipes.diversity import MS_SSIM


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What computes, and how: nothing here moves a number beyond the networks' rounding.

    ``jobs`` processes for pixels, or threads of one core for networks; on a GPU the processes decode.
    """

    backbones: Sequence[LoadedBackbone]
    store: FeatureStore
    device: str
    batch_size: int | None
    jobs: int
    progress: Progress
    lpips: Lpips | None = None

    def extract(self, items: Sequence[PixelItem]) -> Outputs:
        """Outputs of every backbone for every image."""
        on_cpu = self.device == "cpu"
        return extract(
            items,
            self.backbones,
            self.store,
            batch_size=self.batch_size,
            workers=self.jobs if on_cpu else 1,
            decode_processes=0 if on_cpu else self.jobs,
            progress=self.progress,
        )


@dataclass(slots=True)
class ScoredPixels:
    """The samples of a task's items as they are scored, read from the predictions; None: they are not on this machine.

    Picklable: a worker reads the masks for itself.
    """

    eval_set: EvalSet
    task: Task
    predictions: Predictions | None
    _holes: Holes | None = field(default=None, init=False, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        return ScoredPixels, (self.eval_set, self.task, self.predictions)

    def __call__(self, item: int, sample: int) -> ImageU8:
        """One sample [H, W, 3]. Raises InputError if it cannot be read any more."""
        of_item = self.eval_set.items[item]
        if self.predictions is None:
            raise InputError(
                "a part of the work lacks features",
                where=of_item.id,
                expected="features of every item in the parts",
                next_step="run `palette-bench score --shard` again for the part that this item belongs to",
            )
        if self._holes is None:
            self._holes = self.eval_set.holes(self.task)
        decoded = self.predictions.decode(self.predictions.read(item, sample))
        image, _ = scored_image(self.eval_set, self._holes, of_item, decoded.pixels)
        return image


@dataclass(frozen=True, slots=True)
class _PredictionLoader:
    pixels: ScoredPixels
    item: int

    def __call__(self) -> ImageU8:
        return self.pixels(self.item, 0)


@dataclass(frozen=True, slots=True)
class _ReferenceLoader:
    eval_set: EvalSet
    item: int

    def __call__(self) -> ImageU8:
        return self.eval_set.reference(self.eval_set.items[self.item])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Outputs of networks for predictions and references, and numbers of pairs of samples; rows as asked for."""

    predicted: Outputs
    references: Outputs
    diversity: dict[str, PairNumbers]


def measure(
    engine: Engine, pixels: ScoredPixels, admitted: Admitted, recipes: Sequence[Recipe], items: Sequence[int]
) -> Measured:
    """Everything that ``recipes`` need of ``items``, computed where the store does not hold it."""
    rows = [admitted.items[item][0] for item in items]
    predicted = engine.extract([PixelItem(row.scored_digest, _PredictionLoader(pixels, row.index)) for row in rows])
    eval_set = pixels.eval_set
    references = engine.extract(
        [PixelItem(eval_set.items[item].reference_digest, _ReferenceLoader(eval_set, item)) for item in items]
    )
    return Measured(predicted, references, _diversity(engine, pixels, admitted, recipes, items))


def _diversity(
    engine: Engine, pixels: ScoredPixels, admitted: Admitted, recipes: Sequence[Recipe], items: Sequence[int]
) -> dict[str, PairNumbers]:
    found: dict[str, PairNumbers] = {}
    digests = [tuple(sample.scored_digest for sample in admitted.items[item]) for item in items]
    places = _Places(pixels, tuple(items))
    for recipe in recipes:
        if Needs.PAIRS not in recipe.metric.needs:
            continue
        if recipe.output == MS_SSIM:
            found[recipe.output] = diversity.ms_ssim(
                digests,
                places,
                engine.store,
                scales=int(recipe.parameters["scales"]),
                jobs=engine.jobs,
                progress=engine.progress,
            )
        elif engine.lpips is not None:
            found[recipe.output] = diversity.lpips(
                digests,
                places,
                engine.store,
                network=engine.lpips,
                device=engine.device,
                progress=engine.progress,
            )
    return found


@dataclass(frozen=True, slots=True)
class _Places:
    """Samples by their place in ``items``."""

    pixels: ScoredPixels
    items: tuple[int, ...]

    def __call__(self, place: int, sample: int) -> ImageU8:
        return self.pixels(self.items[place], sample)


def pixel_columns(rows: Sequence[Checked]) -> dict[str, FloatArray]:
    """What the gate compared the first samples with their references by: [N] each, where every row has it."""
    names = rows[0].pixels if rows else {}
    return {
        name: np.array([row.pixels[name] for row in rows], np.float64)
        for name in names
        if all(name in row.pixels for row in rows)
    }
