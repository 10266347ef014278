"""What the untouched references of a set score, under every recipe and FID reference, with errors and expectations.

One pass through the networks, over references whose features the store does not hold; the numbers are kept too, so a
second call computes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.canonical import fingerprint
from palette_bench.common.errors import VerificationError
from palette_bench.common.home import statistics_folder
from palette_bench.images import canary
from palette_bench.images.types import ImageU8
from palette_bench.protocol.definition import Family, GeometryName, Rule, Selection
from palette_bench.score import statistics
from palette_bench.score.backbones.base import spec_named
from palette_bench.score.engine import Engine, NetworkRun
from palette_bench.score.features import Features, KeptRows, PixelItem
from palette_bench.score.metrics.expected_frechet import (
    Expectation,
    FiniteSample,
    Relation,
    fewest,
    finite_sample,
)
from palette_bench.score.recipes.base import (
    Inputs,
    Outputs,
    Recipe,
    Reference,
    ReferenceStatistics,
    Setting,
    compute,
    number_fingerprint,
)
from palette_bench.score.recipes.catalogue import named
from palette_bench.score.scoring import EVAL_SET, network_labels, recipes_of
from palette_bench.score.statistics import IMPORTED

METHOD = 2
"""Part of the key of kept numbers: another way to compute them, another method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceNumber:
    """What a set's untouched references score in one recipe, for FID against one ``reference``.

    ``expected`` is what as many perfect samples would score: one expectation, two where it is not known whether the
    evaluation set is part of the reference set, or none and ``unexpected`` says why. ``by_definition`` is True where
    nothing had to be measured. ``incomparable`` says why the number compares with nothing, or is None.
    """

    recipe: str
    reference: str | None
    reference_count: int | None
    value: float
    standard_error: float | None
    fingerprint: str
    by_definition: bool
    incomparable: str | None
    expected: tuple[Expectation, ...]
    unexpected: str | None


@dataclass(frozen=True, slots=True)
class NotComputed:
    """A number that is missing, why, and the command after which it is there (None: no command helps).

    ``expected`` is what perfect samples would score, where that is known without the number.
    """

    recipe: str
    reference: str | None
    reason: str
    command: str | None
    expected: tuple[Expectation, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceNumbers:
    """All numbers of one prepared set, in the order of its recipes, and those that are missing."""

    numbers: tuple[ReferenceNumber, ...]
    missing: tuple[NotComputed, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One number to compute: a recipe, and for FID against a reference set its statistics."""

    recipe: Recipe
    statistics: ReferenceStatistics | None
    fingerprint: str
    classes: tuple[str, ...]

    @property
    def key(self) -> str:
        """Of the kept number."""
        return fingerprint([METHOD, self.fingerprint, list(self.classes)])

    @property
    def by_definition(self) -> bool:
        """Whether it is known without measuring: a set is at distance 0 from itself."""
        return self.recipe.reference is Reference.EVALUATION_SET


def calibrating_recipes(eval_set: EvalSet) -> list[Recipe]:
    """The recipes that say something of untouched references: every FID, Inception Score and accuracy of the set."""
    return [recipe for recipe in recipes_of(eval_set) if recipe.metric.judges_references]


def references_of(eval_set: EvalSet, wanted: Sequence[str]) -> list[str]:
    """The FID references to compare with: the wanted ones, or the protocol's, imported ones and ``eval-set``.

    Raises UsageError for one that the set does not have.
    """
    if wanted:
        return list(dict.fromkeys(n if n == EVAL_SET else statistics.reference_name(eval_set, n) for n in wanted))
    own = [statistics.OWN_FOLDER] if eval_set.family is Family.FOLDER else list(eval_set.protocol.references)
    return [*own, *_imported(), EVAL_SET]


def _imported() -> list[str]:
    """Names of imported statistics that are kept, for whatever network."""
    names = (path.stem.rpartition("-")[0] for path in statistics_folder().glob(f"{IMPORTED}*.statistics"))
    return sorted(set(names))


def measure_references(eval_set: EvalSet, engine: Engine, references: Sequence[str] = ()) -> ReferenceNumbers:
    """Every number of the untouched references of ``eval_set`` that can be computed.

    ``references`` names FID references (none: all there are). Raises InputError for missing weights, VerificationError
    for a set or statistics that are damaged, UsageError for an unknown FID reference. Missing statistics and weights
    that are optional are no error: they are listed.
    """
    canary.check(GeometryName(eval_set.geometry))
    labels = network_labels(eval_set)
    references = references_of(eval_set, references)
    recipes, missing = _possible(eval_set, labels)
    networks = engine.load(recipes)
    wanted: list[_Wanted] = []
    for recipe in recipes:
        of_network = networks[recipe.backbone]
        if not recipe.needs_statistics:
            if recipe.reference is None or EVAL_SET in references:
                wanted.append(_wanted(eval_set, recipe, of_network, None))
        else:
            for reference in [name for name in references if name != EVAL_SET]:
                kept = engine.statistics(eval_set, reference, recipe)
                if kept is not None:
                    wanted.append(_wanted(eval_set, recipe, of_network, kept))
                elif not reference.startswith(IMPORTED):
                    missing.append(_without_statistics(eval_set, reference, recipe))
    _check_same_images(eval_set, wanted)
    return _Measuring(eval_set, wanted, missing, networks, labels, engine).done()


def _wanted(eval_set: EvalSet, recipe: Recipe, network: NetworkRun, kept: ReferenceStatistics | None) -> _Wanted:
    reference = None if kept is None else (kept.reference_fingerprint, kept.data_digest)
    identity = number_fingerprint(recipe, network.fingerprint, reference, eval_set.data_digest)
    return _Wanted(recipe, kept, identity, eval_set.classes)


def _possible(eval_set: EvalSet, labels: NDArray[np.int64] | str) -> tuple[list[Recipe], list[NotComputed]]:
    recipes: list[Recipe] = []
    missing: list[NotComputed] = []
    setting = Setting(images=eval_set.count, size=eval_set.size, samples=1, labels=labels)
    for recipe in calibrating_recipes(eval_set):
        file = spec_named(recipe.backbone).weights
        reference = EVAL_SET if recipe.reference is Reference.EVALUATION_SET else None
        if (reason := recipe.refusal(setting)) is not None:
            missing.append(NotComputed(recipe.name, reference, reason, None))
        elif file is not None and file.optional and not file.path.exists():
            missing.append(
                NotComputed(
                    recipe.name,
                    None,
                    f"the weights {file.file_name} are not there",
                    f"palette-bench weights fetch {file.name}",
                )
            )
        else:
            recipes.append(recipe)
    return recipes, missing


def _without_statistics(eval_set: EvalSet, reference: str, recipe: Recipe) -> NotComputed:
    command = f"palette-bench statistics {eval_set.set_id} --source DIR"
    if eval_set.family is not Family.FOLDER:
        command += f" --reference {reference}"
    if recipe.on_request:
        command += f" --recipe {recipe.name}"
    return NotComputed(recipe.name, reference, "the statistics of this reference set are not computed", command)


def _check_same_images(eval_set: EvalSet, wanted: Sequence[_Wanted]) -> None:
    """Raises VerificationError when the statistics of one reference set are of other images for another network."""
    digests: dict[str, dict[str, str]] = {}
    for each in wanted:
        if each.statistics is not None:
            digests.setdefault(each.statistics.reference, {})[each.recipe.name] = each.statistics.data_digest
    for reference, found in digests.items():
        if len(set(found.values())) > 1:
            raise VerificationError(
                "the statistics of a FID reference set are not all of the same images",
                where=f"{statistics_folder()}: {reference}",
                expected="one digest of the data",
                found=", ".join(f"{name} {digest[:16]}" for name, digest in found.items()),
                next_step="compute them again from one source: "
                f"palette-bench statistics {eval_set.set_id} --source DIR",
            )


@dataclass(slots=True)
class _Measuring:
    """The numbers of one set: those that are kept, and what has to be computed."""

    eval_set: EvalSet
    wanted: list[_Wanted]
    missing: list[NotComputed]
    networks: Mapping[str, NetworkRun]
    labels: NDArray[np.int64] | str
    engine: Engine

    def done(self) -> ReferenceNumbers:
        """Everything, computed where it is not kept."""
        eval_set = self.eval_set
        store = KeptRows(statistics_folder() / f"calibration-{eval_set.data_digest}")
        rows = dict(store.load(self.engine.progress))
        todo = [each for each in self.wanted if not each.by_definition and not _readable(rows.get(each.key))]
        unmeasured = [
            recipe for recipe in self._finite_recipes() if _finite(rows.get(self._finite_key(recipe))) is None
        ]
        if todo or unmeasured:
            used = {each.recipe.backbone for each in todo} | {recipe.backbone for recipe in unmeasured}
            items = [PixelItem(item.reference_digest, _Loader(eval_set, item.index)) for item in eval_set.items]
            features = self.engine.extract(items, used)
            with self.engine.progress.task(
                f"numbers of {eval_set.set_id}", len(todo) + len(unmeasured), "numbers"
            ) as shown:
                for key, row in chain(
                    _computed(todo, features, self.labels),
                    ((self._finite_key(r), _finite_row(features[r.backbone][r.output])) for r in unmeasured),
                ):
                    rows[key] = row
                    # Each can take a minute with 10,000 images: an interrupted run keeps what it has.
                    store.add({key: row}, self.engine.progress)
                    shown.advance()
        return ReferenceNumbers(
            tuple(self._number(each, rows) for each in self.wanted),
            tuple(self._with_expectation(each, rows) for each in self.missing),
        )

    def _finite_recipes(self) -> list[Recipe]:
        """A FID recipe for each network whose finite-sample expectation is worth measuring.

        Those of numbers that are computed, and of numbers that are missing if their network runs for another recipe.
        """
        running = {each.recipe.backbone for each in self.wanted if not each.by_definition}
        recipes = [each.recipe for each in self.wanted if each.statistics is not None]
        recipes += [named(each.recipe) for each in self.missing if self._known_count(each) is not None]
        found: dict[tuple[str, str], Recipe] = {}
        for recipe in recipes:
            enough = self.eval_set.count >= fewest(self._width(recipe)) if recipe.backbone in running else False
            if enough:
                found.setdefault((recipe.backbone, recipe.output), recipe)
        return list(found.values())

    def _width(self, recipe: Recipe) -> int:
        """How many features the recipe's output has."""
        return spec_named(recipe.backbone).outputs[recipe.output]

    def _finite_key(self, recipe: Recipe) -> str:
        network = self.networks[recipe.backbone]
        return fingerprint([METHOD, "finite sample", network.fingerprint, recipe.output])

    def _known_count(self, missing: NotComputed) -> int | None:
        """How many images a reference set has whose statistics are missing."""
        if missing.reference is None or self.eval_set.family is Family.FOLDER:
            return None
        selection = self.eval_set.protocol.references.get(missing.reference)
        return None if selection is None else selection.count

    def _expected(
        self, recipe: Recipe, reference: str, count: int, rows: Mapping[str, Mapping[str, object]]
    ) -> tuple[tuple[Expectation, ...], str | None]:
        """The expectations of a FID recipe against a reference set of ``count`` images, or why there are none."""
        width, images = self._width(recipe), self.eval_set.count
        if images < fewest(width):
            return (), f"{images} images are too few for {width} features: it takes {fewest(width)}"
        kept = _finite(rows.get(self._finite_key(recipe))) if recipe.backbone in self.networks else None
        if kept is None:
            return (), "its network was not run"
        sample = FiniteSample.of(images, *kept)
        found = [sample.expected(count, relation) for relation in _relations(self.eval_set, reference)]
        expected = tuple(each for each in found if each is not None)
        return expected, None if expected else f"{count} images in the reference set are too few"

    def _number(self, each: _Wanted, rows: Mapping[str, Mapping[str, object]]) -> ReferenceNumber:
        network = self.networks[each.recipe.backbone]
        value, error = (0.0, None) if each.by_definition else _value_and_error(rows[each.key])
        expected: tuple[Expectation, ...] = ()
        unexpected = None
        if each.statistics is not None:
            of = each.statistics
            expected, unexpected = self._expected(each.recipe, of.reference, of.moments.count, rows)
        reference = None if each.statistics is None else each.statistics.reference
        return ReferenceNumber(
            recipe=each.recipe.name,
            reference=EVAL_SET if each.by_definition else reference,
            reference_count=None if each.statistics is None else each.statistics.moments.count,
            value=value,
            standard_error=error,
            fingerprint=each.fingerprint,
            by_definition=each.by_definition,
            incomparable="; ".join(network.incomparable) or None,
            expected=expected,
            unexpected=unexpected,
        )

    def _with_expectation(self, each: NotComputed, rows: Mapping[str, Mapping[str, object]]) -> NotComputed:
        count = self._known_count(each)
        if count is None or each.reference is None:
            return each
        expected, _ = self._expected(named(each.recipe), each.reference, count, rows)
        return replace(each, expected=expected)


def _relations(eval_set: EvalSet, reference: str) -> tuple[Relation, ...]:
    """How the set's images stand to those of a reference set; both where that is not known."""
    unknown = (Relation.PART, Relation.DISJOINT)
    if eval_set.family is Family.FOLDER or reference.startswith(IMPORTED):
        return unknown
    own, other = eval_set.protocol.selection, eval_set.protocol.references[reference]
    if other.rule is Rule.ALL:
        return (Relation.PART,)
    if own.rule is Rule.SPLIT and other.rule is Rule.SPLIT:
        return (Relation.PART,) if own.split == other.split else (Relation.DISJOINT,)
    if own.rule is Rule.TFDS_RANGE and other.rule is Rule.TFDS_RANGE and _apart(own, other):
        return (Relation.DISJOINT,)
    return unknown


def _apart(first: Selection, second: Selection) -> bool:
    return first.start + (first.count or 0) <= second.start or second.start + (second.count or 0) <= first.start


def _readable(row: Mapping[str, object] | None) -> bool:
    return row is not None and isinstance(row.get("value"), int | float)


def _value_and_error(row: Mapping[str, object]) -> tuple[float, float | None]:
    value, error = row["value"], row.get("standard_error")
    if not isinstance(value, int | float):
        raise TypeError(value)
    return float(value), float(error) if isinstance(error, int | float) else None


def _finite_row(features: Features) -> dict[str, object]:
    measured = finite_sample(features)
    if measured is None:
        raise ValueError("too few images were not left out")
    return {"halves": measured.halves.tolist(), "quarters": measured.quarters.tolist()}


def _finite(row: Mapping[str, object] | None) -> tuple[list[float], list[float]] | None:
    """The kept distances of halves and quarters."""
    if row is None or not isinstance(halves := row.get("halves"), list):
        return None
    quarters = row.get("quarters")
    return (halves, quarters) if isinstance(quarters, list) and len(quarters) == len(halves) > 1 else None


def _computed(
    todo: Sequence[_Wanted], features: Outputs, labels: NDArray[np.int64] | str
) -> Iterator[tuple[str, dict[str, object]]]:
    """Key, value and standard error of each: the references as predictions of themselves."""
    for each in todo:
        name = each.recipe.name
        inputs = Inputs(
            predicted=features,
            references=features,
            labels=labels,
            statistics={} if each.statistics is None else {name: each.statistics},
            pixels={},
            diversity={},
        )
        estimate = compute([each.recipe], inputs).values[name].estimate
        yield each.key, {"value": estimate.value, "standard_error": estimate.standard_error}


@dataclass(frozen=True, slots=True)
class _Loader:
    """A reference of the set; picklable, so that other processes can read it."""

    eval_set: EvalSet
    index: int

    def __call__(self) -> ImageU8:
        return self.eval_set.reference(self.eval_set.items[self.index])
