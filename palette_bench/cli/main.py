"""The program: finds the command, runs it, and turns every failure into a message and an exit code."""

import contextlib
import errno
import io
import json
import os
import sys
import traceback
from importlib import import_module
from keyword import iskeyword

import click

from palette_bench.common.errors import ExitCode, InputError, PaletteBenchError
from palette_bench.common.version import __version__

SECTIONS = {
    "Start": {
        "quickstart": "See it work: the embedded set, Palette, regression and classical methods, a table.",
        "doctor": "Check that scoring would work here, and how fast.",
    },
    "Prepare": {
        "sources": "Say once where ImageNet and Places365 are.",
        "prepare": "Make a frozen evaluation set from a protocol and source images.",
        "sets": "List protocols and prepared sets.",
        "verify": "Recompute every digest of a prepared set.",
        "show": "Draw a contact sheet of a prepared set.",
        "export": "Write a task's conditions as files for a model that lives elsewhere.",
    },
    "Predict": {
        "baselines": "List the models: what each is and what it can do.",
        "predict": "Run a model over a task's conditions.",
        "import": "Read the outputs of a model that ran elsewhere into a folder of predictions.",
        "adapter": "Check that a model keeps the rules.",
        "train": "Train the model of a card.",
        "convert": "Convert a checkpoint of another project into weights for a card.",
        "panorama": "Make an image wider by uncropping it again and again.",
    },
    "Score": {
        "score": "Score a folder of predictions.",
        "merge": "Join a score that was done in parts.",
        "study": "Ask people: show them real and generated images, and count how often they are fooled.",
        "recipes": "List the recipes: what each number is.",
        "statistics": "Compute the statistics of a FID reference set, once.",
        "weights": "List, fetch and import the weights of the scoring networks.",
    },
    "Publish": {
        "table": "Print a table of the paper with your records in their place.",
        "compare": "Compare two results item by item: which is ahead, and how sure that is.",
        "report": "Make a folder that shows a score: every item beside its numbers.",
        "figure": "Draw the paper's figures from predictions and records.",
        "submit": "Make an entry of a leaderboard from a score.",
    },
    "Maintain": {
        "calibrate": "Find out which choices reproduce the paper's reference rows.",
        "regress": "Check that published tables still come out.",
        "leaderboard": "Check the entries of leaderboards, and build their pages.",
    },
}
"""The commands in the order of the work: what ``--help`` shows, without importing any of them."""
COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}


def module_name(command: str) -> str:
    """The module of a command in this package: its name, and an underscore where that is a word of Python's."""
    return f"{command}_" if iskeyword(command) else command


class LazyGroup(click.Group):
    """A group that imports a command only when it is called, so that ``--help`` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"palette_bench.cli.{module_name(cmd_name)}").command
        command.name, command.short_help = cmd_name, COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line per command under its section, without importing any."""
        widest = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), text) for name, text in commands.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: palette-bench quickstart",
)
@click.version_option(__version__, prog_name="palette-bench")
def program() -> None:
    """The evaluation protocol of Palette: image-to-image diffusion models.

    Prepare a frozen evaluation set, score predictions against it, and read the numbers in the paper's table.
    """


def main() -> None:
    """Run the program and exit with a code of ``ExitCode``."""
    sys.exit(_run())


def _run() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # File names may not be valid text, and a terminal may lack a glyph.
            stream.reconfigure(errors="backslashreplace")
    try:
        result = program.main(standalone_mode=False)
        sys.stdout.flush()
    except PaletteBenchError as error:
        return _fail(error)
    except click.exceptions.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return int(error.exit_code)
    except (BrokenPipeError, SystemExit):
        # The reader of our output left, which click answers with an exit; there is nobody to tell.
        _give_up_output()
        return int(ExitCode.OK)
    except OSError as error:
        _give_up_output()
        return _fail(_explain(error))
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        click.echo("\nThis is a bug in palette-bench. Please report it with the lines above.", err=True)
        return int(ExitCode.BUG)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _fail(error: PaletteBenchError) -> int:
    if "--json" in sys.argv:
        with contextlib.suppress(OSError):
            click.echo(json.dumps(error.as_json(), indent=2))
    click.echo(f"error: {error}", err=True)
    return int(error.exit_code)


def _give_up_output() -> None:
    """If stdout takes no more, let what is left go nowhere, or the interpreter would complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted() -> int:
    click.echo("interrupted: finished work is kept, the same command continues it", err=True)
    return int(ExitCode.INTERRUPTED)


def _explain(error: OSError) -> InputError:
    """What an operating system's refusal means for the user."""
    where = error.filename or "unknown"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        # Whoever writes a file says which.
        where = error.filename or "standard output"
        return InputError(
            "the disk is full",
            where=where,
            found=error.strerror,
            next_step="make room and run the same command again: finished work is kept",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(
            "no permission",
            where=where,
            found=error.strerror,
            next_step="check the owner of the folder, or choose another with PALETTE_BENCH_HOME or --out",
        )
    return InputError(
        "a file or folder cannot be used",
        where=where,
        found=error.strerror or error,
        next_step="check what is there, or choose another place with PALETTE_BENCH_HOME or --out",
    )
