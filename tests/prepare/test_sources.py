import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from palette_bench.common.errors import InputError
from palette_bench.common.listing import list_files
from palette_bench.prepare.sources.datasets import open_source
from palette_bench.prepare.sources.labels import imagenet_name, read_imagenet_labels
from palette_bench.protocol.definition import Family
from tests.conftest import picture

WNIDS = [f"n{10_000_000 + 37 * k:08d}" for k in range(1000)]
DEVKIT_ORDER = np.random.default_rng(3).permutation(1000).tolist()
"""The class index (by sorted wnid) of ILSVRC2012_ID k + 1."""
TRUTH = [(n * 13) % 1000 for n in range(50_000)]


def jpeg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(12, 14, f"source {seed}")).save(buffer, "JPEG")
    return buffer.getvalue()


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def class_folders() -> dict[str, bytes]:
    """A thousand class folders, one (very small) image each."""
    return {f"{WNIDS[TRUTH[n - 1]]}/{imagenet_name(n)}": b"image %d" % n for n in range(1, 1001)}


def test_class_folders_give_labels_by_sorted_wnid(tmp_path: Path, class_folders: dict[str, bytes]) -> None:
    labelled = open_source(Family.IMAGENET, write(tmp_path / "val", class_folders), None)
    assert len(labelled.source.names()) == 1000
    assert all(labelled.labels[imagenet_name(n)] == TRUTH[n - 1] for n in range(1, 1001))
    assert labelled.source.read(imagenet_name(17)) == b"image 17"


def test_the_original_tar_is_read_in_place(tmp_path: Path) -> None:
    files = {imagenet_name(n): jpeg(n) for n in range(1, 6)}
    path = write_tar(tmp_path / "ILSVRC2012_img_val.tar", files)
    before = sorted(tmp_path.iterdir())
    labelled = open_source(Family.IMAGENET, path, None)
    assert {name: labelled.source.read(name) for name in labelled.source.names()} == files
    assert sorted(tmp_path.iterdir()) == before


def test_a_flat_folder_finds_its_own_label_file(tmp_path: Path) -> None:
    root = write(tmp_path / "val", {imagenet_name(1): b"1", imagenet_name(2): b"2"})
    (root / "val_labels.txt").write_text(f"{imagenet_name(1)} 5\n{imagenet_name(2)} 999\n")
    labelled = open_source(Family.IMAGENET, root, None)
    assert labelled.labels == {imagenet_name(1): 5, imagenet_name(2): 999}
    assert labelled.labels_from == root / "val_labels.txt"


def test_every_form_of_label_file_says_the_same(tmp_path: Path) -> None:
    expected = {imagenet_name(n): TRUTH[n - 1] for n in range(1, 50_001)}
    by_index = tmp_path / "index.txt"
    by_index.write_text("".join(f"{name} {label}\n" for name, label in expected.items()))
    by_wnid = tmp_path / "wnid.csv"
    by_wnid.write_text("".join(f"val/{name},{WNIDS[label]}\n" for name, label in expected.items()))
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("".join(f"{label}\n" for label in TRUTH))
    devkit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    id_of = {index: number for number, index in enumerate(DEVKIT_ORDER, 1)}
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{id_of[label]}\n" for label in TRUTH))
    synsets = np.zeros(1010, dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    for number in range(1, 1011):
        wnid = WNIDS[DEVKIT_ORDER[number - 1]] if number <= 1000 else f"n{90_000_000 + number}"
        synsets[number - 1] = (number, wnid)
    savemat(devkit / "meta.mat", {"synsets": synsets})
    assert read_imagenet_labels(by_index) == expected
    assert read_imagenet_labels(by_wnid) == expected
    assert read_imagenet_labels(numbers) == expected
    assert read_imagenet_labels(devkit.parent) == expected
    assert read_imagenet_labels(devkit / "ILSVRC2012_validation_ground_truth.txt") == expected
    (devkit / "meta.mat").unlink()
    with pytest.raises(InputError, match=r"meta\.mat is not here"):
        read_imagenet_labels(devkit.parent)


def test_a_label_file_that_contradicts_the_folders_is_named(tmp_path: Path, class_folders: dict[str, bytes]) -> None:
    root = write(tmp_path / "val", class_folders)
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("".join(f"{imagenet_name(n)} {(TRUTH[n - 1] + (n == 5)) % 1000}\n" for n in range(1, 1001)))
    with pytest.raises(InputError, match=r"(?s)contradicts the class folders.*wrong\.txt.*val_00000005"):
        open_source(Family.IMAGENET, root, wrong)


@pytest.mark.parametrize("as_tar", [False, True])
@pytest.mark.parametrize("folder", ["val_256", "val_large"])
def test_places_in_a_folder_and_in_a_tar(tmp_path: Path, folder: str, *, as_tar: bool) -> None:
    files = {f"{folder}/Places365_val_{n:08d}.jpg": jpeg(n) for n in range(1, 4)}
    (tmp_path / "places365_val.txt").write_text("".join(f"{Path(name).name} {n}\n" for n, name in enumerate(files)))
    where = write_tar(tmp_path / "places.tar", files) if as_tar else write(tmp_path, files) / folder
    labelled = open_source(Family.PLACES, where, None)
    assert labelled.images == folder
    assert labelled.labels["Places365_val_00000003.jpg"] == 2
    assert labelled.source.read("Places365_val_00000002.jpg") == files[f"{folder}/Places365_val_00000002.jpg"]


def test_a_folder_has_labels_if_every_image_is_in_one(tmp_path: Path) -> None:
    root = write(
        tmp_path / "any", {"b/1.jpg": b"", "a/2.PNG": b"", "a/deep/3.webp": b"", "notes.txt": b"", ".hidden.png": b""}
    )
    labelled = open_source(Family.FOLDER, root, None)
    assert labelled.labels == {"a/2.PNG": 0, "a/deep/3.webp": 0, "b/1.jpg": 1}
    assert labelled.classes == ("a", "b")
    assert labelled.ignored == ("notes.txt",)
    (root / "loose.png").write_bytes(b"")
    assert open_source(Family.FOLDER, root, None).labels == {}


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    real = write(tmp_path / "elsewhere", {"x.png": b"x"})
    root = tmp_path / "set"
    root.mkdir()
    (root / "linked").symlink_to(real)
    assert list(list_files(root).entries) == ["linked/x.png"]
    (root / "loop").symlink_to(root)
    with pytest.raises(InputError, match="leads back"):
        list_files(root)


@pytest.mark.parametrize(("name", "kind"), [("../escape.JPEG", "unsafe-member"), ("/abs.JPEG", "unsafe-member")])
def test_a_tar_that_reaches_out_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = write_tar(tmp_path / "bad.tar", {imagenet_name(1): b"1", name: b"2"})
    with pytest.raises(InputError, match=kind) as caught:
        list_files(path)
    assert name in str(caught.value)


def test_a_cut_tar_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "cut.tar", {imagenet_name(n): bytes(5000) for n in range(1, 5)})
    path.write_bytes(path.read_bytes()[:13_000])
    with pytest.raises(InputError, match=r"truncated-member|not a whole tar"):
        list_files(path)


def test_a_folder_above_all_images_is_no_class(tmp_path: Path) -> None:
    """As most archives have one."""
    files = {f"photos/v1/{kind}/{number}.jpg": jpeg(number) for kind in ("cats", "dogs") for number in range(2)}
    for where in (write_tar(tmp_path / "a.tar", files), write(tmp_path / "above", files)):
        labelled = open_source(Family.FOLDER, where, None)
        assert labelled.classes == ("cats", "dogs")
        assert labelled.labels == {path: int("dogs" in path) for path in files}
