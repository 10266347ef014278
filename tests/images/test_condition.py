import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from palette_bench.common.canonical import pixel_digest
from palette_bench.images.condition import decode_jpeg, encode_jpeg, hole_of, luma, make_condition
from palette_bench.images.freeform import candidates, draw_segments, freeform_masks
from palette_bench.images.geometry import adm, centred_square, short_side_bilinear, square_area
from palette_bench.images.holes import composite, fixed_hole, punch
from palette_bench.images.types import HoleMask, ImageU8
from palette_bench.protocol.tasks import TASKS, FreeformBrush, Hole
from tests.conftest import picture

BANDS = [(10, 20), (20, 30), (30, 40)]
PINNED_MASKS = ["c13b747a457e", "f27ef43f4281", "701b6c183df7", "b15f8a94c2de", "a5c86406256d", "b161947b1841"]


def _area_by_fractions(image: ImageU8, size: int) -> ImageU8:
    """The definition of the area mean, pixel by pixel in exact fractions."""
    square = centred_square(image)
    side = square.shape[0]
    out = np.zeros((size, size, 3), dtype=np.uint8)
    scale = Fraction(side, size)

    def overlaps(i: int) -> list[tuple[int, Fraction]]:
        low, high = i * scale, (i + 1) * scale
        pixels = range(int(low), min(side, int(high) + 1))
        return [(j, min(high, Fraction(j + 1)) - max(low, Fraction(j))) for j in pixels if j < high]

    for y in range(size):
        for x in range(size):
            total = [Fraction(0)] * 3
            for j, wy in overlaps(y):
                for i, wx in overlaps(x):
                    for c in range(3):
                        total[c] += wy * wx * int(square[j, i, c])
            out[y, x] = [round(t / scale**2) for t in total]
    return out


@pytest.mark.parametrize(("height", "width", "size"), [(23, 40, 16), (16, 16, 16), (9, 31, 16), (64, 50, 16)])
def test_square_area_is_the_exact_mean(height: int, width: int, size: int) -> None:
    image = picture(height, width)
    expected = _area_by_fractions(image, size)
    assert (square_area(image, size) == expected).all()
    shifted = square_area(np.roll(image, 1, axis=1), size)
    assert (shifted != expected).any()


def test_square_area_halves_go_to_even() -> None:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[::2, ::2] = 2
    assert (square_area(image, 16) == 0).all()
    image[::2, 1::2] = 4
    assert (square_area(image, 16) == 2).all()


def test_square_area_is_not_pillows_box() -> None:
    image = picture(300, 400)
    box = np.asarray(Image.fromarray(centred_square(image)).resize((256, 256), Image.Resampling.BOX))
    assert (square_area(image, 256) != box).any()


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 333), (257, 256), (68, 121), (256, 256)])
def test_short_side_bilinear_is_torchvisions(height: int, width: int) -> None:
    image = picture(height, width)
    pipeline = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(256)])
    expected = np.asarray(pipeline(Image.fromarray(image)))
    assert (short_side_bilinear(image, 256) == expected).all()
    if min(height, width) != 256:
        assert (adm(image, 256) != expected).any()


def test_adm_halves_before_it_interpolates() -> None:
    image = picture(1100, 1300)
    halved = Image.fromarray(image).resize((650, 550), Image.Resampling.BOX)
    assert (adm(image, 256) == adm(np.asarray(halved), 256)).all()
    direct = Image.fromarray(image).resize((303, 256), Image.Resampling.BICUBIC).crop((23, 0, 279, 256))
    assert (adm(image, 256) != np.asarray(direct)).any()


@given(st.integers(0, 2**24 - 1))
def test_luma_is_pillows_mode_l(colour: int) -> None:
    pixel = np.array([[[colour >> 16, colour >> 8 & 255, colour & 255]]], dtype=np.uint8)
    assert luma(pixel)[0, 0] == np.asarray(Image.fromarray(pixel).convert("L"))[0, 0]


def test_luma_of_bgr_would_differ() -> None:
    image = picture(32, 32)
    assert (luma(image) != luma(image[..., ::-1])).any()


def test_fixed_holes_are_where_the_paper_has_them() -> None:
    centre = fixed_hole(Hole.CENTRE, 256)
    assert centre[64:192, 64:192].all()
    assert int(centre.sum()) == 128 * 128
    right = fixed_hole(Hole.RIGHT, 256)
    assert right[:, 128:].all()
    assert not right[:, :128].any()
    for hole in (Hole.LEFT, Hole.TOP, Hole.BOTTOM):
        assert fixed_hole(hole, 256).mean() == 0.5
    border = fixed_hole(Hole.BORDER, 256)
    assert int((~border).sum()) == 181 * 181
    assert not border[37:218, 37:218].any()


def test_the_known_region_survives_compositing() -> None:
    reference, prediction = picture(32, 32, "a"), picture(32, 32, "b")
    hole = fixed_hole(Hole.RIGHT, 32)
    combined = composite(prediction, reference, hole)
    assert (combined[:, :16] == reference[:, :16]).all()
    assert (combined[:, 16:] == prediction[:, 16:]).all()
    assert (punch(reference, hole)[:, 16:] == 0).all()
    assert (punch(reference, hole)[:, :16] == reference[:, :16]).all()


def _distance_mask(size: int, segments: np.ndarray[tuple[int, ...], np.dtype[np.int64]], width: int) -> HoleMask:
    """Pixels within half a width of a line, by the definition of distance in exact integers."""
    y, x = np.mgrid[0:size, 0:size]
    mask = np.zeros((size, size), dtype=np.bool_)
    for x0, y0, x1, y1 in segments.tolist():
        dx, dy = x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        mask |= 4 * ((x - x0) ** 2 + (y - y0) ** 2) <= width * width
        mask |= 4 * ((x - x1) ** 2 + (y - y1) ** 2) <= width * width
        if length:
            along, across = (x - x0) * dx + (y - y0) * dy, (y - y0) * dx - (x - x0) * dy
            mask |= (along >= 0) & (along <= length) & (4 * across * across <= width * width * length)
    return mask


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 48)] * 4), min_size=1, max_size=6),
    st.integers(1, 20),
)
def test_the_rasteriser_draws_what_distance_says(lines: list[tuple[int, int, int, int]], width: int) -> None:
    segments = np.array(lines, dtype=np.int64)
    drawn = draw_segments(48, segments, np.full(len(lines), width, dtype=np.int64))
    assert (drawn == _distance_mask(48, segments, width)).all()
    assert (drawn != _distance_mask(48, segments, width + 2)).any()


def test_masks_lie_in_their_bands() -> None:
    for number in range(20):
        for mask, (low, high) in zip(freeform_masks(["t", number], 256, FreeformBrush(), BANDS), BANDS, strict=True):
            assert low <= 100 * mask.mean() < high


def test_a_mask_does_not_depend_on_the_other_bands() -> None:
    together = freeform_masks(["t", 1], 256, FreeformBrush(), BANDS)
    for mask, band in zip(together, BANDS, strict=True):
        alone = freeform_masks(["t", 1], 256, FreeformBrush(), [band])
        assert (alone[0] == mask).all()
    assert (freeform_masks(["t", 2], 256, FreeformBrush(), BANDS[:1])[0] != together[0]).any()


def test_masks_are_pinned() -> None:
    # SCORE: these are the frozen masks; a change here changes every inpainting set.
    masks = freeform_masks(["imagenet-ctest10k", 1, "freeform", "ILSVRC2012_val_00047963"], 256, FreeformBrush(), BANDS)
    small = freeform_masks(["scenes32", 1, "freeform", "scene-00000"], 32, FreeformBrush(), BANDS)
    assert [pixel_digest(mask.astype(np.uint8))[:12] for mask in (*masks, *small)] == PINNED_MASKS


def test_the_batch_does_not_move_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    def areas() -> list[int]:
        stream = candidates("batch", 64, FreeformBrush())
        return [next(stream).area for _ in range(40)]

    expected = areas()
    monkeypatch.setattr("palette_bench.images.freeform.FIRST_BATCH", 1)
    monkeypatch.setattr("palette_bench.images.freeform.LARGEST_BATCH", 7)
    assert areas() == expected


def test_an_area_is_that_of_its_mask() -> None:
    stream = candidates("areas", 64, FreeformBrush())
    for _ in range(30):
        candidate = next(stream)
        assert candidate.area == int(candidate.mask().sum())


def test_free_form_masks_look_like_algorithm_1() -> None:
    """Area of 400 unconditioned masks against the shares of a rendering of the authors' parameters with Pillow."""
    from PIL import ImageDraw

    rng = np.random.default_rng(0)
    theirs = []
    for _ in range(400):
        canvas = Image.new("L", (256, 256), 0)
        draw = ImageDraw.Draw(canvas)
        for _ in range(rng.integers(1, 4)):
            low = 2 * np.pi / 5 - rng.uniform(0, 2 * np.pi / 15)
            high = 2 * np.pi / 5 + rng.uniform(0, 2 * np.pi / 15)
            points = [(int(rng.integers(0, 256)), int(rng.integers(0, 256)))]
            width = int(rng.uniform(12, 40))
            radius = np.sqrt(2 * 256**2) / 8
            for i in range(rng.integers(4, 12)):
                angle = rng.uniform(low, high)
                angle = 2 * np.pi - angle if i % 2 == 0 else angle
                length = np.clip(rng.normal(radius, radius / 2), 0, 2 * radius)
                x = int(np.clip(points[-1][0] + length * np.cos(angle), 0, 256))
                y = int(np.clip(points[-1][1] + length * np.sin(angle), 0, 256))
                points.append((x, y))
            draw.line(points, fill=1, width=width)
            for x, y in points:
                draw.ellipse((x - width // 2, y - width // 2, x + width // 2, y + width // 2), fill=1)
        theirs.append(np.asarray(canvas).mean())
    stream = candidates("look", 256, FreeformBrush())
    ours = [next(stream).area / 65536 for _ in range(400)]
    from scipy.stats import ks_2samp

    assert ks_2samp(ours, theirs).pvalue > 0.001
    assert ks_2samp(np.array(ours) * 1.3, theirs).pvalue < 0.001


def test_jpeg_conditions_are_libjpegs() -> None:
    image = picture(64, 64)
    data = encode_jpeg(image, 10)
    with Image.open(io.BytesIO(data)) as eval_set:
        assert eval_set.format == "JPEG"
        layers = eval_set.layer  # type: ignore[attr-defined]
        assert [(h, v) for _, h, v, _ in layers] == [(2, 2), (1, 1), (1, 1)]
        # libjpeg scales the standard luminance table by 5000 / quality percent and clips at 255: 16 becomes 80.
        assert eval_set.quantization[0][0] == 80  # type: ignore[attr-defined]
        decoded = np.asarray(eval_set.convert("RGB"))
    assert (decode_jpeg(data) == decoded).all()
    assert encode_jpeg(image, 5) != data


def test_more_compression_is_worse() -> None:
    image = picture(64, 64)
    errors = [float(np.abs(decode_jpeg(encode_jpeg(image, q)).astype(int) - image).mean()) for q in (5, 10, 20, 95)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1] + 1


@pytest.mark.parametrize("name", TASKS)
def test_every_condition_hides_something_and_is_a_pure_function(name: str) -> None:
    reference = picture(64, 64)
    before = reference.copy()
    freeform = freeform_masks(["t"], 64, FreeformBrush(), BANDS[:1])[0]
    hole = hole_of(TASKS[name], 64, freeform)
    condition = make_condition(TASKS[name], reference, hole)
    assert condition.digest == make_condition(TASKS[name], reference, hole).digest
    assert (condition.image != reference).any()
    assert (reference == before).all()
    assert condition.image.shape == reference.shape
    other = make_condition(TASKS[name], picture(64, 64, "other"), hole)
    assert other.digest != condition.digest
