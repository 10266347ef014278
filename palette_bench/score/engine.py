"""What computes: networks as they are asked for, and everything that recipes are functions of.

`Compute` says how networks run, and whoever takes options of networks takes one; `Engine` loads the networks that
recipes need and runs images through them, whoever asks: a score, its parts, a calibration, a report.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from palette_bench.artifacts.evalset import EvalSet, Holes
from palette_bench.artifacts.predictions import Predictions
from palette_bench.artifacts.record import FLOAT32
from palette_bench.common.errors import InputError
from palette_bench.common.parts import Part
from palette_bench.common.progress import Progress
from palette_bench.images.types import ImageU8
from palette_bench.protocol.definition import Family
from palette_bench.protocol.tasks import Task
from palette_bench.score import diversity, statistics
from palette_bench.score.backbones import weights
from palette_bench.score.backbones.base import BFLOAT16, Backend, spec_named
from palette_bench.score.backbones.loading import CPU, LoadedBackbone, load
from palette_bench.score.diversity import Lpips
from palette_bench.score.features import FeatureStore, PixelItem, extract
from palette_bench.score.gate import Admitted, Checked, scored_image
from palette_bench.score.recipes.base import (
    LPIPS,
    PIXELS,
    FloatArray,
    Needs,
    Outputs,
    PairNumbers,
    Recipe,
    ReferenceStatistics,
    incomparable,
)
from palette_bench.score.recipes.diversity import MS_SSIM


class Precision(StrEnum):
    """What networks compute in; anything but ``FLOAT32`` gives features that compare with nothing else."""

    FLOAT32 = FLOAT32
    BFLOAT16 = BFLOAT16


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How networks run. ``precision`` and other weights give other numbers, which say so; the rest moves none.

    ``batch_size`` is None for what suits the images, ``jobs`` is processes for pixels, or threads of one core for
    networks; on a GPU the processes decode.
    """

    device: str = CPU
    backend: Backend = Backend.AUTO
    precision: Precision = Precision.FLOAT32
    batch_size: int | None = None
    jobs: int = 1
    allow_other_weights: bool = False


def load_backbone(name: str, compute: Compute) -> LoadedBackbone:
    """A network as ``compute`` has it, its weights checked. Raises what ``backbones.loading.load`` raises."""
    return load(
        name,
        device=compute.device,
        allow_other_weights=compute.allow_other_weights,
        backend=compute.backend,
        bfloat16=compute.precision is Precision.BFLOAT16,
    )


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """What a recipe's number was computed with, as the record names it."""

    name: str
    fingerprint: str
    weights_sha256: str
    canonical: bool
    precision: str = FLOAT32

    @property
    def incomparable(self) -> tuple[str, ...]:
        """Why its numbers compare with no others."""
        return tuple(incomparable(self.name, canonical=self.canonical, precision=self.precision))


_NO_NETWORK = NetworkRun(PIXELS, PIXELS, "", canonical=True)


@dataclass(slots=True)
class Engine:
    """Loads networks once, whenever recipes first need them, and runs images through them."""

    compute: Compute
    store: FeatureStore
    progress: Progress
    backbones: dict[str, LoadedBackbone] = field(default_factory=dict)
    lpips: Lpips | None = None

    def load(self, recipes: Sequence[Recipe]) -> dict[str, NetworkRun]:
        """The networks of recipes by name, weights checked. Raises InputError with every weights file that is missing.

        Raises UsageError for a device that is not there or a backend that does not run there.
        """
        names = dict.fromkeys(recipe.backbone for recipe in recipes)
        fresh = [name for name in names if name not in (PIXELS, LPIPS, *self.backbones)]
        files = [file for name in fresh if (file := spec_named(name).weights) is not None]
        weights.require(list(dict.fromkeys(files)), allow_other=self.compute.allow_other_weights)
        for name in fresh:
            self.backbones[name] = load_backbone(name, self.compute)
        if LPIPS in names and self.lpips is None:
            located = weights.locate(weights.named("alexnet"), allow_other=self.compute.allow_other_weights)
            self.lpips = Lpips(located.path, located.sha256, located.canonical)
        return {name: self.network(name) for name in names}

    def network(self, name: str) -> NetworkRun:
        """A loaded network as the record names it."""
        if name == PIXELS:
            return _NO_NETWORK
        if name == LPIPS and self.lpips is not None:
            return NetworkRun(LPIPS, self.lpips.fingerprint, self.lpips.sha256, self.lpips.canonical)
        backbone = self.backbones[name]
        precision = str(backbone.spec.definition["precision"])
        return NetworkRun(name, backbone.fingerprint, backbone.weights_sha256, backbone.canonical, precision)

    def extract(self, items: Sequence[PixelItem], names: Collection[str] | None = None) -> Outputs:
        """Outputs for every image of every loaded backbone, or of those called ``names``."""
        on_cpu = self.compute.device == CPU
        return extract(
            items,
            [backbone for name, backbone in self.backbones.items() if names is None or name in names],
            self.store,
            batch_size=self.compute.batch_size,
            workers=self.compute.jobs if on_cpu else 1,
            decode_processes=0 if on_cpu else self.compute.jobs,
            progress=self.progress,
        )

    def statistics(self, eval_set: EvalSet, reference: str, recipe: Recipe) -> ReferenceStatistics | None:
        """Those of a FID reference set that are kept; of drawn images, which need no source, they are computed."""
        kept = statistics.load(eval_set, reference, self.backbones[recipe.backbone].fingerprint, recipe.output)
        if kept is None and eval_set.family is Family.SCENES32 and not reference.startswith(statistics.IMPORTED):
            kept, _ = self.compute_statistics(eval_set, reference, recipe)
        return kept

    def compute_statistics(
        self,
        eval_set: EvalSet,
        reference: str,
        recipe: Recipe,
        *,
        source: Path | None = None,
        labels: Path | None = None,
    ) -> tuple[ReferenceStatistics, Path]:
        """Compute the statistics of a FID reference set from its images and keep them, in the file that is returned.

        Features of images that the store holds are not computed again, so an interrupted run continues. Raises
        InputError with every bad image of the source.
        """
        return statistics.compute(
            eval_set,
            reference,
            self.backbones[recipe.backbone],
            recipe.output,
            source=source,
            labels=labels,
            store=self.store,
            progress=self.progress,
            batch_size=self.compute.batch_size,
            workers=self.compute.jobs,
        )

    def compute_statistics_part(
        self, eval_set: EvalSet, reference: str, recipe: Recipe, part: Part, *, source: Path | None, labels: Path | None
    ) -> int:
        """Put the features of a part of a reference set into the store; how many images that are."""
        return statistics.compute_part(
            eval_set,
            reference,
            self.backbones[recipe.backbone],
            recipe.output,
            part,
            source=source,
            labels=labels,
            store=self.store,
            progress=self.progress,
            batch_size=self.compute.batch_size,
            workers=self.compute.jobs,
        )

    def import_statistics(self, eval_set: EvalSet, path: Path, recipe: Recipe, *, count: int) -> tuple[str, Path]:
        """Keep the moments that an .npz holds (`statistics.import_moments`): the name of the set, and the file."""
        backbone = self.backbones[recipe.backbone]
        return statistics.import_moments(eval_set, path, backbone, recipe.output, count=count)


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
                jobs=engine.compute.jobs,
                progress=engine.progress,
            )
        elif engine.lpips is not None:
            found[recipe.output] = diversity.lpips(
                digests,
                places,
                engine.store,
                network=engine.lpips,
                device=engine.compute.device,
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
