"""The conformance kit: does a model keep the rules of an adapter? Tried on a few pictures that the kit makes itself."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.images.decode import encode_png
from palette_bench.images.holes import composited
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import Place, Wanted
from palette_bench.predict.adapters.hosting import ONE_THREAD, Host
from palette_bench.predict.adapters.runners import build_runner, check_runnable
from palette_bench.predict.card import AdapterKind, Card
from palette_bench.predict.run import Options, given_of, predict
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import SIDE_MULTIPLE, Choices, make_plan
from palette_bench.prepare.sources import scenes32
from palette_bench.protocol.tasks import task

PICTURES = 12
"""As many calls does the run make that is killed after half of them."""

PROBED = 6
ROUNDING_LEVELS = 1
ROUNDING_SHARE = 1e-3
DEFAULT_TASK = "uncrop"
DEFAULT_SIZE = 32
DEFAULT_SECONDS = 600.0
SET_NAME = "conformance"


class State(StrEnum):
    """How a law was found to be kept."""

    KEPT = "ok"
    BROKEN = "FAIL"
    NOT_CHECKED = "skip"


class Law(StrEnum):
    """What is checked, in this order."""

    BUILT = "it can be built"
    OUTPUTS = "outputs have the right number, shape, type and range"
    REPEATABLE = "the same seed gives the same output, in another process too"
    BATCHES = "batch size and order do not matter"
    SEED = "the seed moves the output as the card says"
    NO_HOLE = "without a hole the input comes back"
    INPUTS = "inputs are left as they were"
    ELSEWHERE = "nothing is written elsewhere"
    RESUME = "a run that is killed and continued ends with the same folder"


AFTER_OUTPUTS = (Law.REPEATABLE, Law.BATCHES, Law.SEED, Law.NO_HOLE)
"""What is checked by asking for more outputs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one law."""

    law: Law
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about a model on one task, in the order of the laws."""

    model: str
    task: str
    size: int
    findings: tuple[Finding, ...]

    @property
    def conforms(self) -> bool:
        """Whether no law was found broken."""
        return all(finding.state is not State.BROKEN for finding in self.findings)


def check_adapter(
    card: Card,
    *,
    task_name: str | None = None,
    size: int | None = None,
    device: str = "cpu",
    seconds: float | None = None,
) -> Report:
    """Try a model and report on every law.

    ``task_name`` defaults to the card's first task, ``size`` to the card's first size, ``seconds`` is the time limit
    of each call. Raises UsageError for a model that cannot be tried, and what a missing weights file raises.
    """
    check_runnable(card)
    if card.adapter.kind not in (AdapterKind.PYTHON, AdapterKind.SUBPROCESS):
        raise UsageError(
            "only a model that computes can be tried",
            expected="an adapter of kind python or subprocess",
            found=card.adapter.kind.value,
            next_step="palette-bench predict checks every output of this one",
        )
    chosen = task(task_name or (card.tasks[0] if card.stochastic is not None else DEFAULT_TASK))
    side = size or (card.sizes[0] if card.sizes else DEFAULT_SIZE)
    if side % SIDE_MULTIPLE:
        raise UsageError("--size must be a multiple of 8", found=side)
    card.check_can_do(chosen.name, side)
    weights = card.checked_weights()
    with tempfile.TemporaryDirectory(prefix="palette-bench-check-", ignore_cleanup_errors=True) as name:
        scratch = _Scratch(Path(name).resolve())
        eval_set = scratch.prepare(side)
        place = Place(
            set_id=eval_set.set_id,
            task=chosen,
            size=side,
            samples=1,
            device=device,
            weights=weights,
            search=Path.cwd(),
            log=scratch.root / "log" / "stderr.log",
            seconds=seconds or DEFAULT_SECONDS,
        )
        findings = _Kit(card, place, eval_set, scratch).check()
    return Report(card.name, chosen.name, side, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Scratch:
    """Folders that stand for the world around a model, in which everything it writes is seen."""

    root: Path

    def prepare(self, side: int) -> EvalSet:
        """Make the folders and a small set of pictures ``side`` pixels wide."""
        for folder in (*self.watched, self.root / "log"):
            folder.mkdir()
        source = self.root / "source"
        source.mkdir()
        images, _ = scenes32.render(scenes32.Split.TRAIN, range(PICTURES))
        for number, image in enumerate(images):
            (source / f"{number:02}.png").write_bytes(encode_png(_resized(image, side)))
        with _environment({HOME_VARIABLE: str(self.root / "sets-home")}):
            plan = make_plan("folder", Choices(source=source, name=SET_NAME, size=side), progress=Silent())
            return EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)

    @property
    def watched(self) -> tuple[Path, Path, Path]:
        """The current folder, the user's home and the folder of temporary files, as a model sees them."""
        return self.root / "cwd", self.root / "home", self.root / "tmp"

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process live here."""
        _, home, temporary = self.watched
        return {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "TMPDIR": str(temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def litter(self) -> list[str]:
        """Files that were left in the watched folders."""
        return sorted(
            str(path.relative_to(self.root)) for folder in self.watched for path in folder.rglob("*") if path.is_file()
        )


def _resized(image: ImageU8, side: int) -> ImageU8:
    """The nearest pixels of ``image`` [32, 32, 3] on a grid ``side`` pixels wide."""
    rows = np.arange(side) * image.shape[0] // side
    resized: ImageU8 = image[rows][:, rows]
    return resized


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@dataclass(frozen=True, slots=True)
class _Seen:
    """A model's answer to a batch: its images, and the ids of inputs that it changed."""

    images: list[ImageU8]
    spoiled: list[str]


class _Probe:
    """In a host: runs batches and looks whether inputs were changed."""

    def __init__(self, card: Card, place: Place) -> None:
        self._runner = build_runner(card, place)

    def __call__(self, batch: Sequence[Wanted]) -> _Seen:
        """Run a batch on copies of its inputs."""
        copies = [
            replace(w, given=replace(w.given, image=w.given.image.copy(), hole=_copy(w.given.hole))) for w in batch
        ]
        images = self._runner.run(copies)
        spoiled = [
            before.given.id
            for before, after in zip(batch, copies, strict=True)
            if not np.array_equal(before.given.image, after.given.image)
            or (
                before.given.hole is not None
                and after.given.hole is not None
                and not np.array_equal(before.given.hole, after.given.hole)
            )
        ]
        return _Seen(images, spoiled)

    def close(self) -> None:
        """End the model."""
        self._runner.close()


def _copy(hole: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    return None if hole is None else hole.copy()


class _Deadly(Silent):
    """A progress that kills its process when enough is done."""

    def __init__(self, after: int) -> None:
        self._left = after

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["_Deadly"]:
        """Count down."""
        yield self

    def advance(self, count: int = 1) -> None:
        """SIGKILL at zero."""
        self._left -= count
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _Runs:
    """In a host: whole runs over the small set; answers with the digest of the folder."""

    def __init__(self, set_folder: Path, card: Card, place: Place) -> None:
        self._opened, self._card, self._place = EvalSet(set_folder), card, place

    def __call__(self, request: tuple[Path, int]) -> str:
        """Predict into a folder, to be killed after so many outputs (0: never)."""
        out, kill_after = request
        options = Options(batch=1, device=self._place.device, seconds=self._place.seconds, search=self._place.search)
        progress = _Deadly(kill_after) if kill_after else Silent()
        done = predict(self._opened, self._place.task.name, self._card, out, options, progress=progress)
        return str((done.described or {}).get("tree_sha256"))


@dataclass(slots=True)
class _Difference:
    """How far two lists of images differ."""

    pixels: int = 0
    different: int = 0
    levels: int = 0

    def add(self, one: Sequence[ImageU8], other: Sequence[ImageU8]) -> None:
        """Compare images in pairs."""
        for a, b in zip(one, other, strict=True):
            apart = np.abs(a.astype(np.int16) - b).max(axis=2)
            self.pixels += apart.size
            self.different += int(np.count_nonzero(apart))
            self.levels = max(self.levels, int(apart.max()))

    @property
    def rounding(self) -> bool:
        """Whether it is no more than rounding."""
        return self.levels <= ROUNDING_LEVELS and self.different < ROUNDING_SHARE * self.pixels

    def __str__(self) -> str:
        if self.different == 0:
            return "exactly"
        found = f"{self.different} of {self.pixels} pixels differ, by up to {self.levels} grey levels"
        return f"up to rounding: {found}" if self.rounding else found


@dataclass(slots=True)
class _Kit:
    card: Card
    place: Place
    eval_set: EvalSet
    scratch: _Scratch
    spoiled: set[str] = field(default_factory=set)
    hosts: dict[str, Host[Sequence[Wanted], _Seen]] = field(default_factory=dict)

    def check(self) -> list[Finding]:
        """All laws. Those that make no sense after one was broken are not checked."""
        card_files = self._card_files()
        wanted = self._wanted(0)
        findings = self._laws(wanted)
        for host in self.hosts.values():
            host.finish()
        asked = any(f.law is Law.REPEATABLE and f.state is not State.NOT_CHECKED for f in findings)
        findings.append(self._inputs() if asked else _skip(Law.INPUTS, "there were no outputs"))
        if not asked or any(f.law is Law.REPEATABLE and f.state is State.BROKEN for f in findings):
            findings.append(_skip(Law.RESUME, "it is not repeatable" if asked else "there were no outputs"))
        else:
            findings.append(self._guarded(Law.RESUME, self._resume))
        findings.append(self._elsewhere(card_files))
        order = list(Law)
        return sorted(findings, key=lambda finding: order.index(finding.law))

    def _laws(self, wanted: list[Wanted]) -> list[Finding]:
        """The laws that are checked by asking."""
        try:
            self._host("first").answer()
        except PaletteBenchError as error:
            self._drop("first")
            broken, left = Finding(Law.BUILT, State.BROKEN, _short(error)), (Law.OUTPUTS, *AFTER_OUTPUTS)
            return [broken, *(_skip(law, "not built") for law in left)]
        built = Finding(Law.BUILT, State.KEPT, "")
        try:
            first = self._ask("first", wanted)
        except PaletteBenchError as error:
            broken = Finding(Law.OUTPUTS, State.BROKEN, _short(error))
            return [built, broken, *(_skip(law, "there were no outputs") for law in AFTER_OUTPUTS)]
        findings = [
            built,
            _range(wanted, first),
            self._guarded(Law.REPEATABLE, partial(self._repeatable, wanted, first)),
        ]
        if findings[-1].state is State.BROKEN:
            findings += [_skip(law, "it is not repeatable") for law in (Law.BATCHES, Law.SEED)]
        else:
            findings.append(self._guarded(Law.BATCHES, partial(self._batches, wanted, first)))
            findings.append(self._guarded(Law.SEED, partial(self._seed, wanted, first)))
        if self.place.task.masked:
            findings.append(self._guarded(Law.NO_HOLE, partial(self._no_hole, wanted)))
        else:
            findings.append(_skip(Law.NO_HOLE, f"task {self.place.task.name} has no holes"))
        return findings

    def _guarded(self, law: Law, check: Callable[[], Finding]) -> Finding:
        """What a check finds; a model that fails while it is checked breaks this law."""
        try:
            return check()
        except PaletteBenchError as error:
            return Finding(law, State.BROKEN, _short(error))

    def _wanted(self, run_seed: int) -> list[Wanted]:
        conditions = self.eval_set.conditions(self.place.task)
        items = self.eval_set.items[:PROBED]
        return [Wanted(given_of(i.id, conditions.of(i), seed_of(run_seed, i.id, 0)), 0) for i in items]

    def _host(self, name: str) -> "Host[Sequence[Wanted], _Seen]":
        host = Host[Sequence[Wanted], _Seen](
            partial(_Probe, self.card, self.place),
            name=self.card.name,
            environment={**self.scratch.environment, **(ONE_THREAD if self.place.device == "cpu" else {})},
            folder=self.scratch.watched[0],
            seconds=self.place.seconds,
        )
        self.hosts[name] = host
        return host

    def _drop(self, name: str) -> None:
        self.hosts.pop(name).stop()

    def _ask(self, name: str, wanted: Sequence[Wanted]) -> list[ImageU8]:
        """The images of one call in the process ``name``, as a run would write them."""
        if name not in self.hosts:
            self._host(name).answer()
        host = self.hosts[name]
        # A subprocess is watched by its host, which knows more.
        watched = self.place.seconds if self.card.adapter.kind is AdapterKind.PYTHON else None
        try:
            host.ask(wanted, about=", ".join(w.given.id for w in wanted), seconds=watched)
            seen = host.answer()
        except PaletteBenchError:
            self._drop(name)
            raise
        self.spoiled.update(seen.spoiled)
        return [composited(image, w.given.image, w.given.hole)[0] for image, w in zip(seen.images, wanted, strict=True)]

    def _repeatable(self, wanted: list[Wanted], first: list[ImageU8]) -> Finding:
        apart = _Difference()
        apart.add(first, self._ask("first", wanted))
        apart.add(first, self._ask("second", wanted))
        kept = apart.different == 0 or (self.place.device != "cpu" and apart.rounding)
        return Finding(Law.REPEATABLE, _state(kept), str(apart))

    def _batches(self, wanted: list[Wanted], first: list[ImageU8]) -> Finding:
        apart = _Difference()
        apart.add(first[::-1], self._ask("second", wanted[::-1]))
        half = len(wanted) // 2
        apart.add(first[:half], self._ask("second", wanted[:half]))
        for k in (0, len(wanted) - 1):
            apart.add([first[k]], self._ask("second", [wanted[k]]))
        return Finding(Law.BATCHES, _state(apart.different == 0 or apart.rounding), str(apart))

    def _seed(self, wanted: list[Wanted], first: list[ImageU8]) -> Finding:
        others = [
            replace(w, given=replace(w.given, seed=n.given.seed)) for w, n in zip(wanted, self._wanted(1), strict=True)
        ]
        again = self._ask("first", others)
        moved = [not np.array_equal(one, other) for one, other in zip(first, again, strict=True)]
        text = f"another seed moves {sum(moved)} of {len(moved)} outputs"
        if self.card.stochastic is None:
            return Finding(Law.SEED, State.KEPT, f"{text}; no card says whether it should")
        said = "the card says stochastic" if self.card.stochastic else "the card says not stochastic"
        kept = all(moved) if self.card.stochastic else not any(moved)
        return Finding(Law.SEED, _state(kept), f"{text}; {said}")

    def _no_hole(self, wanted: list[Wanted]) -> Finding:
        whole = [self.eval_set.reference(item) for item in self.eval_set.items[: len(wanted)]]
        given = [
            replace(w, given=replace(w.given, image=image, hole=np.zeros(image.shape[:2], np.bool_)))
            for w, image in zip(wanted, whole, strict=True)
        ]
        apart = _Difference()
        apart.add(whole, self._ask("first", given))
        return Finding(Law.NO_HOLE, _state(apart.different == 0), str(apart))

    def _inputs(self) -> Finding:
        spoiled = sorted(self.spoiled)
        text = f"changed: {', '.join(spoiled)}" if spoiled else ""
        return Finding(Law.INPUTS, _state(not spoiled), text)

    def _resume(self) -> Finding:
        whole = self._run("whole", self.scratch.root / "whole", kill_after=0)
        folder = self.scratch.root / "killed"
        with_kill = PICTURES // 2
        try:
            self._run("killed", folder, kill_after=with_kill)
        except InputError:
            if not (folder / ".predict").exists():
                raise
        again = self._run("again", folder, kill_after=0)
        text = f"killed after {with_kill} of {PICTURES} outputs"
        return Finding(
            Law.RESUME,
            _state(whole == again),
            text if whole == again else f"{text}: tree {again[:16]}, not {whole[:16]}",
        )

    def _run(self, name: str, out: Path, *, kill_after: int) -> str:
        host = Host[tuple[Path, int], str](
            partial(_Runs, self.eval_set.folder, self.card, self.place),
            name=self.card.name,
            environment=self.scratch.environment,
            folder=self.scratch.watched[0],
        )
        try:
            host.answer()
            host.ask((out, kill_after), about=f"a run over {PICTURES} items ({name})", seconds=None)
            return host.answer()
        finally:
            host.finish()

    def _card_files(self) -> set[str]:
        folder = self.card.folder
        if folder is None:
            return set()
        return {str(p) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}

    def _elsewhere(self, before: set[str]) -> Finding:
        litter = [*self.scratch.litter(), *sorted(self._card_files() - before)]
        return Finding(Law.ELSEWHERE, _state(not litter), f"written: {', '.join(litter[:8])}" if litter else "")


def _range(wanted: Sequence[Wanted], images: Sequence[ImageU8]) -> Finding:
    """Whether values are of 0..255: those that the model made, and not those that were put back."""
    made = [image if w.given.hole is None else image[w.given.hole] for w, image in zip(wanted, images, strict=True)]
    kept = max(int(values.max(initial=0)) for values in made) != 1
    return Finding(Law.OUTPUTS, _state(kept), "" if kept else "no value is above 1: 0..1 instead of 0..255?")


def _state(kept: bool) -> State:
    return State.KEPT if kept else State.BROKEN


def _skip(law: Law, why: str) -> Finding:
    return Finding(law, State.NOT_CHECKED, why)


def _short(error: PaletteBenchError) -> str:
    """An error in one finding."""
    facts = [error.what, *(f"{p}" for p in error.problems[:2]), error.found]
    return "; ".join(fact for fact in facts if fact)
