"""Predictions that are missing, too many, or not what they should be."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palette_bench.common.errors import ExitCode
from tests.adversarial import files
from tests.adversarial.files import encoded, picture
from tests.adversarial.harness import COUNT, SIZE, TINY, Outcome, assert_accepted, assert_refused, records, run


def _prediction(seed: int, mode: str = "RGB") -> Image.Image:
    return picture(seed, mode, SIZE, SIZE)


def _good(seed: int = 0) -> bytes:
    return encoded(_prediction(seed), "PNG")


def _score(where: object, *options: object, task: str = "colorize") -> Outcome:
    always = ("--allow-other-weights", "--jobs", 1, "--out", "out", *options)
    return run("score", "--set", TINY, "--task", task, "--preds", where, *always)


@pytest.fixture
def preds(tiny: Path, networks: Path) -> Path:
    """A whole folder of predictions, to be spoiled."""
    return files.folder_of(Path("preds"), {f"a{k:03}.png": _good(100 + k) for k in range(COUNT)})


Damage = Callable[[Path], object]


def _write(name: str, data: Callable[[], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data())

    return damage


def _remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _both(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for each in damages:
            each(folder)

    return damage


def _rename(old: str, new: str) -> Damage:
    return lambda folder: (folder / old).rename(folder / new)


def _raw_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/x\xff\x1b[31m.png")).write_bytes(_good())


def _samples(*numbers: int, item: str = "a001") -> Damage:
    """One item has these samples in a folder."""

    def damage(folder: Path) -> None:
        (folder / f"{item}.png").unlink()
        files.folder_of(folder / item, {f"{k}.png": _good(k) for k in numbers})

    return damage


def _all_samples_but_one(folder: Path) -> None:
    for k in range(COUNT):
        _samples(0, 1, 2, item=f"a{k:03}")(folder)
    (folder / "a005" / "1.png").unlink()


def _alpha() -> bytes:
    image = _prediction(0, "RGBA")
    image.putpixel((1, 1), (0, 0, 0, 0))
    return encoded(image, "PNG")


def _sixteen() -> bytes:
    return files.sixteen_bit_rgb_png(SIZE, SIZE)


FAULTS: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "missing": (_remove("a003.png"), ("1 faults", "missing: a003")),
    "extra": (_write("b000.png", _good), ("extra: b000.png: belongs to no item",)),
    "missing and extra": (_rename("a003.png", "b003.png"), ("2 faults", "extra: b003.png", "missing: a003")),
    "other letter case": (
        _rename("a003.png", "A003.png"),
        ("extra: A003.png: differs from item a003", "missing: a003"),
    ),
    "both letter cases": (_write("A003.png", _good), ("extra: A003.png: differs from item a003 in letter case",)),
    "two extensions": (_write("a003.jpg", _good), ("duplicate: a003.png: the same output as a003.jpg",)),
    "file and folder": (_write("a003/0.png", _good), ("duplicate: ", "a003.png", "a003/0.png")),
    "one number twice": (
        _both(_samples(0), _write("a001/00.png", _good)),
        ("duplicate: a001/00.png: the same output as a001/0.png",),
    ),
    "in a sub-folder": (_write("sub/a003.png", _good), ("duplicate: sub/a003.png: the same output as a003.png",)),
    "a name of raw bytes": (_raw_name, ("extra: x\\udcff\\x1b[31m.png: belongs to no item",)),
    "wrong size": (
        _write("a003.png", lambda: files.png(0, 64, 64)),
        ("wrong-size: a003.png: expected 32x32, found 64x64",),
    ),
    "wrong shape": (_write("a003.png", lambda: files.png(0, 32, 31)), ("wrong-size: a003.png", "found 32x31")),
    "16-bit": (_write("a003.png", _sixteen), ("wrong-mode: a003.png: expected 8-bit RGB, found 16-bit",)),
    "CMYK": (
        _write("a003.png", lambda: encoded(_prediction(0, "CMYK"), "JPEG")),
        ("wrong-mode: a003.png: expected 8-bit RGB, found cmyk",),
    ),
    "transparent": (_write("a003.png", _alpha), ("undecodable: a003.png: has transparent pixels",)),
    "animated": (_write("a003.png", lambda: files.animated("PNG")), ("undecodable: a003.png: 2 frames",)),
    "cut short": (_write("a003.png", lambda: _good()[:1500]), ("undecodable: a003.png: cannot be decoded",)),
    "empty": (_write("a003.png", lambda: b""), ("undecodable: a003.png: the file is empty",)),
    "text": (_write("a003.png", lambda: b"nan nan nan"), ("undecodable: a003.png: not an image",)),
    "bomb": (
        _write("a003.png", lambda: files.png_of_chunks(60_000, 60_000, b"")),
        ("undecodable: a003.png: more than 80000000 pixels",),
    ),
    "dangling link": (
        _both(_remove("a003.png"), lambda folder: (folder / "a003.png").symlink_to("nowhere")),
        ("unreadable: a003.png: No such file",),
    ),
    "samples of one item alone": (_samples(0, 1, 2), ("missing-samples: a001: expected samples 0, found 0, 1, 2",)),
    "a sample missing": (_all_samples_but_one, ("missing-samples: a005: expected samples 0, 1, 2, found 0, 2",)),
    "samples counted from one": (_samples(1), ("missing-samples: a001: expected samples 0, found 1",)),
    "everything at once": (
        _both(
            _remove("a000.png"), _write("z.png", _good), _write("a001.png", lambda: b""), _write("a002.png", _sixteen)
        ),
        ("4 faults", "extra: z.png", "missing: a000", "undecodable: a001.png", "wrong-mode: a002.png"),
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_folder_is_refused_and_scored_when_it_is_repaired(kind: str, preds: Path) -> None:
    damage, says = FAULTS[kind]
    spoiled = Path(shutil.copytree(preds, "spoiled"))
    damage(spoiled)
    outcome = assert_refused(
        _score("spoiled"), ExitCode.INPUT, "nothing was scored", "spoiled", f"the {COUNT} items", *says
    )
    assert "\x1b" not in outcome.err
    assert records(Path.cwd()) == []
    shutil.rmtree(spoiled)
    shutil.copytree(preds, spoiled)
    assert_accepted(_score("spoiled"))
    assert [path.name for path in records(Path("out"))] == ["result.json", "items.csv"]


def test_a_record_of_other_predictions_is_not_replaced(preds: Path) -> None:
    """Two folders of one name would otherwise write one record over the other."""
    assert_accepted(_score(preds))
    before = Path("out/result.json").read_bytes()
    assert_accepted(_score(preds))
    other = Path(shutil.copytree(preds, "other/preds"))
    (other / "a003.png").write_bytes(_good(7))
    assert_refused(_score(other), ExitCode.INPUT, "a record of other predictions", "out/result.json", "--replace")
    assert Path("out/result.json").read_bytes() == before
    assert_accepted(_score(other, "--replace"))
    assert Path("out/result.json").read_bytes() != before


def test_every_fault_is_in_the_json(preds: Path) -> None:
    for k in range(30):
        (preds / f"extra{k:02}.png").write_bytes(b"")
    outcome = _score(preds, "--json")
    assert outcome.code == ExitCode.INPUT
    assert outcome.err.count("extra: extra") == 8
    assert "extra: and 22 more" in outcome.err
    problems = outcome.json()["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 30


NOTICED: dict[str, tuple[Damage, str]] = {
    "grey": (_write("a003.png", lambda: encoded(_prediction(0, "L"), "PNG")), "1 predictions were converted: grey"),
    "palette": (_write("a003.png", lambda: encoded(_prediction(0, "P"), "PNG")), "were converted: palette"),
    "opaque alpha": (_write("a003.png", lambda: encoded(_prediction(0, "RGBA"), "PNG")), "opaque-alpha-dropped"),
    "JPEG": (
        _both(_remove("a003.png"), _write("a003.jpg", lambda: encoded(_prediction(0), "JPEG"))),
        "1 predictions are lossy files",
    ),
    "JPEG called PNG": (_write("a003.png", lambda: encoded(_prediction(0), "JPEG")), "1 predictions are lossy files"),
    "one image for all": (
        _both(*(_write(f"a{k:03}.png", _good) for k in range(COUNT))),
        "only 1 of 8 predictions differ from each other",
    ),
}


@pytest.mark.parametrize("kind", NOTICED)
def test_what_is_odd_but_defined_is_scored_and_noted(kind: str, preds: Path) -> None:
    damage, says = NOTICED[kind]
    damage(preds)
    outcome = assert_accepted(_score(preds))
    assert f"warning: {says}" in outcome.err or says in outcome.err
    assert says in Path("out/result.json").read_text(encoding="utf-8")


def test_what_is_no_image_beside_the_predictions_is_of_no_matter(preds: Path) -> None:
    files.folder_of(preds, {"predictions.json": b"{}", "log.txt": b"", ".hidden.png": b"", "Thumbs.db": b""})
    assert_accepted(_score(preds))


def test_a_changed_known_region_is_noted(preds: Path) -> None:
    outcome = assert_accepted(_score(preds, task="uncrop"))
    assert "the known region was changed by" in outcome.err
    assert "inverted mask" in outcome.err


def _npz(path: Path, array: object = None, key: str = "arr_0") -> Path:
    if array is None:
        array = np.stack([np.asarray(_prediction(100 + k)) for k in range(COUNT)])
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{key}.npy", buffer.getvalue())
    return path


def _cut_npz(path: Path) -> Path:
    data = _npz(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _damaged_npz(path: Path) -> Path:
    data = bytearray(_npz(path).read_bytes())
    data[200:260] = b"\xff" * 60
    path.write_bytes(data)
    return path


def _npy_called_npz(path: Path) -> Path:
    with path.open("wb") as stream:
        np.save(stream, np.zeros((COUNT, SIZE, SIZE, 3), np.uint8))
    return path


def _zip_of(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    return path


def _bomb_npz(path: Path) -> Path:
    """A header that promises more than there is memory."""
    header = io.BytesIO()
    shape = (10**7, 10**5, 32, 3)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return _zip_of(path, "arr_0.npy", header.getvalue() + b"\0" * 1000)


def _file(path: Path) -> Path:
    path.write_bytes(b"no")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _no_images(path: Path) -> Path:
    return files.folder_of(path, {"a000.txt": b"", "a001.npy": b""})


def _loop(path: Path) -> Path:
    files.folder_of(path, {"a000.png": _good()})
    (path / "loop").symlink_to(path.absolute())
    return path


def _pickled(path: Path) -> Path:
    return _npz(path, np.array([{"a": 1}], dtype=object))


SHAPE = f"uint8 [{COUNT}, {SIZE}, {SIZE}, 3]"
NOTHING: dict[str, tuple[str, Callable[[Path], Path], tuple[str, ...]]] = {
    "missing": ("nowhere", lambda path: path, ("there are no predictions here", "found:    nothing")),
    "empty folder": ("empty", _folder, ("there are no predictions here", "8 images named like a000.png", "an empty")),
    "no images": ("texts", _no_images, ("there are no predictions here", "2 other files")),
    "a file": ("preds.zip", _file, ("the predictions are a single file", ".zip")),
    "one image": ("a000.png", _file, ("the predictions are a single file", ".png")),
    "a loop": ("loop", _loop, ("a symbolic link leads back",)),
    "npz of text": ("p.npz", _file, ("an .npz of predictions cannot be read", "arr_0")),
    "npz cut short": ("p.npz", _cut_npz, ("an .npz of predictions cannot be read",)),
    "npz damaged": ("p.npz", _damaged_npz, ("an .npz of predictions cannot be read",)),
    "npy called npz": ("p.npz", _npy_called_npz, ("an .npz of predictions cannot be read",)),
    "npz of another key": ("p.npz", lambda path: _npz(path, key="images"), ("cannot be read", "arr_0", "images")),
    "npz of pickles": ("p.npz", _pickled, ("an .npz of predictions", "wrong content", "object")),
    "npz of a folder": ("p.npz", _folder, ("there are no predictions here",)),
    "npz whose member is no array": (
        "p.npz",
        lambda path: _zip_of(path, "arr_0", b"hello"),
        ("an .npz of predictions cannot be read",),
    ),
    "npz that promises too much": ("p.npz", _bomb_npz, ("wrong content", SHAPE, "[10000000, 100000, 32, 3]")),
    "npz of floats": (
        "p.npz",
        lambda path: _npz(path, np.zeros((COUNT, SIZE, SIZE, 3), np.float32)),
        ("wrong content", SHAPE, "float32"),
    ),
    "npz with one too few": (
        "p.npz",
        lambda path: _npz(path, np.zeros((COUNT - 1, SIZE, SIZE, 3), np.uint8)),
        ("wrong content", SHAPE, "[7, 32, 32, 3]"),
    ),
    "npz of channels first": (
        "p.npz",
        lambda path: _npz(path, np.zeros((COUNT, 3, SIZE, SIZE), np.uint8)),
        ("wrong content", SHAPE, "[8, 3, 32, 32]"),
    ),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_what_holds_no_predictions_is_refused(kind: str, tiny: Path, networks: Path) -> None:
    name, make, says = NOTHING[kind]
    where = make(Path(name))
    assert_refused(_score(where), ExitCode.INPUT, str(where), *says)
    assert records(Path.cwd()) == []


def test_an_npz_and_a_folder_of_the_same_pixels_are_the_same_predictions(preds: Path) -> None:
    assert_accepted(_score(preds))
    first = Path("out/items.csv").read_bytes()
    assert_accepted(_score(_npz(Path("p.npz"))))
    assert Path("out/items.csv").read_bytes() == first


def test_a_result_that_cannot_be_written_is_told(preds: Path, unwritable: Path) -> None:
    assert_refused(
        _score(preds, "--out", unwritable / "out"), ExitCode.INPUT, "no permission", str(unwritable), "--out"
    )
    Path("taken").write_text("mine", encoding="utf-8")
    assert_refused(_score(preds, "--out", "taken"), ExitCode.INPUT, "taken")
    assert Path("taken").read_text(encoding="utf-8") == "mine"
    assert records(Path.cwd()) == []
