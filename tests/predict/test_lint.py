"""The lint: each kind of mistake is made on purpose, and good outputs raise nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from palette_bench.common.canonical import pixel_digest
from palette_bench.images.holes import punch
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.importing.lint import (
    Finding,
    Severity,
    Verdict,
    compare_known,
    is_deterministic,
    judge,
)
from tests.conftest import picture

SIZE = 48
COUNT = 6

Spoil = Callable[[ImageU8, ImageU8, HoleMask], ImageU8]


def hole_of(number: int) -> HoleMask:
    hole = np.zeros((SIZE, SIZE), np.bool_)
    hole[8 + number : 30, 10 : 30 + number] = True
    return hole


def findings(spoil: Spoil, *, share: float = 1.0) -> list[Finding]:
    """Findings of ``COUNT`` outputs, a share of which is spoilt; the others are perfect."""
    rows = []
    for number in range(COUNT):
        reference = picture(SIZE, SIZE, f"reference {number}")
        hole = hole_of(number)
        condition = punch(reference, hole)
        good = np.where(hole[..., None], picture(SIZE, SIZE, f"fill {number}"), reference)
        output = spoil(good, condition, hole) if number < share * COUNT else good
        known = compare_known(output, condition, hole)
        rows.append(
            Finding(
                item=f"item-{number}",
                condition=f"item-{number}",
                sample=0,
                digest=pixel_digest(output),
                black=float(output.mean()) < 1,
                lossy=False,
                flattened=False,
                grey=False,
                known=known.known,
                swapped=known.swapped,
                hole=known.hole,
                shift=known.shift,
            )
        )
    return rows


def verdicts(spoil: Spoil, *, share: float = 1.0, resized: bool = False) -> list[Verdict]:
    return judge(findings(spoil, share=share), samples=1, resized=resized)


def good(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
    return output


def shifted(rows: int, columns: int) -> Spoil:
    def move(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
        return np.roll(output, (rows, columns), axis=(0, 1))

    return move


def inverted(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
    return np.where(hole[..., None], condition, 255 - condition)


def swapped(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
    return output[..., ::-1]


def noisy(levels: int) -> Spoil:
    def add(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
        signs = np.where((np.indices(output.shape).sum(axis=0) % 2).astype(np.bool_), levels, -levels)
        return np.clip(output + signs, 0, 255).astype(np.uint8)

    return add


def unfilled(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
    return condition


def black(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
    return output * 0


def test_good_outputs_raise_nothing() -> None:
    assert verdicts(good) == []
    assert verdicts(noisy(1)) == []


@pytest.mark.parametrize(
    ("spoil", "kind", "severity"),
    [
        (inverted, "inverted-mask", Severity.WARNING),
        (swapped, "bgr", Severity.ERROR),
        (noisy(6), "known-region", Severity.WARNING),
        (shifted(1, 0), "shifted", Severity.WARNING),
        (shifted(-1, 1), "shifted", Severity.WARNING),
        (unfilled, "unfilled", Severity.WARNING),
    ],
)
def test_each_mistake_has_its_name(spoil: Spoil, kind: str, severity: Severity) -> None:
    (verdict,) = verdicts(spoil)
    assert (verdict.kind, verdict.severity) == (kind, severity)
    assert verdict.numbers


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 1), (-1, 0), (1, -1)])
def test_a_shift_is_told_with_its_direction(rows: int, columns: int) -> None:
    (verdict,) = verdicts(shifted(rows, columns))
    assert (verdict.numbers["rows"], verdict.numbers["columns"]) == (rows, columns)
    assert f"{rows:+d} rows and {columns:+d} columns" in verdict.message


def test_a_shift_of_two_is_not_called_a_shift_of_one() -> None:
    (verdict,) = verdicts(shifted(0, 5))
    assert verdict.kind == "known-region"


def test_numbers_are_those_of_the_known_region() -> None:
    (verdict,) = verdicts(noisy(6))
    assert verdict.numbers["mean"] == pytest.approx(6, abs=0.3)
    assert verdict.numbers["outputs_beyond"] == COUNT
    assert "VAE round trip" in verdict.message
    (resized,) = verdicts(noisy(6), resized=True)
    assert "resizing" in resized.message


def test_one_bad_output_among_good_ones_is_found() -> None:
    (verdict,) = verdicts(noisy(6), share=0.1)
    assert verdict.numbers["outputs_beyond"] == 1
    assert verdict.numbers["worst_item"] == "item-0"


def test_grey_images_are_not_called_bgr() -> None:
    def greyed(output: ImageU8, condition: ImageU8, hole: HoleMask) -> ImageU8:
        return np.repeat(output.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)

    (verdict,) = verdicts(greyed)
    assert verdict.kind == "known-region"


def test_black_images_are_counted() -> None:
    kinds = {verdict.kind: verdict for verdict in verdicts(black, share=0.3)}
    assert kinds["black"].numbers == {"outputs": 2, "of": COUNT}
    assert "safety checker" in kinds["black"].message


def _sample(item: str, sample: int, digest: str, condition: str = "") -> Finding:
    return Finding(
        item=item,
        sample=sample,
        digest=digest,
        condition=condition or item,
        black=False,
        lossy=False,
        flattened=False,
        grey=False,
    )


def test_equal_samples_are_a_deterministic_model() -> None:
    rows = [_sample(item, sample, item) for item in "abc" for sample in range(2)]
    found = judge(rows, samples=2, resized=False)
    assert [verdict.kind for verdict in found] == ["deterministic"]
    assert is_deterministic(found)
    rows[1] = _sample("a", 1, "other")
    found = judge(rows, samples=2, resized=False)
    assert [verdict.kind for verdict in found] == ["equal-samples"]
    assert not is_deterministic(found)
    assert judge([_sample(i, s, f"{i}{s}") for i in "abc" for s in range(2)], samples=2, resized=False) == []


def test_equal_outputs_of_different_items_are_found() -> None:
    (verdict,) = judge([_sample("a", 0, "x"), _sample("b", 0, "x"), _sample("c", 0, "y")], samples=1, resized=False)
    assert (verdict.kind, verdict.numbers) == ("same-output", {"items": 2})


def test_errors_come_first() -> None:
    rows = [*findings(swapped), _sample("z", 0, "twin"), _sample("y", 0, "twin")]
    found = judge(rows, samples=1, resized=False)
    assert [verdict.severity for verdict in found] == [Severity.ERROR, Severity.WARNING]
