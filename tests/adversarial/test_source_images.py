"""Single images of a source that are not what one hopes for."""

import os
from pathlib import Path

import pytest
from PIL import Image

from palette_bench.common.errors import ExitCode
from palette_bench.common.home import HOME_VARIABLE
from tests.adversarial import files
from tests.adversarial.files import Make, encoded, picture
from tests.adversarial.harness import (
    COUNT,
    TINY,
    assert_accepted,
    assert_refused,
    complete_sets,
    data_digest,
    prepare,
    run,
)

REFUSED: dict[str, tuple[str, Make, str]] = {
    "zero bytes": ("x.png", lambda: b"", "the file is empty"),
    "text": ("x.jpg", lambda: b"I am not an image\n" * 40, "not an image of a known format"),
    "web page": ("x.jpeg", lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not an image of a known format"),
    "half a JPEG": ("x.jpg", lambda: encoded(picture(), "JPEG")[:900], "cannot be decoded: image file is truncated"),
    "head of a JPEG": ("x.jpg", lambda: encoded(picture(), "JPEG")[:30], "cannot be decoded"),
    "half a PNG": ("x.png", lambda: files.png()[:2000], "cannot be decoded"),
    "half a WebP": ("x.webp", lambda: encoded(picture(), "WEBP")[:300], "cannot be decoded"),
    "half a TIFF": ("x.tif", lambda: encoded(picture(), "TIFF")[:3000], "cannot be decoded"),
    "half a BMP": ("x.bmp", lambda: encoded(picture(), "BMP")[:3000], "cannot be decoded"),
    "half a PPM": ("x.ppm", lambda: encoded(picture(), "PPM")[:3000], "cannot be decoded"),
    "half a GIF": ("x.gif", lambda: encoded(picture(), "GIF")[:900], "cannot be decoded"),
    "flipped bit in a PNG": ("x.png", lambda: files.broken_checksum(files.png()), "cannot be decoded"),
    "transparent RGBA": ("x.png", lambda: encoded(files.transparent("RGBA"), "PNG"), "has transparent pixels"),
    "transparent grey": ("x.png", lambda: encoded(files.transparent("LA"), "PNG"), "has transparent pixels"),
    "transparent palette": ("x.png", lambda: files.palette_with_hole("PNG"), "has transparent pixels"),
    "transparent GIF": ("x.gif", lambda: files.palette_with_hole("GIF"), "has transparent pixels"),
    "animated GIF": ("x.gif", lambda: files.animated("GIF"), "2 frames where one image is expected"),
    "animated PNG": ("x.png", lambda: files.animated("PNG"), "2 frames where one image is expected"),
    "animated WebP": ("x.webp", lambda: files.animated("WEBP"), "2 frames where one image is expected"),
    "two pages of TIFF": ("x.tiff", lambda: files.animated("TIFF"), "2 frames where one image is expected"),
    "32-bit integers": ("x.tif", lambda: encoded(picture(mode="I"), "TIFF"), "32-bit samples"),
    "floats": ("x.tif", lambda: encoded(picture(mode="F"), "TIFF"), "32-bit samples"),
    "bomb": ("x.png", lambda: files.png_of_chunks(60_000, 60_000, b"\0" * 99), "more than 80000000 pixels"),
    "small bomb": ("x.png", lambda: files.png_of_chunks(10_000, 9_000, b"\0" * 99), "10000x9000 is more than"),
    "no samples": ("x.png", lambda: files.png_of_chunks(50, 40, b""), "cannot be decoded"),
    "no width": ("x.png", lambda: files.png_of_chunks(0, 40, b""), "x.png"),
}


@pytest.fixture(scope="module")
def repaired_digest(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    """The data digest of the tiny source and one more image, prepared without an accident."""
    folder = tmp_path_factory.mktemp("repaired")
    files.folder_of(folder, {f"a{k:03}.png": files.png(k) for k in range(COUNT)} | {"x.png": files.png(99)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / ".home"))
        return data_digest(folder, name="repaired")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_image_is_named_and_nothing_is_prepared_until_it_is_repaired(
    kind: str, source: Path, home: Path, repaired_digest: object
) -> None:
    name, make, says = REFUSED[kind]
    (source / name).write_bytes(make())
    assert_refused(prepare(source), ExitCode.INPUT, f"bad-image: {name}: ", says, str(source), "1 of 9 images")
    assert complete_sets(home) == []
    (source / name).write_bytes(files.png(99))
    assert data_digest(source, name=TINY) == repaired_digest


def test_all_bad_images_are_named_at_once(source: Path, home: Path) -> None:
    for k in range(12):
        (source / f"bad{k:02}.png").write_bytes(b"no")
    outcome = assert_refused(prepare(source), ExitCode.INPUT, "12 of 20 images", "bad00.png", "bad-image: and 4 more")
    assert outcome.err.count("bad-image: bad") == 8
    failed = prepare(source, "--json")
    assert failed.code == ExitCode.INPUT
    problems = failed.json()["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 12
    assert complete_sets(home) == []


ACCEPTED: dict[str, tuple[str, Make, dict[str, int]]] = {
    "grey": ("x.png", lambda: encoded(picture(mode="L"), "PNG"), {"grey": 1}),
    "one bit": ("x.png", lambda: encoded(picture(mode="1"), "PNG"), {"grey": 1}),
    "grey JPEG": ("x.jpg", lambda: encoded(picture(mode="L"), "JPEG"), {"grey": 1}),
    "CMYK": ("x.jpg", lambda: encoded(picture(mode="CMYK"), "JPEG"), {"cmyk": 1}),
    "palette": ("x.png", lambda: encoded(picture(mode="P"), "PNG"), {"palette": 1}),
    "16-bit grey": ("x.png", lambda: encoded(picture(mode="I;16"), "PNG"), {"16-bit": 1, "grey": 1}),
    "16-bit RGB": ("x.png", files.sixteen_bit_rgb_png, {"16-bit": 1}),
    "opaque alpha": ("x.png", lambda: encoded(picture(mode="RGBA"), "PNG"), {"opaque-alpha-dropped": 1}),
    "EXIF orientation": ("x.jpg", lambda: files.with_exif("JPEG"), {"exif-orientation-applied": 1}),
    "wrong extension": ("x.jpg", files.png, {}),
    "68x121": ("x.png", lambda: files.png(0, 68, 121), {}),
    "2400x1600": ("x.jpg", lambda: encoded(picture(0, width=2400, height=1600), "JPEG"), {}),
    "one pixel": ("x.png", lambda: files.png(0, 1, 1), {}),
    "3000x1": ("x.png", lambda: files.png(0, 3000, 1), {}),
    "capital extension": ("X.JPG", lambda: encoded(picture(), "JPEG"), {}),
    "Unicode name": ("Übung ☃ 図.png", files.png, {}),
    "name with a space and dots": ("a b.c..png", files.png, {}),
    "bytes after the end": ("x.jpg", lambda: encoded(picture(), "JPEG") + b"more", {}),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_an_odd_image_becomes_a_reference_in_the_defined_way(kind: str, source: Path, home: Path) -> None:
    name, make, conversions = ACCEPTED[kind]
    (source / name).write_bytes(make())
    prepared = assert_accepted(prepare(source, "--json")).json()
    assert prepared["conversions"] == conversions
    assert prepared["count"] == 9
    with Image.open(home / "sets" / "tiny" / "references" / f"{Path(name).stem}.png") as reference:
        assert reference.size == (32, 32)
        assert reference.mode == "RGB"
    assert_accepted(run("verify", "tiny"))


def test_an_image_on_its_side_is_prepared_upright(tmp_path: Path, home: Path) -> None:
    upright = files.folder_of(
        tmp_path / "a", {"x.png": encoded(picture().transpose(Image.Transpose.ROTATE_270), "PNG")}
    )
    lying = files.folder_of(tmp_path / "b", {"x.png": files.with_exif("PNG")})
    assert data_digest(upright, name="upright") == data_digest(lying, name="lying")


def test_files_that_are_no_images_are_left_out_and_told(source: Path, home: Path) -> None:
    files.folder_of(source, {"notes.txt": b"hello", ".DS_Store": b"\0", "Thumbs.db": b"\0"})
    outcome = assert_accepted(prepare(source))
    assert "left out 2 files that are not images (1 .db, 1 .txt)" in outcome.err
    assert "8 images" in outcome.out


def test_a_dangling_link_to_an_image_is_named(source: Path, home: Path) -> None:
    (source / "gone.png").symlink_to(source / "nowhere.png")
    assert_refused(prepare(source), ExitCode.INPUT, "unreadable: gone.png: No such file or directory")
    assert complete_sets(home) == []


def test_an_image_that_may_not_be_read_is_named(source: Path, home: Path) -> None:
    if os.geteuid() == 0:
        # Root may read everything but this.
        (source / "a000.png").unlink()
        (source / "a000.png").symlink_to("/proc/self/mem")
    else:
        (source / "a000.png").chmod(0)
    assert_refused(prepare(source), ExitCode.INPUT, "unreadable: a000.png: ")
    assert complete_sets(home) == []
