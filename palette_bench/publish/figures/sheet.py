"""One picture of several models: a line an item with its condition, each model's prediction, and the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.types import ImageU8
from palette_bench.prepare.contact_sheet import GAP, INK, MARGIN, PAPER, QUIET, paste_cell, shown
from palette_bench.protocol.tasks import Task

CELL = 128


@dataclass(frozen=True, slots=True)
class SheetBlock:
    """The lines of one task: what it is, which items, and the folders of predictions by the model's title."""

    task: Task
    indices: Sequence[int]
    predictions: Mapping[str, Path]


def comparison_sheet(eval_set: EvalSet, blocks: Sequence[SheetBlock]) -> Image.Image:
    """A block a task under a heading, as many columns as the widest needs. Raises InputError for a missing image."""
    across, down = CELL + GAP, CELL + GAP + 14
    heading = 44
    columns = max(len(block.predictions) for block in blocks) + 2
    height = MARGIN + sum(heading + len(block.indices) * down for block in blocks)
    sheet = Image.new("RGB", (2 * MARGIN + columns * across - GAP, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    small, title = ImageFont.load_default(11), ImageFont.load_default(16)
    y = MARGIN
    for block in blocks:
        draw.text(
            (MARGIN, y - 4), f"{block.task.title}   {eval_set.set_id} version {eval_set.version}", INK, font=title
        )
        names = ["condition", *block.predictions, "reference"]
        for column, name in enumerate(names):
            draw.text((MARGIN + column * across, y + 20), name, INK, font=small)
        y += heading - 6
        conditions = eval_set.conditions(block.task)
        for index in block.indices:
            item = eval_set.items[index]
            cells = [shown(conditions.of(item))]
            cells += [_prediction(folder, item.id) for folder in block.predictions.values()]
            cells.append(eval_set.reference(item))
            for column, image in enumerate(cells):
                paste_cell(sheet, image, MARGIN + column * across, y, CELL)
            draw.text((MARGIN, y + CELL + 1), item.id, QUIET, font=small)
            y += down
        y += 6
    return sheet


def _prediction(folder: Path, item_id: str) -> ImageU8:
    """The prediction of an item, or the first of its samples."""
    path = folder / f"{item_id}.png"
    if not path.is_file():
        path = folder / item_id / "0.png"
    try:
        return decode(path.read_bytes()).pixels
    except (OSError, BadImageError) as error:
        raise InputError("a prediction cannot be drawn", where=path, found=error) from error
