"""Folders of predictions as a figure shows them: through the gate of ``score``, composited as it composites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palette_bench.artifacts.evalset import EvalItem, EvalSet, Holes, open_only_set, open_set
from palette_bench.artifacts.predictions import FINISHED, PREDICTIONS_FILE, Described, Predictions, described, locate
from palette_bench.artifacts.record import RecordFile
from palette_bench.artifacts.seeds import RULE, seed_of
from palette_bench.common import schema
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.files import read_json
from palette_bench.common.progress import Progress
from palette_bench.images.decode import BadImageError
from palette_bench.images.types import ImageU8
from palette_bench.protocol.tasks import Task
from palette_bench.score.gate import Admitted, admit, examine, scored_image

NEXT = "finish them with the palette-bench predict that began them, or give a folder that is finished"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The predictions of one model for a task, checked whole.

    ``title`` is what the figure calls them. ``said`` is None where no ``predictions.json`` says what made them;
    ``result_ids`` are of the records given for them.
    """

    title: str
    where: Path
    task: Task
    samples: int
    said: Described | None
    result_ids: tuple[str, ...]
    _opened: EvalSet = field(repr=False)
    _holes: Holes = field(repr=False)
    _predictions: Predictions = field(repr=False)
    _admitted: Admitted = field(repr=False)

    def image(self, item: EvalItem, sample: int) -> ImageU8:
        """What ``score`` scores of one prediction. Raises VerificationError when it is no longer what was checked."""
        try:
            pixels = self._predictions.decode(self._predictions.read(item.index, sample)).pixels
        except (OSError, BadImageError) as error:
            raise InputError("a prediction cannot be drawn", where=self.where, found=error) from error
        if pixel_digest(pixels) != self._admitted.items[item.index][sample].own_digest:
            raise VerificationError(
                "a prediction was changed while the figure was drawn",
                where=self.where / self._predictions.name(item.index, sample),
                next_step="draw it again when nobody writes there",
            )
        return scored_image(self._opened, self._holes, item, pixels)[0]

    def as_json(self, items: Sequence[EvalItem], samples: int) -> dict[str, object]:
        """What the account of a figure says: what made the images, and of each that is drawn its seed and digest."""
        origin = None if self.said is None else self.said.origin
        seed = None if origin is None else origin.seed
        return {
            "shown_as": self.title,
            "task": self.task.name,
            "model": None if origin is None else schema.dump(origin),
            "seed_rule": None if seed is None else RULE,
            "tree_sha256": self._admitted.tree_sha256,
            "predictions_digest": self._admitted.digest,
            "result_ids": list(self.result_ids),
            "samples": self.samples,
            "drawn": [
                {
                    "id": item.id,
                    "sample": sample,
                    "seed": None if seed is None else seed_of(seed, item.id, sample),
                    "sha256": self._admitted.items[item.index][sample].scored_digest,
                }
                for item in items
                for sample in range(samples)
            ],
        }


def describe(folder: Path) -> Mapping[str, Any]:
    """What ``predictions.json`` of a folder says, empty where there is none.

    Raises InputError when it cannot be read or says that the predictions are not finished.
    """
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return {}
    content = read_json(path, kind="predictions", next_step="restore the file, or make the predictions again")
    if content.get("status") != FINISHED:
        raise InputError(
            "predictions that are not finished: nothing was drawn",
            where=path,
            expected=f"status {FINISHED}",
            found=f"status {content.get('status')}",
            next_step=NEXT,
        )
    return content


def set_of(folders: Sequence[Path], name: str | None, task_name: str | None) -> EvalSet:
    """The set called ``name``, or the one that the folders say, or the only prepared one that has the task.

    Raises InputError for folders of several sets.
    """
    if name is not None:
        return open_set(name)
    said = {str(folder): str(content["set"]) for folder in folders if "set" in (content := describe(folder))}
    if len(set(said.values())) > 1:
        raise InputError(
            "predictions for several sets in one figure",
            expected="one set",
            problems=[Problem("set", folder, found) for folder, found in said.items()],
        )
    if said:
        return open_set(next(iter(said.values())))
    return open_only_set(None, _wanted_task(task_name))


def task_of(eval_set: EvalSet, folder: Path, name: str | None) -> Task:
    """The task called ``name``, or what a folder says it is of. Raises UsageError when nothing says."""
    said = describe(folder).get("task")
    return eval_set.task(_wanted_task(name or (said if isinstance(said, str) else None)))


def _wanted_task(name: str | None) -> str:
    if name is None:
        raise UsageError(
            "which task these predictions are of is not known",
            expected=f"--task, or a {PREDICTIONS_FILE} beside the images",
            found="neither",
        )
    return name


def titles_of(folders: Sequence[Path], tasks: Sequence[Task], names: Sequence[str]) -> list[str]:
    """What a figure calls the models: ``names`` in order, or the models' titles, or the folders' names.

    Raises UsageError for another number of names than folders, for empty ones, and for two that are the same on a task.
    """
    if names and len(names) != len(folders):
        raise UsageError(
            "not one name for each folder of predictions",
            expected=f"{len(folders)} names",
            found=f"{len(names)}: {', '.join(names)}",
        )
    titles = list(names) or [_title_of(folder) for folder in folders]
    keys = [(title, task.name) for title, task in zip(titles, tasks, strict=True)]
    problems = [
        Problem("twice", title, str(folder))
        for (title, task), folder in zip(keys, folders, strict=True)
        if keys.count((title, task)) > 1
    ]
    if not all(title.strip() for title in titles):
        problems.append(Problem("empty", "a name", ""))
    if problems:
        raise UsageError(
            "models cannot be told apart by their names",
            problems=problems,
            next_step="name each with --name, in the order of --preds",
        )
    return titles


def _title_of(folder: Path) -> str:
    model = describe(folder).get("model")
    title = model.get("title") if isinstance(model, Mapping) else None
    return title if isinstance(title, str) and title.strip() else folder.resolve().name


def open_outputs(
    eval_set: EvalSet,
    task: Task,
    where: Path,
    title: str,
    records: Sequence[RecordFile] = (),
    *,
    jobs: int,
    progress: Progress,
) -> Outputs:
    """Predictions for a task, after the gate of ``score``; of ``records`` those count that are of these predictions.

    Raises InputError with every fault, for predictions of other conditions and for unfinished ones, VerificationError
    when the images are not those that ``predictions.json`` was finished with.
    """
    describe(where)
    said, doubts = described(where, eval_set, task)
    if doubts:
        raise InputError(f"a {PREDICTIONS_FILE} cannot be read: nothing was drawn", where=where, found=doubts[0])
    examined = examine(eval_set, task, where, jobs=jobs, progress=progress)
    if examined.problems:
        raise InputError(
            f"{len(examined.problems)} faults in the predictions: nothing was drawn",
            where=where,
            expected=f"a {eval_set.size}x{eval_set.size} RGB image for each of the {eval_set.count} items "
            f"of {eval_set.set_id}",
            problems=examined.problems,
            next_step=NEXT,
        )
    admitted = admit(eval_set, where, [examined])
    if said is not None and said.tree_sha256 != admitted.tree_sha256:
        raise VerificationError(
            "these are not the images that the predictions were finished with",
            where=where,
            expected=f"tree {said.tree_sha256}",
            found=f"tree {admitted.tree_sha256}",
            next_step="restore the files, or make the predictions again",
        )
    mine = [
        of.record.result_id
        for of in records
        if of.record.predictions_digest == admitted.digest and of.record.scored.task == task.name
    ]
    predictions, _ = locate(where, eval_set)
    return Outputs(
        title, where, task, admitted.samples, said, tuple(mine), eval_set, eval_set.holes(task), predictions, admitted
    )


def check_records_used(records: Sequence[RecordFile], outputs: Sequence[Outputs]) -> None:
    """Raise InputError for records that are of none of these predictions."""
    used = {result_id for of in outputs for result_id in of.result_ids}
    if foreign := [of for of in records if of.record.result_id not in used]:
        raise InputError(
            "records of other predictions than the figure shows",
            problems=[Problem("foreign", str(of.path), of.record.name) for of in foreign],
            next_step="score the predictions that are drawn, or leave the records out",
        )
