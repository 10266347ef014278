"""What other people's models write, as data: names, containers, value ranges, sizes, and what is done about them.

Sources: docs/layouts.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.common.errors import UsageError
from palette_bench.protocol.tasks import Task, TaskKind


class ValueRange(StrEnum):
    """What black and white are in an array of floats."""

    SIGNED = "-1..1"
    UNIT = "0..1"
    BYTES = "0..255"

    @property
    def bounds(self) -> tuple[float, float]:
        """Black and white."""
        return {ValueRange.SIGNED: (-1.0, 1.0), ValueRange.UNIT: (0.0, 1.0), ValueRange.BYTES: (0.0, 255.0)}[self]


class Axes(StrEnum):
    """The order of an array's axes."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class Resize(StrEnum):
    """How an output gets the set's size: Pillow's antialiased filters; ``area`` is its box filter."""

    NEAREST = "nearest"
    AREA = "area"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class ComesIn(StrEnum):
    """Sizes of outputs that a convention knows, for a set of side S, and what is done about each.

    ``twice`` (2S) and ``one-more`` (S + 1) are resized; of ``surroundings`` (2S) the central quarter is taken.
    """

    TWICE = "twice"
    ONE_MORE = "one-more"
    SURROUNDINGS = "surroundings"


_IMAGE = r"\.(?:png|jpe?g|webp|bmp|tiff?)"
STEM = rf"(?P<id>.+?){_IMAGE}"
"""A file called like its item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What a model writes.

    ``pattern`` is a regular expression for the whole relative path, with the group ``id`` and maybe ``sample``; files
    that match ``clutter`` are left out, and so are all others where there is a folder called ``subfolder``.
    ``array_files`` are names of arrays that hold all items, with groups ``part`` and ``parts`` if there may be several;
    ``array_keys`` the keys under which they are, ``value_range`` and ``axes`` how (None: the user has to say).
    ``padded``: an array may end with repeated items. ``lossy``: it writes JPEG whatever it is asked. ``export_layout``
    is the input layout that belongs to it.
    """

    name: str
    title: str
    kinds: frozenset[TaskKind]
    pattern: str = STEM
    clutter: str | None = None
    subfolder: str | None = None
    array_files: str | None = None
    array_keys: tuple[str, ...] = ("arr_0",)
    value_range: ValueRange | None = None
    axes: Axes | None = None
    padded: bool = False
    comes_in: ComesIn | None = None
    resize: Resize | None = None
    composite: bool = True
    luma_paste: bool = False
    lossy: bool = False
    export_layout: str = "plain"
    note: str = ""

    def check(self, task: Task) -> None:
        """Raise UsageError for a task that this model does not do."""
        if task.kind not in self.kinds:
            raise UsageError(
                f"outputs of {self.title} are not for task {task.name}",
                expected=f"a task of {', '.join(sorted(kind.value for kind in self.kinds))}",
                found=f"{task.name} ({task.kind.value})",
                next_step="check --task, or use --from generic",
            )


_ALL = frozenset(TaskKind)
_MASKED = frozenset((TaskKind.FIXED_HOLE, TaskKind.FREEFORM_HOLE))
_COLORIZE = frozenset((TaskKind.COLORIZE,))
_JPEG = frozenset((TaskKind.JPEG,))

CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(name="generic", title="any model", kinds=_ALL),
        Convention(
            name="deepfillv2",
            title="DeepFillv2",
            kinds=_MASKED,
            export_layout="deepfillv2",
            note="crops to a multiple of 8, which every set's side is",
        ),
        Convention(
            name="hifill",
            title="HiFill",
            kinds=_MASKED,
            pattern=rf"(?P<id>.+?){_IMAGE}_inpainted\.jpe?g",
            comes_in=ComesIn.SURROUNDINGS,
            lossy=True,
            export_layout="hifill",
            note="writes JPEG: the loss is part of its numbers",
        ),
        Convention(
            name="lama",
            title="LaMa",
            kinds=_MASKED,
            pattern=rf"(?P<id>.+?)_mask\d*{_IMAGE}",
            export_layout="lama",
            note="outputs are named like the mask files",
        ),
        Convention(
            name="mat",
            title="MAT",
            kinds=_MASKED,
            comes_in=ComesIn.TWICE,
            resize=Resize.AREA,
            export_layout="mat",
        ),
        Convention(
            name="comodgan",
            title="Co-Mod-GAN",
            kinds=_MASKED,
            comes_in=ComesIn.TWICE,
            resize=Resize.AREA,
            export_layout="comodgan",
        ),
        Convention(
            name="repaint",
            title="RePaint",
            kinds=_MASKED,
            subfolder="inpainted",
            export_layout="repaint",
            note="keeps the known region only approximately, and truncates to 8 bits",
        ),
        Convention(
            name="i2sb",
            title="I2SB",
            kinds=_MASKED | _JPEG,
            array_files=r"recon(?:_(?P<part>\d+)_(?P<parts>\d+))?\.pt",
            array_keys=("arr",),
            value_range=ValueRange.SIGNED,
            axes=Axes.NCHW,
            padded=True,
            export_layout="i2sb",
            note="no names: the order is that of its image list",
        ),
        Convention(
            name="boundless",
            title="Boundless",
            kinds=_MASKED,
            array_keys=("default", "arr_0"),
            value_range=ValueRange.UNIT,
            axes=Axes.NHWC,
            comes_in=ComesIn.ONE_MORE,
            resize=Resize.BICUBIC,
            export_layout="boundless",
            note="257 pixels: the known half is pasted back after resampling",
        ),
        Convention(
            name="infinitygan",
            title="InfinityGAN",
            kinds=_MASKED,
            export_layout="infinitygan",
            note="finds its image by inversion: the known half is not exact",
        ),
        Convention(
            name="coltran",
            title="ColTran",
            kinds=_COLORIZE,
            subfolder="final",
            export_layout="coltran",
            note="writes RGBA, and does not keep the luma",
        ),
        Convention(
            name="ddcolor",
            title="DDColor",
            kinds=_COLORIZE,
            subfolder="results",
            export_layout="ddcolor",
            note="a JPEG name gives a JPEG result: keep the exported PNG names",
        ),
        Convention(name="fbcnn", title="FBCNN", kinds=_JPEG, export_layout="fbcnn"),
        Convention(name="qgac", title="QGAC", kinds=_JPEG, export_layout="qgac"),
        Convention(
            name="janspiry",
            title="the Palette port of Janspiry",
            kinds=_MASKED | _COLORIZE,
            pattern=rf"(?:.*/)?Out_(?P<id>[^/]+?){_IMAGE}",
            clutter=rf"(?:.*/)?(?:GT|Process|Mask|Cond)_[^/]+{_IMAGE}",
            export_layout="janspiry",
            note="results have the extension of their inputs, JPEG for JPEG",
        ),
        Convention(
            name="guided-diffusion",
            title="the family of guided-diffusion",
            kinds=_ALL,
            array_files=r"samples_.*\.npz",
            value_range=ValueRange.BYTES,
            axes=Axes.NHWC,
            export_layout="guided-diffusion",
            note="no names: the order is that of its inputs",
        ),
    )
}


def convention(name: str) -> Convention:
    """The convention of that name. Raises UsageError with all names otherwise."""
    try:
        return CONVENTIONS[name]
    except KeyError as error:
        raise UsageError("no such convention", expected=f"one of {', '.join(CONVENTIONS)}", found=name) from error
