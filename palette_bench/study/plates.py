"""Colour plates: dots of random brightness, with a digit in a hue that red-green deficiency confuses with the ground's.

A screening for studies of colour on screens nobody calibrated, and no medical test. Brightness says nothing about the
digit, hue alone does; the first plate differs in brightness too, and everybody can read it.
"""

import math

import numpy as np

from palette_bench.common.bits import CounterBits
from palette_bench.images.types import ImageU8
from palette_bench.study.design import permutation

SIZE = 256
NONE = "none"
CHOICES = (*"23456789", NONE)
_DIGITS = {
    "2": "01110 10001 00001 00010 00100 01000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 00100 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}
_GROUND, _FIGURE = (132, 138, 74), (186, 112, 84)


def plate_answers(seed: str, count: int) -> tuple[str, ...]:
    """What each plate shows: the first a digit that all can see, the last none where there are three or more."""
    digits = [CHOICES[place] for place in permutation(["study plates", seed], len(_DIGITS))]
    shown = digits[:count]
    return (*shown[:-1], NONE) if count >= 3 else tuple(shown)


def draw_plate(seed: str, number: int, answer: str) -> ImageU8:
    """Plate ``number`` [SIZE, SIZE, 3] of a study."""
    bits = CounterBits(["study plate", seed, number])
    centres, radii = _dots(bits)
    shades = bits.uniform(len(radii)) * 0.5 + 0.75
    figure = _inside(centres, answer)
    brighter = 1.25 if number == 0 else 1.0
    image = np.full((SIZE, SIZE, 3), 236.0)
    for (cx, cy), radius, shade, lit in zip(centres, radii, shades, figure, strict=True):
        top, left = max(int(cy - radius) - 1, 0), max(int(cx - radius) - 1, 0)
        part = image[top : int(cy + radius) + 3, left : int(cx + radius) + 3]
        y, x = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
        cover = np.clip(radius + 0.5 - np.hypot(x - cx, y - cy), 0.0, 1.0)[..., None]
        colour = np.array(_FIGURE if lit else _GROUND) * shade * (brighter if lit else 1.0)
        part[:] = part * (1.0 - cover) + colour * cover
    result: ImageU8 = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return result


def _dots(bits: CounterBits) -> tuple[list[tuple[float, float]], list[float]]:
    """Dots that do not overlap, within a disc: large ones first, small ones in the gaps."""
    centres: list[tuple[float, float]] = []
    radii: list[float] = []
    placed = np.empty((0, 3))
    for radius, tries in ((8.0, 900), (6.0, 1500), (4.0, 2500), (2.6, 3000)):
        for x, y in (bits.uniform(2 * tries).reshape(tries, 2) * SIZE).tolist():
            if math.hypot(x - SIZE / 2, y - SIZE / 2) > SIZE / 2 - 4 - radius:
                continue
            if len(placed):
                apart = (placed[:, 0] - x) ** 2 + (placed[:, 1] - y) ** 2
                if (apart < (placed[:, 2] + radius + 1.0) ** 2).any():
                    continue
            placed = np.vstack([placed, (x, y, radius)])
            centres.append((x, y))
            radii.append(radius)
    return centres, radii


def _inside(centres: list[tuple[float, float]], answer: str) -> list[bool]:
    if answer == NONE:
        return [False] * len(centres)
    rows = [[cell == "1" for cell in row] for row in _DIGITS[answer].split()]
    cell = SIZE * 0.62 / 7
    left, top = SIZE / 2 - 2.5 * cell, SIZE / 2 - 3.5 * cell
    found = []
    for x, y in centres:
        column, row = int((x - left) // cell), int((y - top) // cell)
        found.append(0 <= column < 5 and 0 <= row < 7 and rows[row][column])
    return found
