"""Where things live on disk."""

import os
from pathlib import Path

import platformdirs

from palette_bench.common.errors import UsageError

HOME_VARIABLE = "PALETTE_BENCH_HOME"


def home() -> Path:
    """``$PALETTE_BENCH_HOME``, or the platform's folder for user data."""
    chosen = os.environ.get(HOME_VARIABLE)
    if not chosen:
        return Path(platformdirs.user_data_dir("palette-bench", appauthor=False))
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise UsageError(
            "the home folder names a user who is not known here",
            where=HOME_VARIABLE,
            expected="a folder",
            found=chosen,
            next_step=f"set {HOME_VARIABLE} to a folder",
        ) from error


def sets_folder() -> Path:
    """Prepared evaluation sets, one folder each."""
    return home() / "sets"


def weights_folder() -> Path:
    """Weights of pretrained networks under their canonical file names."""
    return home() / "weights"


def statistics_folder() -> Path:
    """Feature statistics of reference sets."""
    return home() / "statistics"


def features_folder() -> Path:
    """Cached network outputs, one folder a backbone; safe to delete."""
    return home() / "features"


def kept_scenes_folder() -> Path:
    """Drawn scenes of the train split of scenes32; safe to delete."""
    return home() / "scenes"
