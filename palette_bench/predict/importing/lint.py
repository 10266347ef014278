"""What looks wrong with outputs that can be read: masks read inverted, shifted or swapped pixels, JPEG, black images.

A finding is about one output, before it is composited; a verdict is about all of them, with numbers.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import printable
from palette_bench.images.types import HoleMask, ImageU8

SUSPICIOUS = 2.0
"""Mean absolute error of the known region, in grey levels of 0..255, that rounding and JPEG at a good quality keep."""
BLACK = 1.0
CLEARLY = 0.5
SHIFTS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


class Severity(StrEnum):
    """An error stops an import; a warning does with ``--strict``; a note never does."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was noticed of one output. Errors are mean absolute differences to the condition, in grey levels.

    ``digest`` is of its pixels, ``condition`` that of its condition.

    ``known``: in the known region. ``swapped``: the same with red and blue exchanged. ``hole``: in the hole, where the
    condition is black. ``shift``: the rows and columns by which the output fits better, and the error then. All None
    where nothing is hidden; ``shift`` also where the known region fits.
    """

    item: str
    sample: int
    digest: str
    condition: str
    black: bool
    lossy: bool
    flattened: bool
    grey: bool
    known: float | None = None
    swapped: float | None = None
    hole: float | None = None
    shift: tuple[int, int, float] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something about all outputs: a stable ``kind``, what it means, and the numbers that it rests on."""

    kind: str
    severity: Severity
    message: str
    numbers: dict[str, float | int | str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self) | {"severity": self.severity.value}

    def __str__(self) -> str:
        return printable(f"{self.severity.value}: {self.kind}: {self.message}")


@dataclass(frozen=True, slots=True)
class KnownRegion:
    """How an output differs from its condition; fields as in ``Finding``."""

    known: float
    swapped: float
    hole: float
    shift: tuple[int, int, float] | None


def compare_known(output: ImageU8, condition: ImageU8, hole: HoleMask) -> KnownRegion:
    """How an output [H, W, 3] differs from its condition outside of the hole [H, W], and inside."""
    known = ~hole
    error = _error(output, condition, known)
    swapped = _error(output[..., ::-1], condition, known)
    inside = _error(output, condition, hole)
    shift = _best_shift(output, condition, known) if error > SUSPICIOUS else None
    return KnownRegion(error, swapped, inside, shift)


def _error(output: ImageU8, condition: ImageU8, where: NDArray[np.bool_]) -> float:
    if not where.any():
        return 0.0
    return float(np.abs(output[where].astype(np.int16) - condition[where]).mean())


def _best_shift(output: ImageU8, condition: ImageU8, known: NDArray[np.bool_]) -> tuple[int, int, float]:
    """The shift by one pixel under which the known regions differ least; borders are left out."""
    size = output.shape[0]
    inner = slice(1, size - 1)
    best: tuple[int, int, float] | None = None
    for dy, dx in SHIFTS:
        moved = output[1 + dy : size - 1 + dy, 1 + dx : size - 1 + dx]
        error = _error(moved, condition[inner, inner], known[inner, inner])
        if best is None or error < best[2]:
            best = (dy, dx, error)
    return best or (0, 0, 0.0)


def judge(findings: Sequence[Finding], *, samples: int, resized: bool) -> list[Verdict]:
    """Everything that looks wrong with a set of outputs, errors first."""
    verdicts = [*_known_region(findings, resized=resized), *_content(findings), *_repetition(findings, samples)]
    order = list(reversed(Severity))
    return sorted(verdicts, key=lambda verdict: order.index(verdict.severity))


def _known_region(findings: Sequence[Finding], *, resized: bool) -> list[Verdict]:
    rows = [row for row in findings if row.known is not None]
    if not rows:
        return []
    known, swapped = _mean(row.known for row in rows), _mean(row.swapped for row in rows)
    worst = max(rows, key=lambda row: row.known or 0.0)
    numbers: dict[str, float | int | str] = {
        "mean": round(known, 3),
        "outputs_beyond": sum((row.known or 0.0) > SUSPICIOUS for row in rows),
        "worst": round(worst.known or 0.0, 3),
        "worst_item": worst.item,
    }
    text = f"the known region is off by {known:.2f} grey levels on average ({worst.known:.2f} in {worst.item})"
    if known <= SUSPICIOUS:
        # Single outputs that are far off: a model that failed on some, or files that were exchanged.
        if numbers["outputs_beyond"]:
            count = numbers["outputs_beyond"]
            said = f"{count} of {len(rows)} outputs are off by more than {SUSPICIOUS:g} grey levels in the known region"
            return [Verdict("known-region", Severity.WARNING, f"{said}, most in {worst.item}", numbers)]
        return []
    hole = _mean(row.hole for row in rows)
    numbers |= {"swapped": round(swapped, 3), "hole": round(hole, 3)}
    if swapped < CLEARLY * known:
        said = f"{text}, and by {swapped:.2f} with red and blue exchanged: written as BGR"
        return [Verdict("bgr", Severity.ERROR, said, numbers)]
    if hole < SUSPICIOUS:
        said = f"{text}, and the hole is as black as it was given: the mask was read inverted"
        return [Verdict("inverted-mask", Severity.WARNING, said, numbers)]
    shifts = Counter(row.shift[:2] for row in rows if row.shift and row.shift[2] < CLEARLY * (row.known or 0.0))
    if shifts and (common := shifts.most_common(1)[0])[1] > len(rows) / 2:
        dy, dx = common[0]
        numbers |= {"rows": dy, "columns": dx, "outputs_shifted": common[1]}
        said = f"{text}, and much less after a shift: outputs lie {dy:+d} rows and {dx:+d} columns from their place"
        return [Verdict("shifted", Severity.WARNING, said, numbers)]
    causes = (
        "mask polarity, order, shift or VAE round trip?" if not resized else "mask polarity, order, or the resizing?"
    )
    return [Verdict("known-region", Severity.WARNING, f"{text}: {causes}", numbers)]


def _mean(values: Iterable[float | None]) -> float:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else 0.0


def _content(findings: Sequence[Finding]) -> list[Verdict]:
    total = len(findings)
    unfilled = sum(
        row.hole is not None and row.hole < BLACK and (row.known or 0.0) <= SUSPICIOUS and not row.black
        for row in findings
    )
    counted = (
        (
            "black",
            sum(row.black for row in findings),
            "are all black: a safety checker, or a mask that is not binary?",
        ),
        ("unfilled", unfilled, "left the hole black: the mask did not reach the model?"),
        (
            "lossy",
            sum(row.lossy for row in findings),
            "are JPEG-coded, which adds artefacts of its own and moves every number: write PNG if the model can",
        ),
        ("alpha", sum(row.flattened for row in findings), "have transparent pixels, flattened on black"),
        ("grey", sum(row.grey for row in findings), "have one channel, replicated to three"),
    )
    return [
        Verdict(kind, Severity.WARNING, f"{count} of {total} outputs {said}", {"outputs": count, "of": total})
        for kind, count, said in counted
        if count
    ]


def _repetition(findings: Sequence[Finding], samples: int) -> list[Verdict]:
    verdicts = []
    by_item: dict[str, set[str]] = {}
    for row in findings:
        by_item.setdefault(row.item, set()).add(row.digest)
    if samples > 1:
        same = sum(len(digests) == 1 for digests in by_item.values())
        if same == len(by_item):
            said = f"all {samples} samples of every item are equal: the model is deterministic, or the seed was not set"
            verdicts.append(Verdict("deterministic", Severity.WARNING, said, {"items": same, "samples": samples}))
        elif same:
            said = f"all {samples} samples are equal for {same} of {len(by_item)} items"
            verdicts.append(Verdict("equal-samples", Severity.WARNING, said, {"items": same, "samples": samples}))
    # Items whose conditions are equal, as of a picture that is in the set twice, may well have equal outputs.
    owners: dict[str, dict[str, set[str]]] = {}
    for row in findings:
        owners.setdefault(row.digest, {}).setdefault(row.condition, set()).add(row.item)
    shared = {
        item for conditions in owners.values() if len(conditions) > 1 for of in conditions.values() for item in of
    }
    if shared:
        said = f"{len(shared)} items have the very same output as an item of another condition, such as {min(shared)}"
        verdicts.append(Verdict("same-output", Severity.WARNING, said, {"items": len(shared)}))
    return verdicts


def is_deterministic(verdicts: Sequence[Verdict]) -> bool:
    """Whether equal samples say that the seed moves nothing."""
    return any(verdict.kind == "deterministic" for verdict in verdicts)
