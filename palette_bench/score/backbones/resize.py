"""The three ways images reach 299x299: TensorFlow 1's, PyTorch's and Pillow's. FID differs by percents between them.

All take images of any size and return [N, 3, 299, 299] float32 in grey levels, 0 to 255; those called tensor run on
any device.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from palette_bench.score.backbones.torch_common import to_tensor

SIZE = 299
_CPU = torch.device("cpu")


def tf1_bilinear(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [N, H, W, 3] uint8 resized as TensorFlow 1 does; see `tf1_bilinear_tensor`."""
    array: NDArray[np.float32] = tf1_bilinear_tensor(to_tensor(images, _CPU)).numpy()
    return array


def half_pixel_bilinear(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [N, H, W, 3] uint8 resized as PyTorch does; see `half_pixel_bilinear_tensor`."""
    array: NDArray[np.float32] = half_pixel_bilinear_tensor(to_tensor(images, _CPU)).numpy()
    return array


def tf1_bilinear_tensor(images: Tensor) -> Tensor:
    """``tf.compat.v1.image.resize_bilinear``: no half-pixel offset, no antialias; of [N, 3, H, W] uint8.

    On the CPU equal in every bit to torch-fidelity's ``interpolate_bilinear_2d_like_tensorflow1x``: the source of
    pixel i is i * (in / out) in float32, its neighbours are mixed along x and then along y.
    """
    count, _, height, width = (int(n) for n in images.shape)
    left, right, right_share = _neighbours(width, images.device)
    top, bottom, bottom_share = _neighbours(height, images.device)
    # Whole rows are copied where the resized axis comes first: [n, W, H * 3], and then [n, H, 299 * 3].
    columns = images.permute(0, 3, 2, 1).contiguous().view(count, width, height * 3).to(torch.float32)
    # SCORE: a + (b - a) * share in float32, x before y.
    near, far = columns.index_select(1, left), columns.index_select(1, right)
    near.add_(far.sub_(near).mul_(right_share[:, None]))
    rows = near.view(count, SIZE, height, 3).transpose(1, 2).contiguous().view(count, height, SIZE * 3)
    near, far = rows.index_select(1, top), rows.index_select(1, bottom)
    near.add_(far.sub_(near).mul_(bottom_share[:, None]))
    return near.view(count, SIZE, SIZE, 3).permute(0, 3, 1, 2)


def half_pixel_bilinear_tensor(images: Tensor) -> Tensor:
    """``F.interpolate(bilinear, align_corners=False)``, no antialias; of [N, 3, H, W] uint8."""
    return functional.interpolate(images.to(torch.float32), size=(SIZE, SIZE), mode="bilinear", align_corners=False)


def clean_bicubic(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [N, H, W, 3] uint8 resized as clean-fid does: Pillow's antialiased bicubic filter on each channel in
    float32, cut to 0 to 255.
    """
    resized = np.empty((len(images), 3, SIZE, SIZE), np.float32)
    for index, image in enumerate(images):
        for channel in range(3):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            resized[index, channel] = np.asarray(plane.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return np.clip(resized, 0.0, 255.0, out=resized)


@lru_cache(maxsize=64)
def _neighbours(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of the 299 targets on an axis: both source indices and the share of the second, [299] each."""
    # SCORE: in / out is rounded to float32 before it is multiplied.
    place = torch.arange(SIZE, dtype=torch.float32) * torch.tensor(size / SIZE, dtype=torch.float32)
    first = place.long()
    second = (first + 1).clamp_max(size - 1)
    return first.to(device), second.to(device), (place - first).to(device)
