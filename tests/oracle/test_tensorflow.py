"""Against what TensorFlow itself computed: golden/tensorflow.npz, written by benchmarks/make_tensorflow_golden.py.

Images are drawn again from their names; their digests say that they are the same.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from benchmarks.make_tensorflow_golden import FILE, KINDS, RESIZED, ROWS, SIZES, TARGET, pair, picture, sha256
from palette_bench.common.canonical import pixel_digest
from palette_bench.score.backbones.resize import half_pixel_bilinear, tf1_bilinear
from tests.oracle.test_similarity import UNLIKE, ours, reference

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

TOLERANCE = 5e-6
"""Absolute; float32 on both sides."""

SATURATED = ("brighter",)
SATURATED_TOLERANCE = 2e-5
"""Absolute, where large areas are near 255: TensorFlow, which squares samples as they are, is then
1.3e-5 from the definition in float64 (ours is 1e-7, test_similarity.py).
"""


@dataclass(frozen=True)
class Golden:
    pairs: list[str]
    pair_digests: list[str]
    ms_ssim: NDArray[np.float64]
    ssim: NDArray[np.float64]
    resized_digests: list[str]
    resized_rows: Floats
    resized_sha256: list[str]


@pytest.fixture(scope="module")
def golden() -> Golden:
    with np.load(FILE, allow_pickle=False) as file:
        return Golden(
            pairs=file["pairs"].tolist(),
            pair_digests=file["pair_digests"].tolist(),
            ms_ssim=file["ms_ssim"],
            ssim=file["ssim"],
            resized_digests=file["resized_digests"].tolist(),
            resized_rows=file["resized_rows"],
            resized_sha256=file["resized_sha256"].tolist(),
        )


def test_the_golden_file_is_small_and_covers_every_pair_and_size(golden: Golden) -> None:
    assert FILE.stat().st_size < 200_000
    assert golden.pairs == [f"{kind} {height} {width}" for height, width in SIZES for kind in KINDS]
    assert golden.resized_rows.shape == (len(RESIZED), len(ROWS), TARGET, 3)
    assert np.unique(golden.ssim).size == len(golden.pairs)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_ms_ssim_and_ssim(golden: Golden, kind: str, size: tuple[int, int]) -> None:
    first, second = pair(kind, *size)
    index = golden.pairs.index(f"{kind} {size[0]} {size[1]}")
    assert golden.pair_digests[index] == f"{pixel_digest(first)} {pixel_digest(second)}"
    expected = (float(golden.ms_ssim[index]), float(golden.ssim[index]))
    tolerance = SATURATED_TOLERANCE if kind in SATURATED else TOLERANCE
    assert ours(first, second) == pytest.approx(expected, abs=tolerance)
    if kind not in UNLIKE:
        return
    wide = reference(first, second, deviation=1.6)
    assert abs(wide[0] - expected[0]) > 10 * TOLERANCE
    assert abs(wide[1] - expected[1]) > 10 * TOLERANCE
    joined = reference(first, second, joined=True)
    assert abs(joined[0] - expected[0]) > 10 * TOLERANCE
    shifted = ours(np.roll(first, 1, axis=0), second)
    assert abs(shifted[0] - expected[0]) > 10 * TOLERANCE


def torch_fidelity_resize(images: Image) -> Floats:
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    values: Floats = interpolate_bilinear_2d_like_tensorflow1x(
        tensor, size=(TARGET, TARGET), align_corners=False
    ).numpy()
    return values


def channels_last(resized: Floats) -> Floats:
    """[1, 3, 299, 299] as TensorFlow's [299, 299, 3]."""
    return np.ascontiguousarray(resized[0].transpose(1, 2, 0))


@pytest.mark.parametrize("index", range(len(RESIZED)), ids=[str(size) for size in RESIZED])
def test_the_resize_of_fid_has_tensorflows_bits(golden: Golden, index: int) -> None:
    image = picture(*RESIZED[index], "resized")
    assert pixel_digest(image) == golden.resized_digests[index]
    rows = golden.resized_rows[index]
    for resize in (tf1_bilinear, torch_fidelity_resize):
        found = channels_last(resize(image[None]))
        np.testing.assert_array_equal(found[list(ROWS)], rows)
        assert sha256(found) == golden.resized_sha256[index]
    for wrong in (half_pixel_bilinear(image[None]), tf1_bilinear(np.roll(image, 1, axis=1)[None])):
        assert np.abs(channels_last(wrong)[list(ROWS)] - rows).max() > 1.0
        assert sha256(channels_last(wrong)) != golden.resized_sha256[index]
    last_bit = channels_last(tf1_bilinear(image[None]))
    last_bit[200, 100, 1] = np.nextafter(last_bit[200, 100, 1], np.float32(1000.0))
    assert sha256(last_bit) != golden.resized_sha256[index]
