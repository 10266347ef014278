"""Shell completion, as docs/completion.md says to switch it on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from palette_bench.cli.main import COMMANDS

PROGRAM = Path(sys.executable).parent / "palette-bench"


def _program(mode: str, **variables: str) -> str:
    result = subprocess.run(
        [PROGRAM],
        env={**os.environ, "_PALETTE_BENCH_COMPLETE": mode, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout


def _completed(words: str, place: int) -> list[str]:
    """What bash would offer for the word at ``place`` of ``words``."""
    answer = _program("bash_complete", COMP_WORDS=words, COMP_CWORD=str(place))
    return [line.partition(",")[2] for line in answer.split()]


def test_commands_are_completed() -> None:
    assert _completed("palette-bench ", 1) == list(COMMANDS)
    assert _completed("palette-bench sc", 1) == ["score"]
    assert _completed("palette-bench leaderboard b", 2) == ["build"]
    assert _completed("palette-bench nonsense", 1) == []


def test_options_and_their_choices_are_completed() -> None:
    assert "--preds" in _completed("palette-bench score --p", 2)
    assert _completed("palette-bench score --backend o", 3) == ["onnx"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(shell: str) -> None:
    script = _program(f"{shell}_source")
    assert "_PALETTE_BENCH_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_descriptions_are_those_of_the_help() -> None:
    answer = _program("fish_complete", COMP_WORDS="palette-bench ver", COMP_CWORD="ver")
    assert COMMANDS["verify"].removesuffix(".") in answer


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_after_the_documented_line() -> None:
    script = (
        f'PATH="{PROGRAM.parent}:$PATH"\n'
        'eval "$(_PALETTE_BENCH_COMPLETE=bash_source palette-bench)"\n'
        "COMP_WORDS=(palette-bench regr); COMP_CWORD=1\n"
        "_palette_bench_completion palette-bench\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["regress"]
