"""The data folders that ship with the package: protocols, baselines, leaderboards."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path


def protocols() -> Traversable:
    """One TOML a set."""
    return resources.files("palette_bench.protocols")


def baselines() -> Traversable:
    """One folder a baseline, with its ``card.toml``."""
    return resources.files("palette_bench.baselines")


def leaderboards() -> Traversable:
    """Published numbers and result records."""
    return resources.files("palette_bench.leaderboards")


def own_manifest() -> Path:
    """The manifest of the project's own published tables."""
    return Path(str(leaderboards() / "scenes32" / "regression.toml"))


def toml_files(folder: Traversable) -> Iterator[Traversable]:
    """The TOML files of a data folder, by name."""
    yield from sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
