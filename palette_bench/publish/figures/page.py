"""A page of whole pixels that becomes a PNG and a PDF: images as they are, lettering, lines and axes.

Drawn by matplotlib with its own defaults and its own font, whatever the user's settings are, and without a date: the
same page gives the same bytes. Names that others wrote are text and nothing else: no mathematics, no mark-up.
"""

import importlib.util
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from palette_bench.common.errors import UsageError
from palette_bench.common.version import __version__
from palette_bench.images.types import ImageU8

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties
    from matplotlib.ft2font import FT2Font

LONGEST_SIDE = 1 << 16
MOST_PIXELS = 120_000_000
LEAST_DPI = 180.0
POINTS_PER_INCH = 72.0
INK, QUIET = "#141414", "#6e6e6e"
ELLIPSIS = "…"
LONGEST_TEXT = 200
"""Characters of a name that are looked at; no place has room for so many."""
SLACK = 0.01
"""Of a pixel, so that a size in inches comes back as the whole number of pixels it was made from."""


class Align(StrEnum):
    """Which point of a text is given; its values are matplotlib's."""

    LEFT = "left"
    CENTRE = "center"
    RIGHT = "right"


class Upright(StrEnum):
    """Which line of a text is given; its values are matplotlib's."""

    MIDDLE = "center"
    BASELINE = "baseline"
    """Of the last line."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The files of one page."""

    png: bytes
    pdf: bytes


def check_can_draw() -> None:
    """Raise UsageError without matplotlib, before any work is done."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "drawing needs matplotlib", expected="the extra figures", next_step="pip install 'palette-bench[figures]'"
        )


def enlarged(image: ImageU8, times: int) -> ImageU8:
    """Every pixel of [H, W, 3] as a square of ``times`` x ``times``: nothing is interpolated."""
    return image.repeat(times, axis=0).repeat(times, axis=1)


class Page:
    """``width`` x ``height`` pixels, ``dpi`` of them an inch of paper; places in pixels from the upper left corner.

    Used in a ``with`` block, in which matplotlib has the settings of this module. Raises UsageError without matplotlib
    and for a page that is too large to be drawn.
    """

    def __init__(self, width: int, height: int, dpi: float) -> None:
        check_can_draw()
        if max(width, height) >= LONGEST_SIDE or width * height > MOST_PIXELS:
            raise UsageError(
                "the figure would be too large",
                expected=f"sides below {LONGEST_SIDE} pixels and at most {MOST_PIXELS:,} pixels",
                found=f"{width}x{height}",
                next_step="draw fewer items",
            )
        self.width, self.height, self.dpi = width, height, dpi
        self._settings = ExitStack()

    def __enter__(self) -> "Page":
        import matplotlib as mpl
        from matplotlib.figure import Figure

        self._settings.enter_context(mpl.rc_context())
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": ["DejaVu Sans"],
                "axes.linewidth": 0.6,
                # Publishers refuse fonts of type 3.
                "pdf.fonttype": 42,
            }
        )
        size = ((self.width + SLACK) / self.dpi, (self.height + SLACK) / self.dpi)
        self._figure = Figure(figsize=size, dpi=self.dpi)
        return self

    def __exit__(self, *_: object) -> None:
        self._settings.close()

    def image(self, pixels: ImageU8, left: int, top: int) -> None:
        """Put an image [H, W, 3] on the page, a pixel a pixel."""
        self._figure.add_artist(_whole_pixels()(pixels, left, self.height - top - pixels.shape[0], self.dpi))

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        points: float,
        align: Align = Align.CENTRE,
        upright: Upright = Upright.BASELINE,
        colour: str = INK,
        rotated: bool = False,
    ) -> None:
        """Write lines of `drawable` text; ``rotated`` from below upwards, around the given point."""
        self._figure.text(
            x / self.width,
            1.0 - y / self.height,
            text,
            fontproperties=_font(),
            fontsize=points,
            horizontalalignment=align.value,
            verticalalignment=upright.value,
            multialignment="center",
            linespacing=1.05,
            color=colour,
            rotation=90.0 if rotated else 0.0,
            parse_math=False,
        )

    def line(self, *places: tuple[float, float], points: float = 0.6, colour: str = INK) -> None:
        """Draw a line through places."""
        from matplotlib.lines import Line2D

        across, down = zip(*places, strict=True)
        self._figure.add_artist(
            Line2D(
                [x / self.width for x in across],
                [1.0 - y / self.height for y in down],
                transform=self._figure.transFigure,
                linewidth=points,
                color=colour,
                solid_capstyle="butt",
            )
        )

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Axes in a rectangle of the page."""
        bottom = self.height - top - height
        return self._figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def drawn(self, *, title: str, caption: str) -> Drawn:
        """The files, which carry the caption in them; an 8-bit RGB PNG, and a PDF of one page."""
        raw = io.BytesIO()
        self._figure.savefig(raw, format="rgba", dpi=self.dpi)
        pixels = np.frombuffer(raw.getvalue(), np.uint8).reshape(self.height, self.width, 4)[..., :3]
        about = PngInfo()
        about.add_itxt("Title", title)
        about.add_itxt("Description", caption)
        png = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(png, "PNG", pnginfo=about, dpi=(self.dpi, self.dpi))
        pdf = io.BytesIO()
        says = {"Title": title, "Subject": caption, "Creator": f"palette-bench {__version__}"}
        self._figure.savefig(pdf, format="pdf", dpi=self.dpi, metadata={**says, "Producer": None, "CreationDate": None})
        return Drawn(png.getvalue(), pdf.getvalue())


@cache
def _whole_pixels() -> "Callable[[ImageU8, int, int, float], Artist]":
    """The class of an image [H, W, 3] on a page of ``dpi``, so many pixels from its left and lower edges.

    matplotlib's own images are resampled, and in a PDF may lose a column to a rounded edge: this one is handed over
    as it is.
    """
    from matplotlib.artist import Artist
    from matplotlib.backend_bases import RendererBase

    class WholePixels(Artist):
        def __init__(self, pixels: ImageU8, left: int, bottom: int, dpi: float) -> None:
            super().__init__()
            opaque = np.full(pixels.shape[:2], 255, np.uint8)
            # Renderers begin with the lowest row.
            self._rows = np.ascontiguousarray(np.dstack([pixels, opaque])[::-1])
            self._left, self._bottom, self._page_dpi = left, bottom, dpi

        def draw(self, renderer: RendererBase) -> None:
            figure = self.get_figure()
            if figure is None:
                raise RuntimeError("an image is on no page")
            # 1 in a PNG; in a PDF, places are in points.
            scale = figure.dpi / self._page_dpi
            renderer.draw_image(renderer.new_gc(), self._left * scale, self._bottom * scale, self._rows)

    return WholePixels


def _font_file() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _font() -> "FontProperties":
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(_font_file()))


@cache
def _glyphs() -> "FT2Font":
    from matplotlib.font_manager import get_font

    return get_font(str(_font_file()))


@cache
def _known() -> frozenset[int]:
    return frozenset(_glyphs().get_charmap())


def text_width(text: str, *, points: float, dpi: float) -> float:
    """The width of one line in pixels."""
    font = _glyphs()
    font.set_size(points, dpi)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0]) / 64.0


def largest_points(texts: Iterable[str], width: float, *, sizes: Sequence[float], dpi: float) -> float:
    """The first of ``sizes``, from large to small, at which no word is wider than ``width`` pixels; or the last."""
    words = {word for text in texts for word in drawable(text[:LONGEST_TEXT]).split(" ")}
    fitting = (points for points in sizes if all(text_width(word, points=points, dpi=dpi) <= width for word in words))
    return next(fitting, sizes[-1])


def drawable(text: str) -> str:
    """``text`` on one line, with characters that do not print or that the font lacks as escapes."""
    return "".join(
        c if c.isprintable() and ord(c) in _known() else c.encode("unicode_escape").decode("ascii")
        for c in " ".join(text.split())
    )


def fitted(text: str, width: float, *, points: float, dpi: float, lines: int = 2) -> str:
    """``text`` as `drawable` writes it, in at most ``lines`` lines of ``width`` pixels; what is too long is cut."""

    def fits(line: str) -> bool:
        return text_width(line, points=points, dpi=dpi) <= width

    def most(word: str, more: str = "") -> int:
        """How many characters of a word fit, with ``more`` after them; at least one."""
        return max(bisect_right(range(1, len(word) + 1), 0, key=lambda n: not fits(word[:n] + more)), 1)

    whole = drawable(text[:LONGEST_TEXT])
    found, current = list[str](), ""
    for word in whole.split(" "):
        joined = f"{current} {word}" if current else word
        if fits(joined):
            current = joined
            continue
        if current:
            found.append(current)
        current = word
        while not fits(current) and len(found) < lines:
            cut = most(current)
            found.append(current[:cut])
            current = current[cut:]
    found.append(current)
    if len(found) <= lines and len(text) <= LONGEST_TEXT and all(map(fits, found)):
        return "\n".join(line for line in found if line)
    last = found[lines - 1] if len(found) >= lines else found.pop()
    return "\n".join([*found[: lines - 1], last[: most(last, ELLIPSIS)].rstrip() + ELLIPSIS])
