"""Where things live on disk."""

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "PALETTE_BENCH_HOME"


def home() -> Path:
    """``$PALETTE_BENCH_HOME``, or the platform's folder for user data."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("palette-bench", appauthor=False))


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
