"""The tasks.

What is taken away from a reference to make a condition. One task per condition, so a name says everything.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.common.errors import UsageError, did_you_mean


class TaskKind(StrEnum):
    """How a condition is made."""

    COLORIZE = "colorize"
    FIXED_HOLE = "fixed-hole"
    FREEFORM_HOLE = "freeform-hole"
    JPEG = "jpeg"


class Hole(StrEnum):
    """Holes that depend on the image size alone."""

    NONE = "none"
    CENTRE = "centre-half"
    RIGHT = "right-half"
    LEFT = "left-half"
    TOP = "top-half"
    BOTTOM = "bottom-half"
    BORDER = "outside-centred-square"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeformBrush:
    """Parameters of Algorithm 1 of DeepFillv2 as the authors' code has them; lengths in pixels of a 256-pixel image.

    Ranges are half-open for integers; the brush width is ``int(U(low, high))``. Angles are multiples of pi.
    Source: docs/protocol.md 3.3.
    """

    strokes: tuple[int, int] = (1, 4)
    vertices: tuple[int, int] = (4, 12)
    width: tuple[int, int] = (12, 40)
    mean_angle: tuple[int, int] = (2, 5)
    angle_range: tuple[int, int] = (2, 15)
    radius_divisor: int = 8
    rasteriser: str = "capsules-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. Everything but ``title`` and ``figure_only`` is part of the fingerprint."""

    name: str
    title: str
    kind: TaskKind
    version: int = 1
    hole: Hole = Hole.NONE
    area_percent: tuple[int, int] = (0, 0)
    brush: FreeformBrush | None = None
    quality: int = 0
    figure_only: bool = False

    @property
    def masked(self) -> bool:
        """Whether part of the image is hidden, so that predictions are composited with the known region."""
        return self.kind in (TaskKind.FIXED_HOLE, TaskKind.FREEFORM_HOLE)

    def canonical(self) -> dict[str, object]:
        """What can move a number, as plain data."""
        value: dict[str, object] = {"name": self.name, "kind": self.kind.value, "version": self.version}
        match self.kind:
            case TaskKind.COLORIZE:
                value["luma"] = "rec601-16bit-rounded"
            case TaskKind.FIXED_HOLE:
                value["hole"] = self.hole.value
            case TaskKind.FREEFORM_HOLE:
                brush = self.brush or FreeformBrush()
                value["area_percent"] = list(self.area_percent)
                value["brush"] = {
                    "strokes": list(brush.strokes),
                    "vertices": list(brush.vertices),
                    "width": list(brush.width),
                    "mean_angle_pi": list(brush.mean_angle),
                    "angle_range_pi": list(brush.angle_range),
                    "radius_divisor": brush.radius_divisor,
                    "rasteriser": brush.rasteriser,
                }
            case TaskKind.JPEG:
                value |= {"quality": self.quality, "encoder": "libjpeg", "subsampling": "4:2:0"}
        return value


def _freeform(low: int, high: int) -> Task:
    return Task(
        name=f"inpaint-freeform-{low}-{high}",
        title=f"inpainting, free-form mask of {low}-{high} %",
        kind=TaskKind.FREEFORM_HOLE,
        area_percent=(low, high),
        brush=FreeformBrush(),
    )


def _uncrop(name: str, title: str, hole: Hole, *, figure_only: bool) -> Task:
    return Task(name=name, title=title, kind=TaskKind.FIXED_HOLE, hole=hole, figure_only=figure_only)


def _jpeg(quality: int) -> Task:
    return Task(
        name=f"jpeg-qf{quality}", title=f"JPEG decompression, QF {quality}", kind=TaskKind.JPEG, quality=quality
    )


BEST_QUALITY = 95
"""libjpeg's qualities above it only make files larger."""

_JPEG_NAME = re.compile(r"jpeg-qf([1-9][0-9]?)")


class _Tasks(Mapping[str, Task]):
    """Tasks by name: those listed, and any other JPEG quality of 1..95, so that a set's TOML may ask for one."""

    def __init__(self, listed: Iterable[Task]) -> None:
        self._listed = {task.name: task for task in listed}

    def __getitem__(self, name: str) -> Task:
        if name in self._listed:
            return self._listed[name]
        quality = _JPEG_NAME.fullmatch(name)
        if quality is None or int(quality[1]) > BEST_QUALITY:
            raise KeyError(name)
        return _jpeg(int(quality[1]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


TASKS: Mapping[str, Task] = _Tasks(
    (
        Task(name="colorize", title="colorization", kind=TaskKind.COLORIZE),
        Task(
            name="inpaint-center",
            title="inpainting, centre square",
            kind=TaskKind.FIXED_HOLE,
            hole=Hole.CENTRE,
        ),
        _freeform(10, 20),
        _freeform(20, 30),
        _freeform(30, 40),
        _uncrop("uncrop", "uncropping, right half", Hole.RIGHT, figure_only=False),
        _uncrop("uncrop-left", "uncropping, left half", Hole.LEFT, figure_only=True),
        _uncrop("uncrop-top", "uncropping, top half", Hole.TOP, figure_only=True),
        _uncrop("uncrop-bottom", "uncropping, bottom half", Hole.BOTTOM, figure_only=True),
        _uncrop("uncrop-all", "uncropping, all four sides", Hole.BORDER, figure_only=True),
        _jpeg(5),
        _jpeg(10),
        _jpeg(20),
    )
)
"""The tasks of the paper and of its figures; ``jpeg-qf1`` to ``jpeg-qf95`` can be looked up besides."""


def task(name: "str | Task") -> Task:
    """The task of that name, or the one given. Raises UsageError with all names and the nearest one otherwise."""
    if isinstance(name, Task):
        return name
    try:
        return TASKS[name]
    except KeyError as error:
        raise UsageError(
            "no such task",
            expected=f"one of {', '.join(TASKS)}, or jpeg-qfN with N of 1..{BEST_QUALITY}",
            found=name,
            next_step=did_you_mean(name, TASKS),
        ) from error
