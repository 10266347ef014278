import pytest

from palette_bench.common.errors import UsageError
from palette_bench.common.parts import WHOLE, Part, parse_part

TOGETHER = 64


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_everything_once_in_whole_chunks(count: int) -> None:
    rows = list(range(1000))
    parts = [Part(number, count).of(rows, together=TOGETHER) for number in range(1, count + 1)]
    assert sorted(row for part in parts for row in part) == rows
    for part in parts:
        assert part == sorted(part)
        chunks = {row // TOGETHER for row in part}
        assert len(part) == sum(min(TOGETHER, 1000 - TOGETHER * chunk) for chunk in chunks)


def test_the_whole_is_one_part() -> None:
    assert WHOLE.of([5, 6]) == [5, 6]
    assert WHOLE.whole
    assert not Part(1, 2).whole


def test_parts_are_written_as_they_are_read() -> None:
    assert str(parse_part("2/4")) == "2/4"
    for text in ("", "2", "0/4", "5/4", "x/4", "1/", "+1/2", "1/2/3"):
        with pytest.raises(UsageError, match="no part"):
            parse_part(text)
