"""What a model is, seen from the harness: a class that is given conditions and gives images back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from palette_bench.images.decode import REFUSED, BadImageError, decode
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.protocol.tasks import Task


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What a model is given for one output. There is no reference in it, and no label.

    ``image`` [H, W, 3] uint8 RGB is the condition: grey replicated, holes black, or the JPEG decoded. ``hole`` [H, W]
    bool is True where the image is hidden (None: the task has no hole). ``jpeg`` are the bytes of the frozen file (JPEG
    tasks only). ``seed``, 0 <= seed < 2**63, is a function of the run's seed, the item's id and the sample's number:
    all randomness of the output must come from it.
    """

    id: str
    image: ImageU8
    hole: HoleMask | None
    jpeg: bytes | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and for what an adapter is built.

    ``size`` is the side of the set's square images in pixels, ``device`` a torch device string, ``config`` the card's
    ``[config]`` table, ``weights`` the card's weights file, already checked against its digest.
    """

    task: Task
    size: int
    device: str = "cpu"
    config: Mapping[str, object] = field(default_factory=dict)
    weights: Path | None = None


class Adapter(Protocol):
    """A model in this process. It is built as ``Class(setting)`` once a process and then called batch by batch."""

    def predict(self, inputs: Sequence[ModelInput]) -> Sequence[ImageU8]:
        """One image [H, W, 3] uint8 RGB for each input, in the order of the inputs.

        Pixels outside the hole count for nothing: the score takes them from the reference.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output that is to be made: what the model is given, and which sample of the item it is."""

    given: ModelInput
    sample: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a model is run and for what.

    ``set_id`` names the set, ``weights`` is the card's file, checked, ``search`` a folder that Python modules may lie
    in, ``log`` where a subprocess's stderr goes, ``seconds`` the time limit of its batches (None: the card's).
    """

    set_id: str
    task: Task
    size: int
    samples: int
    device: str
    weights: Path | None
    search: Path | None
    log: Path
    seconds: float | None = None


class Runner(Protocol):
    """A model that is ready to work."""

    def run(self, batch: Sequence[Wanted]) -> list[ImageU8]:
        """The images of a batch, of the right number, shape and type, not composited yet."""

    def close(self) -> None:
        """End what was started, remove what was written."""


def read_image(path: Path) -> ImageU8:
    """An image file of a model as RGB [H, W, 3]. Raises OSError and BadImageError."""
    decoded = decode(path.read_bytes())
    if refused := REFUSED.intersection(decoded.conversions):
        raise BadImageError(f"{', '.join(sorted(refused))} samples: save as 8-bit RGB")
    return decoded.pixels
