"""Where documented commands are run: two small worlds, and a folder for each command with the things that it names."""

import io
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.artifacts.record import read_record, save
from palette_bench.cli import main
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from tests.conftest import make_photos, picture
from tests.e2e.conftest import Quickstart
from tests.predict.importing_world import save_recon
from tests.prepare.test_export_layouts import make_originals
from tests.publish.paper_records import photo_record
from tests.publish.report.world import record_of
from tests.records import ITEMS
from tests.training_card import write_card

SMALL = "small"
COUNT = 8
"""Items of the small set, which are called as those of scenes32 are."""
CARD = """\
format = 1
name = "my-model"
title = "My model"
tasks = ["colorize", "inpaint-center", "uncrop", "uncrop-left", "jpeg-qf5"]
stochastic = true
licence = "MIT"
[adapter]
kind = "python"
entry = "painter:Painter"
"""
MODEL = """\
import numpy as np

class Painter:
    def __init__(self, setting):
        pass

    def predict(self, inputs):
        return [self.paint(given) for given in inputs]

    def paint(self, given):
        noise = np.random.default_rng(given.seed).integers(0, 256, given.image.shape, np.uint8)
        return noise if given.hole is None else np.where(given.hole[..., None], noise, given.image)
"""
OF_SCENES32 = ("score", "merge", "compare", "submit", "leaderboard", "regress", "table", "calibrate", "statistics")
"""Commands that need a set which can be scored; all others but ``prepare scenes32`` run on the small one."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def execute(words: Sequence[str]) -> Done:
    """Run the program in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("sys.argv", ["palette-bench", *words])
        code = main._run()
    return Done(code, out.getvalue(), err.getvalue())


def _must(*words: object) -> None:
    done = execute([str(word) for word in words])
    assert done.code == 0, f"{words}: {done.err}"


class Sandbox:
    """Both worlds, made once below ``base``; ``inputs`` are the things that documented commands name."""

    def __init__(self, base: Path, quickstart: Quickstart) -> None:
        self.base, self.made, self.quickstart = base, base / "made", quickstart
        self.full, self.small, self.runs = base / "full", base / "small", 0
        for folder in (self.full, self.small, self.made):
            folder.mkdir(parents=True)
        self.full.joinpath("sets").symlink_to(quickstart.home / "sets")
        for part in ("statistics", "features"):
            shutil.copytree(quickstart.home / part, self.full / part)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.made)
            patch.setenv(HOME_VARIABLE, str(self.small))
            self._make_small()
            patch.setenv(HOME_VARIABLE, str(self.full))
            self._make_full()
        self.inputs = self._inputs()

    def _make_small(self) -> None:
        for item in range(COUNT):
            path = Path("scenes") / f"scene-{item:05d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture(40, 36, f"scene {item}")).save(path)
        eval_set = _built(Path("scenes"), SMALL)
        _write_model(Path("my-model"))
        for task in ("uncrop", "inpaint-center", "colorize"):
            _must("predict", "--task", task, "--model", "my-model", "--samples", 4, "--out", f"samples-{task}")
        for model in ("mirror", "edge"):
            _must("predict", "--task", "uncrop", "--model", f"classical-{model}", "--out", model)
        record_of(eval_set, "uncrop", Path("mirror"), Path("record-mirror"))
        _must("panorama", "--model", "classical-mirror", "--item", "scene-00003", "--out", "panorama.png")
        self._make_outputs(eval_set)
        make_originals(Path("hifill"), rule="centre-crop")

    def _make_outputs(self, eval_set: EvalSet) -> None:
        """What other people's models would leave: named like masks, in an archive, in an array, in floats."""
        Path("lama").mkdir()
        images = [eval_set.reference(item) for item in eval_set.items]
        with zipfile.ZipFile("outputs.zip", "w") as archive:
            for item, image in zip(eval_set.items, images, strict=True):
                Image.fromarray(image).save(Path("lama") / f"{item.id}_mask000.png")
                archive.write(Path("lama") / f"{item.id}_mask000.png", f"{item.id}_fake.png")
        Path("list.txt").write_text("".join(f"{item.id}\n" for item in eval_set.items))
        np.save("outputs.npy", np.stack(images).astype(np.float32) / 255)
        save_recon(Path("i2sb") / "recon.pt", np.stack(images))

    def _make_full(self) -> None:
        _must("predict", "--task", "uncrop", "--model", "input", "--out", "outputs", "--jobs", 2)
        _must("score", "--task", "uncrop", "--preds", "outputs", "--name", "mine", "--out", "mine", "--jobs", 2)
        _must("submit", "mine", "--name", "My model", "--preds", "outputs", "--training-data", "none")
        for task in ("uncrop", "jpeg-qf5", "inpaint-center"):
            save(photo_record(task=task), ITEMS, Path(f"photographs-{task}"))
        for sample, method in enumerate(("mirror", "tile")):
            for path in self.quickstart.predictions(method).glob("*.png"):
                target = Path("diverse") / path.stem / f"{sample}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(path)
        for name in ("one", "other"):
            _must("score", "--task", "uncrop", "--preds", "diverse", "--name", name, "--out", name, "--jobs", 2)
        values = read_record(Path("mine")).record.metrics
        Path("regression.toml").write_text(f"""\
format = 1
name = "our-paper"
[[table]]
number = "3"
title = "Uncropping"
[[table.row]]
label = "Input"
record = "mine/result.json"
model = "input"
printed = {{ fid-scenes32 = "{values["fid-scenes32"].value:.2f}", ca-scenes32 = "{values["ca-scenes32"].value:.1f}" }}
""")
        write_card(Path("trained"), steps=1, source="folder")
        write_card(Path("drawn"), steps=1)
        for name in ("trained", "drawn"):
            card = Path(name) / "small" / "card.toml"
            card.write_text(card.read_text().replace("batch = 4", "batch = 16"))
        make_photos(Path("photos"), 3)
        Path("nothing.pth").write_bytes(b"no checkpoint")
        np.savez_compressed("stats.npz", mu=np.zeros(2048), sigma=np.eye(2048))

    def _inputs(self) -> dict[str, dict[str, str]]:
        """What a command finds at a path, by the command that looks; ``*`` for all others."""
        record = str(self.quickstart.out / "results" / "uncrop-classical-mirror")
        scored = {
            **dict.fromkeys(("outputs", "dir", "preds"), "outputs"),
            **dict.fromkeys(("preds/uncrop", "preds/biharmonic", "preds/mirror", "preds/edge"), "outputs"),
            **dict.fromkeys(("results/mine", "results/scenes32-uncrop-mine", "mine", "A"), "mine"),
            **dict.fromkeys(("results/scenes32-uncrop-theirs", "theirs", "B"), record),
            "results/scenes32-uncrop-mirror": "mine",
            **dict.fromkeys(("results/scenes32-uncrop-biharmonic", "results/scenes32-uncrop-edge"), record),
            "predictions": "outputs",
            "regression.toml": "regression.toml",
            "paper/regression.toml": "regression.toml",
            "stats.npz": "stats.npz",
            "leaderboards": "leaderboards",
            "my-clone/leaderboards": "leaderboards",
        }
        for task in ("uncrop", "jpeg-qf5", "inpaint-center"):
            scored[f"results/imagenet-ctest10k-{task}-mine"] = f"photographs-{task}"
        by_task = {"inpaint-center": "classical-push-pull", "colorize": "input", "jpeg-qf5": "input"}
        for task, model in by_task.items():
            for name in ("outputs", "preds/lama"):
                scored[f"{task}:{name}"] = str(self.quickstart.out / task / model)
        small = {
            **dict.fromkeys(("palette", "a", "preds", "preds/uncrop", "preds/biharmonic", "outputs"), "mirror"),
            **dict.fromkeys(("regression", "b"), "edge"),
            **dict.fromkeys(("samples", "uncrop"), "samples-uncrop"),
            "colorize": "samples-colorize",
            "inpaint": "samples-inpaint-center",
            "panorama.png": "panorama.png",
            "panorama.json": "panorama.json",
            "lama-outputs": "lama",
            "outputs.zip": "outputs.zip",
            "outputs.npy": "outputs.npy",
            "list.txt": "list.txt",
            "results/ckpt/samples_nfe100": "i2sb",
            "originals": "hifill/originals",
            "central-256": "hifill/squares",
            "my-photos": "photos",
            "photos": "photos",
            **dict.fromkeys(("256x256_diffusion_uncond.pt", "200_Network_ema.pth", "mine.pth"), "nothing.pth"),
        }
        small |= {"my-model/card.toml": "my-model/card.toml", "my-model/painter.py": "my-model/painter.py"}
        small |= {"painter.py": "my-model/painter.py"}
        histogram = {"results/l1": "one", "results/l2": "other", "colorize": "one", "inpaint": "other"}
        return {
            **dict.fromkeys(OF_SCENES32, scored),
            "train": {
                **small,
                "my-model/card.toml": "trained/small/card.toml",
                "my/card.toml": "trained/small/card.toml",
                "drawn/card.toml": "drawn/small/card.toml",
            },
            "histogram": histogram,
            "report": {
                **dict.fromkeys(("outputs", "dir", "preds/mirror"), "mirror"),
                "results/scenes32-uncrop-mine": "record-mirror",
                "results/scenes32-uncrop-mirror": "record-mirror",
            },
            "*": small,
        }

    def home_of(self, words: Sequence[str]) -> Path:
        """Where the command finds its set."""
        if words[0] in OF_SCENES32 or words[0] in ("doctor", "sets") or list(words[:2]) == ["prepare", "scenes32"]:
            return self.full
        # A second set in the home of the small one, and --set could not be left out any more.
        return (
            self.base / "own" if words[0] in ("prepare", "weights") or {"crops", "central"} & {*words} else self.small
        )

    def folder(self) -> Path:
        """An empty folder to run in."""
        self.runs += 1
        folder = self.base / "runs" / str(self.runs)
        folder.mkdir(parents=True)
        return folder

    def place(self, words: Sequence[str], written: Sequence[Path], folder: Path) -> None:
        """Put what the words name into ``folder``, unless it is there, or will be written."""
        kind = words[1] if words[0] == "figure" else words[0]
        known = self.inputs.get(kind, self.inputs["*"])
        task = words[words.index("--task") + 1] if "--task" in words else ""
        named = [word.rstrip("/").removesuffix("/result.json") for word in words[1:]]
        if words[0] == "leaderboard":
            named.append("leaderboards")
        if any("painter:" in word for word in words):
            named.append("painter.py")
        if "panorama.png" in named:
            named.append("panorama.json")
        if "my-model/card.toml" in named and words[0] != "train":
            named.append("my-model/painter.py")
        for name in named:
            found = known.get(f"{task}:{name}", known.get(name))
            target = folder / name
            if found is None or target.exists() or Path(name) in written:
                continue
            source = self.made / found
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=_link)
            else:
                _link(str(source), str(target))
        if "regress" in words[:1]:
            for beside in (folder, folder / "paper"):
                beside.mkdir(exist_ok=True)
                shutil.copytree(self.made / "mine", beside / "mine", dirs_exist_ok=True)
            shutil.copytree(self.made / "outputs", folder / "rows/uncrop/mine", copy_function=_link)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _built(source: Path, name: str) -> EvalSet:
    plan = make_plan("folder", Choices(source=source, name=name, size=32), progress=Silent())
    return EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)


def _write_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "card.toml").write_text(CARD)
    (folder / "painter.py").write_text(MODEL)
