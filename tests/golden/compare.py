"""Whether two outputs are the same: strings, keys, order and whole numbers exactly, and numbers of networks closely."""

import json
import math
import re
from collections.abc import Iterator

RELATIVE = 1e-5
"""Kernels of other processors (SSE4.1, AVX2, AVX-512) moved numbers of single items by at most 1.6e-6, numbers of the
set by 6e-8 and a p-value of 1e-160 by 1.4e-6."""
ABSOLUTE = 1e-9

_DECIMAL = re.compile(r"(-?\d+\.\d+(?:e[-+]?\d+)?)")


def differences(golden: str, made: str, *, rounded: bool, where: str = "") -> Iterator[str]:
    """What differs, a line each. Without ``rounded`` texts must be equal byte for byte.

    With it, JSON is compared value by value, and every other text number by number: two printed numbers may be one unit
    of their last digit apart.
    """
    if golden == made:
        return
    if not rounded:
        lines = list(zip([*golden.splitlines(), "END"], [*made.splitlines(), "END"], strict=False))
        place = next((n for n, (one, other) in enumerate(lines) if one != other), len(lines) - 1)
        yield f"line {place + 1}: {lines[place][0][:300]!r} became {lines[place][1][:300]!r}"
    elif golden.startswith(("{", "[")):
        yield from _of_values(json.loads(golden), json.loads(made), where)
    else:
        yield from _of_texts(golden, made, where)


def _of_values(golden: object, made: object, where: str) -> Iterator[str]:
    if isinstance(golden, dict) and isinstance(made, dict):
        if list(golden) != list(made):
            yield f"{where}: keys {list(golden)} became {list(made)}"
        for key in golden.keys() & made.keys():
            yield from _of_values(golden[key], made[key], f"{where}/{key}")
    elif isinstance(golden, list) and isinstance(made, list):
        if len(golden) != len(made):
            yield f"{where}: {len(golden)} values became {len(made)}"
        for place, (one, other) in enumerate(zip(golden, made, strict=False)):
            yield from _of_values(one, other, f"{where}/{place}")
    elif isinstance(golden, float) and isinstance(made, float):
        if not math.isclose(golden, made, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{where}: {golden!r} became {made!r}"
    elif isinstance(golden, str) and isinstance(made, str):
        yield from _of_texts(golden, made, where)
    elif type(golden) is not type(made) or golden != made:
        yield f"{where}: {golden!r} became {made!r}"


def _of_texts(golden: str, made: str, where: str) -> Iterator[str]:
    one, other = _DECIMAL.split(golden), _DECIMAL.split(made)
    if one[::2] != other[::2]:
        place = next((n for n, (a, b) in enumerate(zip(one[::2], other[::2], strict=False)) if a != b), -1)
        yield f"{where}: text {one[::2][place][:300]!r} became {other[::2][place][:300]!r}"
        return
    for a, b in zip(one[1::2], other[1::2], strict=True):
        digits = len(a.partition(".")[2].partition("e")[0])
        unit = 1.01 * 10.0**-digits if "e" not in a else 0.0
        if a != b and not math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=unit):
            yield f"{where}: {a} became {b}"
