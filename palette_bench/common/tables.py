"""Tables of data that somebody else wrote (TOML, JSON), read key by key, with every fault collected."""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from palette_bench.common.errors import Problem

_T = TypeVar("_T")

_WORDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class Table:
    """One table and those within it.

    Every ``take`` gives a value of the type that was asked for, and where there is none the default and a fault in
    ``problems``: whoever reads raises once, at the end, and drops what was read.
    """

    def __init__(self, values: Mapping[str, object], name: str, problems: list[Problem]) -> None:
        self._values = dict(values)
        self._known: list[str] = []
        self._name = name
        self._problems = problems

    def wrong(self, kind: str, key: str, detail: str) -> None:
        """Note a fault of a key."""
        self._problems.append(Problem(kind, f"{self._name}{key}", detail))

    def take(
        self, key: str, kind: type[_T], default: _T, *, required: bool = False, fits: Callable[[_T], bool] | None = None
    ) -> _T:
        """The value of a key; no bool passes for a number, and no whole number for a fraction."""
        self._known.append(key)
        if key not in self._values:
            if required:
                self.wrong("missing", key, "")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.wrong("wrong type", key, f"expected {_WORDS.get(kind, kind.__name__)}, found {value!r}")
            return default
        if fits is not None and not fits(value):
            self.wrong("wrong value", key, repr(value))
            return default
        return value

    def text(self, key: str) -> str:
        """Text that must be there."""
        return self.take(key, str, "", required=True)

    def whole(self, key: str, *, least: int = 0) -> int:
        """A whole number of at least ``least`` that must be there."""
        return self.take(key, int, least, required=True, fits=lambda number: number >= least)

    def number(
        self, key: str, *, fits: Callable[[float], bool] = lambda _: True, default: float | None = None
    ) -> float:
        """A finite number, whole or not, that must be there if it has no default."""
        self._widen(key)
        required, fallback = default is None, 0.0 if default is None else default
        return self.take(
            key, float, fallback, required=required, fits=lambda number: math.isfinite(number) and fits(number)
        )

    def number_or_none(self, key: str) -> float | None:
        """A finite number that must be there, or the word for none."""
        return None if self.none(key) else self.number(key)

    def none(self, key: str) -> bool:
        """Whether a key that is there has no value (JSON's null); it is then done with."""
        if key in self._values and self._values[key] is None:
            self._known.append(key)
            del self._values[key]
            return True
        return False

    def digest(self, key: str) -> str:
        """A sha256 in 64 hexadecimal digits that must be there."""
        return self.take(key, str, "", required=True, fits=is_digest)

    def items(self, key: str, kind: type[_T], *, required: bool = False) -> tuple[_T, ...]:
        """A list whose items all have one type."""
        values = self.take(key, list, [], required=required)
        good = [value for value in values if isinstance(value, kind) and not isinstance(value, bool)]
        if len(good) != len(values):
            self.wrong("wrong type", key, f"expected a list of {_WORDS.get(kind, kind.__name__)}, found {values!r}")
        return tuple(good)

    def seconds(self, key: str, default: float) -> float:
        """A positive finite number, whole or not."""
        self._widen(key)
        return self.take(key, float, default, fits=lambda seconds: 0 < seconds < math.inf)

    def table(self, key: str, *, required: bool = False) -> "Table | None":
        """A table within this one; None where there is none."""
        there = key in self._values
        values = self.take(key, dict, {}, required=required)
        return Table(values, f"{self._name}{key}.", self._problems) if there else None

    def tables(self, key: str, *, required: bool = False) -> "Iterator[Table]":
        """A list of tables."""
        for number, values in enumerate(self.items(key, dict, required=required)):
            yield Table(values, f"{self._name}{key}[{number}].", self._problems)

    def numbers(self) -> dict[str, float]:
        """What is left, all of it finite numbers."""
        return {key: self.number(key) for key in list(self._values)}

    def named_tables(self) -> "Iterator[tuple[str, Table]]":
        """All that is left, each a table under its name."""
        for key in list(self._values):
            yield key, self.table(key) or Table({}, f"{self._name}{key}.", self._problems)

    def rest(self) -> dict[str, object]:
        """What is left, which is all there is in a table of free form."""
        rest, self._values = self._values, {}
        return rest

    def texts(self) -> dict[str, str]:
        """What is left, all of it text."""
        return {key: self.take(key, str, "") for key in list(self._values)}

    def finish(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._values:
            near = difflib.get_close_matches(key, self._known, 1)
            self.wrong("unknown key", key, f"did you mean {near[0]}?" if near else f"known: {', '.join(self._known)}")

    def _widen(self, key: str) -> None:
        value = self._values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            self._values[key] = float(value)


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 in 64 lower-case hexadecimal digits."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
