import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.predictions import locate
from tests.conftest import RunCommand, make_photos
from tests.predict import importing_world as world
from tests.predict.importing_world import exported, save

TASK = "inpaint-center"


@pytest.fixture
def eval_set(home: Path, tmp_path: Path) -> EvalSet:
    return world.prepare(make_photos(tmp_path / "photos", 6), "small")


def test_export_and_import_from_the_command_line(eval_set: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    inputs, preds = tmp_path / "inputs", tmp_path / "preds"
    code, out, _ = run("export", "--task", TASK, "--layout", "lama", "--out", inputs, "--jobs", 1)
    assert (code, "named like the masks" in out) == (0, True)
    outputs = world.lama(inputs, tmp_path / "outputs")
    arguments = ("import", outputs, "--from", "lama", "--task", TASK, "--jobs", 1, "--about", "commit=786f593")
    code, out, err = run(*arguments, "--out", preds)
    assert (code, err) == (0, "")
    assert "composite known: known region error 0.0" in out
    assert f"palette-bench score --set small --task {TASK} --preds {preds}" in out
    located, problems = locate(preds, eval_set)
    assert (problems, located.samples) == ([], 1)
    code, out, _ = run(*arguments, "--out", tmp_path / "again", "--json")
    value = json.loads(out)
    assert value["about"] == {"commit": "786f593"}
    assert value["tree_sha256"] == json.loads((preds / "predictions.json").read_text())["tree_sha256"]


def test_what_looks_wrong_is_on_stderr_and_strict_refuses_it(
    eval_set: EvalSet, tmp_path: Path, run: RunCommand
) -> None:
    inputs = exported(eval_set, TASK, tmp_path / "inputs", "lama")
    outputs = world.lama(inputs, tmp_path / "outputs", inverted=True)
    arguments = ("import", outputs, "--from", "lama", "--task", TASK, "--jobs", 1)
    code, _, err = run(*arguments, "--out", tmp_path / "preds")
    assert code == 0
    assert "warning: inverted-mask: the known region is off by" in err
    code, _, err = run(*arguments, "--out", tmp_path / "strict", "--strict")
    assert code == 3
    assert "these outputs look wrong" in err
    assert not (tmp_path / "strict").exists()


def test_the_number_of_processes_changes_nothing(eval_set: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    for item in eval_set.items:
        for sample in range(15):
            save(tmp_path / "o" / item.id / f"{sample}.png", eval_set.reference(item))
    trees = []
    for jobs in (1, 2):
        out = tmp_path / f"preds-{jobs}"
        arguments = ("import", tmp_path / "o", "--from", "generic", "--task", TASK, "--out", out, "--jobs", jobs)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("palette_bench.predict.importing.bring.CHUNK", 2)
            code, printed, _ = run(*arguments, "--json")
        value = json.loads(printed)
        assert (code, value["stochastic"], value["samples"]) == (0, False, 15)
        trees.append(value["tree_sha256"])
    assert len(set(trees)) == 1


def test_bgr_is_refused(eval_set: EvalSet, tmp_path: Path, run: RunCommand) -> None:
    for item in eval_set.items:
        save(tmp_path / "o" / f"{item.id}.png", eval_set.reference(item)[..., ::-1])
    code, _, err = run("import", tmp_path / "o", "--from", "generic", "--task", TASK, "--out", tmp_path / "p")
    assert (code, "written as BGR" in err) == (3, True)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--from", "nobody"], 2, "guided-diffusion"),
        (["--from", "lama", "--range", "0..2"], 2, "0..2"),
        (["--from", "lama", "--about", "nothing"], 2, "KEY=VALUE"),
        (["--from", "fbcnn"], 2, "not for task"),
        (["--from", "lama", "--pattern", "x"], 2, "no group"),
        (["--from", "lama"], 3, "no outputs here"),
        ([], 2, "--from"),
    ],
)
@pytest.mark.usefixtures("eval_set")
def test_mistakes_are_explained(options: list[str], code: int, says: str, tmp_path: Path, run: RunCommand) -> None:
    found, _, err = run("import", tmp_path / "none", "--task", TASK, "--out", tmp_path / "p", *options)
    assert (found, says in err, "Traceback" in err) == (code, True, False), err


def _command(*arguments: object) -> list[str]:
    script = (
        "import sys; sys.argv = ['palette-bench', *sys.argv[1:]]\n"
        "from palette_bench.cli import main\n"
        "code = main._run(); print('torch' in sys.modules); sys.exit(code)"
    )
    return [sys.executable, "-c", script, *map(str, arguments)]


def test_killed_it_leaves_nothing_that_looks_finished(home: Path, tmp_path: Path) -> None:
    """A real process, killed when it has begun to write; the same command then does it all, and without torch."""
    eval_set = world.prepare(make_photos(tmp_path / "photos", 60), "many")
    for item in eval_set.items:
        save(tmp_path / "o" / f"{item.id}.png", np.kron(eval_set.reference(item), np.ones((16, 16, 1), np.uint8)))
    out = tmp_path / "preds"
    command = _command("import", tmp_path / "o", "--from", "generic", "--task", TASK, "--out", out, "--resize", "area")
    command += ["--jobs", "1"]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    staging = tmp_path / ".preds.making"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not list(staging.rglob("*.png")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert staging.is_dir()
    assert not out.exists()
    finished = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "False"
    assert len(list(out.rglob("*.png"))) == 60
    assert not list(tmp_path.glob(".preds*"))
