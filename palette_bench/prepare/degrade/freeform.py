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
from palette_bench.prepare.images import HoleMask
from palette_bench.protocol.tasks import FreeformBrush

DESIGN_SIZE = 256
FIRST_BATCH = 8
LARGEST_BATCH = 32
MAX_CANDIDATES = 100_000


@dataclass(frozen=True, slots=True)
class _Spans:
    """Horizontal runs of pixels.

    Row ``row``, columns ``low`` to ``high`` inclusive, of shape ``shape``; all [n] int64.
    """

    shape: NDArray[np.int64]
    row: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]


def _capsule_spans(segments: NDArray[np.int64], widths: NDArray[np.int64], size: int) -> _Spans:
    """The pixels of capsules, row by row, clipped to a [size, size] grid.

    ``segments`` [n, 4] holds x0, y0, x1, y1 in 0..size, ``widths`` [n] the brush widths. A pixel belongs to a capsule
    when the distance of its centre (x, y) to the segment is at most half the width. A capsule is convex, so its part
    of a row is one interval: the hull of what the two discs and the strip between them cover. Integers only.
    """
    reach = (widths + 1) // 2
    top = np.maximum(np.minimum(segments[:, 1], segments[:, 3]) - reach, 0)
    bottom = np.minimum(np.maximum(segments[:, 1], segments[:, 3]) + reach, size - 1)
    heights = np.maximum(bottom - top + 1, 0)
    shape = np.repeat(np.arange(len(segments)), heights)
    row = np.arange(len(shape)) - np.repeat(np.cumsum(heights) - heights, heights) + top[shape]
    x0, y0, x1, y1 = segments[shape].T
    width = widths[shape]
    dx, dy = x1 - x0, y1 - y0
    length_squared, square_width = dx * dx + dy * dy, width * width

    low, high = np.full_like(row, size), np.full_like(row, -1)
    for centre_x, centre_y in ((x0, y0), (x1, y1)):
        # Disc: 4 (x - cx)^2 + 4 (y - cy)^2 <= w^2.
        budget = square_width - 4 * (row - centre_y) ** 2
        half_chord = _integer_sqrt(np.maximum(budget, 0)) // 2
        inside = budget >= 0
        low = np.where(inside, np.minimum(low, centre_x - half_chord), low)
        high = np.where(inside, np.maximum(high, centre_x + half_chord), high)

    # Strip: |cross| <= w |d| / 2 and 0 <= dot <= |d|^2, each an interval of x - x0 in a given row.
    offset = row - y0
    limit = _integer_sqrt(square_width * length_squared) // 2
    across_low, across_high = _interval(-dy, dx * offset, -limit, limit, size)
    along_low, along_high = _interval(dx, dy * offset, np.zeros_like(row), length_squared, size)
    first = np.maximum(across_low, along_low) + x0
    last = np.minimum(across_high, along_high) + x0
    inside = (first <= last) & (length_squared > 0)
    low = np.maximum(np.where(inside, np.minimum(low, first), low), 0)
    high = np.minimum(np.where(inside, np.maximum(high, last), high), size - 1)
    covered = low <= high
    return _Spans(shape[covered], row[covered], low[covered], high[covered])


def _integer_sqrt(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """floor(sqrt(v)) of 0 <= v < 2**52; the float square root is correctly rounded, the rest is integers."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    return root - (root * root > values)


def _interval(
    slope: NDArray[np.int64], offset: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The integers u with low <= slope * u + offset <= high, as inclusive bounds (empty: first > last)."""
    everything = 4 * size
    flat, negative = slope == 0, slope < 0
    divisor = np.where(flat, 1, np.abs(slope))
    below, above = np.where(negative, offset - high, low - offset), np.where(negative, offset - low, high - offset)
    always = (low <= offset) & (offset <= high)
    first = np.where(flat, np.where(always, -everything, 1), -((-below) // divisor))
    last = np.where(flat, np.where(always, everything, 0), above // divisor)
    return first, last


def _fill(spans: _Spans, size: int) -> HoleMask:
    """The union [size, size] of spans."""
    change = np.zeros(size * (size + 1), dtype=np.int16)
    np.add.at(change, spans.row * (size + 1) + spans.low, 1)
    np.add.at(change, spans.row * (size + 1) + spans.high + 1, -1)
    covered: HoleMask = np.cumsum(change, dtype=np.int16).reshape(size, size + 1)[:, :size] > 0
    return covered


def _areas(spans: _Spans, owner: NDArray[np.int64], count: int, size: int) -> NDArray[np.int64]:
    """How many pixels the union of each candidate's spans has, [count]; ``owner`` [n] names a span's candidate.

    Spans become intervals on one line (candidate after candidate, row after row); sorted by their start, each adds
    what lies beyond the furthest end so far.
    """
    row_start = (owner * size + spans.row) * (size + 1)
    order = np.argsort(row_start + spans.low, kind="stable")
    low, high = (row_start + spans.low)[order], (row_start + spans.high)[order]
    reached = np.concatenate([[-1], np.maximum.accumulate(high)[:-1]])
    added = np.maximum(high - np.maximum(low - 1, reached), 0)
    return np.bincount(owner[order], weights=added, minlength=count).astype(np.int64)


def draw_segments(size: int, segments: NDArray[np.int64], widths: NDArray[np.int64]) -> HoleMask:
    """The union [size, size] of capsules.

    ``segments`` [n, 4] of x0, y0, x1, y1 in 0..size, ``widths`` [n] in pixels.
    """
    spans = _capsule_spans(segments, widths, size)
    return _fill(spans, size)


def candidate_segments(
    words: NDArray[np.uint32], size: int, brush: FreeformBrush
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Algorithm 1 for a batch: segments [n, 4], widths [n] and the candidate [n] that each belongs to.

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
    used = (np.arange(most_steps) < steps[..., None]) & (np.arange(most_strokes)[:, None] < strokes[:, None, None])
    candidate, stroke, step = np.nonzero(used)
    segments = np.concatenate([walk[candidate, stroke, step], walk[candidate, stroke, step + 1]], axis=1)
    return segments, width[candidate, stroke], candidate


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
    batch = FIRST_BATCH
    while True:
        words = bits.words(batch * words_per_candidate(brush)).reshape(batch, -1)
        segments, widths, segment_owner = candidate_segments(words, size, brush)
        spans = _capsule_spans(segments, widths, size)
        owner = segment_owner[spans.shape]
        areas = _areas(spans, owner, batch, size).tolist()
        bounds = np.searchsorted(owner, np.arange(batch + 1)).tolist()
        for area, start, stop in zip(areas, bounds[:-1], bounds[1:], strict=True):
            part = slice(start, stop)
            yield Candidate(area, _Spans(spans.shape[part], spans.row[part], spans.low[part], spans.high[part]), size)
        batch = min(2 * batch, LARGEST_BATCH)


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
