"""Markdown that shows what it is given: text escaped, the best in bold, the second underlined."""

import re
from collections.abc import Iterable, Sequence

from palette_bench.common.errors import printable
from palette_bench.publish.tables.ranking import Place

_ACTIVE = re.compile(r"([\\`*_\[\]|~$])")
_LEADING = re.compile(r"^(\s*)([-+#=:])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def escape(text: str) -> str:
    """``text`` on one line, none of it read as Markdown, HTML, a link or a mention of somebody."""
    shown = "".join(_ENTITIES.get(letter, letter) for letter in printable(text))
    # Entities, because a backslash does not keep GitHub from making a link of what looks like an address.
    shown = _ACTIVE.sub(r"\\\1", shown).replace("://", "&#58;//").replace("www.", "www&#46;")
    return _LEADING.sub(r"\1\\\2", shown)


def emphasised(text: str, place: Place) -> str:
    """Markup that sets off the best and the second; ``text`` is markup already."""
    return {Place.BEST: f"**{text}**", Place.SECOND: f"<u>{text}</u>", Place.OTHER: text}[place]


def head_lines(first: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The two lines that begin a table: text columns and then columns of numbers."""
    return [line([*first, *numbers]), "|" + "---|" * len(first) + "---:|" * len(numbers)]


def line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"
