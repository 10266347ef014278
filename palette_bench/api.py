"""What the commands do, as functions: for scripts, notebooks and tests of models.

One convention throughout: a set is an ``EvalSet`` or its name, a task a ``Task`` or its name, a path a string or a
``Path``, a model a card or what ``find_model`` understands. Nothing is printed; ``progress`` may be anything that
``Progress`` describes. Errors are those of ``palette_bench.errors``.
"""

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts import predictions as folder_of_predictions
from palette_bench.artifacts.evalset import EvalSet, open_set
from palette_bench.artifacts.predictions import Made, output_name
from palette_bench.artifacts.record import (
    ITEMS_FILE,
    RECORD_FILE,
    Items,
    RecordFile,
    ResultRecord,
    parse_items,
    read_items,
    read_record,
    save,
)
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.canonical import bytes_digest, pixel_digest
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.progress import Progress, Silent
from palette_bench.common.workers import default_jobs
from palette_bench.images.decode import encode_png
from palette_bench.images.holes import composited
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import ModelInput
from palette_bench.predict.adapters.checks import checked_outputs
from palette_bench.predict.card import Card, find_card
from palette_bench.predict.run import Options as RunOptions
from palette_bench.predict.run import Predicted, given_of, predict
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from palette_bench.prepare.verify import Verified, verify
from palette_bench.protocol.definition import GeometryName
from palette_bench.protocol.tasks import Task
from palette_bench.score.groups import Grouping

if TYPE_CHECKING:
    import pandas as pd

    from palette_bench.predict.adapters.conformance import Report as Conformance
    from palette_bench.publish.compare import Comparison
    from palette_bench.publish.regress.manifest import Outcome
    from palette_bench.publish.report.build import Report
    from palette_bench.publish.tables.table import Table

PathLike = str | Path
ModelFunction = Callable[[ModelInput], ImageU8]
"""One output [H, W, 3] uint8 RGB for one input; all of its randomness must come from the input's seed."""

_SILENT = Silent()
_FUNCTION = "function"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a score gives: the record, and the table of its items as CSV. ``folder`` is where it lies, if it does."""

    record: ResultRecord
    items_csv: str
    folder: Path | None = None

    @property
    def metrics(self) -> "pd.DataFrame":
        """One row per recipe: title, value, standard error, 95 % interval, the references' own value, signature."""
        import pandas as pd

        rows = {
            name: {
                "title": metric.title,
                "value": metric.value,
                "standard_error": metric.standard_error,
                "low": metric.low,
                "high": metric.high,
                "reference_value": metric.reference_value,
                "signature": metric.signature,
            }
            for name, metric in self.record.metrics.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("recipe")

    @property
    def items(self) -> "pd.DataFrame":
        """One row per item in protocol order: id, label, digest of the prediction, and a column per number."""
        import io

        import pandas as pd

        return pd.read_csv(io.StringIO(self.items_csv), dtype={"id": str, "prediction_sha256": str})

    def __getitem__(self, recipe: str) -> float:
        """The value of a recipe. Raises KeyError with the names of all."""
        if recipe not in self.record.metrics:
            raise KeyError(f"{recipe}: there are {', '.join(self.record.metrics)}")
        return self.record.metrics[recipe].value

    def save(self, folder: PathLike) -> "Result":
        """Write ``result.json`` and ``items.csv``. Raises InputError where another result lies."""
        folder = Path(folder)
        if (folder / RECORD_FILE).exists() and read_record(folder).record.result_id != self.record.result_id:
            raise InputError(
                "the folder holds another result",
                where=folder,
                expected=self.record.result_id[:16],
                found=read_record(folder).record.result_id[:16],
                next_step="choose another folder, or remove this one",
            )
        save(self.record, self.items_csv, folder)
        return Result(self.record, self.items_csv, folder)

    def __repr__(self) -> str:
        """The headline numbers in one line."""
        scored = self.record.scored
        numbers = ", ".join(
            f"{metric.title} {metric.value:.4g}" + (f" ± {error:.2g}" if (error := metric.standard_error) else "")
            for metric in self.record.metrics.values()
            if metric.headline
        )
        return f"<Result {self.record.name}: {scored.task} on {scored.set_id}, {scored.count} items: {numbers}>"

    def _repr_html_(self) -> str:
        """The numbers as a table, for Jupyter."""
        from html import escape

        scored = self.record.scored
        warnings = "".join(f"<p>warning: {escape(warning)}</p>" for warning in self.record.warnings)
        head = f"{self.record.name}: {scored.task} on {scored.set_id}, {scored.count} items"
        return f"<p>{escape(head)}</p>{warnings}{self.metrics.drop(columns='signature').to_html(escape=True)}"


def prepare_set(
    protocol: str,
    source: PathLike | None = None,
    *,
    labels: PathLike | None = None,
    list_file: PathLike | None = None,
    geometry: str | None = None,
    released_masks: PathLike | None = None,
    name: str | None = None,
    size: int | None = None,
    replace: bool = False,
    jobs: int | None = None,
    progress: Progress = _SILENT,
) -> EvalSet:
    """The frozen evaluation set of a protocol, made from ``source`` unless it is there already.

    The options are those of ``palette-bench prepare``; ``size`` is the side of a folder set's images in pixels.
    """

    def path(given: PathLike | None) -> Path | None:
        return None if given is None else Path(given)

    choices = Choices(
        source=path(source),
        labels=path(labels),
        list_file=path(list_file),
        geometry=GeometryName(geometry) if geometry else None,
        released_masks=path(released_masks),
        name=name,
        size=size,
    )
    plan = make_plan(protocol, choices, progress=progress)
    build(plan, jobs=jobs or default_jobs(), replace=replace, progress=progress)
    return open_set(plan.protocol.set_id)


def verify_set(eval_set: EvalSet | str, *, jobs: int | None = None, progress: Progress = _SILENT) -> Verified:
    """Recompute the digest of every reference and condition. Raises VerificationError with all that differ."""
    return verify(_opened(eval_set), jobs=jobs or default_jobs(), progress=progress)


def run_model(
    model: Card | PathLike | ModelFunction,
    eval_set: EvalSet | str,
    task: Task | str,
    out: PathLike,
    *,
    samples: int = 1,
    seed: int = 0,
    batch: int | None = None,
    device: str = "cpu",
    jobs: int | None = None,
    progress: Progress = _SILENT,
) -> Path:
    """Run a model over a task's conditions, and return the folder of predictions.

    A card runs in processes of its own and continues where it was interrupted. A function is called in this process,
    input by input, into a new or empty folder; the known pixels of tasks with a hole are put back either way.
    """
    eval_set, folder = _opened(eval_set), Path(out)
    if callable(model):
        return _predict_with(model, eval_set, eval_set.task(task), folder, samples, seed, progress)
    options = RunOptions(seed=seed, samples=samples, batch=batch, device=device, jobs=jobs or default_jobs())
    card = model if isinstance(model, Card) else find_card(model)
    done: Predicted = predict(eval_set, eval_set.task(task).name, card, folder, options, progress=progress)
    return done.folder


def _predict_with(
    function: ModelFunction, eval_set: EvalSet, task: Task, out: Path, samples: int, seed: int, progress: Progress
) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "the folder for the predictions is not empty",
            where=out,
            expected="a new or empty folder: a function's predictions cannot be continued",
            found="a file" if out.is_file() else f"{len(list(out.iterdir()))} entries",
            next_step="choose another folder; a model with a card continues where it was",
        )
    name = getattr(function, "__name__", type(function).__name__)
    model: dict[str, object] = {
        "name": name,
        "title": name,
        "kind": _FUNCTION,
        "fingerprint": _fingerprint_of(function),
        "weights_sha256": None,
        "config": {},
    }
    identity = folder_of_predictions.identity_of(eval_set, task, model, seed=seed, samples=samples)
    folder_of_predictions.begin(out, identity)
    conditions, digests, changes = eval_set.conditions(task), {}, []
    with progress.task(f"{name}, {task.name}", eval_set.count * samples, "images") as shown:
        for item in eval_set.items:
            condition = conditions.of(item)
            for sample in range(samples):
                given = given_of(item.id, condition, seed_of(seed, item.id, sample))
                (image,) = checked_outputs(name, [given], [function(given)])
                final, change = composited(image, condition.image, condition.hole)
                path = output_name(item.id, sample, samples)
                folder_of_predictions.place(out, path, encode_png(final))
                digests[path] = pixel_digest(final)
                changes += [] if change is None else [change]
                shown.advance()
    steps = [{"step": folder_of_predictions.COMPOSITE_KNOWN, "known_region_error": float(np.mean(changes))}]
    made = Made(digests=digests, stochastic=None, post_processing=steps if changes else [])
    folder_of_predictions.finish(out, identity, made)
    (out / folder_of_predictions.WORK_FOLDER).rmdir()
    return out


def _fingerprint_of(function: ModelFunction) -> str:
    """sha256 of a function's source text; of its qualified name where there is no source."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    return hashlib.sha256(text.encode()).hexdigest()


def score_predictions(
    preds: PathLike | NDArray[np.uint8],
    eval_set: EvalSet | str,
    task: Task | str,
    *,
    name: str | None = None,
    out: PathLike | None = None,
    reference: str | None = None,
    also: Sequence[str] = (),
    by: Sequence[str] = (),
    allow_other_weights: bool = False,
    device: str = "cpu",
    batch_size: int | None = None,
    jobs: int | None = None,
    progress: Progress = _SILENT,
) -> Result:
    """Score a folder of predictions, an ``.npz``, or an array [N, H, W, 3] uint8 RGB in protocol order.

    ``out`` is a folder to write ``result.json`` and ``items.csv`` to; nothing is written without it. The other options
    are those of ``palette-bench score``. Raises InputError from the gate with every fault.
    """
    from palette_bench.score.engine import Compute
    from palette_bench.score.scoring import Options, score

    eval_set = _opened(eval_set)
    options = Options(
        reference=reference,
        also=tuple(also),
        by=tuple(map(Grouping, by)),
        compute=Compute(
            allow_other_weights=allow_other_weights,
            device=device,
            batch_size=batch_size,
            jobs=jobs or default_jobs(),
        ),
    )
    with tempfile.TemporaryDirectory(prefix="palette-bench-") as temporary:
        if isinstance(preds, np.ndarray):
            where = Path(temporary) / "array.npz"
            np.savez(where, arr_0=preds)
        else:
            where = Path(preds)
        scored = score(eval_set, task, where, name or where.resolve().stem, options, progress=progress)
    if scored is None:
        raise UsageError(
            "under torchrun only the first rank has a result", expected="palette-bench score under torchrun"
        )
    result = Result(scored.record, scored.items_csv)
    return result if out is None else result.save(out)


def merge(parts: Sequence[PathLike], name: str, *, jobs: int | None = None, progress: Progress = _SILENT) -> Result:
    """The result of a score that ``palette-bench score --shard I/N`` did in parts, equal to that of one piece."""
    from palette_bench.score.engine import Compute
    from palette_bench.score.scoring import Options
    from palette_bench.score.scoring import merge as merge_parts

    options = Options(compute=Compute(jobs=jobs or default_jobs()))
    scored = merge_parts([Path(part) for part in parts], name, options, progress=progress)
    return Result(scored.record, scored.items_csv)


def read_result(where: PathLike) -> Result:
    """A result from its folder or its ``result.json`` with ``items.csv`` beside it, both checked."""
    of = read_record(Path(where))
    read_items(of)
    data = of.path.with_name(ITEMS_FILE).read_bytes()
    return Result(of.record, data.decode(), of.path.parent)


def compare(left: Result | PathLike, right: Result | PathLike, *, only: Sequence[str] = ()) -> "Comparison":
    """``left`` minus ``right`` on the same items, recipe by recipe, with intervals and p-values.

    Raises InputError with every difference that makes the two incomparable.
    """
    from palette_bench.publish.compare import Side
    from palette_bench.publish.compare import compare as compare_sides

    def side(given: Result | PathLike) -> Side:
        result = given if isinstance(given, Result) else read_result(given)
        path = (result.folder or Path(result.record.name)) / RECORD_FILE
        data = result.items_csv.encode()
        items: Items = parse_items(data, path.with_name(ITEMS_FILE), result.record.scored.count)
        return Side(RecordFile(path, result.record, bytes_digest(data)), items)

    return compare_sides(side(left), side(right), only=only)


def table(number: str, results: Sequence[Result | PathLike] = (), *, set_name: str | None = None) -> "Table":
    """A table of the paper with results in their place; ``number`` as printed, such as ``"3"``.

    ``set_name`` keeps the columns of one set; ``"scenes32"`` gives that set's own table.
    """
    from palette_bench.publish.tables import printed
    from palette_bench.publish.tables.paper import fill
    from palette_bench.publish.tables.scenes32 import SCENES32, scenes32_table

    records = [given.record if isinstance(given, Result) else read_record(Path(given)).record for given in results]
    if set_name == SCENES32:
        return scenes32_table(number, records)
    return fill(printed.table(number), records, only_set=set_name)


def report(
    result: PathLike,
    preds: PathLike | None = None,
    out: PathLike | None = None,
    *,
    samples_shown: int = 4,
    jobs: int | None = None,
    progress: Progress = _SILENT,
) -> "Report":
    """A folder that shows a score item by item; open its ``index.html``. ``out``: ``report`` beside the record."""
    from palette_bench.publish.report.build import make_report

    return make_report(
        Path(result),
        None if preds is None else Path(preds),
        None if out is None else Path(out),
        samples_shown=samples_shown,
        jobs=jobs or default_jobs(),
        progress=progress,
    )


def regress(
    manifest: PathLike | None = None,
    *,
    preds: PathLike | None = None,
    from_model: bool = False,
    rows: Sequence[str] = (),
    work: PathLike | None = None,
    jobs: int | None = None,
    progress: Progress = _SILENT,
) -> list["Outcome"]:
    """One outcome per cell of published tables: does it still come out? ``outcome.status.fails`` says where not.

    Without a manifest the project's own tables on scenes32 are checked; the options are those of the command.
    """
    from palette_bench.common.home import home
    from palette_bench.common.resources import own_manifest
    from palette_bench.publish.regress.manifest import read_manifest
    from palette_bench.publish.regress.recompute import Sources, chosen_rows
    from palette_bench.publish.regress.recompute import regress as recompute

    loaded = read_manifest(own_manifest() if manifest is None else Path(manifest))
    sources = Sources(
        preds=None if preds is None else Path(preds),
        from_model=from_model,
        work=home() / "regress" / loaded.name if work is None else Path(work),
        jobs=jobs or default_jobs(),
    )
    return list(recompute(loaded, chosen_rows(loaded, rows), sources, progress=progress))


def check_model(
    model: Card | PathLike, *, task: Task | str | None = None, size: int | None = None, device: str = "cpu"
) -> "Conformance":
    """Try a model on a few pictures and report on every rule that adapters keep; ``.conforms`` sums it up."""
    from palette_bench.predict.adapters.conformance import check_adapter

    card = model if isinstance(model, Card) else find_card(model)
    name = task.name if isinstance(task, Task) else task
    return check_adapter(card, task_name=name, size=size, device=device)


def _opened(eval_set: EvalSet | str) -> EvalSet:
    return eval_set if isinstance(eval_set, EvalSet) else open_set(eval_set)
