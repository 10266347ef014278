"""The errors a user can cause, each with what failed, where, and what to do next."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

NEAR = 0.5
"""How alike a name must be to be offered in place of another one: 1 is equal, 0 has nothing in common."""


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    INPUT = 3
    VERIFICATION = 4
    REGRESSION = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input, so that many can be reported together.

    ``kind`` is a short stable word (``missing``, ``undecodable``), ``where`` a file or item id.
    """

    kind: str
    where: str
    detail: str

    def __str__(self) -> str:
        text = f"{self.kind}: {self.where}: {self.detail}" if self.detail else f"{self.kind}: {self.where}"
        return printable(text)


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with characters that would move a cursor, colour a terminal or not encode as escapes.

    File names and files' contents may hold any.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


SHOWN_PER_KIND = 8
LAYOUT = "\n\t"


class PaletteBenchError(Exception):
    """Base of all errors that are the input's fault and not a bug.

    ``what`` says what failed; ``where``, ``expected``, ``found`` and ``next_step`` complete it.
    ``problems`` lists every single fault when several were collected before raising.
    """

    exit_code = ExitCode.INPUT

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        next_step: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.expected = None if expected is None else str(expected)
        self.found = None if found is None else str(found)
        self.next_step = next_step
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.expected, self.found, self.next_step, self.problems))

    def __str__(self) -> str:
        lines = [self.what]
        for name, value in (("where", self.where), ("expected", self.expected), ("found", self.found)):
            if value is not None:
                lines.append(f"  {name + ':':<10}{printable(value, keep=LAYOUT)}")
        lines += [f"  - {line}" for line in summarise(self.problems)]
        if self.next_step is not None:
            lines.append(f"  {'next:':<10}{self.next_step}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The error as plain data, every problem included, for ``--json``."""
        return {
            "error": type(self).__name__,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "next": self.next_step,
            "problems": [{"kind": p.kind, "where": p.where, "detail": p.detail} for p in self.problems],
        }


def _rebuild(
    kind: type[PaletteBenchError],
    what: str,
    where: str | None,
    expected: str | None,
    found: str | None,
    next_step: str | None,
    problems: tuple[Problem, ...],
) -> PaletteBenchError:
    """Rebuild an error that crossed a process boundary."""
    return kind(what, where=where, expected=expected, found=found, next_step=next_step, problems=problems)


def summarise(problems: Sequence[Problem]) -> list[str]:
    """Up to ``SHOWN_PER_KIND`` lines for each kind of problem, then how many more there are."""
    lines: list[str] = []
    kinds = list(dict.fromkeys(p.kind for p in problems))
    for kind in kinds:
        of_kind = [p for p in problems if p.kind == kind]
        lines += [str(p) for p in of_kind[:SHOWN_PER_KIND]]
        if len(of_kind) > SHOWN_PER_KIND:
            lines.append(f"{kind}: and {len(of_kind) - SHOWN_PER_KIND} more")
    return lines


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """``did you mean X?`` with the nearest of the ``known`` names, ``otherwise`` where none is near."""
    near = difflib.get_close_matches(name, list(known), 1, NEAR)
    return f"did you mean {near[0]}?" if near else otherwise


class UsageError(PaletteBenchError):
    """The command was called in a way that cannot work."""

    exit_code = ExitCode.USAGE


class InputError(PaletteBenchError):
    """A file or folder is bad, incomplete or not what it should be."""

    exit_code = ExitCode.INPUT


class VerificationError(PaletteBenchError):
    """Something frozen no longer has the digest it was frozen with."""

    exit_code = ExitCode.VERIFICATION
