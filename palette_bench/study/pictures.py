"""The items that fooled most and least, as one picture: the real image beside the output."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from palette_bench.common.files import atomic_writer
from palette_bench.study.analyze import Findings
from palette_bench.study.definition import Study
from palette_bench.study.design import Kind
from palette_bench.study.stimuli import read_stimulus

SHOWN = 6
_TILE, _GAP, _LABEL = 160, 8, 34


@dataclass(frozen=True, slots=True)
class FooledItem:
    """An item and a model, and how often kept raters were fooled."""

    item: str
    model: str
    trials: int
    rate: float


def by_rate(findings: Findings) -> list[FooledItem]:
    """Items and models of kept raters, most fooling first."""
    kept = {rater.session.id for rater in findings.raters if rater.kept}
    cells: dict[tuple[str, str], list[bool]] = {}
    for j in findings.judgements:
        if j.trial.kind is Kind.MAIN and j.valid and j.session.id in kept:
            cells.setdefault((j.item, j.model), []).append(j.fooled)
    found = [FooledItem(item, model, len(c), sum(c) / len(c)) for (item, model), c in cells.items()]
    return sorted(found, key=lambda f: (-f.rate, -f.trials, f.item, f.model))


def draw_fooled(folder: Path, study: Study, findings: Findings, target: Path) -> None:
    """Write the picture: the items that fooled most above, least below; each real image left, output right."""
    ordered = by_rate(findings)
    most, least = ordered[:SHOWN], ordered[::-1][:SHOWN]
    width = _GAP + SHOWN * (2 * _TILE + 2 * _GAP)
    row = _LABEL + _TILE + _LABEL + _GAP
    sheet = Image.new("RGB", (width, 2 * row + _GAP), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, (title, items) in enumerate((("fooled most", most), ("fooled least", least))):
        top = _GAP + number * row
        pen.text((_GAP, top), f"{title}: real image left, output right", (0, 0, 0), _font(18))
        _draw_row(sheet, pen, folder, study, items, top + _LABEL)
    with atomic_writer(target) as stream:
        sheet.save(stream, "PNG")


def _draw_row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    folder: Path,
    study: Study,
    items: Sequence[FooledItem],
    top: int,
) -> None:
    by_id = {item.id: item for item in study.items}
    places = {model.name: place for place, model in enumerate(study.models)}
    for column, fooled in enumerate(items):
        item = by_id[fooled.item]
        left = _GAP + column * (2 * _TILE + 2 * _GAP)
        for half, digest in enumerate((item.reference, item.outputs[places[fooled.model]])):
            image = Image.fromarray(np.asarray(read_stimulus(folder, digest)))
            sheet.paste(image.resize((_TILE, _TILE), Image.Resampling.BOX), (left + half * _TILE, top))
        text = f"{100 * fooled.rate:.0f} % of {fooled.trials}, {fooled.model}"
        pen.text((left, top + _TILE + 4), text[:44], (0, 0, 0), _font(14))


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(size)
