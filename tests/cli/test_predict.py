"""The commands ``predict`` and ``baselines`` as a user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.common.home import HOME_VARIABLE
from tests.conftest import RunCommand
from tests.predict import small_set

MODEL = ("--model", "tests.predict.adapters:Painter", "--task", "uncrop")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the set ``tiny``."""
    folder = tmp_path_factory.mktemp("prepared")
    small_set.prepare(folder)
    return folder / "home"


@pytest.fixture(autouse=True)
def _here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(prepared))
    monkeypatch.chdir(tmp_path)


def tree(out: str) -> object:
    return json.loads(out)["predictions"]["tree_sha256"]


def test_predict_says_what_it_made_and_what_is_next(run: RunCommand, tmp_path: Path) -> None:
    code, out, err = run("predict", *MODEL, "--out", "preds", "--jobs", 1)
    assert code == 0, err
    assert "12 images of Painter for uncrop on tiny, 12 made now" in out
    assert "palette-bench score --set tiny --task uncrop --preds preds" in out
    code, out, err = run("predict", *MODEL, "--out", "preds", "--json", "--jobs", 1)
    assert code == 0
    assert "finished already" in err
    assert (json.loads(out)["made"], json.loads(out)["kept"]) == (0, 12)
    code, out, err = run("predict", *MODEL, "--out", "preds", "--seed", 1, "--json")
    assert code == ExitCode.INPUT
    assert json.loads(out)["problems"] == [
        {"kind": "differs", "where": "seed", "detail": "the folder has 0, this command 1"}
    ]


def test_parts_and_two_ranks_make_the_folder_of_one(run: RunCommand, tmp_path: Path) -> None:
    options = (*MODEL, "--samples", 2, "--batch", 5, "--jobs", 1)
    code, out, err = run("predict", *options, "--out", "whole", "--json")
    assert code == 0, err
    whole = tree(out)
    code, out, _ = run("predict", *options, "--out", "parts", "--shard", "1/2")
    assert code == 0
    assert "part 1/2 is done: 14 images made, 0 kept; 10 are left to others" in out
    code, out, _ = run("predict", *options, "--out", "parts", "--shard", "2/2", "--json")
    assert (code, tree(out)) == (0, whole)

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*command, "-m", "palette_bench", "predict", *map(str, options), "--out", "ranks", "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert tree(result.stdout) == whole, "one rank prints, and it is the whole folder"
    assert sorted(p.name for p in Path("ranks").iterdir()) == [*(f"a{k:03}" for k in range(12)), "predictions.json"]


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--model", "nonsense"), ExitCode.USAGE, "no such model"),
        (("--shard", "3/2"), ExitCode.USAGE, "I/N"),
        (("--task", "nothing"), ExitCode.USAGE, "no such task"),
        (("--model", "classical-mirror", "--samples", "2"), ExitCode.USAGE, "would be the same"),
        (("--model", "classical-mirror", "--task", "colorize"), ExitCode.USAGE, "cannot do this task"),
        (("--model", "tests.predict.adapters:Raising"), ExitCode.INPUT, "ArithmeticError"),
    ],
)
def test_refusals(run: RunCommand, more: tuple[str, ...], code: ExitCode, says: str) -> None:
    found, _, err = run("predict", *MODEL, "--out", "preds", "--jobs", 1, *more)
    assert found == code
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("size", "samples", "where"), [(1500, 1, "preds/a000.png"), (12_000, 10, ".predict/1-of-1.jsonl")]
)
def test_a_full_disk_is_told_as_such(run: RunCommand, size: int, samples: int, where: str) -> None:
    """Whether it is an image that does not fit any more, or the journal of what was made."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = ("predict", *MODEL, "--samples", samples, "--out", "preds", "--jobs", 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        code, _, err = run(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == ExitCode.INPUT
    assert "the disk is full" in err
    assert where in err
    assert run(*arguments)[0] == 0


def test_what_a_model_prints_is_no_result(tmp_path: Path) -> None:
    arguments = ["predict", "--task", "uncrop", "--model", "tests.predict.adapters:Loud", "--out", "preds", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "palette_bench", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)["made"] == 12
    assert "I am not JSON" in result.stderr


def test_baselines_are_listed_and_explained(run: RunCommand) -> None:
    code, out, _ = run("baselines")
    assert code == 0
    assert "classical-mirror" in out
    code, out, _ = run("baselines", "mirror")
    assert code == 0
    assert out.startswith("classical-mirror: Mirror")
    assert "fingerprint: " in out
    code, out, _ = run("baselines", "--task", "jpeg-qf5", "--json")
    found = [row["name"] for row in json.loads(out)["baselines"]]
    assert "input" in found
    assert "classical-mirror" not in found
    assert run("baselines", "nonsense")[0] == ExitCode.USAGE


def test_listing_and_classical_models_load_no_torch() -> None:
    script = (
        "import sys; sys.argv = ['palette-bench', *sys.argv[1:]]\n"
        "from palette_bench.cli import main\n"
        "if __name__ == '__main__':\n    assert main._run() == 0\n    assert 'torch' not in sys.modules\n"
    )
    Path("script.py").write_text(script)
    for arguments in (("baselines",), ("predict", "--task", "uncrop", "--model", "mirror", "--out", "preds")):
        subprocess.run([sys.executable, "script.py", *arguments], check=True, capture_output=True)
