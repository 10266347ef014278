"""What a report is made of: a record, its items, the set and the predictions, each checked to be the record's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.artifacts.predictions import Predictions, locate
from palette_bench.artifacts.record import Items, RecordFile, ResultRecord, read_items, read_record
from palette_bench.common.errors import Problem, UsageError, VerificationError
from palette_bench.common.progress import Progress
from palette_bench.protocol.tasks import Task
from palette_bench.score.gate import Checked, admit, examine


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A record and all that it is of; ``checked`` are the first samples in protocol order.

    ``digests`` are those of every sample's own pixels, by item: what a worker compares with when it reads them again.
    """

    of: RecordFile
    items: Items
    eval_set: EvalSet
    task: Task
    predictions: Predictions
    checked: tuple[Checked, ...]
    digests: tuple[tuple[str, ...], ...]

    @property
    def record(self) -> ResultRecord:
        """The record."""
        return self.of.record


def gather(result: Path, preds: Path | None, *, jobs: int, progress: Progress) -> Material:
    """The record at ``result``, its prepared set, and its predictions at ``preds`` or where the record's name leads.

    Raises InputError for a record, set or predictions that cannot be read, and VerificationError for those that are
    not the ones that were scored.
    """
    of = read_record(result)
    items = read_items(of)
    eval_set = open_set(of.record.scored.set_id)
    task = _task_as_scored(of, eval_set)
    where = preds if preds is not None else _predictions_near(of)
    admitted = admit(eval_set, where, [examine(eval_set, task, where, jobs=jobs, progress=progress)])
    if admitted.digest != of.record.predictions_digest or admitted.tree_sha256 != of.record.tree_sha256:
        raise _other_predictions(of, items, where, admitted.rows, admitted.tree_sha256)
    return Material(
        of=of,
        items=items,
        eval_set=eval_set,
        task=task,
        predictions=locate(where, eval_set)[0],
        checked=tuple(admitted.rows),
        digests=tuple(tuple(row.own_digest for row in samples) for samples in admitted.items.values()),
    )


def _task_as_scored(of: RecordFile, eval_set: EvalSet) -> Task:
    """The task; raises VerificationError when the prepared set or its task is not the one that was scored."""
    scored = of.record.scored
    task = eval_set.task(scored.task)
    pairs = {
        "version": (scored.version, eval_set.version),
        "definition": (scored.fingerprint, eval_set.fingerprint),
        "images": (scored.data_digest, eval_set.data_digest),
        f"task {task.name}": (scored.task_fingerprint, eval_set.task_fingerprint(task)),
        "number of items": (scored.count, eval_set.count),
    }
    differing = [name for name, (recorded, here) in pairs.items() if recorded != here]
    if differing:
        raise VerificationError(
            "the prepared set is not the one that was scored",
            where=eval_set.folder,
            expected=", ".join(f"{name} {pairs[name][0]}" for name in differing),
            found=", ".join(f"{name} {pairs[name][1]}" for name in differing),
            next_step="prepare the set as it was then, or score the predictions again",
        )
    return task


def _predictions_near(of: RecordFile) -> Path:
    """A folder called like the record, here or in preds/: `score` names a record after its predictions."""
    name = of.record.name
    near = [Path(name), Path("preds") / name] if Path(name).name == name else []
    found = next((folder for folder in near if folder.is_dir()), None)
    if found is None:
        raise UsageError(
            "a report needs the predictions that were scored",
            where=of.path,
            expected="--preds with their folder" + (f", or a folder {name} here" if near else ""),
            next_step="palette-bench report RESULT --preds DIR",
        )
    return found


def _other_predictions(
    of: RecordFile, items: Items, where: Path, rows: Sequence[Checked], tree: str
) -> VerificationError:
    pairs = zip(items.ids, items.prediction_digests, rows, strict=True)
    problems = [
        Problem("another image", item_id, f"pixels {row.own_digest[:16]}, the record's has {recorded[:16]}")
        for item_id, recorded, row in pairs
        if recorded != row.own_digest
    ]
    return VerificationError(
        "these are not the predictions that were scored",
        where=where,
        expected=f"tree {of.record.tree_sha256}, as in {of.path}",
        found=f"tree {tree}, {len(problems)} of {len(rows)} first samples differ",
        problems=problems,
        next_step="give the folder that the record was made from, or score this one",
    )
