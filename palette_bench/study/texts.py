"""The words of a study's pages: one TOML a language, and a study's own ``texts.toml`` over it."""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from palette_bench.common.errors import InputError, Problem, UsageError

TEXTS_FILE = "texts.toml"


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of a language, by name."""

    language: str
    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def fill(self, name: str, **facts: object) -> str:
        """A text with ``{facts}`` in it."""
        return self.values[name].format(**facts)


def languages() -> list[str]:
    """Languages that ship with the program."""
    folder = resources.files("palette_bench.study") / "texts"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def shipped(language: str) -> dict[str, str]:
    """The texts of a language. Raises UsageError for one that does not ship."""
    if language not in languages():
        raise UsageError("no texts in this language", expected=f"one of {', '.join(languages())}", found=language)
    file = resources.files("palette_bench.study") / "texts" / f"{language}.toml"
    return dict(tomllib.loads(file.read_text(encoding="utf-8")))


def load_texts(language: str, folder: Path | None = None) -> Texts:
    """The texts of a language, with those of ``texts.toml`` in a study's folder in their place.

    A language that does not ship needs every text there. Raises InputError with every text that is missing, unknown,
    or names another fact than the English one.
    """
    english = shipped("en")
    values = shipped(language) if language in languages() else {}
    path = None if folder is None else folder / TEXTS_FILE
    if path is not None and path.is_file():
        try:
            values |= tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError("the texts of a study cannot be read", where=path, found=error) from error
    problems = [Problem("missing", name, "") for name in english if name not in values]
    problems += [Problem("unknown text", name, "") for name in values if name not in english]
    for name in english.keys() & values.keys():
        if not isinstance(values[name], str):
            problems.append(Problem("wrong type", name, "expected text"))
        elif not _facts(values[name]) <= _facts(english[name]):
            known = ", ".join(sorted(_facts(english[name]))) or "none"
            problems.append(Problem("unknown fact", name, f"only these can stand in braces: {known}"))
    if problems:
        raise InputError(
            "the texts of a study are not complete",
            where=path or language,
            problems=problems,
            next_step=f"write {TEXTS_FILE} with every text of palette_bench/study/texts/en.toml",
        )
    return Texts(language, values)


def _facts(text: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return {"{unreadable}"}
