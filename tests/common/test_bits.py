import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palette_bench.common.bits import CounterBits, log, philox4x32, sincos

WORD = 0xFFFFFFFF
# Known answers of philox4x32-10 from the authors' Random123 distribution (kat_vectors).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((WORD,) * 4, (WORD, WORD), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    words = philox4x32(np.array([counter], dtype=np.uint32), key)
    assert tuple(int(word) for word in words[0]) == expected


def test_another_round_count_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palette_bench.common.bits.ROUNDS", 9)
    words = philox4x32(np.zeros((1, 4), dtype=np.uint32), (0, 0))
    assert int(words[0, 0]) != KNOWN_ANSWERS[0][2][0]


def test_draws_depend_on_the_purpose_alone() -> None:
    assert CounterBits(["a", 1]).words(9).tolist() == CounterBits(["a", 1]).words(9).tolist()
    assert CounterBits(["a", 1]).words(8).tolist() != CounterBits(["a", 2]).words(8).tolist()


def test_long_and_short_draws_are_one_stream() -> None:
    whole = CounterBits("stream").words(64)
    bits = CounterBits("stream")
    parts = np.concatenate([bits.words(4), bits.words(40), bits.words(20)])
    assert whole.tolist() == parts.tolist()


@given(st.floats(-1e4, 1e4))
def test_sincos_agrees_with_the_c_library(angle: float) -> None:
    sine, cosine = sincos(np.array([angle]))
    assert sine[0] == pytest.approx(math.sin(angle), abs=4e-16)
    assert cosine[0] == pytest.approx(math.cos(angle), abs=4e-16)


@given(st.floats(1e-300, 1e300))
def test_log_agrees_with_the_c_library(x: float) -> None:
    assert log(np.array([x]))[0] == pytest.approx(math.log(x), rel=1e-15, abs=1e-15)


def test_normal_numbers_are_normal() -> None:
    from scipy.stats import kstest

    draws = CounterBits("normal").normal(100_000)
    assert kstest(draws, "norm").pvalue > 0.01
    assert kstest(draws * 1.03, "norm").pvalue < 0.01


def test_uniform_numbers_are_uniform() -> None:
    from scipy.stats import kstest

    assert kstest(CounterBits("uniform").uniform(100_000), "uniform").pvalue > 0.01


def test_integers_cover_their_range_evenly() -> None:
    draws = CounterBits("integers").integers(4, 12, 80_000)
    counts = np.bincount(draws)[4:]
    assert (draws.min(), draws.max()) == (4, 11)
    assert abs(counts / 10_000 - 1).max() < 0.05
