"""The three ways images reach 299x299: TensorFlow 1's, PyTorch's and Pillow's. FID differs by percents between them.

All take images [N, H, W, 3] uint8 of any size and return [N, 3, 299, 299] float32 in grey levels, 0 to 255.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

SIZE = 299


def tf1_bilinear(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """TensorFlow 1's bilinear resize, as an array; see `tf1_bilinear_tensor`."""
    array: NDArray[np.float32] = tf1_bilinear_tensor(_planes(images)).numpy()
    return array


def half_pixel_bilinear(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """PyTorch's bilinear resize, as an array; see `half_pixel_bilinear_tensor`."""
    array: NDArray[np.float32] = half_pixel_bilinear_tensor(_planes(images)).numpy()
    return array


def tf1_bilinear_tensor(images: Tensor) -> Tensor:
    """``tf.compat.v1.image.resize_bilinear``: no half-pixel offset, no antialias; [N, 3, H, W] uint8 on any device.

    On the CPU equal in every bit to torch-fidelity's ``interpolate_bilinear_2d_like_tensorflow1x``: the source of
    pixel i is i * (in / out) in float32, its neighbours are mixed along x and then along y.
    """
    height, width = int(images.shape[2]), int(images.shape[3])
    left, right, right_share = _neighbours(width, images.device)
    top, bottom, bottom_share = _neighbours(height, images.device)
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
    # SCORE: a + (b - a) * share in float32, x before y.
    wide = pixels.index_select(3, left)
    wide += (pixels.index_select(3, right) - wide).mul_(right_share)
    upper = wide.index_select(2, top)
    lower = wide.index_select(2, bottom)
    return upper.add_(lower.sub_(upper).mul_(bottom_share[:, None]))


def half_pixel_bilinear_tensor(images: Tensor) -> Tensor:
    """``F.interpolate(bilinear, align_corners=False)``, no antialias; [N, 3, H, W] uint8 on any device."""
    pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
    return functional.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


def clean_bicubic(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """clean-fid's resize: Pillow's antialiased bicubic filter on each channel in float32, cut to 0 to 255."""
    resized = np.empty((len(images), 3, SIZE, SIZE), np.float32)
    for index, image in enumerate(images):
        for channel in range(3):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            resized[index, channel] = np.asarray(plane.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return np.clip(resized, 0.0, 255.0, out=resized)


def _planes(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


@cache
def _neighbours(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the 299 targets on an axis: both source indices and the share of the second, [299] each."""
    # SCORE: in / out is rounded to float32 before it is multiplied.
    place = torch.arange(SIZE, dtype=torch.float32) * torch.tensor(size / SIZE, dtype=torch.float32)
    first = place.long()
    second = (first + 1).clamp_max(size - 1)
    return first.to(device), second.to(device), (place - first).to(device)
