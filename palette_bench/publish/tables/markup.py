"""Text as Markdown and LaTeX that show what they are given; HTML's escaping is that of the templates (``pages``)."""

import re
from collections.abc import Iterable, Sequence

from palette_bench.common.errors import printable
from palette_bench.publish.tables.ranking import Place

_ACTIVE = re.compile(r"([\\`*_\[\]|~$])")
_LEADING = re.compile(r"^(\s*)([-+#=:])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def markdown(text: str) -> str:
    """``text`` on one line, none of it read as Markdown, HTML, a link or a mention of somebody."""
    shown = "".join(_ENTITIES.get(letter, letter) for letter in printable(text))
    # Entities, because a backslash does not keep GitHub from making a link of what looks like an address.
    shown = _ACTIVE.sub(r"\\\1", shown).replace("://", "&#58;//").replace("www.", "www&#46;")
    return _LEADING.sub(r"\1\\\2", shown)


def markdown_emphasised(text: str, place: Place) -> str:
    """Markup that sets off the best and the second; ``text`` is markup already."""
    return {Place.BEST: f"**{text}**", Place.SECOND: f"<u>{text}</u>", Place.OTHER: text}[place]


def markdown_head(first: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The two lines that begin a table: text columns and then columns of numbers."""
    return [markdown_line([*first, *numbers]), "|" + "---|" * len(first) + "---:|" * len(numbers)]


def markdown_line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "`": "{`}",
    # After the end of a line of a table these would be its argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "Δ": r"$\Delta$",
    "Π": r"$\Pi$",
    "Σ": r"$\Sigma$",
    "π": r"$\pi$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": "`",
    "’": "'",
    "“": "{``}",
    "”": "{''}",
    "…": r"\ldots{}",
}
# Letters that pdfTeX's own encoding has: the accented ones of western Europe.
_LATEX_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŒœŠšŽžŁłŃńĆćĘęĚěŘřČčŐőŰű")


def latex(text: str) -> str:
    """``text`` on one line, without any command in it.

    A letter that pdfTeX cannot set is printed as its number there, and as itself by the other engines.
    """
    # Hyphens in a row would become a dash.
    return "".join(map(_latex_letter, printable(text))).replace("--", "-{}-").replace("--", "-{}-")


def latex_comment(text: str) -> str:
    """One line of comment."""
    return f"% {printable(text)}"


def _latex_letter(letter: str) -> str:
    if letter in _LATEX:
        return _LATEX[letter]
    if letter.isascii() or letter in _LATEX_LETTERS:
        return letter
    return rf"{{\ifdefined\Umathchar {letter}\else [U+{ord(letter):04X}]\fi}}"
