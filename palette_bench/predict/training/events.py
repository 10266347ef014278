"""Event files for TensorBoard, which is an extra."""

from collections.abc import Mapping
from pathlib import Path

from palette_bench.common.errors import UsageError
from palette_bench.images.types import ImageU8

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Raises UsageError when TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed",
            expected="the extra tensorboard",
            found=error,
            next_step="pip install 'palette-bench[tensorboard]', or train without --tensorboard",
        ) from error


class Events:
    """Writes what ``metrics.jsonl`` holds, and pictures, for TensorBoard."""

    def __init__(self, run: Path, *, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a killed run wrote after the checkpoint that it goes on from is written again.
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=step + 1)

    def line(self, line: Mapping[str, object]) -> None:
        """Every number of a line of metrics at its step."""
        step = int(str(line["step"]))
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, picture: ImageU8, *, step: int) -> None:
        """A picture [h, w, 3]."""
        self._writer.add_image("samples", picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()
