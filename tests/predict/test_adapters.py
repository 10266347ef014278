"""Every way in which a model can fail is an error that names the model, the items and what happened."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.seeds import seed_of
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError
from palette_bench.common.progress import Silent
from palette_bench.predict.adapters.base import Place, Wanted
from palette_bench.predict.adapters.hosting import Host, answers
from palette_bench.predict.adapters.runners import build_runner
from palette_bench.predict.card import Card, find_card, load_card
from palette_bench.predict.run import Options, Predicted, given_of, predict
from tests.predict.small_set import content, write_card
from tests.processes import alive

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes and signals of POSIX")

GOOD_PROGRAM = """
import json, sys
import numpy as np
from PIL import Image
print("loading a model")
for line in sys.stdin:
    batch = json.loads(line)
    for item in batch["items"]:
        image = np.asarray(Image.open(item["image"]))
        painted = np.random.default_rng(item["seed"]).integers(0, 256, image.shape, np.uint8)
        if item["mask"] is not None:
            hole = np.asarray(Image.open(item["mask"])) == 255
            painted = np.where(hole[..., None], painted, image)
        Image.fromarray(painted).save(item["output"])
    print(json.dumps({"done": batch["batch"]}), flush=True)
"""

SHELL_PROGRAM = """#!/bin/sh
# Copies every condition: no more than a shell, sed and cp.
while read -r line; do
  number=$(printf '%s' "$line" | sed 's/^{"batch": \\([0-9]*\\),.*/\\1/')
  printf '%s\\n' "$line" | sed 's/"id": /\\n/g' |
  sed -n 's/.*"image": "\\([^"]*\\)".*"output": "\\([^"]*\\)".*/\\1 \\2/p' |
  while read -r from to; do cp "$from" "$to"; done
  echo "{\\"done\\": $number}"
done
"""


def place(small: EvalSet, folder: Path, task: str = "uncrop", *, samples: int = 1, seconds: float = 20) -> Place:
    return Place(
        set_id=small.set_id,
        task=small.task(task),
        size=small.size,
        samples=samples,
        device="cpu",
        weights=None,
        search=folder,
        log=folder / "log" / "stderr.log",
        seconds=seconds,
    )


def wanted(small: EvalSet, count: int = 3, task: str = "uncrop") -> list[Wanted]:
    conditions = small.conditions(small.task(task))
    items = small.items[:count]
    return [Wanted(given_of(item.id, conditions.of(item), seed_of(0, item.id, 0)), 0) for item in items]


def run(small: EvalSet, card: Card, out: Path, options: Options | None = None, task: str = "uncrop") -> Predicted:
    return predict(small, task, card, out, options or Options(batch=4), progress=Silent())


def program(folder: Path, text: str, *, seconds: float = 20, name: str = "run.py") -> Card:
    """A card of a program in the language of its name."""
    interpreter = sys.executable if name.endswith(".py") else "sh"
    card = write_card(
        folder, f'kind = "subprocess"\ncommand = ["{interpreter}", "{name}"]\ntimeout_seconds = {seconds}'
    )
    (folder / name).write_text(textwrap.dedent(text))
    return load_card(card)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Raising", "ArithmeticError: I cannot divide"),
        ("WrongShape", "a001: shape [31, 32, 3] instead of [32, 32, 3]"),
        ("Planar", "a001: shape [3, 32, 32] instead of [32, 32, 3]"),
        ("Floats", "a001: float32 from 0 to 1 instead of uint8"),
        ("NotNumbers", "a001: float64 with 3072 values that are NaN or infinite instead of uint8"),
        ("NoArray", "a001: builtins.list instead of a numpy array"),
        ("TooFew", "2 outputs for 3 inputs"),
        ("Nothing", "found:    NoneType"),
    ],
)
def test_a_class_that_misbehaves(small: EvalSet, here: Path, name: str, says: str) -> None:
    runner = build_runner(find_card(f"tests.predict.adapters:{name}"), place(small, here))
    with pytest.raises(InputError) as raised:
        runner.run(wanted(small))
    shown = str(raised.value)
    assert f"model tests.predict.adapters:{name} " in shown
    assert "a000, a001, a002" in shown
    assert says in shown
    assert "next: " in shown


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("tests.predict.adapters:CannotBeBuilt", InputError, "RuntimeError: no such device"),
        ("tests.predict.adapters:NoAdapter", InputError, "is no adapter"),
        ("tests.predict.adapters:Missing", UsageError, "a class Missing"),
        ("tests.predict.adapters:np", UsageError, "found:    module"),
        ("tests.predict.nowhere:Model", UsageError, "tests.predict.nowhere"),
    ],
)
def test_a_class_that_is_none(small: EvalSet, here: Path, name: str, kind: type[PaletteBenchError], says: str) -> None:
    with pytest.raises(kind) as raised:
        build_runner(find_card(name), place(small, here))
    assert says in str(raised.value)


def test_a_class_beside_its_card_is_found_and_a_missing_library_is_named(
    small: EvalSet, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    card = write_card(here / "mine", 'kind = "python"\nentry = "beside_a_card:Model"')
    card.write_text(card.read_text().replace("stochastic = true", 'stochastic = true\nextra = "colour"'))
    (here / "mine" / "beside_a_card.py").write_text("from tests.predict.adapters import Painter as Model\n")
    assert len(build_runner(load_card(card), place(small, here)).run(wanted(small))) == 3
    (here / "mine" / "needs_a_library.py").write_text("import colour_library_that_nobody_has\n")
    card.write_text(card.read_text().replace("beside_a_card", "needs_a_library"))
    with pytest.raises(InputError, match="cannot be imported") as raised:
        build_runner(load_card(card), place(small, here))
    assert "No module named 'colour_library_that_nobody_has'" in str(raised.value)
    assert "pip install 'palette-bench[colour]'" in str(raised.value)


def test_a_generator_is_a_sequence_of_images(small: EvalSet, here: Path) -> None:
    images = build_runner(find_card("tests.predict.adapters:Generating"), place(small, here)).run(wanted(small))
    expected = build_runner(find_card("tests.predict.adapters:Painter"), place(small, here)).run(wanted(small))
    assert all((one == other).all() for one, other in zip(images, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Dying", ("died", "ended by signal SIGKILL")),
        ("Leaving", ("died", "exit code 7")),
        ("Hanging", ("hangs: it was stopped", "longer --timeout")),
    ],
)
def test_a_class_that_hangs_or_dies(small: EvalSet, here: Path, name: str, says: Sequence[str]) -> None:
    before = time.monotonic()
    with pytest.raises(InputError) as raised:
        run(small, find_card(f"tests.predict.adapters:{name}"), here / "preds", Options(batch=4, seconds=0.5))
    for words in (*says, f"tests.predict.adapters:{name}", "a000, a001, a002, a003"):
        assert words in str(raised.value)
    assert time.monotonic() - before < 60


def test_a_program_paints_what_a_class_paints(small: EvalSet, here: Path) -> None:
    card = program(here / "mine", GOOD_PROGRAM)
    one = run(small, card, here / "one", Options(batch=4, jobs=2))
    other = run(small, find_card("tests.predict.adapters:Painter"), here / "other")
    assert one.described is not None
    assert other.described is not None
    assert one.described["tree_sha256"] == other.described["tree_sha256"]
    assert not list((here / "mine").glob("*.png"))


def test_a_program_may_be_a_shell_script(small: EvalSet, here: Path) -> None:
    run(small, program(here / "mine", SHELL_PROGRAM, name="run.sh"), here / "preds", task="colorize")
    conditions = small.conditions(small.task("colorize"))
    for item in small.items:
        assert (np.asarray(Image.open(here / "preds" / f"{item.id}.png")) == conditions.of(item).image).all()


def test_a_program_sees_conditions_and_nothing_else(small: EvalSet, here: Path) -> None:
    spy = GOOD_PROGRAM.replace(
        "    batch = json.loads(line)\n",
        "    batch = json.loads(line)\n    import pathlib, shutil\n"
        f"    shutil.copytree(pathlib.Path(batch['items'][0]['image']).parent, {str(here / 'seen')!r})\n"
        f"    pathlib.Path({str(here / 'line')!r}).write_text(line)\n",
    )
    runner = build_runner(program(here / "mine", spy), place(small, here, "jpeg-qf5"))
    runner.run(wanted(small, 2, "jpeg-qf5"))
    runner.close()
    seen = content(here / "seen")
    assert sorted(seen) == ["0.jpg", "0.png", "1.jpg", "1.png"]
    condition = small.conditions(small.task("jpeg-qf5")).of(small.items[0])
    assert seen["0.jpg"] == condition.jpeg
    assert (np.asarray(Image.open(here / "seen" / "0.png")) == condition.image).all()
    line = (here / "line").read_text()
    assert '"mask": null' in line
    assert f'"seed": {seed_of(0, "a000", 0)}' in line
    assert '"task": "jpeg-qf5", "size": 32, "device": "cpu", "config": {}, "weights": null' in line


LATE = "import json, sys\nfor line in sys.stdin:\n    batch = json.loads(line)\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise SystemExit('no licence')", ("died", "exit code 1", "its last words:", "no licence")),
        ("import os; os.kill(os.getpid(), 9)", ("died", "ended by signal SIGKILL")),
        ("import time, sys; print('thinking', file=sys.stderr, flush=True); time.sleep(99)", ("hangs", "thinking")),
        (LATE + "    print(json.dumps({'error': 'out of memory'}), flush=True)", ("failed", "out of memory")),
        (LATE + "    print(json.dumps({'done': 77}), flush=True)", ("answers something else", "77")),
        (LATE + "    print(json.dumps({'done': 1}), flush=True)", ("a001, sample 0: the program wrote no file",)),
        (LATE + "    print('x' * 2000000, end='', flush=True)", ("answers something else", "a line without end")),
        (
            GOOD_PROGRAM.replace("save(item", "resize((8, 8)).save(item"),
            ("gives no images", "a001: shape [8, 8, 3] instead of [32, 32, 3]"),
        ),
        (
            GOOD_PROGRAM.replace("Image.fromarray(painted)", "Image.fromarray(painted[..., 0].astype(np.uint16))"),
            ("gives no images", "16-bit samples: save as 8-bit RGB"),
        ),
    ],
)
def test_a_program_that_misbehaves(small: EvalSet, here: Path, text: str, says: Sequence[str]) -> None:
    seconds = 0.5 if "sleep" in text else 20
    runner = build_runner(program(here / "mine", text), place(small, here, seconds=seconds))
    with pytest.raises(InputError) as raised:
        runner.run(wanted(small))
    for words in ("model mine", "a000, a001, a002", *says):
        assert words in str(raised.value)
    runner.close()
    assert not list(here.rglob("*-output.png"))


def test_a_program_that_cannot_be_started(small: EvalSet, here: Path) -> None:
    card = write_card(here / "mine", 'kind = "subprocess"\ncommand = ["./no-such-program"]')
    with pytest.raises(InputError, match="cannot be started"):
        build_runner(load_card(card), place(small, here)).run(wanted(small))


def test_a_program_that_hangs_is_killed_with_its_children(small: EvalSet, here: Path) -> None:
    text = "sleep 600 & echo $! > child; wait\n"
    runner = build_runner(program(here / "mine", text, name="run.sh"), place(small, here, seconds=0.5))
    with pytest.raises(InputError, match="hangs"):
        runner.run(wanted(small))
    child = int((here / "mine" / "child").read_text())
    limit = time.monotonic() + 10
    while alive(child) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not alive(child)


def test_a_folder_of_finished_outputs_is_checked_and_taken_over(small: EvalSet, here: Path) -> None:
    run(small, find_card("tests.predict.adapters:Painter"), here / "made")
    card = load_card(write_card(here / "mine", 'kind = "directory"\nfolder = "outputs/{set}/{task}"'))
    with pytest.raises(InputError, match="are not here") as raised:
        run(small, card, here / "preds")
    assert raised.value.where == str(here / "mine" / "outputs" / "tiny" / "uncrop")
    outputs = here / "mine" / "outputs" / "tiny" / "uncrop"
    outputs.mkdir(parents=True)
    for item in small.items[:-2]:
        Image.open(here / "made" / f"{item.id}.png").save(outputs / f"{item.id}.bmp")
    (outputs / "a010.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="are not complete") as raised:
        run(small, card, here / "preds")
    assert {(p.kind, p.where) for p in raised.value.problems} == {("undecodable", "a010"), ("missing", "a011.png")}
    for item in small.items[-2:]:
        Image.open(here / "made" / f"{item.id}.png").save(outputs / f"{item.id}.png")
    done = run(small, card, here / "preds")
    assert done.kept == 8
    assert {name: data for name, data in content(here / "preds").items() if name.endswith(".png")} == {
        name: data for name, data in content(here / "made").items() if name.endswith(".png")
    }


class _Double:
    """A service that doubles, until it cannot."""

    def __call__(self, number: int) -> int:
        if number < 0:
            raise InputError("no negative numbers", found=number)
        return 2 * number

    def close(self) -> None:
        Path("closed").touch()


def test_hosts_share_the_work_and_end_with_it(here: Path) -> None:
    start = partial(Host[int, int], _Double, name="doubling", folder=here)
    found = dict(answers([start, start], [1, 2, 3, 4, 5], about=str, seconds=None))
    assert found == {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}
    assert (here / "closed").exists()
    with pytest.raises(InputError, match="no negative numbers"):
        dict(answers([start], [1, -1, 3], about=str, seconds=None))


def test_a_program_dies_with_the_process_that_started_it(small: EvalSet, here: Path) -> None:
    """SIGKILL to the whole run leaves no program behind, though it never reads its stdin again."""
    card = program(here / "mine", "echo $$ > pid; exec sleep 600\n", name="run.sh")
    script = (
        "import sys; from pathlib import Path; from palette_bench.common.progress import Silent\n"
        "from palette_bench.predict.card import find_card; from palette_bench.predict.run import Options, predict\n"
        "from palette_bench.artifacts.evalset import EvalSet\n"
        "if __name__ == '__main__':\n"
        f"    predict(EvalSet(Path({str(small.folder)!r})), 'uncrop', find_card({str(card.folder)!r}),\n"
        f"            Path({str(here / 'preds')!r}), Options(), progress=Silent())\n"
    )
    (here / "script.py").write_text(script)
    process = subprocess.Popen([sys.executable, here / "script.py"])
    limit = time.monotonic() + 60
    while not (here / "mine" / "pid").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.05)
    number = int((here / "mine" / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while alive(number) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not alive(number)
