"""Running a model over a task's conditions: batches, processes, parts, and a folder that survives being killed.

The batches are cut once, in protocol order over (item, sample), and always run whole, so a run that was killed,
divided, or done by several processes calls the model with the very batches of one that was not. What is finished is
known from journals: a line an output, written after its file has its name.
"""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from palette_bench.artifacts import predictions
from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import FINISHED, PREDICTIONS_FILE, output_name, tree_digest
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, Problem, UsageError, VerificationError
from palette_bench.common.files import exclusive
from palette_bench.common.parts import WHOLE, Part
from palette_bench.common.progress import Progress
from palette_bench.images.condition import Condition
from palette_bench.images.decode import BadImageError, decode, encode_png
from palette_bench.images.holes import composited
from palette_bench.predict.adapters.base import ModelInput, Place, Wanted
from palette_bench.predict.adapters.hosting import ONE_THREAD, Host, answers
from palette_bench.predict.adapters.runners import build_runner, check_runnable
from palette_bench.predict.card import AdapterKind, Card
from palette_bench.protocol.tasks import Task

STATE_LOCK = "state.lock"
STATE_SECONDS = 600.0
"""How long a process waits for another one that is writing predictions.json."""

Output = tuple[int, int]
"""One output: index of the item in protocol order, number of the sample."""

Batch = tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model is run.

    ``seed`` and ``samples`` (outputs an item) say what is made. The rest must not move an output beyond the rounding
    of a network: ``batch`` inputs a call (None: the card's), ``device``, ``jobs`` processes on a CPU, the ``part`` of
    the batches that is done here, and the time limit of a batch in ``seconds`` (None: the card's, or none). Classes
    without a card are looked for in the folder ``search`` (None: the current one), too.
    """

    seed: int = 0
    samples: int = 1
    batch: int | None = None
    device: str = "cpu"
    jobs: int = 1
    part: Part = WHOLE
    seconds: float | None = None
    search: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a run left: how many outputs it ``made`` and ``kept``, how many others have yet to make.

    ``described`` is what ``predictions.json`` says, None until the last output is there. ``finisher`` is whether this
    run found the last one.
    """

    folder: Path
    made: int
    kept: int
    missing: int
    described: Mapping[str, object] | None
    finisher: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """A finished output: digest of its pixels, mean absolute change of the known region before compositing."""

    index: int
    sample: int
    sha256: str
    known_change: float | None


def predict(
    eval_set: EvalSet, task_name: str, card: Card, out: Path, options: Options, *, progress: Progress
) -> Predicted:
    """Write a model's outputs for a task into the folder ``out``, or continue there.

    Raises UsageError when the model cannot do this, InputError when the model fails, when the folder holds something
    else, or another process is at work on the same part. Finished work is kept in any case.
    """
    task = eval_set.task(task_name)
    check_runnable(card)
    card.check_can_do(task.name, eval_set.size)
    if options.samples > 1 and card.stochastic is False:
        raise UsageError(
            f"all samples of model {card.name} would be the same: its output does not depend on the seed",
            expected="--samples 1",
            found=f"--samples {options.samples}",
        )
    weights = card.checked_weights()
    run = _Run(eval_set, task, card, out, options, weights)
    run.check_place()
    return run.go(progress)


class _Run:
    def __init__(
        self, eval_set: EvalSet, task: Task, card: Card, out: Path, options: Options, weights: Path | None
    ) -> None:
        self._opened, self._task, self._card, self._options = eval_set, task, card, options
        self._out, self._work = out, out / predictions.WORK_FOLDER
        self._weights = weights
        self._identity = predictions.identity_of(
            eval_set, task, model_of(card), seed=options.seed, samples=options.samples
        )
        self._outputs: list[Output] = [(item.index, k) for item in eval_set.items for k in range(options.samples)]
        self._names = {self._name(made): made for made in self._outputs}

    def _name(self, made: Output) -> str:
        index, sample = made
        return output_name(self._opened.items[index].id, sample, self._options.samples)

    def check_place(self) -> None:
        """Raise InputError unless the folder is new, empty, or one of this very run."""
        if self._out.exists() and not self._out.is_dir():
            raise InputError("the predictions need a folder", where=self._out, found="a file", next_step="choose --out")
        described = predictions.read(self._out)
        if described is not None:
            predictions.check_same(self._out, described, self._identity)
        allowed = {PREDICTIONS_FILE, *self._names} if described is not None else set()
        foreign = [name for name in files_in(self._out) if name not in allowed]
        if foreign:
            raise InputError(
                "the folder of the predictions holds files that are not theirs",
                where=self._out,
                expected="an empty or new folder, or predictions of this command",
                problems=[Problem("foreign", name, "") for name in foreign],
                next_step="choose another --out, or move the files away",
            )

    def go(self, progress: Progress) -> Predicted:
        """Make what is missing of this part, and finish the folder if nothing is missing any more."""
        part = self._options.part
        with self._alone():
            with self._state():
                described = predictions.read(self._out)
                if described is None:
                    predictions.begin(self._out, self._identity)
                else:
                    predictions.check_same(self._out, described, self._identity)
            if described is not None and described.get("status") == FINISHED:
                self._verify(described)
                shutil.rmtree(self._work, ignore_errors=True)
                progress.note(f"{self._out} is finished already")
                kept = len(self._outputs)
                return Predicted(
                    folder=self._out, made=0, kept=kept, missing=0, described=described, finisher=part.number == 1
                )
            mine, kept = self._make(progress)
            return self._finish(len(mine) - kept, kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold this part; raise InputError when it, or a part of another division, is being worked on."""
        part, purpose = self._options.part, f"predictions into {self._out}"
        own = self._work / f"{part.number}-of-{part.count}.lock"
        with exclusive(own, purpose=f"{purpose}, part {part}"):
            for other in self._work.glob("*-of-*.lock"):
                if not other.name.endswith(f"-of-{part.count}.lock"):
                    with exclusive(other, purpose=f"{purpose}, divided otherwise"):
                        pass
            yield

    @contextmanager
    def _state(self) -> Iterator[None]:
        """Hold ``predictions.json`` for a moment; processes of one run wait for each other here."""
        purpose = f"{PREDICTIONS_FILE} of {self._out}"
        with exclusive(self._work / STATE_LOCK, purpose=purpose, seconds=STATE_SECONDS):
            yield

    def _make(self, progress: Progress) -> tuple[list[Output], int]:
        """Run the unfinished batches of this part. Returns its outputs, and how many were there before."""
        options = self._options
        size = options.batch or self._card.batch
        batches = [tuple(self._outputs[start : start + size]) for start in range(0, len(self._outputs), size)]
        part = options.part.of(batches)
        mine = [made for batch in part for made in batch]
        finished = self._finished(mine, progress)
        todo = [batch for batch in part if not finished.issuperset(batch)]
        if finished:
            progress.note(f"continuing: {len(finished)} of {len(mine)} images are there")
        journal = _Journal(self._work / f"{options.part.number}-of-{options.part.count}.jsonl")
        left = len(mine) - len(finished)
        with journal, progress.task(f"{self._card.title}, {self._task.name}", left, "images") as shown:
            for batch, rows in answers(self._hosts(len(todo)), todo, about=self._about, seconds=self._host_seconds()):
                journal.add(rows)
                shown.advance(sum(made not in finished for made in batch))
        return mine, len(finished)

    def _about(self, batch: Batch) -> str:
        ids = list(dict.fromkeys(self._opened.items[index].id for index, _ in batch))
        return ", ".join(ids) if len(ids) <= 4 else f"{ids[0]}, {ids[1]} ... {ids[-1]} ({len(ids)} items)"

    def _host_seconds(self) -> float | None:
        """The time limit of a batch as the host's process is watched; a subprocess is watched by its host."""
        if self._card.adapter.kind is AdapterKind.SUBPROCESS:
            return None
        return self._options.seconds

    def _hosts(self, batches: int) -> "list[partial[Host[Batch, list[_Row]]]]":
        options, card = self._options, self._card
        on_cpu = options.device == "cpu"
        hosts = []
        for number in range(min(options.jobs if on_cpu else 1, batches)):
            place = Place(
                set_id=self._opened.set_id,
                task=self._task,
                size=self._opened.size,
                samples=options.samples,
                device=options.device,
                weights=self._weights,
                search=options.search or Path.cwd(),
                log=self._work / f"{options.part.number}-of-{options.part.count}-{number}.log",
                seconds=options.seconds,
            )
            job = _Job(self._opened.folder, card, place, self._out, options.seed)
            hosts.append(
                partial(
                    Host[Batch, list[_Row]],
                    partial(_Maker, job),
                    name=card.name,
                    environment=ONE_THREAD if on_cpu else {},
                    seconds=self._host_seconds(),
                )
            )
        return hosts

    def _finished(self, mine: Sequence[Output], progress: Progress) -> set[Output]:
        """The outputs whose files are what their journal says; the others are made again."""
        rows = read_journals(self._work)
        written = [made for made in mine if made in rows and (self._out / self._name(made)).exists()]
        with ThreadPoolExecutor(max(self._options.jobs, 1)) as pool:
            digests = pool.map(self._digest, written)
            good = {made for made, digest in zip(written, digests, strict=True) if digest == rows[made].sha256}
        if len(good) < len(written):
            progress.note(f"{len(written) - len(good)} images were damaged and are made again")
        return good

    def _digest(self, made: Output) -> str | None:
        try:
            return pixel_digest(decode((self._out / self._name(made)).read_bytes()).pixels)
        except (OSError, BadImageError):
            return None

    def _finish(self, made: int, kept: int) -> Predicted:
        """Write the final ``predictions.json`` if this was the last part to end."""
        with self._state():
            described = predictions.read(self._out)
            if described is not None and described.get("status") == FINISHED:
                shutil.rmtree(self._work, ignore_errors=True)
                return Predicted(folder=self._out, made=made, kept=kept, missing=0, described=described, finisher=False)
            rows = read_journals(self._work)
            there = set(files_in(self._out))
            missing = sum(name not in there or known not in rows for name, known in self._names.items())
            if missing:
                return Predicted(
                    folder=self._out, made=made, kept=kept, missing=missing, described=None, finisher=False
                )
            final = predictions.finish(
                self._out,
                self._identity,
                predictions.Made(
                    digests={name: rows[known].sha256 for name, known in self._names.items()},
                    stochastic=self._card.stochastic,
                    post_processing=self._post_processing([rows[known] for known in self._outputs]),
                    more={"batch": self._options.batch or self._card.batch, "device": self._options.device},
                ),
            )
        shutil.rmtree(self._work, ignore_errors=True)
        return Predicted(folder=self._out, made=made, kept=kept, missing=0, described=final, finisher=True)

    def _post_processing(self, rows: Sequence[_Row]) -> list[dict[str, object]]:
        if not self._task.masked:
            return []
        changes = [row.known_change for row in rows if row.known_change is not None]
        mean = math.fsum(changes) / len(changes) if changes else None
        return [{"step": predictions.COMPOSITE_KNOWN, "known_region_error": mean}]

    def _verify(self, described: Mapping[str, object]) -> None:
        """Raise VerificationError when a finished folder's images are not those it was finished with."""
        with ThreadPoolExecutor(max(self._options.jobs, 1)) as pool:
            digests = dict(zip(self._names, pool.map(self._digest, self._names.values()), strict=True))
        broken = [Problem("missing or undecodable", name, "") for name, digest in digests.items() if digest is None]
        found = tree_digest({name: digest or "" for name, digest in digests.items()})
        if broken or found != described.get("tree_sha256"):
            raise VerificationError(
                "finished predictions were changed",
                where=self._out,
                expected=f"tree {described.get('tree_sha256')}",
                found=f"tree {found}",
                problems=broken,
                next_step="restore the files, or remove the folder and run the command again",
            )


class _Journal:
    """The rows of one part, a line each, in the order in which they were finished."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Journal":
        # A part that finds nothing to do may come here after another one has finished the folder.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("ab")
        if self._stream.tell():
            # The last line may be torn.
            self._stream.write(b"\n")
        return self

    def add(self, rows: Sequence[_Row]) -> None:
        """Write rows; they are the system's when this returns."""
        try:
            self._stream.write(b"".join(json.dumps(asdict(row)).encode() + b"\n" for row in rows))
            self._stream.flush()
        except OSError as error:
            # Closing it would try again, and fail without a name.
            with contextlib.suppress(OSError):
                self._stream.close()
            error.filename = str(self._path)
            raise

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def read_journals(work: Path) -> dict[Output, _Row]:
    """The rows of all parts; lines that are no rows, such as a torn last one, are nothing."""
    rows: dict[Output, _Row] = {}
    for path in sorted(work.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                row = _Row(**json.loads(line))
            except (ValueError, TypeError):
                continue
            rows[row.index, row.sample] = row
    return rows


def files_in(folder: Path) -> list[str]:
    """Relative POSIX paths of all files of a folder of predictions, sorted, without those of ``WORK_FOLDER``."""
    names: list[str] = []
    for where, folders, files in os.walk(folder):
        if Path(where) == folder and predictions.WORK_FOLDER in folders:
            folders.remove(predictions.WORK_FOLDER)
        names += [(Path(where) / file).relative_to(folder).as_posix() for file in files]
    return sorted(names)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a host needs to know to make outputs."""

    set_folder: Path
    card: Card
    place: Place
    out: Path
    seed: int


class _Maker:
    """In a host: makes the outputs of a batch and writes them."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._opened = EvalSet(job.set_folder)
        self._conditions = self._opened.conditions(job.place.task)
        copies = job.card.adapter.kind is AdapterKind.REFERENCE
        self._runner = None if copies else build_runner(job.card, job.place)

    def __call__(self, batch: Batch) -> list[_Row]:
        """Make and write a batch."""
        conditions = {index: self._conditions.of(self._opened.items[index]) for index in {i for i, _ in batch}}
        if self._runner is None:
            images = [self._opened.reference(self._opened.items[index]) for index, _ in batch]
        else:
            images = self._runner.run([Wanted(self._given(index, k, conditions[index]), k) for index, k in batch])
        rows = []
        for (index, sample), image in zip(batch, images, strict=True):
            condition = conditions[index]
            final, change = composited(image, condition.image, condition.hole)
            name = output_name(self._opened.items[index].id, sample, self._job.place.samples)
            predictions.place(self._job.out, name, encode_png(final))
            rows.append(_Row(index, sample, pixel_digest(final), change))
        return rows

    def _given(self, index: int, sample: int, condition: Condition) -> ModelInput:
        item_id = self._opened.items[index].id
        return given_of(item_id, condition, seed_of(self._job.seed, item_id, sample))

    def close(self) -> None:
        """End the model."""
        if self._runner is not None:
            self._runner.close()


def given_of(item_id: str, condition: Condition, seed: int) -> ModelInput:
    """What a model is given, in arrays of its own: what it does to them is its affair."""
    hole = None if condition.hole is None else np.array(condition.hole)
    return ModelInput(item_id, np.array(condition.image), hole, condition.jpeg, seed)


def model_of(card: Card) -> dict[str, object]:
    """What ``predictions.json`` says of a model."""
    return {
        "name": card.name,
        "title": card.title,
        "kind": card.adapter.kind.value,
        "fingerprint": card.fingerprint(),
        "weights_sha256": None if card.weights is None else card.weights.sha256,
        "config": dict(card.config),
    }
