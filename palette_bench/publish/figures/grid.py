"""Figures of images in rows and columns: methods side by side, samples of one model, architectures side by side.

An item a row; the condition, what models made of it, the reference. Figures 3 to 7 and C.2 to C.9 of the paper.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.images.condition import Condition
from palette_bench.images.types import ImageU8
from palette_bench.publish.figures.account import Figure, figure, set_facts, task_facts
from palette_bench.publish.figures.choice import Choice
from palette_bench.publish.figures.outputs import Outputs
from palette_bench.publish.figures.page import (
    ELLIPSIS,
    LEAST_DPI,
    POINTS_PER_INCH,
    Drawn,
    Page,
    Upright,
    drawable,
    enlarged,
    fitted,
    largest_points,
    text_width,
)

WIDTH_INCHES = 7.0
"""Of the text of a page in two columns."""
WIDEST_CELL_INCHES = 1.2
GAP_INCHES = 0.03
BLOCK_GAP_INCHES = 0.09
HEADING_POINTS = (8.0, 7.5, 7.0, 6.5, 6.0)
"""The largest at which no word has to be broken."""
LABEL_POINTS = 8.0
HOLE_GREY = 217
"""Of a hole in a condition: neither black nor white, which photographs have."""
INPUT, ORIGINAL = "Input", "Original"
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of images [S, S, 3], all of equally many columns; ``label`` stands at their left, empty for none."""

    label: str
    rows: Sequence[Sequence[ImageU8]]


@dataclass(frozen=True, slots=True)
class Laid:
    """A grid as it was drawn: how many times a pixel was enlarged."""

    drawn: Drawn
    times: int


def condition_shown(condition: Condition) -> ImageU8:
    """A condition as it is drawn: its hole is grey."""
    image = condition.image
    if condition.hole is None:
        return image
    return np.where(condition.hole[..., None], np.uint8(HOLE_GREY), image)


def lay(
    blocks: Sequence[Block],
    headings: Sequence[str],
    *,
    width: float,
    title: str,
    caption: str,
) -> Laid:
    """A page ``width`` inches wide, less where few columns would have cells that are too large.

    Cells are enlarged by a whole number, so that an inch has `LEAST_DPI` pixels or more; nothing is ever made smaller.
    """
    size = blocks[0].rows[0][0].shape[0]
    columns = len(headings)
    label_lines = _label_lines(blocks, min(WIDEST_CELL_INCHES, width / (columns + 1)))
    label_inches = 1.4 * label_lines * LABEL_POINTS / POINTS_PER_INCH
    cell_inches = min(WIDEST_CELL_INCHES, (width - label_inches - (columns - 1) * GAP_INCHES) / columns)
    if cell_inches <= 0.1:
        raise UsageError(
            "too many columns for the width of the figure",
            expected="fewer models or samples, or a larger --width",
            found=f"{columns} columns in {width} inches",
        )
    times = max(1, math.ceil(LEAST_DPI * cell_inches / size))
    cell = times * size
    dpi = cell / cell_inches
    gap, block_gap = (max(1, round(inches * dpi)) for inches in (GAP_INCHES, BLOCK_GAP_INCHES))
    left = round(label_inches * dpi)
    point = dpi / POINTS_PER_INCH
    points = largest_points(headings, 0.96 * cell, sizes=HEADING_POINTS, dpi=dpi)
    names = [fitted(name, 0.96 * cell, points=points, dpi=dpi) for name in headings]
    name_height = round(max(1.25 * (1 + name.count("\n")) for name in names) * points * point)
    top = name_height + round(1.5 * point)
    rows = sum(len(block.rows) for block in blocks)
    height = top + rows * (cell + gap) - gap + (len(blocks) - 1) * (block_gap - gap)
    with Page(left + columns * (cell + gap) - gap, height, dpi) as page:
        lefts = [left + column * (cell + gap) for column in range(columns)]
        for name, x in zip(names, lefts, strict=True):
            page.text(name, x + cell / 2, top - 3.5 * point, points=points)
        y = top
        for block in blocks:
            extent = len(block.rows) * (cell + gap) - gap
            if block.label:
                label = fitted(block.label, extent, points=LABEL_POINTS, dpi=dpi, lines=label_lines)
                page.text(
                    label,
                    (left - 2 * point) / 2,
                    y + extent / 2,
                    points=LABEL_POINTS,
                    upright=Upright.MIDDLE,
                    rotated=True,
                )
            for row in block.rows:
                for image, x in zip(row, lefts, strict=True):
                    page.image(enlarged(image, times), x, y)
                y += cell + gap
            y += block_gap - gap
        return Laid(page.drawn(title=title, caption=caption), times)


def _label_lines(blocks: Sequence[Block], cell_inches: float) -> int:
    """How many lines the labels of blocks need, beside rows of about this height; at most 2, and 0 without labels."""
    dpi = POINTS_PER_INCH
    lines = [
        1 + (text_width(drawable(block.label), points=LABEL_POINTS, dpi=dpi) > len(block.rows) * cell_inches * dpi)
        for block in blocks
        if block.label
    ]
    return max(lines, default=0)


def grid(eval_set: EvalSet, outputs: Sequence[Outputs], choice: Choice, *, width: float = WIDTH_INCHES) -> Figure:
    """Methods side by side on one task (Figures 3 to 6): input, each model's first sample, original."""
    task = outputs[0].task
    names = [of.title for of in outputs]
    caption = (
        f"{_sentence_case(task.title)}: {_listed(names)} on {_set_name(eval_set)}. {choice.sentence}{_notes(outputs)}"
    )
    conditions = eval_set.conditions(task)
    rows = [
        [
            condition_shown(conditions.of(item)),
            *(of.image(item, 0) for of in outputs),
            eval_set.reference(item),
        ]
        for item in choice.items
    ]
    headings = [INPUT, *names, ORIGINAL]
    title = f"{eval_set.set_id}, {task.title}"
    laid = lay([Block("", rows)], headings, width=width, title=title, caption=caption)
    return figure(
        "grid",
        caption,
        laid.drawn,
        {
            "set": set_facts(eval_set),
            "tasks": [task_facts(eval_set, task)],
            "columns": headings,
            **_items(choice),
            "outputs": [of.as_json(choice.items, 1) for of in outputs],
            **_style(laid, width),
        },
    )


def diversity(
    eval_set: EvalSet,
    outputs: Sequence[Outputs],
    choice: Choice,
    *,
    samples: int | None = None,
    width: float = WIDTH_INCHES,
) -> Figure:
    """Samples of one model a task (Figures 7, C.3, C.5, C.8, C.9): input, samples 0 to k - 1, original.

    One block of rows for each of ``outputs``. ``samples`` None: as many as all have. Raises InputError for predictions
    with fewer samples, and for those with one.
    """
    wanted = samples or max(2, min(of.samples for of in outputs))
    if short := [of for of in outputs if of.samples < wanted]:
        raise InputError(
            "too few samples an item to show diversity",
            expected=f"{wanted} samples an item" if samples else "2 samples an item or more",
            problems=[Problem("samples", str(of.where), f"{of.samples} per item") for of in short],
            next_step="palette-bench predict --samples K makes several; they are another folder",
        )
    blocks = []
    for of in outputs:
        conditions = eval_set.conditions(of.task)
        rows = [
            [
                condition_shown(conditions.of(item)),
                *(of.image(item, sample) for sample in range(wanted)),
                eval_set.reference(item),
            ]
            for item in choice.items
        ]
        blocks.append(Block(_block_label(of, outputs), rows))
    headings = [INPUT, *(f"Sample {number}" for number in range(1, wanted + 1)), ORIGINAL]
    what = _listed([f"{of.title} ({of.task.title})" for of in outputs])
    caption = f"Samples of {what} on {_set_name(eval_set)}. {choice.sentence} Samples are in the order of their seeds."
    if any(of.task.masked for of in outputs):
        caption += _HOLE
    title = f"{eval_set.set_id}, samples"
    laid = lay(blocks, headings, width=width, title=title, caption=caption)
    tasks = {of.task.name: of.task for of in outputs}
    return figure(
        "diversity",
        caption,
        laid.drawn,
        {
            "set": set_facts(eval_set),
            "tasks": [task_facts(eval_set, task) for task in tasks.values()],
            "columns": headings,
            **_items(choice),
            "outputs": [of.as_json(choice.items, wanted) for of in outputs],
            **_style(laid, width),
        },
    )


def _block_label(of: Outputs, outputs: Sequence[Outputs]) -> str:
    """What tells a block from the others: its task, its model, or both."""
    if len(outputs) == 1:
        return ""
    if len({other.task.name for other in outputs}) == len(outputs):
        return _sentence_case(of.task.title.partition(",")[0])
    return of.title


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


_HOLE = " Outside the hole every output shows the original, as it is scored."


def _notes(outputs: Sequence[Outputs]) -> str:
    several = any(of.samples > 1 for of in outputs)
    return (_HOLE if outputs[0].task.masked else "") + (" Of several samples the first is shown." if several else "")


def _set_name(eval_set: EvalSet) -> str:
    return f"{eval_set.set_id} version {eval_set.version}"


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: Sequence[str]) -> str:
    shown = [
        name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + ELLIPSIS for name in map(drawable, names)
    ]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _items(choice: Choice) -> dict[str, object]:
    return {
        "items": [{"id": item.id, "reference_sha256": item.reference_digest} for item in choice.items],
        "chosen": choice.as_json(),
    }


def _style(laid: Laid, width: float) -> dict[str, object]:
    return {"enlarged": laid.times, "width_inches": width, "hole_grey": HOLE_GREY}
