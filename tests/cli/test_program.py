import json
import subprocess
import sys
from importlib import import_module

import click
import pytest

from palette_bench.cli.main import COMMANDS, SECTIONS, module_name
from tests.conftest import RunCommand


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str, run: RunCommand) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"palette-bench {name} [OPTIONS]" in out.splitlines()[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_and_the_commands_agree(name: str) -> None:
    command: click.Command = import_module(f"palette_bench.cli.{module_name(name)}").command
    assert isinstance(command, click.Command)


def test_help_lists_every_command_once_in_the_order_of_the_work(run: RunCommand) -> None:
    code, out, _ = run("--help")
    titles = [line.removesuffix(":") for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert code == 0
    assert titles == ["Options", "Start", "Prepare", "Predict", "Score", "Publish", "Maintain"]
    listed = [
        line.split()[0] for line in out.partition("Start:")[2].splitlines() if line[:2] == "  " and line[2] != " "
    ]
    assert listed[:-1] == [name for section in SECTIONS.values() for name in section]  # the last line is the example
    assert len(COMMANDS) == sum(map(len, SECTIONS.values()))


def _modules_after(*arguments: str) -> set[str]:
    """Top-level modules that the program has loaded after a command."""
    script = (
        "import sys; sys.argv = ['palette-bench', *sys.argv[1:]]\n"
        "from palette_bench.cli import main\n"
        "code = main._run()\n"
        "print('MODULES', code, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    line = next(line for line in result.stdout.splitlines() if line.startswith("MODULES"))
    assert line.split()[1] == "0"
    return set(line.split()[2:])


def test_help_loads_no_numerics() -> None:
    assert not {"numpy", "torch", "PIL", "rich", "scipy", "pandas"} & _modules_after("--help")


def test_prepare_never_loads_torch(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path))
    loaded = _modules_after("prepare", "scenes32", "--jobs", "1")
    assert "numpy" in loaded
    assert not {"torch", "torchvision", "timm"} & loaded


@pytest.mark.usefixtures("home")
def test_errors_are_json_for_programs(run: RunCommand) -> None:
    code, out, err = run("prepare", "imagenet-ctest10k", "--json")
    assert code == 2
    assert json.loads(out)["exit_code"] == 2
    assert "expected: --source" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nonsense"], 2, "No such command"),
        (["prepare"], 2, "Missing argument"),
        (["prepare", "nothing"], 2, "imagenet-ctest10k"),
        (["prepare", "scenes32", "--size", "64"], 2, "folder sets"),
        (["prepare", "scenes32", "--source", "x"], 2, "drawn by the program"),
        (["verify", "scenes32"], 3, "is not prepared"),
        (["score", "--task", "uncrop", "--preds", "x"], 3, "no set is prepared"),
    ],
)
def test_mistakes_are_explained(arguments: list[str], code: int, message: str, run: RunCommand) -> None:
    found, _, err = run(*arguments)
    assert (found, message in err, "Traceback" in err) == (code, True, False)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("scenes32", "palette-bench prepare scenes32"),
        ("places10k+squash", "palette-bench prepare places10k --source DIR"),
        (
            "imagenet-ctest10k+adm+released-masks",
            "palette-bench prepare imagenet-ctest10k --source DIR --geometry adm --released-masks FILE",
        ),
        ("mine", "palette-bench prepare folder --source DIR --name mine --size N"),
    ],
)
def test_a_set_that_is_not_prepared_is_told_with_the_command_that_does(
    name: str, command: str, run: RunCommand
) -> None:
    _, _, err = run("verify", name)
    assert err.splitlines()[-1].endswith(f" {command}")


def test_a_bug_says_that_it_is_one(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("palette_bench.cli.main.program.main", broken)
    code, _, err = run("sets")
    assert code == 1
    assert "This is a bug in palette-bench" in err


def test_an_interrupt_has_its_own_code(run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("palette_bench.cli.main.program.main", interrupted)
    assert run("sets")[0] == 130
