"""LaTeX that shows what it is given: text escaped for pdfTeX, XeTeX and LuaTeX alike."""

from palette_bench.common.errors import printable

_SPECIAL = {
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
_KNOWN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŒœŠšŽžŁłŃńĆćĘęĚěŘřČčŐőŰű")


def escape(text: str) -> str:
    """``text`` on one line, without any command in it.

    A letter that pdfTeX cannot set is printed as its number there, and as itself by the other engines.
    """
    # Hyphens in a row would become a dash.
    return "".join(map(_letter, printable(text))).replace("--", "-{}-").replace("--", "-{}-")


def comment(text: str) -> str:
    """One line of comment."""
    return f"% {printable(text)}"


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii() or letter in _KNOWN:
        return letter
    return rf"{{\ifdefined\Umathchar {letter}\else [U+{ord(letter):04X}]\fi}}"
