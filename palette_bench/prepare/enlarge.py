"""Conditions on a larger canvas, for models that want another size. Nothing here sees what a hole hides."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palette_bench.artifacts.evalset import EvalItem, EvalSet
from palette_bench.common.errors import InputError, UsageError
from palette_bench.common.listing import Source
from palette_bench.images.decode import BadImageError, decode
from palette_bench.images.geometry import GEOMETRIES
from palette_bench.images.holes import punch
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.prepare.selection.select import item_id
from palette_bench.prepare.sources.datasets import open_source
from palette_bench.protocol.definition import Family, GeometryName


def _bilinear(plane: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))


def twice(image: ImageU8, hole: HoleMask) -> tuple[ImageU8, HoleMask]:
    """Image [2H, 2H, 3] and hole [2H, 2H] of an image [H, H, 3] with a hole [H, H].

    Bilinear, over known pixels only, so that no black leaks out of the hole; then every 2x2 block is moved to the mean
    it must have: averaging the known blocks gives the image back, but for the rounding where a block is near 0 or 255.
    """
    size = 2 * image.shape[0]
    known = (~hole).astype(np.float32)
    weight = np.maximum(_bilinear(known, size), np.float32(1e-6))
    planes = []
    for channel in range(3):
        plane = image[..., channel].astype(np.float32)
        large = _bilinear(plane * known, size) / weight
        means = large.reshape(size // 2, 2, size // 2, 2).mean(axis=(1, 3))
        planes.append(large + np.repeat(np.repeat(plane - means, 2, axis=0), 2, axis=1))
    large_hole = np.repeat(np.repeat(hole, 2, axis=0), 2, axis=1)
    enlarged: ImageU8 = np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)
    return punch(enlarged, large_hole), large_hole


def one_more(image: ImageU8, hole: HoleMask) -> ImageU8:
    """An image [H + 1, H + 1, 3], bicubic, of one whose right part is hidden; the last known column continues there.

    Black instead would darken the known pixels beside the border.
    """
    known = int(np.count_nonzero(~hole[0]))
    height, width = hole.shape
    continued = np.concatenate(
        [image[:, :known], np.repeat(image[:, known - 1 : known], width - known, axis=1)], axis=1
    )
    return np.asarray(Image.fromarray(continued).resize((width + 1, height + 1), Image.Resampling.BICUBIC))


class Rule(StrEnum):
    """How an image of twice the side is cut out of a source image, so that its centre is the reference."""

    CROP = "centre-crop"
    SQUARE_AREA = "square-area"
    SHORT_SIDE_BILINEAR = "short-side-bilinear"
    ADM = "adm"


def _cut(image: ImageU8, rule: Rule, side: int) -> ImageU8:
    if rule is not Rule.CROP:
        return GEOMETRIES[GeometryName(rule.value)](image, side)
    height, width = image.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around the references of a set, read from the source images again. Plain data, for worker processes."""

    source: Source
    names: Mapping[str, str]
    rule: Rule

    def around(self, eval_set: EvalSet, item: EvalItem) -> ImageU8:
        """The image [2S, 2S, 3] whose centre is the item's reference, pixel by pixel. Raises BadImageError."""
        image = _read(self.source, self.names[item.id], eval_set)
        large = _cut(image, self.rule, 2 * eval_set.size)
        if not _agrees(large, eval_set.reference(item)):
            raise BadImageError(f"the centre of its {self.rule.value} at {2 * eval_set.size} is not the reference")
        return large


def _read(source: Source, name: str, eval_set: EvalSet) -> ImageU8:
    side = 2 * eval_set.size
    try:
        image = decode(source.read(name), exif=eval_set.protocol.exif).pixels
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    if min(image.shape[:2]) < side:
        raise BadImageError(f"{image.shape[1]}x{image.shape[0]} is too small for a square of {side}")
    return image


def _agrees(large: ImageU8, reference: ImageU8) -> bool:
    quarter = large.shape[0] // 4
    return np.array_equal(large[quarter:-quarter, quarter:-quarter], reference)


def surroundings(eval_set: EvalSet, where: Path) -> Surroundings:
    """What is around the references of a set, from the images at ``where``.

    The rule is found, not assumed: the one under which the first image's centre is the reference, pixel by pixel; every
    other image is checked against it when it is read. Raises InputError when an image is missing, too small, or no rule
    fits: a reference that shows the whole shorter side of its image has nothing around it.
    """
    if eval_set.family is Family.SCENES32:
        raise UsageError("the scenes of this set are drawn: there is nothing around them", found=eval_set.set_id)
    source = open_source(eval_set.family, where, None).source
    held = {item_id(name): name for name in source.names()}
    names = {item.id: held[item.id] for item in eval_set.items if item.id in held}
    missing = [item.id for item in eval_set.items if item.id not in names]
    if missing:
        raise InputError(
            f"{len(missing)} of {eval_set.count} images are not in the source",
            where=where,
            expected=f"an image for every item, such as {missing[0]}",
            found=f"{len(held)} images, {len(names)} of them in the set",
            next_step="give the folder or .tar of the original images",
        )
    first = eval_set.items[0]
    reference = eval_set.reference(first)
    try:
        image = _read(source, names[first.id], eval_set)
    except BadImageError as error:
        raise InputError(
            "a source image cannot be used for larger inputs",
            where=f"{where}: {names[first.id]}",
            expected=f"an image of at least {2 * eval_set.size} pixels each way",
            found=error,
            next_step="use images that are large enough, or a layout of the set's own size",
        ) from error
    for rule in Rule:
        if _agrees(_cut(image, rule, 2 * eval_set.size), reference):
            return Surroundings(source, names, rule)
    raise InputError(
        "the references of this set are not the centre of anything larger",
        where=f"{eval_set.set_id}: {first.id}",
        expected="a reference that is the centre of its source image's "
        f"{2 * eval_set.size}x{2 * eval_set.size} square, by "
        f"{' or '.join(rule.value for rule in Rule)}",
        found=f"geometry {eval_set.geometry}, which shows the whole shorter side of an image",
        next_step="make a folder set of the central squares first, as docs/importing.md says, or use a layout of the "
        "set's own size",
    )
