"""A study's images from a prepared evaluation set and folders of predictions."""

from collections.abc import Mapping
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import Predictions, described, locate
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.progress import Progress
from palette_bench.images.decode import BadImageError
from palette_bench.images.holes import composite
from palette_bench.images.types import ImageU8
from palette_bench.protocol.tasks import Task, TaskKind
from palette_bench.study.create import Settings, make_study, shown_factor
from palette_bench.study.definition import Source, Study

_HARMLESS = frozenset({"missing", "missing-samples", "extra"})
"""What may be wrong with a folder as a whole: a study needs the items that it draws, and says which of them are not."""


class EvalSetImages:
    """Images of an evaluation set's task, outputs as they are scored: the known region comes from the reference."""

    def __init__(self, eval_set: EvalSet, task: Task, predictions: Mapping[str, Path]) -> None:
        self._eval_set = eval_set
        self._holes = eval_set.holes(task)
        self._conditions = eval_set.conditions(task)
        self._models: list[Predictions] = []
        self.titles: list[str] = []
        problems: list[Problem] = []
        for name, where in predictions.items():
            located, found = locate(where, eval_set)
            problems += [Problem(p.kind, f"{name}: {p.where}", p.detail) for p in found if p.kind not in _HARMLESS]
            made_by, _ = described(where, eval_set, task)
            self._models.append(located)
            self.titles.append(name if made_by is None else made_by.origin.title)
        if problems:
            raise InputError("predictions cannot be used for a study", problems=problems)

    def reference(self, item: int) -> ImageU8:
        """The reference of an item."""
        return self._eval_set.reference(self._eval_set.items[item])

    def output(self, model: int, item: int) -> ImageU8:
        """The first sample of a model's output, composited. Raises InputError."""
        located = self._models[model]
        if located.array is None and not located.files.get(item):
            raise InputError("the output of an item that was drawn is missing")
        try:
            pixels = located.decode(located.read(item, 0)).pixels
        except (OSError, BadImageError) as error:
            raise InputError(f"an output cannot be read: {error}") from error
        reference = self.reference(item)
        if pixels.shape != reference.shape:
            sizes = ["x".join(map(str, image.shape[1::-1])) for image in (pixels, reference)]
            raise InputError(f"an output is {sizes[0]}, expected {sizes[1]}")
        hole = self._holes.of(self._eval_set.items[item])
        return pixels if hole is None else composite(pixels, reference, hole)

    def condition(self, item: int) -> ImageU8:
        """What the models were given for an item."""
        return self._conditions.of(self._eval_set.items[item]).image


def source_of(eval_set: EvalSet, task: Task) -> Source:
    """What a study's file says of its evaluation set."""
    return Source(
        set=eval_set.set_id,
        name=eval_set.name,
        version=eval_set.version,
        status=eval_set.status.value,
        variant=eval_set.variant,
        fingerprint=eval_set.fingerprint,
        data_digest=eval_set.data_digest,
        count=eval_set.count,
        size=eval_set.size,
        geometry=eval_set.geometry,
        task=task.name,
        task_fingerprint=eval_set.task_fingerprint(task),
        enlarge=shown_factor(eval_set.size),
    )


def new_study(
    folder: Path,
    eval_set: EvalSet,
    task_name: str,
    predictions: Mapping[str, Path],
    settings: Settings,
    *,
    progress: Progress,
) -> Study:
    """Make a study of models' predictions for a task. Raises InputError, UsageError with everything that is wrong."""
    if not predictions:
        raise UsageError("a study needs predictions", expected="--preds NAME=FOLDER, once for each model")
    task = eval_set.task(task_name)
    images = EvalSetImages(eval_set, task, predictions)
    return make_study(
        folder,
        settings,
        source_of(eval_set, task),
        [item.id for item in eval_set.items],
        list(zip(predictions, images.titles, strict=True)),
        images,
        colour=task.kind is TaskKind.COLORIZE,
        progress=progress,
    )
