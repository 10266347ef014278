"""Free-form masks: Algorithm 1 of DeepFillv2 with the authors' parameters, drawn by a rasteriser of our own.

The authors' code draws with a graphics library and a library's random stream, both of which change between releases.
Here every number comes from counter-based bits and every pixel from integer arithmetic, so a mask is the same for ever.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.bits import CounterBits, log, sincos
from palette_bench.images.types import HoleMask
from palette_bench.protocol.tasks import FreeformBrush

DESIGN_SIZE = 256
FIRST_BATCH = 8
LARGEST_BATCH = 32
"""Batches for a 256-pixel image; smaller ones cost less each. They move no mask."""
MAX_CANDIDATES = 100_000


@dataclass(frozen=True, slots=True)
class Strokes:
    """Brush strokes as discs and the strips between them; coordinates and widths in pixels.

    ``discs`` [n, 3] of x, y, width and ``strips`` [m, 5] of x0, y0, x1, y1, width, int64; ``disc_owner`` [n] and
    ``strip_owner`` [m] say which candidate of a batch each belongs to.
    """

    discs: NDArray[np.int64]
    disc_owner: NDArray[np.int64]
    strips: NDArray[np.int64]
    strip_owner: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Spans:
    """Runs of pixels: ``row``, columns ``low`` to ``high`` inclusive, of candidate ``owner``; all [n] int64."""

    owner: NDArray[np.int64]
    row: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]


# A slope of zero divides by this instead: whatever is not zero then exceeds every coordinate.
_NO_SLOPE = 2.0**-30


def _spans(strokes: Strokes, size: int) -> _Spans:
    """The pixels of strokes, row by row, clipped to a [size, size] grid, by candidate.

    A pixel belongs to a stroke when the distance of its centre (x, y) to the drawn line is at most half the width. All
    values are integers or halves below 2**52 held in float64, where sums, products and the floors of
    quotients and roots are exact.
    """
    parts = [
        _disc_spans(strokes.discs, strokes.disc_owner, size),
        _strip_spans(strokes.strips, strokes.strip_owner, size),
    ]
    owner, row, low, high = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(owner, kind="stable")
    return _Spans(owner[order], row[order], low[order], high[order])


_Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _rows(top: NDArray[np.int64], bottom: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every row of every shape: the shape's number and the row, for shapes that reach from ``top`` to ``bottom``."""
    top, bottom = np.maximum(top, 0), np.minimum(bottom, size - 1)
    heights = np.maximum(bottom - top + 1, 0)
    shape = np.repeat(np.arange(len(top)), heights)
    return shape, np.arange(len(shape)) - (np.cumsum(heights) - heights - top)[shape]


def _clipped(
    owner: NDArray[np.int64], row: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64], size: int
) -> _Columns:
    low, high = np.maximum(low, 0.0), np.minimum(high, size - 1.0)
    covered = low <= high
    return owner[covered], row[covered], low[covered].astype(np.int64), high[covered].astype(np.int64)


def _disc_spans(discs: NDArray[np.int64], owner: NDArray[np.int64], size: int) -> _Columns:
    """Discs 4 (x - cx)^2 + 4 (y - cy)^2 <= w^2."""
    reach = discs[:, 2] // 2
    shape, row = _rows(discs[:, 1] - reach, discs[:, 1] + reach, size)
    x, y, width = discs.astype(np.float64).T[:, shape]
    distance = row - y
    half_chord = np.floor(np.sqrt(width * width - 4.0 * distance * distance) * 0.5)
    return _clipped(owner[shape], row, x - half_chord, x + half_chord, size)


def _strip_spans(strips: NDArray[np.int64], owner: NDArray[np.int64], size: int) -> _Columns:
    """Strips |cross| <= w |d| / 2 and 0 <= dot <= |d|^2, d the drawn line: two intervals of x - x0 in every row.

    Bounds are widened by a half, which changes no integer solution and keeps them off zero. A point has no strip.
    """
    reach = (strips[:, 4] + 1) // 2
    top, bottom = np.minimum(strips[:, 1], strips[:, 3]), np.maximum(strips[:, 1], strips[:, 3])
    shape, row = _rows(top - reach, bottom + reach, size)
    x0, y0, x1, y1, width = strips.astype(np.float64).T
    dx, dy = x1 - x0, y1 - y0
    length_squared = dx * dx + dy * dy
    limit = np.where(length_squared > 0.0, np.floor(np.sqrt(width * width * length_squared) * 0.5) + 0.5, -1.0)
    sign_x, sign_y = np.where(dx < 0.0, -1.0, 1.0), np.where(dy < 0.0, -1.0, 1.0)
    # |dy| u within limit of sign(dy) dx v, and |dx| u within half of sign(dx) (|d|^2 / 2 - dy v), for v = y - y0.
    across, across_slope = sign_y * dx, np.where(dy == 0.0, _NO_SLOPE, np.abs(dy))
    half, along_slope = length_squared * 0.5, np.where(dx == 0.0, _NO_SLOPE, np.abs(dx))
    table = np.stack([x0, y0, across, limit, across_slope, sign_x * half, sign_x * dy, half + 0.5, along_slope])
    x0, y0, across, limit, across_slope, middle, along, half, along_slope = table[:, shape]
    v = row - y0
    centre = across * v
    low, high = np.ceil((centre - limit) / across_slope), np.floor((centre + limit) / across_slope)
    centre = middle - along * v
    low = np.maximum(low, np.ceil((centre - half) / along_slope))
    high = np.minimum(high, np.floor((centre + half) / along_slope))
    return _clipped(owner[shape], row, low + x0, high + x0, size)


def _fill(spans: _Spans, size: int) -> HoleMask:
    """The union [size, size] of spans."""
    change = np.zeros(size * (size + 1), dtype=np.int16)
    np.add.at(change, spans.row * (size + 1) + spans.low, np.int16(1))
    np.add.at(change, spans.row * (size + 1) + spans.high + 1, np.int16(-1))
    covered: HoleMask = np.cumsum(change, dtype=np.int16).reshape(size, size + 1)[:, :size] > 0
    return covered


def _areas(spans: _Spans, count: int, size: int) -> NDArray[np.int64]:
    """How many pixels the union of each candidate's spans has, [count].

    Spans become intervals on one line (candidate after candidate, row after row); sorted by their start, each adds
    what lies beyond the furthest end so far.
    """
    row_start = (spans.owner * size + spans.row) * (size + 1)
    order = np.argsort(row_start + spans.low, kind="stable")
    low, high = (row_start + spans.low)[order], (row_start + spans.high)[order]
    reached = np.concatenate([[-1], np.maximum.accumulate(high)[:-1]])
    added = np.maximum(high - np.maximum(low - 1, reached), 0)
    return np.bincount(spans.owner[order], weights=added, minlength=count).astype(np.int64)


def draw_segments(size: int, segments: NDArray[np.int64], widths: NDArray[np.int64]) -> HoleMask:
    """The union [size, size] of round-ended lines: ``segments`` [n, 4] of x0, y0, x1, y1 in 0..size, ``widths`` [n]."""
    ends = np.concatenate([segments[:, :2], segments[:, 2:]])
    discs = np.concatenate([ends, np.tile(widths, 2)[:, None]], axis=1)
    strips = np.concatenate([segments, widths[:, None]], axis=1)
    none = np.zeros(2 * len(segments), dtype=np.int64)
    return _fill(_spans(Strokes(discs, none, strips, none[: len(segments)]), size), size)


def draw_strokes(words: NDArray[np.uint32], size: int, brush: FreeformBrush) -> Strokes:
    """Algorithm 1 for a batch of candidates.

    ``words`` [batch, words_per_candidate(brush)] are random. Strokes walk from a random start; each step has an angle
    drawn around ``mean_angle`` (every other one reflected) and a length N(r, r / 2) clipped to [0, 2 r] with r =
    diagonal / 8; vertices are truncated to integers and kept in the image. Widths scale with size / 256.
    """
    most_strokes, most_steps = brush.strokes[1] - 1, brush.vertices[1] - 1
    draws = (words.astype(np.float64) + 0.5) * 2.0**-32
    batch = len(draws)
    strokes = brush.strokes[0] + (draws[:, 0] * (brush.strokes[1] - brush.strokes[0])).astype(np.int64)
    per_stroke = draws[:, 1 : 1 + most_strokes * (6 + 3 * most_steps)].reshape(batch, most_strokes, -1)
    steps = brush.vertices[0] + (per_stroke[..., 0] * (brush.vertices[1] - brush.vertices[0])).astype(np.int64)
    low, high = (w * size / DESIGN_SIZE for w in brush.width)
    width = np.maximum(1, (low + per_stroke[..., 1] * (high - low)).astype(np.int64))
    mean = brush.mean_angle[0] * math.pi / brush.mean_angle[1]
    spread = brush.angle_range[0] * math.pi / brush.angle_range[1]
    smallest, largest = mean - per_stroke[..., 2, None] * spread, mean + per_stroke[..., 3, None] * spread
    angles = smallest + per_stroke[..., 6 : 6 + most_steps] * (largest - smallest)
    angles[..., 0::2] = 2.0 * math.pi - angles[..., 0::2]
    sine, cosine = sincos(angles)
    radius = math.sqrt(2 * size * size) / brush.radius_divisor
    magnitude = np.sqrt(-2.0 * log(per_stroke[..., 6 + most_steps : 6 + 2 * most_steps]))
    _, phase = sincos(per_stroke[..., 6 + 2 * most_steps :] * (2.0 * math.pi))
    lengths = np.clip(radius + magnitude * phase * (radius / 2.0), 0.0, 2.0 * radius)
    step_x, step_y = lengths * cosine, lengths * sine

    walk = np.empty((batch, most_strokes, most_steps + 1, 2), dtype=np.int64)
    walk[..., 0, :] = (per_stroke[..., 4:6] * size).astype(np.int64)
    for i in range(most_steps):
        walk[..., i + 1, 0] = np.clip(walk[..., i, 0] + step_x[..., i], 0, size)
        walk[..., i + 1, 1] = np.clip(walk[..., i, 1] + step_y[..., i], 0, size)
    painted = np.arange(most_strokes)[:, None] < strokes[:, None, None]
    owner, stroke, step = np.nonzero(painted & (np.arange(most_steps) < steps[..., None]))
    brush_width = width[owner, stroke, None]
    strips = np.concatenate([walk[owner, stroke, step], walk[owner, stroke, step + 1], brush_width], axis=1)
    disc_owner, stroke, vertex = np.nonzero(painted & (np.arange(most_steps + 1) <= steps[..., None]))
    discs = np.concatenate([walk[disc_owner, stroke, vertex], width[disc_owner, stroke, None]], axis=1)
    return Strokes(discs, disc_owner, strips, owner)


def words_per_candidate(brush: FreeformBrush) -> int:
    """How many random words one candidate takes, a multiple of four."""
    used = 1 + (brush.strokes[1] - 1) * (6 + 3 * (brush.vertices[1] - 1))
    return -(-used // 4) * 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """One outcome of Algorithm 1: its area in pixels, and its mask when asked for."""

    area: int
    spans: _Spans
    size: int

    def mask(self) -> HoleMask:
        """The mask [size, size]."""
        return _fill(self.spans, self.size)


def candidates(purpose: object, size: int, brush: FreeformBrush) -> Iterator[Candidate]:
    """Outcomes of Algorithm 1, whatever their area; the k-th is a pure function of ``purpose`` and k."""
    bits = CounterBits(purpose)
    cheaper = max(1, DESIGN_SIZE // size)
    batch = FIRST_BATCH * cheaper
    while True:
        words = bits.words(batch * words_per_candidate(brush)).reshape(batch, -1)
        spans = _spans(draw_strokes(words, size, brush), size)
        areas = _areas(spans, batch, size).tolist()
        bounds = np.searchsorted(spans.owner, np.arange(batch + 1)).tolist()
        for area, start, stop in zip(areas, bounds[:-1], bounds[1:], strict=True):
            part = slice(start, stop)
            yield Candidate(area, _Spans(spans.owner[part], spans.row[part], spans.low[part], spans.high[part]), size)
        batch = min(2 * batch, LARGEST_BATCH * cheaper)


def freeform_mask(words: NDArray[np.uint32], size: int, brush: FreeformBrush) -> HoleMask:
    """One outcome of Algorithm 1, whatever its area, from random ``words`` [words_per_candidate(brush)]."""
    return _fill(_spans(draw_strokes(words[None], size, brush), size), size)


def freeform_masks(
    purpose: object, size: int, brush: FreeformBrush, bands: Sequence[tuple[int, int]]
) -> list[HoleMask]:
    """For every band of area the first candidate in it, [low, high) percent of the image; a pure function of its
    arguments.

    ``purpose`` keys the bits: set, version, item id. All bands look through the same candidates, so the mask of one
    band is the same whichever others are asked for.
    """
    found: dict[int, HoleMask] = {}
    pixels = size * size
    for candidate in itertools.islice(candidates(purpose, size, brush), MAX_CANDIDATES):
        for number, (low, high) in enumerate(bands):
            # SCORE: the rule that accepts a mask.
            if number not in found and low * pixels <= 100 * candidate.area < high * pixels:
                found[number] = candidate.mask()
        if len(found) == len(bands):
            return [found[number] for number in range(len(bands))]
    raise ArithmeticError(f"no masks of {bands} % in {MAX_CANDIDATES} candidates for {purpose}")
