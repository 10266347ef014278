"""Folders of photographs as phones, browsers and network storage leave them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import VerificationError
from palette_bench.common.files import name_fault
from palette_bench.common.progress import Silent
from palette_bench.images import decode as decoding
from palette_bench.images.decode import BadImageError, decode
from palette_bench.prepare.build import BuiltSet, build
from palette_bench.prepare.plan import Choices, make_plan
from tests.conftest import picture

SIZE = 32


class _Notes(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def photo(number: int, side: int = 48) -> Image.Image:
    return Image.fromarray(picture(side, side, f"photo {number}"))


def save(path: Path, number: int, file_format: str = "JPEG", side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(number, side).save(path, file_format)


def prepare(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[BuiltSet, list[str]]:
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "home"))
    progress = _Notes()
    plan = make_plan("folder", Choices(source=source, name="photos", size=SIZE), progress=progress)
    return build(plan, jobs=1, replace=False, progress=progress), progress.notes


def ids(built: BuiltSet) -> list[str]:
    return sorted(item.id for item in EvalSet(built.folder).items)


def test_content_decides_what_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "web"
    for number, name in enumerate(("a.jpg", "saved.jfif", "download", "img.002", "img.003", "shot.pjpeg")):
        save(source / name, number)
    save(source / "b.jp2", 9, "JPEG2000")
    (source / "notes.txt").write_text("hello")
    built, notes = prepare(source, monkeypatch, tmp_path)
    assert ids(built) == ["a", "download", "img.002", "img.003", "saved", "shot.pjpeg"]
    assert "left out 1 images of formats that are not read (1 .jp2)" in notes
    assert "left out 1 files that are not images (1 .txt), notes.txt the first" in notes


@pytest.mark.parametrize("clutter", ["@eaDir/x.jpg", "#recycle", "lost+found", "$RECYCLE.BIN", "__MACOSX"])
def test_thumbnails_and_recycle_bins_are_left_out_and_named(
    clutter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "nas"
    for number in range(2):
        save(source / f"sub/{number}.jpg", number)
        save(source / "sub" / clutter / f"SYNOPHOTO_THUMB_{number}.jpg", 5 + number)
    built, notes = prepare(source, monkeypatch, tmp_path)
    assert ids(built) == ["sub/0", "sub/1"]
    assert notes == [f"left out folders of thumbnails or deleted files: sub/{clutter.split('/')[0]}"]


def test_a_phones_picture_is_the_first_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phone").mkdir()
    path = tmp_path / "phone" / "phone.JPG"
    photo(0).save(path, "MPO", save_all=True, append_images=[photo(1)], quality=95)
    decoded = decode(path.read_bytes())
    with Image.open(path) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("MPO", 2)
        assert np.array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert (decoded.format, decoded.lossy) == ("JPEG", True)
    assert ids(prepare(tmp_path / "phone", monkeypatch, tmp_path)[0]) == ["phone"]


def test_heic_is_read_where_its_decoder_is_and_named_where_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    source = tmp_path / "phone"
    save(source / "a.jpg", 0)
    heif.from_pillow(photo(1)).save(source / "IMG_1.HEIC", quality=95)
    data = (source / "IMG_1.HEIC").read_bytes()
    decoded = decode(data)
    assert decoded.lossy
    assert np.abs(decoded.pixels.astype(int) - np.asarray(photo(1))).mean() < 10
    assert ids(prepare(source, monkeypatch, tmp_path)[0]) == ["IMG_1", "a"]
    monkeypatch.setattr(decoding, "_phone_formats", lambda: ())
    with pytest.raises(BadImageError, match="extra 'heif'"):
        decode(data)
    built, notes = prepare(source, monkeypatch, tmp_path / "without")
    assert ids(built) == ["a"]
    assert notes == ["left out 1 images of formats that are not read (1 .heic; HEIC needs the extra 'heif')"]


def test_small_and_doubled_images_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "mixed"
    for number, name in enumerate(("a", "b", "c")):
        save(source / f"{name}.png", 0 if number < 2 else number, "PNG")
    save(source / "small.png", 7, "PNG", side=SIZE - 8)
    built, _ = prepare(source, monkeypatch, tmp_path)
    assert (built.enlarged, built.doubled) == (1, 2)


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "C:x", "C:\\x", "\\x", "a\0b", "", "a//b", "nul", "sub/CON.1", ".predict/x"]
)
def test_an_id_cannot_lead_out_of_its_folder(name: str) -> None:
    assert name_fault(name) is not None


@pytest.mark.parametrize("name", ["x", "a/b", "a..b", "K\u00f6ln (1)", "console", "img.002"])
def test_usual_ids_are_names(name: str) -> None:
    assert name_fault(name) is None


def test_a_set_whose_ids_lead_out_of_it_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all digests computed anew, so that only the id is wrong."""
    import json

    from palette_bench.artifacts.evalset import data_digest
    from palette_bench.common.canonical import bytes_digest
    from palette_bench.common.files import jsonl_bytes

    save(tmp_path / "photos" / "a.png", 0, "PNG")
    folder = prepare(tmp_path / "photos", monkeypatch, tmp_path)[0].folder
    for evil in (str(tmp_path / "victim"), "../../victim", "con"):
        rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
        rows[0]["id"] = evil
        manifest = jsonl_bytes(rows)
        (folder / "manifest.jsonl").write_bytes(manifest)
        described = json.loads((folder / "set.json").read_text())
        described |= {"manifest_sha256": bytes_digest(manifest), "data_digest": data_digest(rows)}
        (folder / "set.json").write_text(json.dumps(described))
        with pytest.raises(VerificationError, match="ids that cannot be names of files"):
            _ = EvalSet(folder).items
