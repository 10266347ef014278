"""Photographs as training images: in any storage, in a new order each epoch, never the same file wrongly."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from palette_bench.common.errors import InputError, UsageError
from palette_bench.images.decode import BadImageError
from palette_bench.predict.training.examples import ExampleStream, TrainingSource
from palette_bench.predict.training.loop import _Microbatches, _prefetched
from palette_bench.predict.training.ranks import Rank
from palette_bench.predict.training.sources import (
    SCENES_A_CHUNK,
    Photographs,
    SceneStream,
    open_training_source,
    position_of,
    random_crop,
)
from tests.conftest import picture
from tests.predict.training.runs import recipe

CLASSES = ("n01440764", "n01443537", "n15075141")
EACH = 4


def jpeg(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int = 92) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def files() -> dict[str, bytes]:
    """Twelve training images of three classes, and one of the validation set beside them."""
    names = [f"{wnid}/{wnid}_{number}.JPEG" for wnid in CLASSES for number in range(EACH)]
    every = {name: jpeg(picture(40 + 3 * i, 70 - 2 * i, name)) for i, name in enumerate(names)}
    return every | {"val/ILSVRC2012_val_00000001.JPEG": jpeg(picture(40, 40))}


def write_folder(folder: Path, every: dict[str, bytes]) -> Path:
    for name, data in every.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_tar(path: Path, every: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in every.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def class_tars(folder: Path) -> Path:
    """As ImageNet is unpacked once: a folder of class tars, each with the bare file names."""
    every = files()
    for wnid in reversed(CLASSES):
        write_tar(
            folder / f"{wnid}.tar",
            {name.split("/")[1]: data for name, data in every.items() if name.startswith(wnid)},
        )
    return folder


def tar_of_tars(folder: Path) -> Path:
    """As ImageNet is distributed."""
    inner = class_tars(folder / "inner")
    return write_tar(folder / "ILSVRC2012_img_train.tar", {path.name: path.read_bytes() for path in inner.iterdir()})


def opened(where: Path, kind: str = "imagenet", seed: int = 0) -> Photographs:
    source = open_training_source(recipe(source=kind, seed=seed), where)
    assert isinstance(source, Photographs)
    return source


def test_imagenet_is_the_same_however_it_is_stored(tmp_path: Path) -> None:
    every = files()
    stored = {
        "class folders": write_folder(tmp_path / "folders" / "train", every),
        "a folder above": tmp_path / "folders",
        "class tars": class_tars(tmp_path / "tars"),
        "a tar of tars": tar_of_tars(tmp_path / "outer"),
        "a tar of folders": write_tar(tmp_path / "one.tar", every),
    }
    first, *others = (opened(where) for where in stored.values())
    assert len(first.files) == len(CLASSES) * EACH, "the image of the validation set is not taken"
    indices = range(30)
    for other in others:
        assert other.identity() == first.identity()
        assert all(np.array_equal(a, b) for a, b in zip(first.images(indices), other.images(indices), strict=True))
    reseeded = opened(stored["class folders"], seed=1)
    assert not all(np.array_equal(a, b) for a, b in zip(first.images(indices), reseeded.images(indices), strict=True))


def test_an_image_does_not_depend_on_what_is_asked_with_it(tmp_path: Path) -> None:
    source = opened(write_folder(tmp_path, files()))
    together = source.images(range(6))
    assert all(np.array_equal(source.images([i])[0], image) for i, image in enumerate(together))
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in together)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 1000])
def test_an_epoch_shows_each_image_once(count: int) -> None:
    orders = [[position_of(epoch * count + i, count, 3) for i in range(count)] for epoch in range(2)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    if count > 3:
        assert orders[0] != orders[1]
        assert orders[0] != [position_of(i, count, 4) for i in range(count)]
        assert orders[0] != sorted(orders[0])


def test_the_order_favours_no_place() -> None:
    counts = np.zeros((5, 5), dtype=np.int64)
    for epoch in range(1000):
        for i in range(5):
            counts[i, position_of(epoch * 5 + i, 5, 0)] += 1
    assert chisquare(counts.ravel()).pvalue > 1e-3


def test_the_order_is_pinned() -> None:
    assert [position_of(i, 1_281_167, 0) for i in (0, 1, 2, 1_281_167)] == [288415, 480957, 750796, 667453]


def test_crops_slide_along_the_longer_side_and_half_are_mirrored() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    stream = io.BytesIO()
    Image.fromarray(ramp).save(stream, format="PNG")
    crops = [random_crop(stream.getvalue(), 64, np.random.default_rng(seed)) for seed in range(400)]
    assert all(crop.shape == (64, 64, 3) for crop in crops)
    mirrored = [int(crop[0, 0, 0]) > int(crop[0, -1, 0]) for crop in crops]
    assert 160 < sum(mirrored) < 240
    lefts = np.array([crop[0].min() for crop in crops])
    assert lefts.min() == 0
    assert lefts.max() == 192
    assert chisquare(np.histogram(lefts, bins=8, range=(0, 193))[0]).pvalue > 1e-3
    assert not np.corrcoef(mirrored, lefts)[0, 1] > 0.15


def test_a_jpeg_decoded_at_a_fraction_is_the_image_still() -> None:
    full = picture(640, 480)
    data = jpeg(full, 98)
    generator = np.random.default_rng(0)
    mirrored, place = generator.random() < 0.5, generator.random()
    crop = random_crop(data, 32, np.random.default_rng(0)).astype(int)
    exact = Image.fromarray(full).resize((32, 43), Image.Resampling.LANCZOS)
    top = int(place * (43 - 32 + 1))
    expected = np.asarray(exact)[top : top + 32].astype(int)
    expected = expected[:, ::-1] if mirrored else expected
    assert np.abs(crop - expected).mean() < 1.5
    assert np.abs(crop - np.roll(expected, 1, axis=1)).mean() > 4, "a pixel's shift would be seen"


@pytest.mark.parametrize("side", [8, 31, 33])
def test_small_images_are_enlarged(side: int) -> None:
    assert random_crop(jpeg(picture(side, side + 5)), 32, np.random.default_rng(0)).shape == (32, 32, 3)


def test_places_is_read_from_folders_and_tar(tmp_path: Path) -> None:
    every = {
        f"data_256/{name}": jpeg(picture(40, 40, name))
        for name in (
            "a/airfield/00000001.jpg",
            "a/apartment_building/outdoor/00000001.jpg",
            "z/zen_garden/00000001.jpg",
        )
    }
    folder = opened(write_folder(tmp_path / "places", every), "places365")
    tar = opened(write_tar(tmp_path / "train_256_places365standard.tar", every), "places365")
    assert folder.identity() == tar.identity()
    assert len(folder.files) == 3
    assert all(np.array_equal(a, b) for a, b in zip(folder.images(range(6)), tar.images(range(6)), strict=True))
    validation = write_folder(tmp_path / "val", {"val_256/Places365_val_00000001.jpg": jpeg(picture(40, 40))})
    with pytest.raises(InputError, match="training images of Places365"):
        opened(validation, "places365")


def test_a_folder_takes_every_image(tmp_path: Path) -> None:
    every = {"a.jpg": jpeg(picture(40, 50)), "b/ö.jpeg": jpeg(picture(50, 40)), "notes.txt": b"no image"}
    source = opened(write_folder(tmp_path, every), "folder")
    assert len(source.files) == 2
    assert len(source.images(range(4))) == 4


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "transparent", "missing"])
def test_a_broken_file_is_named_at_once(tmp_path: Path, damage: str, workers: int) -> None:
    every = {"good.jpg": jpeg(picture(40, 50)), "bad.jpg": jpeg(picture(40, 50, "bad"))}
    glass = io.BytesIO()
    Image.new("RGBA", (40, 40), (1, 2, 3, 4)).save(glass, format="PNG")
    every["bad.jpg"] = {
        "cut": every["bad.jpg"][:900],
        "empty": b"",
        "text": b"<html>",
        "transparent": glass.getvalue(),
        "missing": b"",
    }[damage]
    source = opened(write_folder(tmp_path, every), "folder")
    if damage == "missing":
        (tmp_path / "bad.jpg").unlink()
    what = recipe(source="folder", batch=2)
    stream = ExampleStream(source, what.families, what.diffusion, what.seed, what.batch)
    batches = _Microbatches(stream, what, Rank(0, 1, torch.device("cpu")), 2)
    with pytest.raises(InputError) as caught:
        list(_prefetched(batches, 0, 2, workers))
    assert "bad.jpg" in str(caught.value)
    assert "good.jpg" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "0x" not in str(caught.value), "no address of an object"


def test_processes_that_draw_change_nothing(tmp_path: Path) -> None:
    source: TrainingSource = opened(class_tars(tmp_path))
    what = recipe(source="imagenet")
    stream = ExampleStream(source, what.families, what.diffusion, what.seed, what.batch)
    batches = _Microbatches(stream, what, Rank(0, 1, torch.device("cpu")), 2)
    alone, helped = (list(_prefetched(batches, 3, 9, workers)) for workers in (0, 2))
    assert [batch.indices.tolist() for batch in alone] == [[i, i + 1] for i in range(6, 18, 2)]
    for one, other in zip(alone, helped, strict=True):
        for name in ("indices", "condition", "image", "hole", "noise", "gamma"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    outer = tar_of_tars(tmp_path)
    inner = tmp_path / "inner" / f"{CLASSES[0]}.tar"
    half = inner.read_bytes()[: inner.stat().st_size // 2]
    cut = write_tar(tmp_path / "cut.tar", {"n01440764.tar": half})
    with pytest.raises(InputError, match=r"class archive[\s\S]*n01440764\.tar"):
        opened(cut)
    short = tmp_path / "short.tar"
    short.write_bytes(outer.read_bytes()[:-30_000])
    with pytest.raises(InputError, match=r"short\.tar"):
        opened(short)


def test_an_image_twice_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", files())
    write_folder(tmp_path / "two", files())
    with pytest.raises(InputError, match="twice") as caught:
        opened(tmp_path)
    assert len(caught.value.problems) == len(CLASSES) * EACH


def test_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"x/y.txt": b""})
    for kind in ("imagenet", "places365", "folder"):
        with pytest.raises(InputError, match="does not hold"):
            opened(tmp_path, kind)
    with pytest.raises(InputError, match="does not exist"):
        opened(tmp_path / "nowhere")


def test_a_source_is_given_when_one_is_needed_and_only_then(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs training images"):
        open_training_source(recipe(source="imagenet"), None)
    with pytest.raises(UsageError, match="drawn by the program"):
        open_training_source(recipe(), tmp_path)
    assert isinstance(open_training_source(recipe(), None), SceneStream)
    with pytest.raises(UsageError, match="cannot take"):
        open_training_source(recipe(network="palette256", mixing="local"), None)


def test_a_file_of_no_image_says_so_without_its_address() -> None:
    with pytest.raises(BadImageError, match="not an image"):
        random_crop(b"no image at all", 32, np.random.default_rng(0))


def test_kept_scenes_are_the_scenes(tmp_path: Path) -> None:
    indices = [0, 5, SCENES_A_CHUNK - 1, SCENES_A_CHUNK, 3]
    drawn = SceneStream().images(indices)
    for _ in range(2):
        kept = SceneStream(tmp_path).images(indices)
        assert all((one == other).all() for one, other in zip(kept, drawn, strict=True))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:50])
    with pytest.raises(InputError, match="kept scenes"):
        SceneStream(tmp_path).images([0])
