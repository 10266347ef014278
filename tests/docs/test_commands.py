"""Every command that the documentation shows fits the program, and runs."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

import click
import pytest

from palette_bench.common.home import HOME_VARIABLE
from palette_bench.predict.card import baseline_names
from palette_bench.protocol.definition import protocol_names
from palette_bench.protocol.tasks import TASKS
from palette_bench.score.recipes.catalogue import RECIPES
from tests.docs.documented import ROOT, Documented, arguments, blocks, commands, documented, outputs, parse
from tests.docs.sandbox import SMALL, Sandbox, execute
from tests.e2e.conftest import Quickstart

PHOTOGRAPHS = "photographs that are nobody's to give away"
HOURS = "hours of training"
NO_GPU = "no GPU here"
RANKS = "ranks are tested in tests/e2e/test_divided_scores.py; what they are given is run as one process"
NO_NETWORK = "tests download nothing"


class Instead(NamedTuple):
    """What stands in for words of a command, and why."""

    words: str
    why: str


class Run(NamedTuple):
    """What is run in place of a whole command, how it must end, and why."""

    line: str
    code: int
    why: str


WORDS = {
    "torchrun --standalone --nproc-per-node 8 -m palette_bench": Instead("palette-bench", RANKS),
    "torchrun --nproc-per-node 2 -m palette_bench": Instead("palette-bench", RANKS),
    " --device cuda": Instead("", NO_GPU),
    " --workers 12": Instead(" --workers 1", "two cores"),
    " --workers 8": Instead(" --workers 1", "two cores"),
    "--source /data/imagenet/train": Instead("--source photos", PHOTOGRAPHS),
    "--source ...": Instead("--source photos", PHOTOGRAPHS),
    " --images 1000 --size 256 --side 32": Instead(" --images 3 --size 32 --side 8", "seconds instead of minutes"),
    "train palette256-inpaint": Instead("train my/card.toml", HOURS),
    "train palette-scenes32-uncrop": Instead("train drawn/card.toml", HOURS),
    "--model palette-scenes32-multitask --item": Instead("--model classical-mirror --item", "sampling step by step"),
    "--model palette-scenes32-uncrop --item": Instead("--model classical-mirror --item", "sampling step by step"),
    " --card my/card.toml": Instead(" --card input --training-data none", "the card that made the record"),
    "--item ID --item ID": Instead("--item scene-00003 --item scene-00005", "any items"),
    "--item ID": Instead("--item scene-00003", "any item"),
    "package.module:Class": Instead("painter:Painter", "any class"),
    "ENTRY": Instead("leaderboards/scenes32/entries/uncrop/my-model", "any entry"),
    "OWNER/NAME": Instead("me/scenes32", "any dataset"),
    "their/card.toml": Instead("input", "the card that the record of the entry names"),
    "verify my-photos": Instead(f"verify {SMALL}", "the set has to be made"),
    "show my-photos": Instead(f"show {SMALL}", "the set has to be made"),
    "show scenes32": Instead(f"show {SMALL}", "eight items instead of 2,000"),
    "verify imagenet-ctest10k": Instead(f"verify {SMALL}", PHOTOGRAPHS),
    "show imagenet-ctest10k": Instead(f"show {SMALL}", PHOTOGRAPHS),
    "calibrate --set imagenet-ctest10k": Instead("calibrate --set scenes32", PHOTOGRAPHS),
    "calibrate --set imagenet-coltran5k": Instead("calibrate --set scenes32", PHOTOGRAPHS),
    " --reference imagenet-val": Instead("", "scenes32 has one reference set"),
    "statistics imagenet-ctest10k --source /data/imagenet/val": Instead("statistics scenes32", PHOTOGRAPHS),
    "statistics imagenet-coltran5k --source /data/imagenet/val --reference tfds10k-15k": Instead(
        "statistics scenes32 --reference reference", PHOTOGRAPHS
    ),
    "predict --set imagenet-ctest10k": Instead("predict", PHOTOGRAPHS),
    "predict --set scenes32": Instead("predict", "eight items instead of 2,000: the only set of that home"),
    "panorama --set scenes32": Instead("panorama", "eight items instead of 2,000"),
    "panorama --set places10k": Instead("panorama", PHOTOGRAPHS),
    "figure panorama --set places10k": Instead("figure panorama", PHOTOGRAPHS),
    "figure grid --set places10k": Instead("figure grid", PHOTOGRAPHS),
    "figure grid --set imagenet-ctest10k": Instead("figure grid", PHOTOGRAPHS),
    "figure grid --set scenes32": Instead("figure grid", "eight items instead of 2,000"),
    "export --set imagenet-ctest10k": Instead("export", PHOTOGRAPHS),
    "score --set imagenet-ctest10k": Instead("score --set scenes32", PHOTOGRAPHS),
    "--preds outputs.npz": Instead("--preds outputs/", "a folder: archives are tested in tests/score"),
    "--also kid-inception2015-tf1-evalset": Instead("--also kid-scenes32-evalset", PHOTOGRAPHS),
    "submit results/imagenet-ctest10k-uncrop-mine": Instead("submit results/scenes32-uncrop-mine", PHOTOGRAPHS),
    "report results/imagenet-ctest10k-colorize-mine/": Instead("report results/scenes32-uncrop-mine/", PHOTOGRAPHS),
}
STUDIES = ("palette-bench study ", "palette-bench figure fool-rate ")
"""Commands that need a study with its people: they are parsed here, and tests/study runs studies."""
PARTS = "palette-bench score --task uncrop --preds outputs/ --shard {}/2 --out part-{}"
LINES = {
    "palette-bench table 4 --format latex --rows mine results/*": Run(
        "palette-bench table 4 --format latex --rows mine results/imagenet-ctest10k-jpeg-qf5-mine", 0, PHOTOGRAPHS
    ),
    "palette-bench quickstart": Run("", 0, "the fixture ran it"),
    "palette-bench sources set imagenet-val /data/imagenet/val": Run(
        "palette-bench sources set imagenet-val photos", 0, PHOTOGRAPHS
    ),
    "palette-bench sources forget imagenet-val": Run(
        "palette-bench sources set imagenet-val photos && palette-bench sources forget imagenet-val", 0, PHOTOGRAPHS
    ),
    "palette-bench prepare imagenet-ctest10k --source /data/imagenet/val": Run(
        "palette-bench prepare folder --source photos --name mine --size 32", 0, PHOTOGRAPHS
    ),
    "palette-bench prepare imagenet-ctest10k --source ILSVRC2012_img_val.tar --labels ILSVRC2012_devkit_t12": Run(
        "palette-bench prepare folder --source photos --name others --size 32", 0, PHOTOGRAPHS
    ),
    "palette-bench weights fetch": Run("palette-bench weights fetch --offline", 3, NO_NETWORK),
    "palette-bench weights fetch inception2015 resnet50-v1": Run(
        "palette-bench weights fetch inception2015 resnet50-v1 --offline", 3, NO_NETWORK
    ),
    "palette-bench weights import ~/Downloads/resnet50-0676ba61.pth": Run(
        "palette-bench weights import mine.pth --as resnet50-v1", 3, "published weights; another file is refused"
    ),
    "palette-bench convert 256x256_diffusion_uncond.pt --from adm --out adm256.safetensors": Run(
        "palette-bench convert 256x256_diffusion_uncond.pt --from adm --out adm256.safetensors",
        3,
        "a checkpoint of gigabytes: tests/predict/test_converters.py converts small ones",
    ),
    "palette-bench convert 200_Network_ema.pth --from janspiry --out weights.safetensors": Run(
        "palette-bench convert 200_Network_ema.pth --from janspiry --out weights.safetensors",
        3,
        "other people's checkpoint: tests/predict/test_converters.py converts small ones",
    ),
    "palette-bench train palette256-inpaint --out runs/inpaint --export weights.safetensors": Run(
        "palette-bench train my/card.toml --source photos --out runs/inpaint && "
        "palette-bench train my/card.toml --out runs/inpaint --export weights.safetensors",
        0,
        HOURS,
    ),
    "palette-bench train palette-scenes32-uncrop --out runs/uncrop --export weights.safetensors --half": Run(
        "palette-bench train drawn/card.toml --out runs/uncrop && "
        "palette-bench train drawn/card.toml --out runs/uncrop --export weights.safetensors --half",
        0,
        HOURS,
    ),
    "palette-bench train palette256-inpaint --start-from adm256.safetensors --source /data/imagenet/train "
    "--device cuda": Run(
        "palette-bench train my/card.toml --source photos --out first && "
        "palette-bench train my/card.toml --out first --export adm256.safetensors && "
        "palette-bench train my/card.toml --start-from adm256.safetensors --source photos",
        0,
        HOURS,
    ),
    "palette-bench merge part-1 part-2 --name my-model": Run(
        f"{PARTS.format(1, 1)} && {PARTS.format(2, 2)} && palette-bench merge part-1 part-2 --name my-model",
        0,
        "the parts have to be made",
    ),
    "palette-bench statistics imagenet-ctest10k --source /data/imagenet/val --part part-1 --part part-2": Run(
        "palette-bench statistics scenes32 --shard 1/2 --out part-1 && "
        "palette-bench statistics scenes32 --shard 2/2 --out part-2 && "
        "palette-bench statistics scenes32 --part part-1 --part part-2",
        0,
        "the parts have to be made",
    ),
    "palette-bench statistics imagenet-ctest10k --import stats.npz --recipe fid-inception2015-halfpixel "
    "--count 50000": Run(
        "palette-bench statistics scenes32 --import stats.npz --recipe fid-inception2015-halfpixel --count 50000",
        2,
        "published weights: scenes32 has no such recipe, and says so",
    ),
    "palette-bench regress --from-model --rows 'uncrop/*'": Run(
        "palette-bench regress regression.toml --from-model --rows 'mine/*'",
        0,
        "minutes: .ci/run runs it",
    ),
    'palette-bench regress --from-model --junit regress.xml --summary "$GITHUB_STEP_SUMMARY"': Run(
        'palette-bench regress regression.toml --from-model --junit regress.xml --summary "$GITHUB_STEP_SUMMARY"',
        0,
        "hours: the tables' own workflow",
    ),
    "palette-bench regress --preds predictions/": Run(
        "palette-bench regress regression.toml --preds rows/",
        0,
        "51 folders that models have to make",
    ),
    "palette-bench leaderboard build --check": Run(
        "palette-bench leaderboard build && palette-bench leaderboard build --check",
        0,
        "what is checked has to be built",
    ),
    "palette-bench export --set crops --task inpaint-center --layout hifill --source originals/ --out hifill-inputs/": (
        Run(
            "palette-bench prepare folder --source central-256/ --name crops --size 32 && palette-bench export "
            "--set crops --task inpaint-center --layout hifill --source originals/ --out hifill-inputs/",
            0,
            "the set has to be made",
        )
    ),
    "palette-bench export --set central --task inpaint-center --layout hifill --source originals/ "
    "--out hifill-inputs/": Run(
        "palette-bench prepare folder --source central-256/ --name central --size 32 && palette-bench export "
        "--set central --task inpaint-center --layout hifill --source originals/ --out hifill-inputs/",
        0,
        "the set has to be made",
    ),
    "palette-bench prepare folder --source central-256/ --name central": Run(
        "palette-bench prepare folder --source central-256/ --name squares --size 32", 0, "originals of 64 pixels"
    ),
    "python -m palette_bench.score.backbones.scenes32_training --out scenes32-classifier.safetensors": Run(
        "python -m palette_bench.score.backbones.scenes32_training --help", 0, "13 minutes"
    ),
    "python -m benchmarks.scenes32_facts": Run("python -m benchmarks.scenes32_facts --help", 0, "minutes"),
    "python -m benchmarks.scenes32_next.simulation": Run(
        "python -m benchmarks.scenes32_next.simulation --help", 0, "minutes"
    ),
    **{
        f"python -m benchmarks.samplers {what} dpmpp_2m:5:logsnr --samples 16": Run(
            f"python -m benchmarks.samplers {what} dpmpp_2m:5:logsnr --samples 2 --scenes 8", 0, "minutes"
        )
        for what in ("palette-scenes32-jpeg jpeg-qf20", "palette-scenes32-colorize colorize")
    },
    "python -m benchmarks.samplers palette-scenes32-colorize colorize ancestral:80:logsnr": Run(
        "python -m benchmarks.samplers palette-scenes32-colorize colorize ancestral:2:logsnr --scenes 8", 0, "minutes"
    ),
    "python -m benchmarks.colours palette-scenes32-colorize": Run(
        "python -m benchmarks.colours palette-scenes32-colorize --scenes 8", 0, "minutes"
    ),
}
PLACES = {"my-photos", "crops", "central"}
"""Names of sets that the reader makes."""
OWN = re.compile(r"card\.toml$|^package\.module:Class$|^my-model$")


@pytest.mark.parametrize("one", documented(), ids=lambda one: one.line)
def test_every_command_fits_the_program(one: Documented) -> None:
    if one.words[0].startswith("python"):
        module = one.words[one.words.index("-m") + 1]
        if module != "palette_bench":
            assert importlib.util.find_spec(module) is not None, one.where
            return
    try:
        context = parse(arguments(one.line))
    except click.ClickException as error:
        pytest.fail(f"{one.where}: {one.line}\n{error.format_message()}")
    assert not wrong_names(context), f"{one.where}: {one.line}"


def wrong_names(context: click.Context) -> list[str]:
    """Sets, tasks, recipes and models that do not exist."""
    known = {
        "set_name": {*protocol_names(), *PLACES},
        "protocol": {*protocol_names(), "folder"},
        "task_name": set(TASKS),
        "task": set(TASKS),
        "recipe_name": set(RECIPES),
        "only": set(RECIPES),
        "also": {*RECIPES, "all"},
        "worst_by": set(RECIPES),
        "model": set(baseline_names()),
        "card": set(baseline_names()),
    }
    if context.command_path.endswith((" statistics", " verify", " show", " export")):
        known["name"] = {*protocol_names(), *PLACES}
    if context.command_path.endswith(" baselines"):
        known["names"] = set(baseline_names())
    if context.command_path.endswith(" recipes"):
        known["names"] = set(RECIPES)
    return [
        f"{key}: {one}"
        for key, names in known.items()
        for one in _values(context.params.get(key))
        if one not in names and not OWN.search(one)
    ]


def _values(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else [] if value is None else [str(value)]


@pytest.mark.parametrize(
    "line",
    [
        "palette-bench score --task uncrop",
        "palette-bench score --task uncrop --preds x --nonsense",
        "palette-bench table 3 --format word",
        "palette-bench nonsense",
        "palette-bench figure nonsense --out x",
    ],
)
def test_what_does_not_fit_is_found(line: str) -> None:
    with pytest.raises(click.ClickException):
        parse(arguments(line))


@pytest.mark.parametrize(
    "line",
    [
        "palette-bench score --task uncropp --preds x",
        "palette-bench predict --set imagenet --task uncrop --model input --out x",
        "palette-bench predict --task uncrop --model palettes --out x",
        "palette-bench compare a b --only fid",
        "palette-bench verify nothing",
        "palette-bench recipes fid",
    ],
)
def test_names_of_nothing_are_found(line: str) -> None:
    assert len(wrong_names(parse(arguments(line)))) == 1


def test_commands_are_found_wherever_a_page_may_hide_them() -> None:
    page = """\
```
palette-bench sets   # which
python3 -m venv x && x/bin/palette-bench quickstart && x/bin/python -m pytest
    torchrun -m palette_bench score \\
        --task uncrop
$ palette-bench recipes
fid-scenes32|set:scenes32
```
```python
palette-bench nothing
```
"""
    found = [one.line for block in blocks(page) for one in commands(block, "page")]
    assert found == [
        "palette-bench sets",
        "palette-bench quickstart",
        "torchrun -m palette_bench score --task uncrop",
        "palette-bench recipes",
    ]
    workflow = (
        "      - run: palette-bench sets\n      - run: |\n          palette-bench regress x \\\n            --json\n"
    )
    assert [one.line for one in commands(workflow, "w")] == ["palette-bench sets", "palette-bench regress x --json"]


def test_no_stand_in_is_left_over() -> None:
    shown = [one.line for one in documented()]
    assert not [line for line in LINES if line not in shown], "of no documented command"
    used = {words for line in shown if line not in LINES for words in WORDS if words in line}
    assert not set(WORDS) - used, "in no documented command"


def instead(one: Documented) -> tuple[list[str], int]:
    """What is run, and how it must end."""
    if one.line in LINES:
        run = LINES[one.line]
        return run.line.split(" && ") if run.line else [], run.code
    if one.line.startswith(STUDIES):
        return [], 0
    line = one.line
    for words, replaced in WORDS.items():
        line = line.replace(words, replaced.words)
    return [line], 0


def every_run() -> list[Documented]:
    """One documented command for each that is run: some differ in what nothing here has."""
    found: dict[tuple[str, ...], Documented] = {}
    for one in documented():
        found.setdefault(tuple(instead(one)[0]), one)
    return list(found.values())


@pytest.fixture(scope="module")
def sandbox(quickstart: Quickstart, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    assert quickstart.returncode == 0, quickstart.stderr
    return Sandbox(tmp_path_factory.mktemp("docs"), quickstart)


@pytest.mark.parametrize("one", every_run(), ids=lambda one: one.line)
def test_every_command_runs(one: Documented, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sandbox.folder()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    run, expected = instead(one)
    for place, line in enumerate(run, start=1):
        words = shlex.split(os.path.expandvars(line))
        if words[0].startswith("python"):
            sandbox.place(words, [], folder)
            result = subprocess.run(
                [sys.executable, *words[1:]],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == expected, f"{one.where}: {line}\n{result.stderr}"
            continue
        given = words[1:]
        monkeypatch.setenv(HOME_VARIABLE, str(sandbox.home_of(given)))
        context = parse(given)
        written = outputs(context)
        given = [word.replace("results/*", "results/imagenet-ctest10k-inpaint-center-mine") for word in given]
        sandbox.place(given, written, folder)
        done = execute(given)
        wanted = expected if place == len(run) else 0
        assert done.code == wanted, f"{one.where}: {line}\n{done.out[-2000:]}\n{done.err[-3000:]}"
        assert "Traceback" not in done.err
        if not done.code:
            for path in written:
                there = path.exists() or path.with_name(f"{path.name}.png").exists()
                assert there, f"{one.where}: {line}: {path} is not there"
