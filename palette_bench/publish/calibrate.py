"""Which choices that the paper leaves open reproduce its reference rows: the rows of untouched images.

The images, the geometry, the networks' input and FID's reference set decide what untouched images score, and no model
is involved. So a reference row that one set of choices reproduces, and no other, settles those choices.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from palette_bench.artifacts.evalset import EvalSet, open_set, prepare_command, prepared_sets
from palette_bench.common.errors import PaletteBenchError, Problem, UsageError, VerificationError
from palette_bench.common.home import features_folder
from palette_bench.common.progress import Progress
from palette_bench.protocol.definition import (
    Family,
    GeometryName,
    Rule,
    Status,
    load_protocol,
    protocol_names,
)
from palette_bench.publish.tables import markup
from palette_bench.publish.tables.printed import PublishedCell, published_rows
from palette_bench.publish.tables.render import markdown, markdown_notes
from palette_bench.publish.tables.table import (
    Footnotes,
    Table,
    TableCell,
    TableColumn,
    TableGroup,
    TableRow,
    footnoted,
    number_text,
    words,
)
from palette_bench.score.calibrating import (
    NotComputed,
    ReferenceNumber,
    measure_references,
)
from palette_bench.score.engine import Compute, Engine
from palette_bench.score.features import FeatureStore
from palette_bench.score.metrics.estimate import QUANTILE
from palette_bench.score.metrics.expected_frechet import Expectation, Relation
from palette_bench.score.recipes.base import Column
from palette_bench.score.recipes.catalogue import named
from palette_bench.score.scoring import recipes_of

FOLDER = "folder"
ROUNDING = 1e-9
COLUMNS = (Column.FID, Column.IS, Column.CA)
"""The columns of a reference row that say something: PD of untouched images is 0 whatever it is."""


@dataclass(frozen=True, slots=True)
class Band:
    """How far from the printed number counts as reproduced, beyond its rounding: ``share`` of it, plus ``width``."""

    share: float = 0.0
    width: float = 0.0

    def of(self, printed: float) -> float:
        """The band around a printed number."""
        return self.share * abs(printed) + self.width

    def __str__(self) -> str:
        parts = [f"{100 * self.share:g} %"] if self.share else []
        parts += [f"{self.width:g}"] if self.width or not parts else []
        return " + ".join(parts)


BANDS: Mapping[Column, Band] = MappingProxyType(
    {Column.FID: Band(share=0.005), Column.IS: Band(share=0.005), Column.CA: Band(width=0.1)}
)
"""What the paper's own decoder, frameworks and classifier weights may move (an assumption: docs/calibrating.md)."""


class Verdict(StrEnum):
    """What one number says of one printed number."""

    REPRODUCES = "reproduces"
    DIFFERS = "differs"
    NOT_COMPARABLE = "not-comparable"


class Outcome(StrEnum):
    """What all numbers say together."""

    EXPLAINED = "explained"
    """Exactly one set of choices reproduces every number."""
    UNDECIDED = "undecided"
    """Several do."""
    NONE = "none"
    """No set of choices does."""
    NOT_JUDGED = "not-judged"
    """No printed row could be computed in full."""
    NOT_COMPARABLE = "not-comparable"
    """Numbers of other weights reproduce nothing, whatever they are."""
    NOTHING_PRINTED = "nothing-printed"
    """No paper prints a reference row for this set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedReference:
    """A reference row as printed, once for all tables that print the same numbers. ``cells`` has FID, IS and CA."""

    sources: tuple[str, ...]
    tasks: tuple[str, ...]
    cells: Mapping[Column, PublishedCell]
    disputed: tuple[str, ...]

    @property
    def text(self) -> str:
        """As in ``2.7 / 250.1 / 76.0``."""
        return " / ".join(cell.digits for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class Judged:
    """A number against the printed row of index ``printed``: ``difference`` is number minus printed.

    It reproduces the printed number if the difference is at most ``allowance``: half a unit of the last printed digit,
    the band, and for images that are another draw what a draw moves.
    """

    printed: int
    column: Column
    verdict: Verdict
    difference: float
    allowance: float


@dataclass(frozen=True, slots=True)
class JudgedNumber:
    """A number of a variant and what it says of every printed row that has its column."""

    number: ReferenceNumber
    judged: tuple[Judged, ...]

    @property
    def choice(self) -> str:
        """The choice it stands for, as in ``fid-inception2015-tf1 against imagenet-val``."""
        return _choice(self.number.recipe, self.number.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One geometry of the set. ``numbers`` and ``missing`` are empty where it is not prepared.

    ``command`` prepares it. ``incomparable`` says why none of its numbers compares with the paper's, or is None.
    """

    set_id: str
    geometry: str
    command: str
    eval_set: EvalSet | None
    numbers: tuple[JudgedNumber, ...]
    missing: tuple[NotComputed, ...]
    incomparable: str | None

    @property
    def prepared(self) -> bool:
        """Whether the set is there."""
        return self.eval_set is not None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Choices that reproduce some printed rows: a variant for each row, and for each column the recipes that do.

    Every combination of one recipe a column is a set of choices; there are ``count``.
    """

    variants: tuple[str, ...]
    recipes: Mapping[Column, tuple[str, ...]]

    @property
    def count(self) -> int:
        """How many sets of choices these are."""
        return math.prod(len(choices) for choices in self.recipes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that the untouched references of a set say, and what follows from it.

    ``judged`` are the printed rows (by index) that some variant has a number for in every column; ``by_row`` what
    explains each of them alone; ``together`` what explains all of them with one geometry, ``mixed`` with several.
    ``untested`` are choices that could still explain them and were not computed.
    """

    set_name: str
    bands: Mapping[Column, Band]
    printed: tuple[PrintedReference, ...]
    variants: tuple[Variant, ...]
    judged: tuple[int, ...]
    by_row: Mapping[int, tuple[Explanation, ...]]
    together: tuple[Explanation, ...]
    mixed: tuple[Explanation, ...]
    untested: tuple[str, ...]
    outcome: Outcome

    def as_json(self) -> dict[str, object]:
        """Everything as plain data."""
        return {
            "set": self.set_name,
            "bands": {column.value: {"share": b.share, "width": b.width} for column, b in self.bands.items()},
            "printed": [
                {
                    "sources": list(row.sources),
                    "tasks": list(row.tasks),
                    "cells": {column.value: cell.digits for column, cell in row.cells.items()},
                    "disputed": list(row.disputed),
                }
                for row in self.printed
            ],
            "variants": [_variant_json(variant) for variant in self.variants],
            "outcome": self.outcome.value,
            "judged": list(self.judged),
            "by_row": {str(row): [_explanation_json(e) for e in found] for row, found in self.by_row.items()},
            "together": [_explanation_json(e) for e in self.together],
            "mixed": [_explanation_json(e) for e in self.mixed],
            "untested": list(self.untested),
            "summary": summary(self),
        }


def calibrate(
    name: str,
    compute: Compute,
    *,
    references: Sequence[str] = (),
    bands: Mapping[Column, Band] = BANDS,
    progress: Progress,
) -> Calibration:
    """Score the untouched references of every prepared geometry of a set, and judge the paper's reference rows.

    Raises InputError for a set that is not prepared and missing weights, VerificationError for a damaged variant
    before anything is computed.
    """
    sets = _open_all(geometry_variants(name))
    eval_set = next(found for _, _, found in sets if found is not None)
    printed = printed_references(eval_set)
    # One for all geometries: networks are loaded once.
    engine = Engine(compute, FeatureStore(features_folder()), progress)
    variants = []
    for set_id, geometry, found in sets:
        command = prepare_command(set_id, size=eval_set.size)
        if found is None:
            variants.append(_variant(set_id, geometry, command, None, (), ()))
            continue
        measured = measure_references(found, engine, references)
        judged = tuple(
            JudgedNumber(number, tuple(judge(number, printed, found, bands=bands))) for number in measured.numbers
        )
        variants.append(_variant(set_id, geometry, command, found, judged, measured.missing))
    return conclude(eval_set.name, printed, variants, bands=bands)


def geometry_variants(name: str) -> list[tuple[str, str]]:
    """Ids and geometries of the sets that differ from ``name`` in geometry alone, it included.

    Raises InputError when none of them is prepared.
    """
    base, *words = name.split("+")
    protocol = load_protocol(base if base in protocol_names() else FOLDER)
    if protocol.family is Family.SCENES32:
        # Scenes are drawn at their size.
        found = [(name, protocol.geometry.value)]
    else:
        others = [word for word in words if word not in set(GeometryName)]
        found = [
            ("+".join([base, *([] if g is protocol.default_geometry else [g.value]), *others]), g.value)
            for g in GeometryName
        ]
    there = set(prepared_sets())
    if not any(set_id in there for set_id, _ in found):
        open_set(name)
    return found


def _open_all(found: Sequence[tuple[str, str]]) -> list[tuple[str, str, EvalSet | None]]:
    """The prepared ones of the variants, definitions and digests checked. Raises with every fault."""
    there = set(prepared_sets())
    sets: list[tuple[str, str, EvalSet | None]] = []
    errors: list[tuple[str, PaletteBenchError]] = []
    for set_id, geometry in found:
        eval_set = None
        if set_id in there:
            try:
                eval_set = open_set(set_id)
                eval_set.items  # noqa: B018
                eval_set.protocol  # noqa: B018
            except PaletteBenchError as error:
                errors.append((set_id, error))
        sets.append((set_id, geometry, eval_set))
    if len(errors) == 1:
        raise errors[0][1]
    if errors:
        raise VerificationError(
            f"{len(errors)} variants of the set cannot be used",
            problems=[
                Problem("damaged", set_id, error.what + (f": {error.where}" if error.where else ""))
                for set_id, error in errors
            ],
            next_step="prepare them again with --replace, or remove their folders",
        )
    return sets


def printed_references(eval_set: EvalSet) -> tuple[PrintedReference, ...]:
    """The reference rows printed for a set, those of equal numbers as one, in the order of the tables."""
    rows = [
        (row, task, row.printed(eval_set.name))
        for task in eval_set.task_names
        for row in published_rows(eval_set.name, task)
        if row.reference and not row.differs
    ]
    merged: dict[tuple[str, ...], PrintedReference] = {}
    for row, task, cells in rows:
        telling = {column: cells[column] for column in COLUMNS if column in cells}
        if not telling:
            continue
        key = tuple(f"{column} {cell.digits}" for column, cell in telling.items())
        known = merged.get(key)
        reasons = [*row.disputed, *(reason for cell in telling.values() for reason in cell.disputed)]
        merged[key] = PrintedReference(
            sources=_added(known.sources if known else (), [row.source]),
            tasks=_added(known.tasks if known else (), [task]),
            cells=known.cells if known else telling,
            disputed=_added(known.disputed if known else (), reasons),
        )
    return tuple(merged.values())


def _added(known: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *more]))


def judge(
    number: ReferenceNumber,
    printed: Sequence[PrintedReference],
    eval_set: EvalSet,
    *,
    bands: Mapping[Column, Band] = BANDS,
) -> list[Judged]:
    """What a number says of every printed row that has its column."""
    column = named(number.recipe).metric.column
    if column is None:
        return []
    found: list[Judged] = []
    for index, row in enumerate(printed):
        cell = row.cells.get(column)
        if cell is None or cell.value is None or cell.half_unit is None:
            continue
        difference = number.value - cell.value
        allowance = cell.half_unit + bands[column].of(cell.value)
        if eval_set.status is Status.RECONSTRUCTION:
            # Both the paper's images and these are draws.
            allowance += QUANTILE * math.sqrt(2.0) * (number.standard_error or 0.0)
        if number.incomparable is not None or foreign_images(eval_set) is not None:
            verdict = Verdict.NOT_COMPARABLE
        elif abs(difference) <= allowance + ROUNDING:
            verdict = Verdict.REPRODUCES
        else:
            verdict = Verdict.DIFFERS
        found.append(Judged(index, column, verdict, difference, allowance))
    return found


def foreign_images(eval_set: EvalSet) -> str | None:
    """Why a set's images cannot be the paper's, or None."""
    if eval_set.family is Family.FOLDER:
        return "the images of a folder are in no paper"
    # Whoever has the list that was never published gives it with --list: that is a set of its own to be tried.
    known = load_protocol(eval_set.name).status is Status.RECONSTRUCTION
    if eval_set.protocol.selection.rule is Rule.LIST and not known:
        return "another list of images than the paper's"
    return None


def _variant(
    set_id: str,
    geometry: str,
    command: str,
    eval_set: EvalSet | None,
    numbers: tuple[JudgedNumber, ...],
    missing: tuple[NotComputed, ...],
) -> Variant:
    return Variant(
        set_id=set_id,
        geometry=geometry,
        command=command,
        eval_set=eval_set,
        numbers=numbers,
        missing=missing,
        incomparable=None if eval_set is None else foreign_images(eval_set),
    )


def _choice(recipe: str, reference: str | None) -> str:
    return recipe if reference is None else f"{recipe} against {reference}"


def conclude(
    set_name: str,
    printed: Sequence[PrintedReference],
    variants: Sequence[Variant],
    *,
    bands: Mapping[Column, Band] = BANDS,
) -> Calibration:
    """What the judged numbers of all variants say together."""
    measured = [variant for variant in variants if variant.prepared]
    judged = tuple(row for row in range(len(printed)) if any(_in_full(v, row, printed[row]) for v in measured))
    by_row = {row: tuple(_explanations([row], printed, measured, uniform=True)) for row in judged}
    together = tuple(_explanations(judged, printed, measured, uniform=True)) if judged else ()
    mixed = tuple(_explanations(judged, printed, measured, uniform=False)) if len(judged) > 1 else ()
    verdicts = [each.verdict for variant in measured for number in variant.numbers for each in number.judged]
    count = sum(explanation.count for explanation in together)
    if not printed:
        outcome = Outcome.NOTHING_PRINTED
    elif not judged:
        outcome = Outcome.NOT_COMPARABLE if Verdict.NOT_COMPARABLE in verdicts else Outcome.NOT_JUDGED
    else:
        outcome = {0: Outcome.NONE, 1: Outcome.EXPLAINED}.get(count, Outcome.UNDECIDED)
    return Calibration(
        set_name=set_name,
        bands=bands,
        printed=tuple(printed),
        variants=tuple(variants),
        judged=judged,
        by_row=by_row,
        together=together,
        mixed=mixed,
        untested=tuple(_untested(printed, variants)),
        outcome=outcome,
    )


def _reproducing(variant: Variant, row: int, column: Column) -> list[str]:
    return [
        number.choice
        for number in variant.numbers
        for each in number.judged
        if each.printed == row and each.column is column and each.verdict is Verdict.REPRODUCES
    ]


def _in_full(variant: Variant, row: int, printed: PrintedReference) -> bool:
    """Whether a variant has a comparable number for every column of a printed row."""
    there = {
        each.column
        for number in variant.numbers
        for each in number.judged
        if each.printed == row and each.verdict is not Verdict.NOT_COMPARABLE
    }
    return there >= set(printed.cells)


def _explanations(
    rows: Sequence[int], printed: Sequence[PrintedReference], variants: Sequence[Variant], *, uniform: bool
) -> list[Explanation]:
    """Variants for the rows, all the same or not all, with the recipes that reproduce every column in all of them."""
    columns = [column for column in COLUMNS if any(column in printed[row].cells for row in rows)]
    assignments = (
        [(variant,) * len(rows) for variant in variants]
        if uniform
        else [a for a in itertools.product(variants, repeat=len(rows)) if len({v.set_id for v in a}) > 1]
    )
    found: list[Explanation] = []
    for assigned in assignments:
        recipes: dict[Column, tuple[str, ...]] = {}
        for column in columns:
            of_rows = [
                _reproducing(variant, row, column)
                for variant, row in zip(assigned, rows, strict=True)
                if column in printed[row].cells
            ]
            recipes[column] = tuple(c for c in of_rows[0] if all(c in others for others in of_rows[1:]))
        if all(recipes.values()):
            ids = tuple(variant.set_id for variant in assigned)
            found.append(Explanation(ids[:1] if uniform else ids, recipes))
    return found


def _untested(printed: Sequence[PrintedReference], variants: Sequence[Variant]) -> list[str]:
    """Choices of the printed columns that were not computed, or only with what is comparable with nothing."""
    columns = {column for row in printed for column in row.cells}
    found: list[str] = []
    for variant in variants:
        if not variant.prepared:
            found.append(variant.set_id)
            continue
        found += [
            f"{variant.set_id}: {_choice(each.recipe, each.reference)}"
            for each in variant.missing
            if named(each.recipe).metric.column in columns
        ]
        found += [
            f"{variant.set_id}: {number.choice}, but with numbers that compare with nothing"
            for number in variant.numbers
            if any(each.verdict is Verdict.NOT_COMPARABLE for each in number.judged)
        ]
    return found


def summary(calibration: Calibration) -> list[str]:
    """What is known by now, a sentence a line."""
    printed, judged = calibration.printed, calibration.judged
    match calibration.outcome:
        case Outcome.NOTHING_PRINTED:
            return ["No paper prints a reference row for this set: nothing can be reproduced."]
        case Outcome.NOT_COMPARABLE:
            reasons = dict.fromkeys(
                reason
                for variant in calibration.variants
                for reason in [variant.incomparable, *(n.number.incomparable for n in variant.numbers)]
                if reason is not None
            )
            return [f"Nothing is said to be reproduced: {'; '.join(reasons)}."]
        case Outcome.NOT_JUDGED:
            return [
                "No printed row could be computed in full, so no set of choices is said to explain one.",
                *_untested_lines(calibration),
            ]
        case _:
            pass
    what = "the printed row" if len(printed) == 1 else f"all {len(judged)} printed rows"
    if len(judged) < len(printed):
        left = ", ".join(_letter(row) for row in range(len(printed)) if row not in judged)
        what = f"the {len(judged)} of {len(printed)} printed rows that could be computed (not {left})"
    count = sum(explanation.count for explanation in calibration.together)
    lines = {
        Outcome.EXPLAINED: [f"Exactly one set of choices explains {what}:"],
        Outcome.UNDECIDED: [f"Undecided: {count} sets of choices explain {what}:"],
    }.get(calibration.outcome, [f"No set of choices explains {what}."])
    lines += [f"  {_explained(explanation)}" for explanation in calibration.together]
    if len(judged) > 1:
        for row in judged:
            alone = calibration.by_row[row]
            lines.append(f"Row {_letter(row)} alone ({printed[row].text}):" + ("" if alone else " none explains it."))
            lines += [f"  {_explained(explanation)}" for explanation in alone]
        mixed = calibration.mixed
        if mixed:
            lines.append(
                "With the same recipes and a geometry of its own for each row "
                f"({', '.join(map(_letter, judged))}): {_sets(sum(e.count for e in mixed))} of choices:"
            )
            lines += [f"  {_explained(explanation, judged)}" for explanation in mixed]
        elif not calibration.together:
            lines.append("Nor with the same recipes and a geometry of its own for each row.")
    return lines + _untested_lines(calibration)


def _untested_lines(calibration: Calibration) -> list[str]:
    if not calibration.untested:
        return []
    return ["Not computed, so neither confirmed nor ruled out:", *(f"  {text}" for text in calibration.untested)]


def _sets(count: int) -> str:
    return "1 set" if count == 1 else f"{count} sets"


def _letter(row: int) -> str:
    return chr(ord("A") + row)


def _explained(explanation: Explanation, rows: Sequence[int] = ()) -> str:
    """Variants and recipes in one line; ``rows`` are those that have a variant of their own."""
    parts = [f"{column.value.upper()} {' or '.join(found)}" for column, found in explanation.recipes.items()]
    variants = explanation.variants
    if rows:
        variants = tuple(f"{_letter(row)} {set_id}" for row, set_id in zip(rows, variants, strict=True))
    return f"{', '.join(variants)}: {'; '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A calibration as it is printed: what is compared, a table for every prepared variant, conclusions."""

    title: str
    intro: tuple[str, ...]
    tables: tuple[Table, ...]
    conclusions: tuple[str, ...]


def sheet(calibration: Calibration) -> Sheet:
    """The calibration as it is printed; footnotes of all tables stand below the last."""
    intro: list[str] = []
    for index, row in enumerate(calibration.printed):
        columns = "/".join(column.value.upper() for column in row.cells)
        intro.append(f"{_letter(index)}: {columns} {row.text}, {'; '.join(row.sources)} ({', '.join(row.tasks)})")
        intro += [text for reason in row.disputed if (text := f"   {reason}") not in intro]
    intro.append("perfect samples: the FID that as many images of one distribution with the reference set would have")
    if calibration.printed:
        bands = ", ".join(f"{c.value.upper()} ± {b}" for c, b in calibration.bands.items())
        intro.append(f"reproduced: within half a unit of the last printed digit and the band: {bands}")
    intro += [f"{v.set_id} is not prepared: {v.command}" for v in calibration.variants if v.eval_set is None]
    notes = Footnotes()
    tables = [
        footnoted(_table(variant, variant.eval_set, calibration.printed), notes)
        for variant in calibration.variants
        if variant.eval_set is not None
    ]
    tables = [*(replace(table, notes=()) for table in tables[:-1]), *tables[-1:]]
    title = f"untouched references of {calibration.set_name}"
    return Sheet(title, tuple(intro), tuple(tables), tuple(summary(calibration)))


def _table(variant: Variant, eval_set: EvalSet, printed: Sequence[PrintedReference]) -> Table:
    """A row per number of a variant, those of one column of the paper in one group."""
    rows = [_number_row(each, variant, printed) for each in variant.numbers]
    rows += [_missing_row(missing, printed) for missing in variant.missing]
    order = [recipe.name for recipe in recipes_of(eval_set)]
    rows.sort(key=lambda row: order.index(row.key))
    groups = [tuple(row for row in rows if named(row.key).metric.column is column) for column in COLUMNS]
    geometry = "" if eval_set.family is Family.SCENES32 else f", {variant.geometry}"
    heads = ["against", "references", "perfect samples", *(f"{_letter(n)} {row.text}" for n, row in enumerate(printed))]
    return Table(
        title=f"{variant.set_id}{geometry}: {eval_set.count} images",
        row_head="recipe",
        columns=tuple(TableColumn(head=head, text=head == "against") for head in heads),
        groups=tuple(TableGroup(rows=group) for group in groups if group),
    )


def _number_row(each: JudgedNumber, variant: Variant, printed: Sequence[PrintedReference]) -> TableRow:
    number = each.number
    recipe = named(number.recipe)
    remarks = []
    if number.by_definition:
        remarks.append("by definition: a set is at distance 0 from itself")
    if number.incomparable is not None:
        remarks.append(f"not comparable with anything: {number.incomparable}")
    text = number_text(number.value, number.standard_error, recipe.digits, recipe.unit)
    count = "" if number.reference_count is None else f" ({number.reference_count})"
    verdicts = []
    for index, row in enumerate(printed):
        of_row = [judged for judged in each.judged if judged.printed == index]
        verdicts.append(_verdict_cell(of_row[0], variant, number, row) if of_row else TableCell(text=""))
    return TableRow(
        label=number.recipe,
        key=number.recipe,
        cells=(
            *words(f"{number.reference or ''}{count}"),
            TableCell(text="0" if number.by_definition else text, value=number.value, remarks=tuple(remarks)),
            _perfect_cell(number.expected, number.unexpected),
            *verdicts,
        ),
    )


def _missing_row(missing: NotComputed, printed: Sequence[PrintedReference]) -> TableRow:
    why = missing.reason + (f": {missing.command}" if missing.command else "")
    absent = TableCell(text="not computed", remarks=(f"not computed: {why}",))
    column = named(missing.recipe).metric.column
    cells = [absent if column in row.cells else TableCell(text="") for row in printed]
    return TableRow(
        label=missing.recipe,
        key=missing.recipe,
        cells=(*words(missing.reference or ""), absent, _perfect_cell(missing.expected, None), *cells),
    )


_HOW = {
    Relation.PART: "if the set's images are part of the reference set",
    Relation.DISJOINT: "if no image is in both",
}


def _perfect_cell(expected: Sequence[Expectation], unexpected: str | None) -> TableCell:
    """What perfect samples score; where that has two readings, in their order."""
    if not expected:
        return TableCell(text="") if unexpected is None else TableCell(remarks=(f"no expectation: {unexpected}",))
    text = ", ".join(number_text(each.value, each.error, 2) for each in expected)
    readings = "; ".join(f"{each.value:.2f} {_HOW[each.relation]}" for each in expected)
    return TableCell(text=text, remarks=(readings,) if len(expected) > 1 else ())


def _verdict_cell(judged: Judged, variant: Variant, number: ReferenceNumber, printed: PrintedReference) -> TableCell:
    digits = printed.cells[judged.column].digits
    match judged.verdict:
        case Verdict.REPRODUCES:
            return TableCell(text=f"reproduces {digits}")
        case Verdict.DIFFERS:
            places = len(digits.partition(".")[2]) + 1
            return TableCell(text=f"differs by {judged.difference:+.{places}f}")
        case Verdict.NOT_COMPARABLE:
            reason = number.incomparable or variant.incomparable or ""
            return TableCell(text="not comparable", remarks=(f"not comparable with anything: {reason}",))


def page(calibration: Calibration) -> str:
    """The calibration as a page of GitHub-flavoured Markdown."""
    printed = sheet(calibration)
    escape = markup.markdown
    lines = [f"# {escape(printed.title)}", "", *(f"* {escape(line.strip())}" for line in printed.intro)]
    for table in printed.tables:
        lines += ["", f"## {escape(table.title)}", "", *markdown(table), "", *markdown_notes(table)]
    lines += ["", "## What follows", ""]
    lines += [f"{'  ' if line.startswith('  ') else ''}* {escape(line.strip())}" for line in printed.conclusions]
    return "\n".join(lines) + "\n"


def parse_bands(texts: Sequence[str]) -> dict[Column, Band]:
    """``BANDS`` with those of ``COLUMN=WIDTH`` replaced: ``fid=0.05``, ``is=1%``. Raises UsageError for others."""
    bands = dict(BANDS)
    for text in texts:
        name, _, width = text.partition("=")
        columns = {column.value: column for column in bands}
        try:
            value = float(width.removesuffix("%"))
        except ValueError:
            value = math.nan
        if name not in columns or not 0.0 <= value < math.inf:
            raise UsageError(
                "a band is a column and a width that is not negative",
                expected=f"{'|'.join(columns)}=WIDTH or =SHARE%, as in fid=0.05 or is=1%",
                found=text,
            )
        bands[columns[name]] = Band(share=value / 100) if width.endswith("%") else Band(width=value)
    return bands


def _variant_json(variant: Variant) -> dict[str, object]:
    eval_set = variant.eval_set
    return {
        "set": variant.set_id,
        "geometry": variant.geometry,
        "prepared": variant.prepared,
        "command": None if variant.prepared else variant.command,
        "count": None if eval_set is None else eval_set.count,
        "set_fingerprint": None if eval_set is None else eval_set.fingerprint,
        "data_digest": None if eval_set is None else eval_set.data_digest,
        "incomparable": variant.incomparable,
        "numbers": [_number_json(each) for each in variant.numbers],
        "missing": [
            {
                "recipe": each.recipe,
                "reference": each.reference,
                "reason": each.reason,
                "command": each.command,
                "expected": [_expectation_json(e) for e in each.expected],
            }
            for each in variant.missing
        ],
    }


def _number_json(each: JudgedNumber) -> dict[str, object]:
    number = each.number
    return {
        "recipe": number.recipe,
        "reference": number.reference,
        "reference_count": number.reference_count,
        "value": number.value,
        "standard_error": number.standard_error,
        "fingerprint": number.fingerprint,
        "by_definition": number.by_definition,
        "incomparable": number.incomparable,
        "expected": [_expectation_json(e) for e in number.expected],
        "unexpected": number.unexpected,
        "judged": [
            {
                "printed": judged.printed,
                "column": judged.column.value,
                "verdict": judged.verdict.value,
                "difference": judged.difference,
                "allowance": judged.allowance,
            }
            for judged in each.judged
        ],
    }


def _expectation_json(expectation: Expectation) -> dict[str, object]:
    return {"relation": expectation.relation.value, "value": expectation.value, "error": expectation.error}


def _explanation_json(explanation: Explanation) -> dict[str, object]:
    return {
        "variants": list(explanation.variants),
        "recipes": {column.value: list(found) for column, found in explanation.recipes.items()},
        "count": explanation.count,
    }
