"""One picture of a set: some items, their references and the condition of every task."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.images.condition import Condition, make_condition
from palette_bench.images.types import ImageU8

SMALLEST_CELL = 96
LARGEST_CELL = 256
GAP, MARGIN = 6, 12
PAPER, INK, QUIET = (255, 255, 255), (20, 20, 20), (110, 110, 110)
HOLE_COLOUR = (255, 0, 255)


def contact_sheet(eval_set: EvalSet, *, rows: int) -> Image.Image:
    """``rows`` items spread evenly over the set, one a line: reference, then every task; holes are magenta."""
    count = min(rows, eval_set.count)
    indices = [i * eval_set.count // count for i in range(count)]
    tasks = [eval_set.task(name) for name in eval_set.task_names]
    holes = [eval_set.holes(task) for task in tasks]
    cell = min(max(eval_set.size, SMALLEST_CELL), LARGEST_CELL)
    text = max(11, cell // 12)
    small, title = ImageFont.load_default(text), ImageFont.load_default(text * 3 // 2)
    across, down = cell + GAP, cell + GAP + text + 4
    top = MARGIN + 4 * text
    sheet = Image.new("RGB", (2 * MARGIN + (1 + len(tasks)) * across - GAP, top + count * down + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    heading = (
        f"{eval_set.set_id} version {eval_set.version}   {eval_set.count} items   data {eval_set.data_digest[:16]}"
    )
    draw.text((MARGIN, MARGIN - 4), heading, INK, font=title)
    for column, name in enumerate(("reference", *(task.name.removeprefix("inpaint-") for task in tasks))):
        draw.text((MARGIN + column * across, top - text - 6), name, INK, font=small)
    for line, index in enumerate(indices):
        item = eval_set.items[index]
        y = top + line * down
        reference = eval_set.reference(item)
        paste_cell(sheet, reference, MARGIN, y, cell)
        label = item.id + ("" if item.label is None else f"   class {item.label}")
        draw.text((MARGIN, y + cell + 1), label, QUIET, font=small)
        for column, (task, of_task) in enumerate(zip(tasks, holes, strict=True), 1):
            condition = make_condition(task, reference, of_task.of(item))
            image = shown(condition)
            paste_cell(sheet, image, MARGIN + column * across, y, cell)
    return sheet


def shown(condition: Condition) -> ImageU8:
    """A condition as it is drawn: its hole is magenta."""
    image = condition.image
    if condition.hole is None:
        return image
    return np.where(condition.hole[..., None], np.array(HOLE_COLOUR, dtype=np.uint8), image)


def paste_cell(sheet: Image.Image, image: ImageU8, left: int, top: int, cell: int) -> None:
    """Put an image [H, W, 3] on a sheet as a square of ``cell`` pixels: whole pixels enlarged, or areas averaged."""
    picture = Image.fromarray(image)
    if picture.width != cell:
        enlarges = picture.width < cell
        picture = picture.resize((cell, cell), Image.Resampling.NEAREST if enlarges else Image.Resampling.BOX)
    sheet.paste(picture, (left, top))
