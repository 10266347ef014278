"""Classical methods for holes: inpainting and uncropping.

Each keeps every known pixel bit for bit, and returns the image as it is where nothing is hidden or nothing known.
"""

from abc import abstractmethod
from types import ModuleType
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.predict.adapters.base import ModelInput, Setting
from palette_bench.predict.models.classical import OneByOne, library, parameters
from palette_bench.protocol.tasks import Hole, TaskKind

Floats = NDArray[np.float64]


class HoleFilling(OneByOne):
    """A method that fills a hole from the pixels around it."""

    kinds = frozenset({TaskKind.FIXED_HOLE, TaskKind.FREEFORM_HOLE})
    defaults: ClassVar[dict[str, float]] = {}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.parameters = parameters(setting, self.defaults)

    def one(self, given: ModelInput) -> ImageU8:
        """The image with its hole filled."""
        if given.hole is None:
            raise InputError("an input of this task has no hole", where=given.id)
        if not given.hole.any() or given.hole.all():
            return given.image.copy()
        return self.fill(given.image, given.hole, given.seed)

    @abstractmethod
    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """``image`` [H, W, 3] with its ``hole`` [H, W] filled; part of it is hidden and part is known."""


class MeanOfKnown(HoleFilling):
    """One colour: the mean of all known pixels, rounded."""

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Fill with the mean colour."""
        filled = image.copy()
        filled[hole] = np.rint(image[~hole].mean(axis=0))
        return filled


class PushPull(HoleFilling):
    """Smooth filling through a pyramid (Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996).

    Pull: means of known pixels over blocks of two by two, until one pixel is left; a block counts as known as far as
    its pixels are. Push: from coarse to fine, what is not known is taken from the coarser level, bilinearly. All of it
    is weighted means, so nothing leaves the range of the known pixels.
    """

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Fill from the pyramid."""
        known = ~hole[..., None]
        filled = push_pull(np.where(known, image, 0).astype(np.float64), known.astype(np.float64))
        prediction: ImageU8 = np.rint(filled).astype(np.uint8)
        return prediction


def push_pull(values: Floats, weights: Floats) -> Floats:
    """``values`` [H, W, C], known as far as ``weights`` [H, W, 1] in 0..1 say, completed from coarser levels."""
    height, width = weights.shape[:2]
    if height == width == 1:
        return values
    weighted, sums = _block_sums(values * weights), _block_sums(weights)
    means = np.divide(weighted, sums, out=np.zeros_like(weighted), where=sums > 0)
    coarse = push_pull(means, np.minimum(sums, 1.0))
    smooth = _doubled(_doubled(coarse).swapaxes(0, 1)).swapaxes(0, 1)[:height, :width]
    return weights * values + (1.0 - weights) * smooth


def _block_sums(samples: Floats) -> Floats:
    """Sums over blocks of two by two pixels; beyond the last row and column there is nothing."""
    height, width = samples.shape[:2]
    if height % 2 or width % 2:
        samples = np.pad(samples, ((0, height % 2), (0, width % 2), (0, 0)))
    rows = samples[0::2] + samples[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


def _doubled(samples: Floats) -> Floats:
    """Twice the rows, bilinearly, with pixel centres as they lie: three parts of the near row, one of the next."""
    before = np.concatenate([samples[:1], samples[:-1]])
    after = np.concatenate([samples[1:], samples[-1:]])
    pairs = np.stack([0.75 * samples + 0.25 * before, 0.75 * samples + 0.25 * after], axis=1)
    return pairs.reshape(2 * samples.shape[0], *samples.shape[1:])


class Biharmonic(HoleFilling):
    """The smoothest surface: the biharmonic equation with the known pixels as its border (scikit-image), clipped.

    In a large hole it overshoots, and what leaves 0..255 is cut off.
    """

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Fill with the solution of the equation, channel by channel."""
        from skimage.restoration import inpaint_biharmonic

        filled = inpaint_biharmonic(image.astype(np.float64) / 255.0, hole.copy(), channel_axis=-1)
        prediction: ImageU8 = np.rint(np.clip(filled, 0.0, 1.0) * 255.0).astype(np.uint8)
        return prediction


class _OpenCvInpainting(HoleFilling):
    """``cv2.inpaint``; ``radius`` in pixels.

    Where a hole touches the border of the image, OpenCV 5.0 reads pixels that are not filled yet: there the black of
    the condition shows, by up to a dozen grey levels.
    """

    defaults: ClassVar[dict[str, float]] = {"radius": 3.0}
    flag: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._cv2 = library("cv2", "opencv")

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Fill with OpenCV, whose mask is non-zero in the hole."""
        mask = hole.astype(np.uint8) * 255
        filled: ImageU8 = self._cv2.inpaint(image, mask, self.parameters["radius"], getattr(self._cv2, self.flag))
        return filled


class Telea(_OpenCvInpainting):
    """From the border inwards, a weighted mean of what is known around each pixel (Telea 2004), through OpenCV."""

    flag = "INPAINT_TELEA"


class NavierStokes(_OpenCvInpainting):
    """Lines of equal brightness continued as a fluid flows (Bertalmio, Bertozzi, Sapiro 2001), through OpenCV."""

    flag = "INPAINT_NS"


class PatchMatch(HoleFilling):
    """Patches of the known part, found by random search (Barnes et al. 2009), through PyPatchMatch.

    ``patch_size`` is the radius of a patch: 3 compares 7x7 pixels. All randomness comes from the input's seed, of which
    the library keeps 32 bits. It keeps them for the whole process: one thread at a time.
    """

    defaults: ClassVar[dict[str, float]] = {"patch_size": 3}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._radius = int(self.parameters["patch_size"])
        if 2 * self._radius + 1 > setting.size // 2:
            raise UsageError(
                "the patches are too large for these images",
                expected=f"2 patch_size + 1 pixels, at most {setting.size // 2}: half of {setting.size}",
                found=f"patch_size {self._radius}, which is {2 * self._radius + 1} pixels",
            )
        self._patch_match: ModuleType = library("patchmatch.patch_match", "patchmatch")
        if not self._patch_match.patchmatch_available:
            raise UsageError(
                "the library PyPatchMatch is installed and cannot be loaded",
                where=self._patch_match.__file__,
                next_step="pip install --force-reinstall pypatchmatch; its compiled part is for another system",
            )

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Fill with patches; non-zero in the mask is the hole."""
        self._patch_match.set_random_seed(seed % 2**32)
        filled: ImageU8 = self._patch_match.inpaint(image, hole.astype(np.uint8) * 255, patch_size=self._radius)
        return filled


PadMode = Literal["edge", "symmetric", "wrap"]


class _Extension(HoleFilling):
    """Uncropping by ``numpy.pad``: what is known must be a rectangle."""

    kinds = frozenset({TaskKind.FIXED_HOLE})
    mode: ClassVar[PadMode]

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if setting.task.hole is Hole.CENTRE:
            raise UsageError(
                f"{type(self).__name__} extends an image outwards",
                expected="an uncropping task",
                found=setting.task.name,
            )

    def fill(self, image: ImageU8, hole: HoleMask, seed: int) -> ImageU8:
        """Extend the known rectangle on all sides as far as the image goes."""
        rows, columns = np.flatnonzero(~hole.all(axis=1)), np.flatnonzero(~hole.all(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if hole[top:bottom, left:right].any():
            raise InputError(f"{type(self).__name__} needs a known part that is a rectangle", found="another mask")
        margins = ((top, hole.shape[0] - bottom), (left, hole.shape[1] - right), (0, 0))
        return np.pad(image[top:bottom, left:right], margins, mode=self.mode)


class Edge(_Extension):
    """The last known row or column again and again."""

    mode = "edge"


class Mirror(_Extension):
    """The known part as in a mirror at its border, which repeats the border's pixels."""

    mode = "symmetric"


class Tile(_Extension):
    """The known part again beside itself, as tiles."""

    mode = "wrap"
