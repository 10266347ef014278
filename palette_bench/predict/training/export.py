"""From a run to the weights that a card names."""

from dataclasses import dataclass
from pathlib import Path

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError
from palette_bench.common.files import write_bytes
from palette_bench.predict.models.palette import save_network
from palette_bench.predict.training import checkpoints


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the step it is of, the digest for the card, how many numbers."""

    step: int
    sha256: str
    parameters: int


def export_weights(run: Path, path: Path, *, half: bool) -> Exported:
    """Write the averaged weights of a run's last checkpoint as one safetensors file.

    Raises InputError when the run has no checkpoint.
    """
    done = checkpoints.steps_of(run)
    if not done:
        raise InputError(
            "there is no checkpoint here",
            where=run,
            expected="a folder in which palette-bench train has worked",
            next_step="check --out, or train first",
        )
    checkpoint = checkpoints.load(checkpoints.folder_of(run, done[-1]))
    data = save_network(checkpoint.ema, half=half)
    write_bytes(path, data)
    return Exported(checkpoint.step, bytes_digest(data), sum(one.numel() for one in checkpoint.ema.values()))
