"""Panoramas as figures, the original marked (Figures 2 and C.10 of the paper)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from palette_bench.common import schema
from palette_bench.common.canonical import pixel_digest
from palette_bench.common.errors import InputError, Problem, VerificationError
from palette_bench.common.files import read_json
from palette_bench.common.schema import Digest, Key
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.types import ImageU8
from palette_bench.predict.models.panorama import SCHEMA, Side
from palette_bench.publish.figures.account import Figure, figure
from palette_bench.publish.figures.grid import INPUT, LONGEST_NAME, WIDTH_INCHES
from palette_bench.publish.figures.page import LEAST_DPI, POINTS_PER_INCH, Page, drawable, enlarged

LABEL_POINTS = 8.0
MARK_POINTS = 1.0
NEXT = "make it again: palette-bench panorama writes the PNG and, beside it, the JSON"


@dataclass(frozen=True, slots=True)
class Strip:
    """One panorama [S, width S, 3], and the columns ``first`` to ``last`` - 1 that are the original."""

    item_id: str
    image: ImageU8
    first: int
    last: int


def read_panoramas(png: Path) -> tuple[dict[str, ImageU8], Mapping[str, object]]:
    """What ``palette-bench panorama`` wrote: the images by item, and its account.

    Raises InputError for files that are none of it, VerificationError for pixels that are not those of the account.
    """
    account = read_json(png.with_suffix(".json"), kind="panorama", next_step=NEXT)
    try:
        pixels = decode(png.read_bytes()).pixels
    except (OSError, BadImageError) as error:
        raise InputError("a panorama cannot be read", where=png, found=error, next_step=NEXT) from error
    digests, size, width, _ = _read(account, png.with_suffix(".json"))
    if pixels.shape != (len(digests) * size, width * size, 3):
        raise VerificationError(
            "a panorama is of another size than its account says",
            where=png,
            expected=f"{width * size}x{len(digests) * size} pixels",
            found=f"{pixels.shape[1]}x{pixels.shape[0]}",
            next_step=NEXT,
        )
    images = {name: pixels[size * row : size * (row + 1)] for row, name in enumerate(digests)}
    if changed := [name for name, image in images.items() if pixel_digest(image) != digests[name]]:
        raise VerificationError(
            "a panorama's pixels are not those of its account",
            where=png,
            problems=[Problem("changed", name, "") for name in changed],
            next_step=NEXT,
        )
    return images, account


def panorama(
    images: Mapping[str, ImageU8],
    account: Mapping[str, object],
    *,
    name: str | None = None,
    width: float = WIDTH_INCHES,
) -> Figure:
    """Panoramas below each other, the original's columns marked above each; no pixel of theirs is drawn over.

    ``images`` and ``account`` are of ``make_panoramas`` or `read_panoramas`; ``name`` is what the caption calls the
    model, its title without one.
    """
    _, size, across, sides = _read(account, None)
    strips = [Strip(item_id, image, *_original(size, across, sides)) for item_id, image in images.items()]
    columns = across * size
    times = max(1, math.ceil(LEAST_DPI * width / columns))
    dpi = times * columns / width
    point = dpi / POINTS_PER_INCH
    label, mark, gap = round(1.3 * LABEL_POINTS * point), round(3.5 * point), max(1, round(2.5 * point))
    model = account["model"]
    title = name or (str(model.get("title", "")) if isinstance(model, Mapping) else "")
    caption = _caption(drawable(title)[:LONGEST_NAME], account, strips, size, across)
    height = label + len(strips) * (mark + times * size + gap) - gap
    with Page(times * columns, height, dpi) as page:
        first, last = (times * edge for edge in (strips[0].first, strips[0].last))
        page.text(INPUT, (first + last) / 2, label - 2.0 * point, points=LABEL_POINTS)
        y = label
        for strip in strips:
            inset = MARK_POINTS * point / 2
            bar, foot = y + inset, y + mark - point / 2
            page.line(
                (first + inset, foot),
                (first + inset, bar),
                (last - inset, bar),
                (last - inset, foot),
                points=MARK_POINTS,
            )
            page.image(enlarged(strip.image, times), 0, y + mark)
            y += mark + times * size + gap
        drawn = page.drawn(title=f"{account['set']}, panorama", caption=caption)
    facts = {key: value for key, value in account.items() if key not in ("schema", "software")}
    return figure(
        "panorama",
        caption,
        drawn,
        {
            **facts,
            "original_columns": [strips[0].first, strips[0].last],
            "chosen": {"how": "by hand", "rule": "named by whoever made the panorama"},
            "enlarged": times,
            "width_inches": width,
        },
    )


def _original(size: int, across: int, sides: Sequence[Side]) -> tuple[int, int]:
    grown = (across - 1) * size
    first = 0 if Side.LEFT not in sides else grown if Side.RIGHT not in sides else grown // 2
    return first, first + size


def _caption(title: str, account: Mapping[str, object], strips: Sequence[Strip], size: int, across: int) -> str:
    ids = ", ".join(strip.item_id for strip in strips)
    strip = strips[0]
    grown = [
        f"{count // (size // 2)} steps to the {side}"
        for side, count in (("right", across * size - strip.last), ("left", strip.first))
        if count
    ]
    return (
        f"Panorama uncropping by {title}: from the marked {size}x{size} pixels of the original, {' and '.join(grown)}, "
        f"half an image each, to {size}x{across * size}. {account['set']} version {account['version']}, "
        f"{len(strips)} {'item' if len(strips) == 1 else 'items'} chosen by hand: {ids}. Seed {account['seed']}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaItem:
    """One panorama: the seeds of its steps by side, and the digest of its pixels."""

    id: str
    reference_sha256: Digest
    seeds: Mapping[Side, object]
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What ``palette-bench panorama`` writes beside its PNG."""

    FILE: ClassVar = schema.File("panorama", version=("schema", SCHEMA), next_step=NEXT, every_key=True)

    set_id: Annotated[str, Key("set")]
    version: int
    set_fingerprint: Digest
    data_digest: Digest
    size: Annotated[int, Ge(2)]
    width: Annotated[int, Ge(2)]
    model: Mapping[str, object]
    seed: int
    seed_rule: str
    items: tuple[PanoramaItem, ...]
    software: Mapping[str, str]

    def faults(self) -> Iterator[Problem]:
        """Nothing that grew."""
        if not any(item.seeds for item in self.items):
            yield Problem("wrong value", "items", "expected items that grew to the right, to the left or both")


def _read(account: Mapping[str, object], where: Path | None) -> tuple[dict[str, str], int, int, tuple[Side, ...]]:
    """Digests of the pixels by item, the original's side, the width in such sides, and where it grew."""
    said = schema.load(Account, account, where=where)
    sides = {side for item in said.items for side in item.seeds}
    return {i.id: i.sha256 for i in said.items}, said.size, said.width, tuple(side for side in Side if side in sides)
