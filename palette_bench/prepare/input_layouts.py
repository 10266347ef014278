"""The input conventions of other people's models: which files, which names, which colour a hole has in a mask.

Sources: docs/layouts.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from palette_bench.common.errors import UsageError
from palette_bench.protocol.tasks import Task, TaskKind

PLAIN = "plain"


class HoleColour(StrEnum):
    """What a hole looks like in a mask file; models disagree, so it is never assumed."""

    WHITE = "white"
    BLACK = "black"


class Canvas(StrEnum):
    """What a model's image is beside the condition.

    ``same``: the condition. ``twice``: enlarged two times, so that averaging 2x2 gives the condition back.
    ``one-more``: one pixel wider and higher (Boundless's 257). ``surroundings``: twice the side, the condition in its
    centre and around it what the source image has there (HiFill's 512).
    """

    SAME = "same"
    TWICE = "twice"
    ONE_MORE = "one-more"
    SURROUNDINGS = "surroundings"


class Arrays(StrEnum):
    """What is written as one file for all items. ``masks``: packed, as released; ``everything``: guided-diffusion's."""

    NOTHING = "nothing"
    MASKS = "masks"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLayout:
    """How a model wants its inputs.

    ``images``, ``masks`` and ``jpegs`` are file names with ``{name}`` for the item's; None: there is no such file.
    ``kinds`` and ``tasks`` say what it is for (None: any task of these kinds). ``holes`` is None where the user has to
    say. ``flat``: names of one folder, ``/`` in an id becomes ``__``. ``file_lists``: a text file that names the files
    of each folder. ``note`` is shown after an export.
    """

    name: str
    kinds: frozenset[TaskKind]
    tasks: tuple[str, ...] | None = None
    holes: HoleColour | None = None
    images: str | None = "images/{name}.png"
    masks: str | None = "masks/{name}.png"
    jpegs: str | None = "jpegs/{name}.jpg"
    mask_channels: int = 1
    canvas: Canvas = Canvas.SAME
    arrays: Arrays = Arrays.NOTHING
    file_lists: bool = False
    flat: bool = True
    note: str = ""

    def check(self, task: Task, holes: HoleColour | None) -> HoleColour | None:
        """The colour of holes in this layout's mask files. Raises UsageError for a task or colour that does not fit."""
        if task.kind not in self.kinds or (self.tasks is not None and task.name not in self.tasks):
            fitting = self.tasks or sorted(kind.value for kind in self.kinds)
            raise UsageError(
                f"layout {self.name} is not for task {task.name}",
                expected=f"a task of {', '.join(fitting)}",
                found=f"{task.name} ({task.kind.value})",
                next_step="choose another --layout; plain is for every task",
            )
        if not task.masked:
            return None
        if self.name == PLAIN:
            if holes is None:
                raise UsageError(
                    f"task {task.name} has masks, and models disagree on what is white",
                    expected="--holes white (white is filled in) or --holes black (white is kept), or a --layout",
                    found="no --holes",
                )
            return holes
        if holes is not None and holes is not self.holes:
            has = f"has {self.holes.value} holes" if self.holes else "has no masks"
            raise UsageError(
                f"layout {self.name} {has}",
                expected="no --holes, or the layout's own",
                found=f"--holes {holes.value}",
                next_step="leave --holes out, or use --layout plain",
            )
        return self.holes


_MASKED = frozenset((TaskKind.FIXED_HOLE, TaskKind.FREEFORM_HOLE))
_ALL = frozenset(TaskKind)
_JPEG = frozenset((TaskKind.JPEG,))
_COLORIZE = frozenset((TaskKind.COLORIZE,))
_SIZE_512 = "images are enlarged two times, because the published weights are for 512 pixels; import averages them back"

INPUT_LAYOUTS: Mapping[str, InputLayout] = {
    layout.name: layout
    for layout in (
        InputLayout(name=PLAIN, kinds=_ALL, flat=False),
        InputLayout(
            name="deepfillv2",
            kinds=_MASKED,
            holes=HoleColour.WHITE,
            mask_channels=3,
            note="one image a call: test.py --image images/NAME.png --mask masks/NAME.png --output OUT/NAME.png",
        ),
        InputLayout(
            name="hifill",
            kinds=_MASKED,
            holes=HoleColour.BLACK,
            canvas=Canvas.SURROUNDINGS,
            note="as in the paper: the hole lies in the central quarter of an image of twice the side",
        ),
        InputLayout(
            name="hifill-256",
            kinds=_MASKED,
            holes=HoleColour.BLACK,
            note="without the surroundings that the paper gave HiFill: not its setting, and a disadvantage",
        ),
        InputLayout(
            name="lama",
            kinds=_MASKED,
            holes=HoleColour.WHITE,
            images="pairs/{name}.png",
            masks="pairs/{name}_mask000.png",
            note="outputs are named like the masks; import knows it",
        ),
        InputLayout(name="mat", kinds=_MASKED, holes=HoleColour.BLACK, canvas=Canvas.TWICE, note=_SIZE_512),
        InputLayout(name="comodgan", kinds=_MASKED, holes=HoleColour.BLACK, canvas=Canvas.TWICE, note=_SIZE_512),
        InputLayout(
            name="repaint",
            kinds=_MASKED,
            holes=HoleColour.BLACK,
            images="gt/{name}.png",
            masks="gt_keep_masks/{name}.png",
            note="gt/ has black holes: what lies under them is nobody's to see",
        ),
        InputLayout(
            name="i2sb",
            kinds=_MASKED | _JPEG,
            holes=HoleColour.WHITE,
            masks=None,
            arrays=Arrays.MASKS,
            note="mask k of masks.npz belongs to line k of list.txt; give that list to import with --order",
        ),
        InputLayout(
            name="janspiry",
            kinds=_MASKED | _COLORIZE,
            holes=HoleColour.WHITE,
            file_lists=True,
        ),
        InputLayout(
            name="guided-diffusion",
            kinds=_ALL,
            holes=HoleColour.WHITE,
            images=None,
            masks=None,
            jpegs=None,
            arrays=Arrays.EVERYTHING,
            note="item k is line k of list.txt; give that list to import with --order",
        ),
        InputLayout(
            name="boundless",
            kinds=_MASKED,
            tasks=("uncrop",),
            masks=None,
            canvas=Canvas.ONE_MORE,
            note="the half model masks the right part itself; what is there repeats the last known column",
        ),
        InputLayout(name="infinitygan", kinds=_MASKED, tasks=("uncrop",), masks=None),
        InputLayout(name="coltran", kinds=_COLORIZE, note="run it with --mode colorize: the images are grey"),
        InputLayout(name="ddcolor", kinds=_COLORIZE),
        InputLayout(
            name="fbcnn", kinds=_JPEG, note="use the script for real JPEG files: the other one compresses by itself"
        ),
        InputLayout(name="qgac", kinds=_JPEG),
    )
}


def input_layout(name: str) -> InputLayout:
    """The layout of that name. Raises UsageError with all names otherwise."""
    try:
        return INPUT_LAYOUTS[name]
    except KeyError as error:
        raise UsageError("no such layout", expected=f"one of {', '.join(INPUT_LAYOUTS)}", found=name) from error
