"""Every command that the documentation shows, and what the program makes of its words."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from palette_bench.cli.main import program

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/workflows/*.yml", ".github/workflows/*.yml")
MODULE = re.compile(r"python[\d.]* -m (palette_bench|benchmarks)\b")
STARTS = re.compile(r"(palette-bench|torchrun|python[\d.]* -m (palette_bench|benchmarks))\b")


@dataclass(frozen=True)
class Documented:
    """A command as one line, without comment and prompt, and where it stands."""

    line: str
    where: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)


def blocks(text: str) -> Iterator[str]:
    """The fenced blocks of a Markdown page that are of no language, or of a shell's."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in ("", "bash", "sh", "console"):
            yield block


def commands(text: str, where: str) -> Iterator[Documented]:
    """The commands of a text: a backslash continues a line, ``&&`` begins another command, ``#`` a comment."""
    for whole in re.sub(r"\\\n\s*", "", text).splitlines():
        line = re.sub(r"^\s*(- )?(run: )?", "", whole).removeprefix("$ ")
        for part in re.split(r"\s&&\s", line):
            bare = re.sub(r"^\S*/(?=palette-bench\s)", "", part)
            if STARTS.match(bare):
                yield Documented(re.sub(r"\s+#.*$", "", bare).strip(), where)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """The program's commands and commands of commands, by what is typed to reach them."""
    waiting: list[tuple[str, click.Command]] = [("palette-bench", program)]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None
                waiting.append((f"{name} {word}", found))


def examples(name: str, command: click.Command) -> list[Documented]:
    """The commands after ``Example`` in the help."""
    text = f"{command.help or ''}\n{command.epilog or ''}"
    _, found, after = text.partition("Example")
    lines = re.sub(r"^s?:", "", after) if found else ""
    return list(commands(lines, f"{name} --help"))


@cache
def documented() -> tuple[Documented, ...]:
    """Each command once, at the first place that shows it."""
    found: dict[str, Documented] = {}
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            text = path.read_text()
            for block in blocks(text) if path.suffix == ".md" else [text]:
                for one in commands(block, path.relative_to(ROOT).as_posix()):
                    found.setdefault(one.line, one)
    for name, command in sorted(every_command()):
        for one in examples(name, command):
            found.setdefault(one.line, one)
    return tuple(found.values())


def arguments(line: str) -> list[str]:
    """What the program is given, whether it is started as itself, by python or by torchrun."""
    words = shlex.split(line)
    if words[0] == "palette-bench":
        return words[1:]
    assert words[words.index("-m") + 1] == "palette_bench", line
    return words[words.index("-m") + 2 :]


def parse(words: Sequence[str]) -> click.Context:
    """The context of the command that these arguments reach; raises click's errors where they do not fit."""
    command: click.Command = program
    name, rest, context = "palette-bench", list(words), None
    while True:
        context = command.make_context(name, list(rest), parent=context)
        if not isinstance(command, click.Group) or not (left := [*context._protected_args, *context.args]):
            return context
        found, reached, rest = command.resolve_command(context, left)
        assert found is not None
        assert reached is not None
        name, command = found, reached


def outputs(context: click.Context) -> list[Path]:
    """The files and folders that the command was told to write."""
    named = ("out", "junit", "summary", "bib", "export")
    return [Path(value) for key in named if isinstance(value := context.params.get(key), Path)]
