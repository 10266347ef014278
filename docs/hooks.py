"""Writes the command-line reference into docs/commands.md while the site is built."""

import inspect
from collections.abc import Iterator

import click

from palette_bench.cli.main import SECTIONS, program

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the reference in place of its mark: MkDocs calls this for every page."""
    return markdown.replace(MARK, "\n".join(reference())) if MARK in markdown else markdown


def reference() -> Iterator[str]:
    """Every command under its section, as Markdown."""
    parent = click.Context(program, info_name="palette-bench")
    for title, names in SECTIONS.items():
        yield f"## {title}\n"
        for name in names:
            command = program.get_command(parent, name)
            assert command is not None
            yield from described(command, name, parent, level=3)


def described(command: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    """One command: its help, usage, options and examples, then the commands below it."""
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    yield f"{'#' * level} {path}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n".replace("\b\n", "").replace("<", "&lt;")
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield "| option | |\n|---|---|"
        yield from (_row(option, context) for option in options)
        yield ""
    examples = inspect.cleandoc((command.epilog or "").replace("\b\n", ""))
    title, colon, lines = examples.partition(":")
    if title.startswith("Example") and colon:
        yield f"```bash\n{inspect.cleandoc(lines)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from described(found, below, context, level=level + 1)


def _row(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or ("", "")
    cells = (f"`{names}`", text.replace("<", "&lt;"))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
