"""Every command and command of a command has an example in its help, and its examples are of it."""

import click
import pytest

from tests.docs.documented import arguments, every_command, examples, parse

COMMANDS = dict(every_command())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    found = examples(name, COMMANDS[name])
    assert found, f"{name} --help shows no example"
    reached = [parse(arguments(one.line)).command_path for one in found]
    assert any(path == name or path.startswith(f"{name} ") for path in reached)


def test_a_command_without_one_is_found() -> None:
    assert not examples("palette-bench x", click.Command("x", help="Does nothing.", epilog="palette-bench x"))
    assert [one.line for one in examples("x", click.Command("x", epilog="Example: palette-bench sets"))] == [
        "palette-bench sets"
    ]
