"""A small prepared set, cards written on the spot, and what a folder of predictions holds."""

from pathlib import Path

import pytest

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.prepare.build import build
from palette_bench.prepare.plan import Choices, make_plan
from tests.adversarial import files

COUNT = 12
NAME = "tiny"


def prepare(folder: Path) -> EvalSet:
    """Twelve pictures, 32 pixels wide, below the home ``folder / "home"``."""
    source = files.images(folder / "source", COUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "home"))
        plan = make_plan("folder", Choices(source=source, name=NAME, size=32), progress=Silent())
        return EvalSet(build(plan, jobs=1, replace=False, progress=Silent()).folder)


def write_card(folder: Path, adapter: str, *, stochastic: bool = True, more: str = "") -> Path:
    """A card with this ``[adapter]`` table, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    head = f'format = 1\nname = "{folder.name}"\ntitle = "A model"\ntasks = ["uncrop", "colorize", "jpeg-qf5"]\n'
    (folder / "card.toml").write_text(f"{head}stochastic = {str(stochastic).lower()}\n[adapter]\n{adapter}\n{more}")
    return folder / "card.toml"


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
