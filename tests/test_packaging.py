import tomllib
from pathlib import Path

from palette_bench.common import resources

ROOT = Path(__file__).parent.parent


def test_every_package_of_the_tree_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tree = {
        str(file.parent.relative_to(ROOT)).replace("/", ".") for file in (ROOT / "palette_bench").rglob("__init__.py")
    }
    data = {f"palette_bench.{name}" for name in ("protocols", "baselines", "leaderboards")}
    assert set(listed) == tree | data


def test_data_folders_are_found_as_resources() -> None:
    assert {file.name for file in resources.toml_files(resources.protocols())} >= {"scenes32.toml", "folder.toml"}
    assert [file.name for file in resources.toml_files(resources.leaderboards() / "paper")] == [
        "i2sb.toml",
        "palette-v1.toml",
        "palette-v2.toml",
    ]
