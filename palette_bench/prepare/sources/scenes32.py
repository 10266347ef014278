"""The embedded world: procedural 32x32 scenes of one host and one satellite on a lit, textured ground.

A scene's class is the pair of its two shapes (5 hosts x 4 satellites). Everything else that can be seen keeps
*company* with the class, right four times in five: the host with the texture and the hues of ground and
satellite, the satellite with the side the light comes from and the hue of the host. What is hidden can
therefore be guessed better than by chance, and never surely. Hues are drawn independently of luminance,
and every hue family has two opposite hues, so that a grey image does not tell its colours.

A scene is a pure function of (``WORLD_VERSION``, split, index). Its bits are Philox blocks keyed by the split, with
the index in the counter; its arithmetic is integers and the float64 operations that are correctly rounded
everywhere (+, -, x, /, sqrt, floor), each in a NumPy call of its own, with no sum whose order could vary. Every machine
draws the same pixels, which ``DIGESTS`` pins.

Image coordinates: x to the right, y down, both in pixels, the top left corner of the image at (0, 0).
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.bits import philox4x32, sincos
from palette_bench.common.canonical import canonical_json, fingerprint, pixel_digest
from palette_bench.common.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

WORLD_VERSION = 1
SIZE = 32
HOSTS = ("disc", "square", "hexagon", "star", "cross")
SATELLITES = ("dot", "ring", "diamond", "triangle")
CLASSES = tuple(f"{host}+{satellite}" for host in HOSTS for satellite in SATELLITES)
TEXTURES = ("stripes", "checks", "dots", "zigzag", "grain")


class Split(StrEnum):
    """The three disjoint parts of the world, each with a key of its own."""

    TRAIN = "train"
    EVAL = "eval"
    REFERENCE = "reference"


SPLIT_COUNTS = {Split.EVAL: 2_000, Split.REFERENCE: 10_000}
"""Scenes of the bounded splits; the train split has no end and is streamed."""

DIGESTS = {
    Split.EVAL: "8a9982f4381fdb0eaa796a44775572738304f82581ec5bf45a8a80fb4d089c4f",
    Split.REFERENCE: "2bee9c1a1975b458027595248ee525793fe83a8f54c355599989a7ab9035c333",
}
"""``split_digest`` of all scenes of a bounded split, in index order."""

COMPANY_RATE = 0.8
_SUBSAMPLES = 3
_CHUNK = 80
_MAX_INDEX = 1 << 62


class _Stream(IntEnum):
    """What a scene's bits are for: the last word of their counter."""

    FACTS = 0
    GRAIN = 1
    NOISE = 2


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """What is drawn in n scenes, one entry a scene: indices int64, angles in radians, lengths in pixels.

    ``host_company`` and ``satellite_company`` are the kinds that the surroundings suggest, equal to ``host`` and
    ``satellite`` in ``COMPANY_RATE`` of all scenes. Lumas are BT.601 luma of the unshaded surface on a scale of
    0 to 1, chromas the length of its (Cb, Cr) vector relative to luma, hues the angle of that vector.
    """

    label: Integers
    host: Integers
    satellite: Integers
    host_company: Integers
    satellite_company: Integers
    host_x: Floats
    host_y: Floats
    host_radius: Floats
    host_turn: Floats
    satellite_x: Floats
    satellite_y: Floats
    satellite_radius: Floats
    satellite_turn: Floats
    light: Floats
    light_slope: Floats
    shadow_length: Floats
    shadow_depth: Floats
    relief: Floats
    texture: Integers
    texture_angle: Floats
    texture_period: Floats
    texture_phase_u: Floats
    texture_phase_v: Floats
    texture_contrast: Floats
    ground_luma: Floats
    host_luma: Floats
    satellite_luma: Floats
    ground_chroma: Floats
    host_chroma: Floats
    satellite_chroma: Floats
    ground_hue: Floats
    ground_second_hue: Floats
    host_hue: Floats
    satellite_hue: Floats
    noise: Floats


def describe(split: Split, indices: Sequence[int] | Integers) -> SceneFacts:
    """The facts of the scenes ``indices`` of ``split``, without drawing them.

    Raises InputError for indices outside the split.
    """
    checked = _checked(split, indices)
    deal = _Draws(_words(split, checked, _Stream.FACTS, blocks=16))
    label = checked % len(CLASSES)
    host, satellite = label // len(SATELLITES), label % len(SATELLITES)
    host_company = deal.company(host, len(HOSTS))
    satellite_company = deal.company(satellite, len(SATELLITES))

    # Usually one object in each half, so that hiding a half hides one of them; sometimes both in one half.
    side = 2 * deal.choice(2) - 1
    together = deal.uniform() < 0.12
    host_away = deal.between(5.5, 8.0)
    satellite_away = deal.between(6.5, 11.0)
    vertical = 2 * deal.choice(2) - 1
    host_apart_y = deal.between(-6.0, 6.0)
    satellite_apart_y = deal.between(-10.0, 10.0)
    host_near_y = deal.between(5.5, 7.0)
    satellite_near_y = deal.between(8.5, 11.0)
    middle = SIZE / 2

    light_quadrant = satellite_company
    light = math.pi / 2 * light_quadrant + math.pi / 4 + deal.between(-0.45, 0.45)

    ground_luma = deal.between(0.38, 0.58)
    host_luma = ground_luma * (1 + deal.sign() * deal.between(0.18, 0.40))
    satellite_luma = ground_luma * (1 + deal.sign() * deal.between(0.22, 0.44))
    ground_hue = deal.hue(host_company, len(HOSTS))
    return SceneFacts(
        label=label,
        host=host,
        satellite=satellite,
        host_company=host_company,
        satellite_company=satellite_company,
        host_x=middle + side * host_away,
        host_y=middle + np.where(together, vertical * host_near_y, host_apart_y),
        host_radius=deal.between(5.4, 7.6),
        host_turn=deal.between(0.0, 2 * math.pi),
        satellite_x=middle + np.where(together, side, -side) * satellite_away,
        satellite_y=middle + np.where(together, -vertical * satellite_near_y, satellite_apart_y),
        satellite_radius=deal.between(3.2, 4.3),
        satellite_turn=deal.between(0.0, 2 * math.pi),
        light=light,
        light_slope=deal.between(0.16, 0.32),
        shadow_length=deal.between(1.4, 2.6),
        shadow_depth=deal.between(0.25, 0.45),
        relief=deal.between(0.10, 0.25),
        texture=host_company,
        texture_angle=deal.between(0.35, 0.75),
        texture_period=deal.between(3.6, 5.2),
        texture_phase_u=deal.uniform(),
        texture_phase_v=deal.uniform(),
        texture_contrast=deal.between(0.10, 0.20),
        ground_luma=ground_luma,
        host_luma=host_luma,
        satellite_luma=satellite_luma,
        ground_chroma=deal.between(0.16, 0.34),
        host_chroma=deal.between(0.20, 0.42),
        satellite_chroma=deal.between(0.20, 0.42),
        ground_hue=ground_hue,
        ground_second_hue=ground_hue + deal.sign() * deal.between(0.6, 1.2),
        host_hue=deal.hue(satellite_company, len(SATELLITES)),
        satellite_hue=deal.hue(host_company, len(HOSTS)),
        noise=deal.between(0.02, 0.055),
    )


def render(split: Split, indices: Sequence[int] | Integers) -> tuple[NDArray[np.uint8], Integers]:
    """Draw the scenes ``indices`` of ``split``: images [n, 32, 32, 3] uint8 RGB and labels [n] int64 in 0..19.

    A scene does not depend on what else is drawn with it. Raises InputError for indices outside the split.
    """
    checked = _checked(split, indices)
    images = np.empty((len(checked), SIZE, SIZE, 3), dtype=np.uint8)
    for start in range(0, len(checked), _CHUNK):
        part = checked[start : start + _CHUNK]
        images[start : start + _CHUNK] = draw(split, part, describe(split, part))
    return images, checked % len(CLASSES)


def render_split(split: Split) -> tuple[NDArray[np.uint8], Integers]:
    """All scenes of a bounded split in index order, as ``render`` returns them."""
    if split not in SPLIT_COUNTS:
        raise InputError("this split has no end", found=split, next_step="call render with the indices you want")
    return render(split, np.arange(SPLIT_COUNTS[split]))


def split_digest(images: NDArray[np.uint8], labels: Integers) -> str:
    """One digest over pixels and labels in order, 64 hexadecimal digits."""
    return fingerprint({"pixels": pixel_digest(images), "labels": pixel_digest(labels.astype(np.uint8))})


def _checked(split: Split, indices: Sequence[int] | Integers) -> Integers:
    checked = np.asarray(indices, dtype=np.int64).reshape(-1)
    limit = SPLIT_COUNTS.get(split, _MAX_INDEX)
    outside = checked[(checked < 0) | (checked >= limit)]
    if outside.size:
        raise InputError(
            "no such scene", where=f"scenes32, {split}", expected=f"an index in [0, {limit})", found=int(outside[0])
        )
    return checked


def _words(split: Split, indices: Integers, stream: _Stream, *, blocks: int) -> NDArray[np.uint32]:
    """Random words [n, 4 * blocks] of n scenes: counter (index low, index high, block, stream), key by split."""
    digest = hashlib.sha256(canonical_json(["scenes32", WORLD_VERSION, split])).digest()
    key = (int.from_bytes(digest[0:4], "little"), int.from_bytes(digest[4:8], "little"))
    counters = np.empty((len(indices), blocks, 4), dtype=np.uint32)
    counters[..., 0] = (indices & 0xFFFFFFFF)[:, None]
    counters[..., 1] = (indices >> 32)[:, None]
    counters[..., 2] = np.arange(blocks)
    counters[..., 3] = stream
    return philox4x32(counters.reshape(-1, 4), key).reshape(len(indices), 4 * blocks)


class _Draws:
    """Deals the random words [n, k] of n scenes one column at a time; the order of the calls is the world's."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self._columns: Iterator[NDArray[np.uint32]] = iter(words.T)

    def uniform(self) -> Floats:
        """Numbers in [0, 1), multiples of 2**-32."""
        return next(self._columns).astype(np.float64) * 2.0**-32

    def between(self, low: float, high: float) -> Floats:
        """Numbers in [low, high)."""
        return low + self.uniform() * (high - low)

    def choice(self, kinds: int) -> Integers:
        """Integers in [0, kinds)."""
        return (next(self._columns).astype(np.int64) * kinds) >> 32

    def sign(self) -> Integers:
        """-1 or 1."""
        return 2 * self.choice(2) - 1

    def company(self, kind: Integers, kinds: int) -> Integers:
        """``kind`` at ``COMPANY_RATE``, else one of the other kinds, each as often."""
        right = self.uniform() < COMPANY_RATE
        other = (kind + 1 + self.choice(kinds - 1)) % kinds
        return np.where(right, kind, other)

    def hue(self, family: Integers, families: int) -> Floats:
        """A hue of ``family``: near one of two opposite angles."""
        return (family / families + self.choice(2)) * math.pi + self.between(-0.25, 0.25)


_PIXELS: Floats = np.arange(SIZE, dtype=np.float64) + 0.5
_SAMPLES: Floats = (np.arange(SIZE * _SUBSAMPLES, dtype=np.float64) + 0.5) / _SUBSAMPLES


def draw(split: Split, indices: Sequence[int] | Integers, facts: SceneFacts) -> NDArray[np.uint8]:
    """Draw scenes as ``facts`` says, with the grain and the noise of the scenes ``indices``: [n, 32, 32, 3] uint8 RGB.

    With ``describe``'s facts these are ``render``'s pixels; with changed facts, the same scenes but for the change.
    All n are drawn at once, in 0.3 MB of memory each.
    """
    checked = _checked(split, indices)
    light_y, light_x = sincos(facts.light)
    host = _Outlines(HOSTS, facts.host, facts.host_turn, facts.host_radius)
    satellite = _Outlines(SATELLITES, facts.satellite, facts.satellite_turn, facts.satellite_radius)
    shift_x, shift_y = light_x * facts.shadow_length, light_y * facts.shadow_length

    texture = _texture(facts, _words(split, checked, _Stream.GRAIN, blocks=SIZE * SIZE // 16))
    luma = facts.ground_luma[:, None, None] * (1.0 + facts.texture_contrast[:, None, None] * texture)
    red, blue = _mixed_chroma(facts, 0.5 + 0.5 * texture)
    for outlines, x, y, surface_luma, surface_chroma, surface_hue in (
        (host, facts.host_x, facts.host_y, facts.host_luma, facts.host_chroma, facts.host_hue),
        (
            satellite,
            facts.satellite_x,
            facts.satellite_y,
            facts.satellite_luma,
            facts.satellite_chroma,
            facts.satellite_hue,
        ),
    ):
        shadow = outlines.coverage(x - shift_x, y - shift_y)
        luma = luma * (1.0 - facts.shadow_depth[:, None, None] * shadow)
        inside = outlines.coverage(x, y)
        towards_light = _along(x, y, light_x, light_y) / outlines.radius[:, None, None]
        shaded = surface_luma[:, None, None] * (1.0 + facts.relief[:, None, None] * towards_light)
        luma = luma + inside * (shaded - luma)
        surface_red, surface_blue = _chroma(surface_chroma, surface_hue)
        red = red + inside * (surface_red[:, None, None] - red)
        blue = blue + inside * (surface_blue[:, None, None] - blue)

    centre = np.full(len(checked), SIZE / 2)
    ramp = _along(centre, centre, light_x, light_y) / (SIZE / 2)
    luma = luma * (1.0 + facts.light_slope[:, None, None] * ramp)
    image = _to_rgb(luma, red, blue)
    image = image + facts.noise[:, None, None, None] * _noise(_words(split, checked, _Stream.NOISE, blocks=SIZE * SIZE))
    # Noise leaves the range at the ends; a camera clips there too.
    return np.clip(np.floor(image * 255.0 + 0.5), 0.0, 255.0).astype(np.uint8)


def _along(x: Floats, y: Floats, towards_x: Floats, towards_y: Floats) -> Floats:
    """How far every pixel lies from (x, y) [n] in the direction (towards_x, towards_y) [n]; [n, 32, 32]."""
    across = (_PIXELS - x[:, None]) * towards_x[:, None]
    down = (_PIXELS - y[:, None]) * towards_y[:, None]
    return down[:, :, None] + across[:, None, :]


@dataclass(frozen=True, slots=True)
class _Outline:
    """A shape of unit size, of about the area of the unit disc.

    A point is inside where it is on the inner side of at least ``needed`` of the ``sides`` lines that stand at
    ``distance`` from the centre, their normals spread evenly; with no sides, where it is between the radii ``hole``
    and ``distance``; with a ``width``, on one of two crossed bars, ``distance`` half their length and ``width`` half
    their width.
    """

    distance: float
    sides: int = 0
    needed: int = 0
    hole: float = 0.0
    width: float = 0.0


# All but the star have the area of the unit disc, so that size does not tell the shape. The star's lines are those of
# the pentagram, whose points are on the inner side of four lines of five.
_OUTLINES = {
    "disc": _Outline(distance=1.0),
    "square": _Outline(distance=0.886, sides=4, needed=4),
    "hexagon": _Outline(distance=0.952, sides=6, needed=6),
    "star": _Outline(distance=0.46, sides=5, needed=4),
    "cross": _Outline(distance=1.15, width=0.42),
    "dot": _Outline(distance=1.0),
    "ring": _Outline(distance=1.12, hole=0.5),
    "diamond": _Outline(distance=0.886, sides=4, needed=4),
    "triangle": _Outline(distance=0.778, sides=3, needed=3),
}


class _Outlines:
    """The outlines of one object in each of n scenes."""

    def __init__(self, names: tuple[str, ...], kind: Integers, turn: Floats, radius: Floats) -> None:
        self.radius = radius
        self._scenes_by_name = [(name, np.flatnonzero(kind == number)) for number, name in enumerate(names)]
        sides = np.arange(6) * (2 * math.pi / _sides(names, kind))[:, None]
        self._sine, self._cosine = sincos(turn[:, None] + sides)

    def coverage(self, x: Floats, y: Floats) -> Floats:
        """The covered part of every pixel with the centres at (x, y) [n]: [n, 32, 32], ninths of one."""
        across = (_SAMPLES - x[:, None]) / self.radius[:, None]
        down = (_SAMPLES - y[:, None]) / self.radius[:, None]
        covered = np.zeros((len(x), SIZE, SIZE))
        for name, scenes in self._scenes_by_name:
            if scenes.size:
                inside = _inside(name, across[scenes], down[scenes], self._sine[scenes], self._cosine[scenes])
                covered[scenes] = _count(inside) / (_SUBSAMPLES * _SUBSAMPLES)
        return covered


def _sides(names: tuple[str, ...], kind: Integers) -> Integers:
    """The number of sides of each outline, at least one."""
    return np.array([max(1, _OUTLINES[name].sides) for name in names])[kind]


def _inside(name: str, x: Floats, y: Floats, sine: Floats, cosine: Floats) -> NDArray[np.bool_]:
    """Which of the samples [m, 96, 96] are inside, from their unit columns x [m, 96] and rows y [m, 96].

    ``sine`` and ``cosine`` [m, 6] turn the outline, one pair a side.
    """
    outline = _OUTLINES[name]
    if outline.width:
        u = np.abs((y * sine[:, :1])[:, :, None] + (x * cosine[:, :1])[:, None, :])
        v = np.abs((y * cosine[:, :1])[:, :, None] - (x * sine[:, :1])[:, None, :])
        return (np.maximum(u, v) <= outline.distance) & (np.minimum(u, v) <= outline.width)
    if outline.sides == 0:
        square = (y * y)[:, :, None] + (x * x)[:, None, :]
        inside = square <= outline.distance * outline.distance
        return inside & (square >= outline.hole * outline.hole) if outline.hole else inside
    met = np.zeros((len(x), y.shape[1], x.shape[1]), dtype=np.uint8)
    for side in range(outline.sides):
        met += (y * sine[:, side, None])[:, :, None] + (x * cosine[:, side, None])[:, None, :] <= outline.distance
    return met >= outline.needed


def _count(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many of a pixel's samples are inside: [m, 96, 96] to [m, 32, 32]."""
    counts = np.zeros((len(inside), SIZE, SIZE), dtype=np.uint8)
    for row in range(_SUBSAMPLES):
        for column in range(_SUBSAMPLES):
            counts += inside[:, row::_SUBSAMPLES, column::_SUBSAMPLES]
    return counts


def _texture(facts: SceneFacts, grain_words: NDArray[np.uint32]) -> Floats:
    """The ground's texture [n, 32, 32], mostly in [-1, 1].

    Its angles lean to one side only, so that a mirror image is foreign.
    """
    sine, cosine = sincos(facts.texture_angle)
    zero = np.zeros_like(sine)
    period = facts.texture_period[:, None, None]
    u = _along(zero, zero, cosine, sine) / period + facts.texture_phase_u[:, None, None]
    v = _along(zero, zero, -sine, cosine) / period + facts.texture_phase_v[:, None, None]
    texture = np.empty_like(u)
    for number, name in enumerate(TEXTURES):
        of_kind = np.flatnonzero(facts.texture == number)
        if not of_kind.size:
            continue
        p, q = u[of_kind], v[of_kind]
        match name:
            case "stripes":
                texture[of_kind] = _wave(p)
            case "checks":
                texture[of_kind] = _wave(p) * _wave(q)
            case "dots":
                texture[of_kind] = 2.0 * np.maximum(_wave(p), 0.0) * np.maximum(_wave(q), 0.0) - 0.4
            case "zigzag":
                texture[of_kind] = _wave(p + np.abs(0.6 * q - 2.0 * np.floor(0.3 * q) - 1.0))
            case "grain":
                texture[of_kind] = _grain(grain_words[of_kind])
    return texture


def _wave(turns: Floats) -> Floats:
    """Two parabolas a period, within 0.06 of the sine of ``turns`` x 2 pi."""
    t = 2.0 * (turns - np.floor(turns)) - 1.0
    rising: Floats = -4.0 * t * (1.0 - np.abs(t))
    return rising


def _grain(words: NDArray[np.uint32]) -> Floats:
    """Cells of two pixels, each of a grey of its own: [m, 256] words to [m, 32, 32] in [-1, 1)."""
    cells = (words.astype(np.float64) * 2.0**-31 - 1.0).reshape(len(words), SIZE // 2, SIZE // 2)
    return cells.repeat(2, axis=1).repeat(2, axis=2)


def _chroma(chroma: Floats, hue: Floats) -> tuple[Floats, Floats]:
    """(Cr, Cb) of a chroma [n] and a hue [n]."""
    sine, cosine = sincos(hue)
    return chroma * sine, chroma * cosine


def _mixed_chroma(facts: SceneFacts, part: Floats) -> tuple[Floats, Floats]:
    """(Cr, Cb) of the ground, ``part`` [n, 32, 32] of it in its first hue and the rest in its second."""
    red, blue = _chroma(facts.ground_chroma, facts.ground_hue)
    second_red, second_blue = _chroma(facts.ground_chroma, facts.ground_second_hue)
    return (
        second_red[:, None, None] + part * (red - second_red)[:, None, None],
        second_blue[:, None, None] + part * (blue - second_blue)[:, None, None],
    )


def _to_rgb(luma: Floats, red: Floats, blue: Floats) -> Floats:
    """RGB [n, 32, 32, 3] of BT.601 luma and relative (Cr, Cb): whatever the hue, its luma is ``luma``."""
    red, blue = luma * red, luma * blue
    return np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)


def _noise(words: NDArray[np.uint32]) -> Floats:
    """Sensor noise [n, 32, 32, 3] of unit variance from four words a pixel: one is common to the channels.

    A word's four bytes add up to a bell of mean 510 and standard deviation 147.8.
    """
    octets = words.view(np.uint8).reshape(len(words), SIZE, SIZE, 4, 4).astype(np.int16)
    total = octets[..., 0] + octets[..., 1] + octets[..., 2] + octets[..., 3]
    bell = (total - 510) / 147.80
    return 0.8 * bell[..., :1] + 0.6 * bell[..., 1:]
