"""The evaluation protocol of *Palette: Image-to-Image Diffusion Models* as software.

::

    import palette_bench as pb

    scenes = pb.prepare_set("scenes32")
    result = pb.score_predictions("preds/", scenes, "uncrop")
    print(result)

What is listed in ``__all__`` is the public interface and keeps to semantic versioning; everything else may change.
Each name is imported when it is first used, so that ``import palette_bench`` loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from palette_bench.common.version import __version__

if TYPE_CHECKING:
    from palette_bench.api import (
        Result,
        check_model,
        compare,
        merge,
        prepare_set,
        read_result,
        regress,
        report,
        run_model,
        score_predictions,
        table,
        verify_set,
    )
    from palette_bench.artifacts.evalset import EvalSet, open_set
    from palette_bench.common import errors
    from palette_bench.common.progress import Progress
    from palette_bench.predict.adapters.base import ModelInput, Setting
    from palette_bench.predict.card import find_card as find_model
    from palette_bench.protocol.tasks import TASKS
    from palette_bench.score import metrics
    from palette_bench.score.recipes.catalogue import RECIPES

_PLACES = {
    "EvalSet": "artifacts.evalset",
    "open_set": "artifacts.evalset",
    "ModelInput": "predict.adapters.base",
    "Setting": "predict.adapters.base",
    "Progress": "common.progress",
    "TASKS": "protocol.tasks",
    "RECIPES": "score.recipes.catalogue",
}
_RENAMED = {"find_model": ("predict.card", "find_card")}
_MODULES = {"errors": "common.errors", "metrics": "score.metrics"}

__all__ = [
    "RECIPES",
    "TASKS",
    "EvalSet",
    "ModelInput",
    "Progress",
    "Result",
    "Setting",
    "__version__",
    "check_model",
    "compare",
    "errors",
    "find_model",
    "merge",
    "metrics",
    "open_set",
    "prepare_set",
    "read_result",
    "regress",
    "report",
    "run_model",
    "score_predictions",
    "table",
    "verify_set",
]


if not TYPE_CHECKING:  # A type checker knows the names from the imports above, and no others.

    def __getattr__(name: str) -> object:
        """A public name, imported when it is first asked for."""
        if name not in __all__:
            raise AttributeError(f"module 'palette_bench' has no attribute {name!r}")
        if name in _MODULES:
            return import_module(f"palette_bench.{_MODULES[name]}")
        module, original = _RENAMED.get(name, (_PLACES.get(name, "api"), name))
        value: object = getattr(import_module(f"palette_bench.{module}"), original)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
