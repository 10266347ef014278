"""One picture of a set: some items, their references and the condition of every task."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palette_bench.prepare.degrade.condition import make_condition
from palette_bench.prepare.frozen import FrozenSet
from palette_bench.prepare.images import ImageU8

SMALLEST_CELL = 96
LARGEST_CELL = 256
GAP, HEADER, MARGIN = 6, 26, 12
PAPER, INK, QUIET = (255, 255, 255), (20, 20, 20), (110, 110, 110)
HOLE_COLOUR = (255, 0, 255)


def contact_sheet(opened: FrozenSet, *, rows: int) -> Image.Image:
    """``rows`` items spread evenly over the set, one a line: reference, then every task; holes are magenta."""
    count = min(rows, opened.count)
    indices = [i * opened.count // count for i in range(count)]
    tasks = [opened.task(name) for name in opened.task_names]
    holes = [opened.holes(task) for task in tasks]
    cell = min(max(opened.size, SMALLEST_CELL), LARGEST_CELL)
    step = cell + GAP
    sheet = Image.new(
        "RGB", (2 * MARGIN + (1 + len(tasks)) * step - GAP, 2 * MARGIN + 2 * HEADER + count * (step + 14) - GAP), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    title, small = ImageFont.load_default(16), ImageFont.load_default(11)
    heading = f"{opened.set_id} version {opened.version}   {opened.count} items   data {opened.data_digest[:16]}"
    draw.text((MARGIN, MARGIN - 4), heading, INK, font=title)
    for column, name in enumerate(("reference", *(task.name.removeprefix("inpaint-") for task in tasks))):
        draw.text((MARGIN + column * step, MARGIN + HEADER), name, INK, font=small)
    for line, index in enumerate(indices):
        item = opened.items[index]
        top = MARGIN + 2 * HEADER + line * (step + 14)
        reference = opened.reference(item)
        _paste(sheet, reference, MARGIN, top, cell)
        label = f"{item.id}" + ("" if item.label is None else f"   class {item.label}")
        draw.text((MARGIN, top + cell + 1), label, QUIET, font=small)
        for column, (task, of_task) in enumerate(zip(tasks, holes, strict=True), 1):
            condition = make_condition(task, reference, of_task.of(item))
            image = condition.image
            if condition.hole is not None:
                image = np.where(condition.hole[..., None], np.array(HOLE_COLOUR, dtype=np.uint8), image)
            _paste(sheet, image, MARGIN + column * step, top, cell)
    return sheet


def _paste(sheet: Image.Image, image: ImageU8, left: int, top: int, cell: int) -> None:
    picture = Image.fromarray(image)
    if picture.width != cell:
        picture = picture.resize(
            (cell, cell), Image.Resampling.NEAREST if picture.width < cell else Image.Resampling.BOX
        )
    sheet.paste(picture, (left, top))
