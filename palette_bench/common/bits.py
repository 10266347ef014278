"""Counter-based random bits, and elementary functions with the same bits on every machine.

Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011) keyed by a SHA-256 of
what the numbers are for. Nothing here depends on NumPy's generators, whose streams may change, nor on
the C library's transcendental functions, whose last digits differ: only integer arithmetic and the IEEE 754 operations
that are correctly rounded everywhere (+, -, x, /, sqrt) are used.
"""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.canonical import canonical_json

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
ROUNDS = 10


def philox4x32(counters: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10 of ``counters`` [n, 4] uint32 under a key of two 32-bit words; returns [n, 4] uint32."""
    words = counters.astype(np.uint64)
    c0, c1, c2, c3 = words[:, 0], words[:, 1], words[:, 2], words[:, 3]
    key_0, key_1 = key
    for _ in range(ROUNDS):
        product_0 = c0 * _MULTIPLIER_0
        product_1 = c2 * _MULTIPLIER_1
        c0, c1, c2, c3 = (
            (product_1 >> _SHIFT) ^ c1 ^ np.uint64(key_0),
            product_1 & _LOW,
            (product_0 >> _SHIFT) ^ c3 ^ np.uint64(key_1),
            product_0 & _LOW,
        )
        key_0 = (key_0 + _WEYL_0) & 0xFFFFFFFF
        key_1 = (key_1 + _WEYL_1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


class CounterBits:
    """An endless stream of random bits that is a pure function of ``purpose``.

    ``purpose`` is anything canonical JSON can hold, for example ``[set, version, task, item id, stream]``.
    Draws advance a counter; two objects of equal purpose give equal draws in equal order.
    """

    def __init__(self, purpose: object) -> None:
        digest = hashlib.sha256(canonical_json(purpose)).digest()
        self._key = (int.from_bytes(digest[0:4], "little"), int.from_bytes(digest[4:8], "little"))
        self._high = (int.from_bytes(digest[8:12], "little"), int.from_bytes(digest[12:16], "little"))
        self._block = 0

    def words(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` 32-bit words. A draw always starts a new block of four."""
        blocks = -(-count // 4)
        index = np.arange(self._block, self._block + blocks, dtype=np.uint64)
        self._block += blocks
        counters = np.empty((blocks, 4), dtype=np.uint32)
        counters[:, 0] = index & _LOW
        counters[:, 1] = index >> _SHIFT
        counters[:, 2], counters[:, 3] = self._high
        return philox4x32(counters, self._key).reshape(-1)[:count]

    def uniform(self, count: int) -> NDArray[np.float64]:
        """``count`` numbers in [0, 1), multiples of 2**-53."""
        words = self.words(2 * count).astype(np.uint64)
        return ((words[0::2] >> np.uint64(5)) * np.uint64(1 << 26) + (words[1::2] >> np.uint64(6))) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """``count`` standard normal numbers (Box-Muller)."""
        pairs = -(-count // 2)
        draws = self.uniform(2 * pairs)
        radius = np.sqrt(-2.0 * log(1.0 - draws[:pairs]))
        sine, cosine = sincos(draws[pairs:] * (2.0 * math.pi))
        return np.concatenate([radius * cosine, radius * sine])[:count]

    def integers(self, low: int, high: int, count: int) -> NDArray[np.int64]:
        """``count`` integers uniform in [low, high), by multiply-shift; bias below (high - low) / 2**32."""
        scaled = (self.words(count).astype(np.uint64) * np.uint64(high - low)) >> _SHIFT
        return scaled.astype(np.int64) + low


_SINE_TERMS = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(9)]
_COSINE_TERMS = [(-1.0) ** k / math.factorial(2 * k) for k in range(10)]
_HALF_PI_HIGH = float.fromhex("0x1.921fb54000000p+0")
_HALF_PI_LOW = float.fromhex("0x1.10b4611a62633p-30")


def sincos(angle: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of ``angle`` in radians, |angle| < 1e5, within 4e-16 of the exact value, same bits everywhere."""
    quadrant = np.rint(angle * (2.0 / math.pi))
    rest = (angle - quadrant * _HALF_PI_HIGH) - quadrant * _HALF_PI_LOW
    square = rest * rest
    sine = np.full_like(rest, _SINE_TERMS[-1])
    for term in reversed(_SINE_TERMS[:-1]):
        sine = sine * square + term
    sine = sine * rest
    cosine = np.full_like(rest, _COSINE_TERMS[-1])
    for term in reversed(_COSINE_TERMS[:-1]):
        cosine = cosine * square + term
    turn = quadrant.astype(np.int64) & 3
    swapped = (turn & 1) == 1
    out_sine = np.where(swapped, cosine, sine)
    out_cosine = np.where(swapped, sine, cosine)
    out_sine = np.where(turn >= 2, -out_sine, out_sine)
    out_cosine = np.where((turn == 1) | (turn == 2), -out_cosine, out_cosine)
    return out_sine, out_cosine


_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive finite ``x``, within 1e-15 relative, same bits everywhere."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    power = exponent.astype(np.float64) - small
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, 1.0 / 25.0)
    for odd in range(23, 0, -2):
        series = series * square + 1.0 / odd
    return power * _LN2_HIGH + (2.0 * s * series + power * _LN2_LOW)
