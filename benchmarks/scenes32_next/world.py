"""scenes32, version 2: part of the class lies in what a mean destroys, and keeps company with what stays visible.

A scene's class is the axis of its host's hue (5, its sign at random) and the marks on the host's surface (4: dashes of
one pixel by four, bold or faint, across or along, each at random). Grey takes away the first, blur, JPEG and averaging
the second. Company is right nine times in ten: the host's shape and the ground's texture go with the hue, the
satellite's shape and the quarter that the light comes from with the marks. Everything else is as in version 1, whose
shapes, textures and arithmetic are used.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.bits import philox4x32, sincos
from palette_bench.common.canonical import canonical_json
from palette_bench.prepare.sources import scenes32 as first
from palette_bench.prepare.sources.scenes32 import HOSTS, SATELLITES, SIZE, SPLIT_COUNTS, Floats, Integers, Split

WORLD_VERSION = 2
HUES = 5
MARKS = ("bold across", "bold along", "faint across", "faint along")
CLASSES = tuple(f"hue {hue}, {marks}" for hue in range(HUES) for marks in MARKS)
COMPANY_RATE = 0.9
FAINT, BOLD = (0.06, 0.13), (0.13, 0.26)
"""The contrast of the marks, relative to the surface's luma."""
HUE_SPREAD = 0.2
GROUND_CHROMA, HOST_CHROMA, SATELLITE_CHROMA = (0.10, 0.24), (0.32, 0.52), (0.2, 0.42)
_FACTS, _GRAIN, _NOISE, _MARKS = range(4)
_CHUNK = 80


@dataclass(frozen=True, slots=True)
class Facts(first.SceneFacts):
    """What is drawn in n scenes: version 1's facts, whose ``host`` and ``satellite`` are company here, and three."""

    hue_family: Integers
    marks: Integers
    marks_contrast: Floats

    def part(self, places: NDArray[np.int64]) -> "Facts":
        """The facts of some of the scenes."""
        return replace(self, **{field.name: getattr(self, field.name)[places] for field in fields(self)})


class Bits(NamedTuple):
    """Scenes of the train split whose random bits are drawn with, in place of the scenes' own; None: their own."""

    grain: Integers | None = None
    marks: Integers | None = None
    noise: Integers | None = None


def words(split: Split, indices: Integers, stream: int, *, blocks: int) -> NDArray[np.uint32]:
    """Random words [n, 4 * blocks] of n scenes, as in version 1."""
    digest = hashlib.sha256(canonical_json(["scenes32", WORLD_VERSION, split])).digest()
    key = (int.from_bytes(digest[0:4], "little"), int.from_bytes(digest[4:8], "little"))
    counters = np.empty((len(indices), blocks, 4), dtype=np.uint32)
    counters[..., 0] = (indices & 0xFFFFFFFF)[:, None]
    counters[..., 1] = (indices >> 32)[:, None]
    counters[..., 2] = np.arange(blocks)
    counters[..., 3] = stream
    return philox4x32(counters.reshape(-1, 4), key).reshape(len(indices), 4 * blocks)


class _Draws(first._Draws):
    def company(self, kind: Integers, kinds: int) -> Integers:
        right = self.uniform() < COMPANY_RATE
        other = (kind + 1 + self.choice(kinds - 1)) % kinds
        return np.where(right, kind, other)

    def hue(self, family: Integers, families: int) -> Floats:
        return (family / families + self.choice(2)) * math.pi + self.between(-HUE_SPREAD, HUE_SPREAD)


def contrast_of(marks: Integers, uniform: Floats) -> Floats:
    """The contrast of marks, within the range of their kind."""
    faint, bold = (low + uniform * (high - low) for low, high in (FAINT, BOLD))
    contrast: Floats = np.where(marks >= 2, faint, bold)
    return contrast


def describe(split: Split, indices: Sequence[int] | Integers) -> Facts:
    """The facts of scenes. The order of the draws is the world's."""
    index = np.asarray(indices, dtype=np.int64).reshape(-1)
    deal = _Draws(words(split, index, _FACTS, blocks=16))
    label = index % len(CLASSES)
    hue, marks = label // len(MARKS), label % len(MARKS)
    host = deal.company(hue, len(HOSTS))
    satellite = deal.company(marks, len(SATELLITES))
    side = 2 * deal.choice(2) - 1
    ground_luma = deal.between(0.40, 0.58)
    ground_hue = deal.hue(satellite, len(SATELLITES))
    contrast = contrast_of(marks, deal.uniform())
    middle = SIZE / 2
    return Facts(
        label=label,
        hue_family=hue,
        marks=marks,
        marks_contrast=contrast,
        host=host,
        satellite=satellite,
        host_company=host,
        satellite_company=satellite,
        host_x=middle + side * deal.between(4.8, 6.4),
        host_y=middle + deal.between(-3.0, 3.0),
        host_radius=deal.between(6.0, 7.6),
        host_turn=deal.between(0.0, 2 * math.pi),
        satellite_x=middle - side * deal.between(8.0, 11.0),
        satellite_y=middle + deal.between(-10.5, 10.5),
        satellite_radius=deal.between(3.2, 4.3),
        satellite_turn=deal.between(0.0, 2 * math.pi),
        light=math.pi / 2 * satellite + math.pi / 4 + deal.between(-0.45, 0.45),
        light_slope=deal.between(0.16, 0.32),
        shadow_length=deal.between(1.4, 2.6),
        shadow_depth=deal.between(0.25, 0.45),
        relief=deal.between(0.08, 0.2),
        texture=host,
        texture_angle=deal.between(0.35, 0.75),
        texture_period=deal.between(3.6, 5.2),
        texture_phase_u=deal.uniform(),
        texture_phase_v=deal.uniform(),
        texture_contrast=deal.between(0.10, 0.20),
        ground_luma=ground_luma,
        host_luma=ground_luma * (1 + deal.sign() * deal.between(0.16, 0.36)),
        satellite_luma=ground_luma * (1 + deal.sign() * deal.between(0.22, 0.44)),
        ground_chroma=deal.between(*GROUND_CHROMA),
        host_chroma=deal.between(*HOST_CHROMA),
        satellite_chroma=deal.between(*SATELLITE_CHROMA),
        ground_hue=ground_hue,
        ground_second_hue=ground_hue + deal.sign() * deal.between(0.6, 1.2),
        host_hue=deal.hue(hue, HUES),
        satellite_hue=deal.hue(host, len(HOSTS)),
        noise=deal.between(0.012, 0.03),
    )


def dashes(facts: Facts, bits: NDArray[np.uint32]) -> Floats:
    """Marks [n, 32, 32] of -1 and 1: word ``bits`` [n, 32] of a row (a column) is its offset and its dashes' signs."""
    word = bits.astype(np.int64)
    offset = (word >> 16) & 3
    cell = (np.arange(SIZE) + offset[:, :, None]) >> 2
    across = 2.0 * ((word[:, :, None] >> cell) & 1) - 1.0
    along = (facts.marks & 1 == 1)[:, None, None]
    marks: Floats = np.where(along, across.swapaxes(1, 2), across)
    return marks


def coverage(facts: Facts) -> tuple[Floats, Floats]:
    """The covered part of every pixel by host and satellite, each [n, 32, 32]."""
    host = first._Outlines(HOSTS, facts.host, facts.host_turn, facts.host_radius)
    satellite = first._Outlines(SATELLITES, facts.satellite, facts.satellite_turn, facts.satellite_radius)
    return host.coverage(facts.host_x, facts.host_y), satellite.coverage(facts.satellite_x, facts.satellite_y)


def draw(split: Split, indices: Integers, facts: Facts, bits: Bits = Bits()) -> NDArray[np.uint8]:  # noqa: B008
    """Draw scenes as ``facts`` says: [n, 32, 32, 3] uint8 RGB."""

    def of(other: Integers | None, stream: int, blocks: int) -> NDArray[np.uint32]:
        if other is None:
            return words(split, indices, stream, blocks=blocks)
        return words(Split.TRAIN, other, stream, blocks=blocks)

    light_y, light_x = sincos(facts.light)
    host = first._Outlines(HOSTS, facts.host, facts.host_turn, facts.host_radius)
    satellite = first._Outlines(SATELLITES, facts.satellite, facts.satellite_turn, facts.satellite_radius)
    shift_x, shift_y = light_x * facts.shadow_length, light_y * facts.shadow_length
    texture = first._texture(facts, of(bits.grain, _GRAIN, SIZE * SIZE // 16))
    luma = facts.ground_luma[:, None, None] * (1.0 + facts.texture_contrast[:, None, None] * texture)
    red, blue = first._mixed_chroma(facts, 0.5 + 0.5 * texture)
    marks = 1.0 + facts.marks_contrast[:, None, None] * dashes(facts, of(bits.marks, _MARKS, 8))
    for outlines, x, y, surface, chroma, hue, pattern in (
        (host, facts.host_x, facts.host_y, facts.host_luma, facts.host_chroma, facts.host_hue, marks),
        (
            satellite,
            facts.satellite_x,
            facts.satellite_y,
            facts.satellite_luma,
            facts.satellite_chroma,
            facts.satellite_hue,
            None,
        ),
    ):
        luma = luma * (1.0 - facts.shadow_depth[:, None, None] * outlines.coverage(x - shift_x, y - shift_y))
        inside = outlines.coverage(x, y)
        towards_light = first._along(x, y, light_x, light_y) / outlines.radius[:, None, None]
        shaded = surface[:, None, None] * (1.0 + facts.relief[:, None, None] * towards_light)
        if pattern is not None:
            shaded = shaded * pattern
        luma = luma + inside * (shaded - luma)
        surface_red, surface_blue = first._chroma(chroma, hue)
        red = red + inside * (surface_red[:, None, None] - red)
        blue = blue + inside * (surface_blue[:, None, None] - blue)
    centre = np.full(len(indices), SIZE / 2)
    luma = luma * (1.0 + facts.light_slope[:, None, None] * first._along(centre, centre, light_x, light_y) / (SIZE / 2))
    noise = first._noise(of(bits.noise, _NOISE, SIZE * SIZE))
    image = first._to_rgb(luma, red, blue) + facts.noise[:, None, None, None] * noise
    return np.clip(np.floor(image * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)


def render(split: Split, indices: Sequence[int] | Integers) -> tuple[NDArray[np.uint8], Integers]:
    """Scenes [n, 32, 32, 3] uint8 RGB and their labels [n] in 0..19."""
    index = np.asarray(indices, dtype=np.int64).reshape(-1)
    images = np.empty((len(index), SIZE, SIZE, 3), dtype=np.uint8)
    for start in range(0, len(index), _CHUNK):
        part = index[start : start + _CHUNK]
        images[start : start + _CHUNK] = draw(split, part, describe(split, part))
    return images, index % len(CLASSES)


def render_split(split: Split) -> tuple[NDArray[np.uint8], Integers]:
    """All scenes of a bounded split."""
    return render(split, np.arange(SPLIT_COUNTS[split]))
