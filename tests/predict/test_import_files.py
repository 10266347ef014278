"""What an import refuses, and what it takes: containers, names, lists, value ranges, kinds of images."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from palette_bench.artifacts.evalset import EvalSet
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError
from palette_bench.images import canary
from palette_bench.images.types import ImageU8
from palette_bench.predict.importing.bring import Options
from palette_bench.predict.importing.conventions import Axes, Resize, ValueRange
from palette_bench.predict.importing.pixels import looks_like
from tests.adversarial.files import sixteen_bit_rgb_png
from tests.conftest import make_photos, picture
from tests.predict import importing_world as world
from tests.predict.importing_world import SIZE, imported, pixels, save, steps, zipped

TASK = "jpeg-qf5"
COUNT = 5


@pytest.fixture(scope="module", autouse=True)
def _one_canary() -> Iterator[None]:
    with mock.patch.object(canary, "measure", cache(canary.measure)):
        yield


@pytest.fixture(scope="module")
def eval_set(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALETTE_BENCH_HOME", str(folder / "home"))
        return world.prepare(make_photos(folder / "photos", COUNT), "files")


def image(number: int, sample: int = 0) -> ImageU8:
    """What item ``number`` should become."""
    return picture(SIZE, SIZE, f"output {number} {sample}")


def stack() -> ImageU8:
    return np.stack([image(number) for number in range(COUNT)])


@pytest.fixture
def plain(eval_set: EvalSet, tmp_path: Path) -> Path:
    """A folder of good outputs."""
    for item in eval_set.items:
        save(tmp_path / "outputs" / f"{item.id}.png", image(item.index))
    return tmp_path / "outputs"


@pytest.fixture
def order(eval_set: EvalSet, tmp_path: Path) -> Path:
    """The list of ids in protocol order."""
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{item.id}\n" for item in eval_set.items))
    return path


def check(eval_set: EvalSet, folder: Path, *, tolerance: int = 0) -> None:
    for item in eval_set.items:
        found = pixels(folder / f"{item.id}.png")
        assert found.shape == (SIZE, SIZE, 3)
        assert np.abs(found.astype(int) - image(item.index)).max() <= tolerance


def refused(
    eval_set: EvalSet, where: Path, *says: str, name: str = "generic", options: Options | None = None
) -> PaletteBenchError:
    """An import that fails, says all of ``says``, and leaves nothing."""
    out = where.parent / "refused"
    with pytest.raises(PaletteBenchError) as caught:
        imported(eval_set, where, name, TASK, out, options)
    for words in says:
        assert words in str(caught.value), f"{words!r} not in:\n{caught.value}"
    assert not out.exists()
    assert not [path for path in where.parent.iterdir() if "importing" in path.name]
    return caught.value


# Containers.


def test_a_folder_a_zip_and_a_tar_are_the_same(eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    (plain / "log.txt").write_text("notes")
    with tarfile.open(tmp_path / "o.tar", "w") as archive:
        archive.add(plain, arcname="deep/down")
    trees = set()
    for where in (plain, zipped(tmp_path / "o.zip", plain), tmp_path / "o.tar"):
        result = imported(eval_set, where, "generic", TASK, tmp_path / f"preds-{where.suffix}")
        check(eval_set, result.folder)
        trees.add(result.described["tree_sha256"])
        assert result.described["import"]["other_files"] == 1  # type: ignore[index]
    assert len(trees) == 1


@pytest.mark.parametrize("kind", ["npz", "npy", "pt", "safetensors", "float16.npy", "nchw.npy", "grey.npz"])
def test_arrays_of_every_kind(kind: str, eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    path = tmp_path / f"arrays.{kind}"
    images, options = stack(), Options(order=order)
    match kind:
        case "npz":
            np.savez(path, images)
        case "npy":
            np.save(path, images)
        case "pt":
            torch.save(torch.from_numpy(images), path)
        case "safetensors":
            save_file({"images": images}, path)
        case "float16.npy":
            np.save(path, (images / 255).astype(np.float16))
            options = Options(order=order, value_range=ValueRange.UNIT)
        case "nchw.npy":
            np.save(path, np.ascontiguousarray((images / 127.5 - 1).astype(np.float32).transpose(0, 3, 1, 2)))
            options = Options(order=order, value_range=ValueRange.SIGNED)
        case _:
            images = images.copy()
            np.savez(path, grey=images[..., 0], other=np.zeros(3))
            options = Options(order=order, array_key="grey")
    result = imported(eval_set, path, "generic", TASK, tmp_path / "preds", options)
    if kind == "grey.npz":
        assert [verdict.kind for verdict in result.verdicts] == ["grey"]
        found = pixels(result.folder / f"{eval_set.items[2].id}.png")
        assert (found == images[2, ..., :1]).all()
    else:
        assert result.verdicts == ()
        check(eval_set, result.folder)


class _Trap:
    """A pickle of this creates a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.command = f"touch {path}"

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["pt", "old.pt", "raw.pt", "pkl", "npy", "npz"])
def test_a_pickle_that_wants_to_run_code_is_refused_by_name_and_never_run(
    kind: str, eval_set: EvalSet, order: Path, tmp_path: Path
) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / f"trap.{kind}"
    trap = _Trap(sprung)
    match kind:
        case "pt":
            torch.save({"arr": torch.zeros(1), "evil": trap}, path)
        case "old.pt":
            torch.save({"arr": torch.zeros(1), "evil": trap}, path, _use_new_zipfile_serialization=False)
        case "raw.pt" | "pkl":
            path.write_bytes(pickle.dumps(trap))
        case "npy":
            np.save(path, np.array([trap], dtype=object), allow_pickle=True)
        case _:
            np.savez(path, arr_0=np.array([trap], dtype=object))
    named = () if kind in ("npy", "npz") else ("system", "any code")
    refused(eval_set, path, *named, options=Options(order=order))
    assert not sprung.exists()
    # The trap is one: whoever opens it carelessly is caught.
    if kind in ("raw.pt", "pkl"):
        pickle.loads(path.read_bytes())  # noqa: S301
        assert sprung.exists()


def test_a_folder_with_only_a_pickle_is_not_searched_further(eval_set: EvalSet, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "samples.pkl").write_bytes(pickle.dumps(_Trap(tmp_path / "sprung")))
    refused(eval_set, tmp_path / "o", "samples.pkl", "not opened", "system")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../escape.png", "/escape.png", "a/../../escape.png", "C:\\escape.png"])
def test_no_path_leads_out_of_an_archive(name: str, eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    zip_path = zipped(tmp_path / "o.zip", plain)
    with zipfile.ZipFile(zip_path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), (plain / f"{eval_set.items[0].id}.png").read_bytes())
    refused(eval_set, zip_path, "leads out of the archive")
    if "\\" not in name:
        with tarfile.open(tmp_path / "o.tar", "w") as tar:
            tar.add(plain, arcname=".")
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        refused(eval_set, tmp_path / "o.tar", "leads out of the archive")
    assert not list(tmp_path.parent.rglob("escape*"))


def test_links_in_archives_are_refused(eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(zipped(tmp_path / "o.zip", plain), "a") as archive:
        archive.writestr(link, "/etc/hostname")
    refused(eval_set, tmp_path / "o.zip", "is a link")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("o.tar.gz", b"\x1f\x8b" + b"0" * 600, "compressed archive"),
        ("o.zip", b"PK\x03\x04 and nothing else", "a whole .zip"),
        ("o.npz", b"PK\x03\x04 and nothing else", "cannot be read"),
        ("o.npy", b"\x93NUMPY\x01\x00", "cannot be read"),
        ("o.pt", b"", "cannot be read"),
        ("o.safetensors", b"\xff" * 64, "cannot be read"),
        ("o.bin", b"what is this", "not a file of outputs"),
    ],
)
def test_damaged_files_are_explained(
    name: str, content: bytes, says: str, eval_set: EvalSet, order: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(eval_set, tmp_path / name, says, name, options=Options(order=order))


def test_nothing_here_is_said(eval_set: EvalSet, tmp_path: Path) -> None:
    refused(eval_set, tmp_path / "nowhere", "no outputs here", "nothing")
    (tmp_path / "empty").mkdir()
    refused(eval_set, tmp_path / "empty", "no outputs here")
    np.save(tmp_path / "empty" / "a.npy", stack())
    np.save(tmp_path / "empty" / "b.npy", stack())
    refused(eval_set, tmp_path / "empty", "2 files of arrays: a.npy, b.npy")


# Names.


def test_every_fault_is_reported_at_once(eval_set: EvalSet, plain: Path) -> None:
    a, b, c, d, _ = (item.id for item in eval_set.items)
    (plain / f"{a}.png").unlink()
    (plain / f"{b}.png").write_bytes(sixteen_bit_rgb_png(SIZE, SIZE))
    save(plain / f"{c}.png", image(2)[:-1])
    (plain / f"{d}.png").write_bytes((plain / f"{d}.png").read_bytes()[:200])
    save(plain / "stranger.png", image(9))
    save(plain / "copy" / f"{eval_set.items[4].id}.png", image(4))
    error = refused(eval_set, plain, "1 missing", "1 extra", "1 duplicate", "3 unusable")
    assert {problem.kind for problem in error.problems} == {"missing", "extra", "duplicate", "unusable"}
    text = str(error)
    assert "16-bit" in text
    assert f"expected {SIZE}x{SIZE}, found {SIZE}x{SIZE - 1}" in text
    assert f"missing: {a}" in text


@pytest.mark.parametrize("form", ["{id}/{k}.png", "{flat}_{k}.png", "run/{flat}_{k}.png"])
@pytest.mark.parametrize("first", [0, 1])
def test_samples_of_an_item(form: str, first: int, eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        for sample in range(3):
            name = form.format(id=item.id, flat=item.id.replace("/", "__"), k=sample + first)
            save(tmp_path / "o" / name, image(item.index, sample))
    result = imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "preds")
    assert (result.samples, result.described["stochastic"]) == (3, True)
    for item in eval_set.items:
        for sample in range(3):
            found = pixels(result.folder / item.id / f"{sample}.png")
            assert (found == image(item.index, sample)).all()
    missing = form.format(id=eval_set.items[1].id, flat=eval_set.items[1].id.replace("/", "__"), k=first + 1)
    (tmp_path / "o" / missing).unlink()
    with pytest.raises(InputError, match=f"missing-samples: {eval_set.items[1].id}"):
        imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "again")


def test_a_pattern_or_what_to_strip(eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        save(tmp_path / "o" / f"seed7-{item.id.replace('/', '__')}-fake.png", image(item.index))
    refused(eval_set, tmp_path / "o", "--from generic", "--strip-prefix=seed7- --strip-suffix=-fake")
    chosen = (
        Options(strip_prefix="seed7-", strip_suffix="-fake"),
        Options(pattern=r"seed\d+-(?P<id>.+)-fake\.png"),
        Options(pattern=r"seed(?P<sample>\d+)-(?P<id>.+)-fake\.png"),
    )
    for number, options in enumerate(chosen):
        check(eval_set, imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / str(number), options).folder)
    for options, says in (
        (Options(pattern="("), "not a regular expression"),
        (Options(pattern="(.*)"), "no group"),
        (Options(pattern="(?P<id>.*)", strip_prefix="x"), "--pattern says it all"),
    ):
        with pytest.raises(UsageError, match=says):
            imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "x", options)


def test_images_whose_names_say_only_their_order(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    for number in range(COUNT):
        # 8, 9, 10, 11, 12: as text they would sort otherwise.
        save(tmp_path / "o" / f"{number + 8}.png", image(number))
    check(eval_set, imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p", Options(order=order)).folder)
    save(tmp_path / "o" / "99.png", image(0))
    refused(eval_set, tmp_path / "o", "as many outputs as lines", options=Options(order=order))


# Lists.


def test_an_array_needs_a_list(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", stack()[::-1])
    assert isinstance(refused(eval_set, tmp_path / "o.npy", "--order"), UsageError)
    lines = order.read_text().splitlines()
    # Reversed, with the extensions and labels that lists have.
    order.write_text("".join(f"{line}.JPEG {number}\n" for number, line in enumerate(reversed(lines))))
    check(
        eval_set, imported(eval_set, tmp_path / "o.npy", "generic", TASK, tmp_path / "p", Options(order=order)).folder
    )
    order.write_text("\n".join([*lines[:-1], "who/knows"]))
    refused(eval_set, tmp_path / "o.npy", "line 5", "who/knows", options=Options(order=order))
    order.write_text("\n".join([*lines[:-1], lines[0]]))
    refused(eval_set, tmp_path / "o.npy", "1 duplicate, 1 missing", options=Options(order=order))
    order.write_text("\n".join(lines[:-1]))
    refused(eval_set, tmp_path / "o.npy", "4 outputs", options=Options(order=order))


def write_parts(folder: Path, parts: list[list[int]]) -> None:
    for number, rows in enumerate(parts):
        world.save_recon(folder / f"recon_{number}_{len(parts)}.pt", np.stack([image(row) for row in rows]))


def test_parts_of_i2sb_and_their_padding(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    lines = order.read_text().splitlines()
    parts = [[0, 1, 2, 0], [3, 4, 3, 3]]
    write_parts(tmp_path / "o", parts)
    refused(eval_set, tmp_path / "o", "8 in parts of 4, 4", "repeats", name="i2sb", options=Options(order=order))
    order.write_text("".join(f"{lines[row]}\n" for rows in parts for row in rows))
    result = imported(eval_set, tmp_path / "o", "i2sb", TASK, tmp_path / "preds", Options(order=order))
    check(eval_set, result.folder)
    assert result.described["import"]["left_out"] == 3  # type: ignore[index]
    # A repetition that is no padding is a duplicate.
    order.write_text("".join(f"{lines[row]}\n" for rows in ([0, 1, 1, 2], [3, 4, 3, 3]) for row in rows))
    refused(eval_set, tmp_path / "o", "1 duplicate", name="i2sb", options=Options(order=order))
    (tmp_path / "o" / "recon_0_2.pt").unlink()
    refused(eval_set, tmp_path / "o", "missing-part: 0 of 2", name="i2sb", options=Options(order=order))
    world.save_recon(tmp_path / "o" / "recon.pt", stack())
    refused(eval_set, tmp_path / "o", "more than one set of outputs", name="i2sb", options=Options(order=order))


# Values.


@pytest.mark.parametrize(
    ("scale", "shift", "declared", "says"),
    [
        (1 / 255, 0.0, ValueRange.SIGNED, "looks like 0..1"),
        (1 / 127.5, -1.0, ValueRange.UNIT, "looks like -1..1"),
        (1.0, 0.0, ValueRange.UNIT, "looks like 0..255"),
        (1.0, 0.0, ValueRange.SIGNED, "looks like 0..255"),
        (1 / 255, 0.0, ValueRange.BYTES, "looks like 0..1"),
        (1.05 / 127.5, -1.05, ValueRange.SIGNED, "values beyond it"),
        (1 / 127.5, -1.0, None, "--range"),
    ],
)
def test_a_wrong_range_is_refused(
    scale: float, shift: float, declared: ValueRange | None, says: str, eval_set: EvalSet, order: Path, tmp_path: Path
) -> None:
    images = stack().astype(np.float32)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    np.save(tmp_path / "o.npy", images * scale + shift)
    refused(eval_set, tmp_path / "o.npy", says, options=Options(order=order, value_range=declared))


def test_values_a_little_beyond_are_clipped_only_if_said(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    images = stack()
    images[:, 0, 0] = 255
    values = (images / 127.5 - 1).astype(np.float32)
    values[:, 0, 0] = 1.0009
    np.save(tmp_path / "o.npy", values)
    result = imported(
        eval_set,
        tmp_path / "o.npy",
        "generic",
        TASK,
        tmp_path / "a",
        Options(order=order, value_range=ValueRange.SIGNED),
    )
    assert steps(result) == [{"step": "quantise", "range": "-1..1", "clipped_values": 0}]
    values[:, 0, 0] = 1.0011
    np.save(tmp_path / "o.npy", values)
    declared = Options(order=order, value_range=ValueRange.SIGNED)
    refused(eval_set, tmp_path / "o.npy", "--clip", f"{3 * COUNT} values", options=declared)
    clipping = Options(order=order, value_range=ValueRange.SIGNED, clip=True)
    result = imported(eval_set, tmp_path / "o.npy", "generic", TASK, tmp_path / "b", clipping)
    (step,) = steps(result)
    assert step["clipped_values"] == 3 * COUNT
    assert (pixels(result.folder / f"{eval_set.items[0].id}.png")[0, 0] == 255).all()


def test_what_are_no_numbers_is_named_by_row(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    values = (stack() / 255).astype(np.float32)
    values[1, 3, 3, 0], values[4, 0, 0, 2] = np.nan, np.inf
    np.save(tmp_path / "o.npy", values)
    error = refused(eval_set, tmp_path / "o.npy", "2 of 5", options=Options(order=order, value_range=ValueRange.UNIT))
    assert [problem.where for problem in error.problems] == ["row 1", "row 4"]


@pytest.mark.parametrize(
    ("array", "options", "says"),
    [
        (np.zeros((5, 32, 32, 3), np.uint16), {}, "uint16"),
        (np.zeros((5, 32, 32, 3), np.int64), {}, "int64"),
        (np.zeros((5, 32, 32, 7), np.uint8), {}, "shape [5, 32, 32, 7]"),
        (np.zeros((5, 3, 32, 32), np.uint8), {"axes": Axes.NHWC}, "looks like NCHW"),
        (np.zeros((5, 3, 32, 3), np.uint8), {}, "which axis is colour"),
        (np.zeros((0, 32, 32, 3), np.uint8), {}, "empty"),
        (np.zeros((5, 32, 32, 3), np.uint8), {"value_range": ValueRange.UNIT}, "uint8, which is 0..255"),
        (np.zeros((5, 32, 31, 3), np.uint8), {}, "expected 32x32"),
        (np.zeros((5, 2, 32, 32, 3), np.uint8), {}, "shape [5, 2, 32, 32, 3]"),
        (np.zeros((5, 32, 32, 3), np.uint8), {"array_key": "x"}, "an array x"),
    ],
)
def test_arrays_that_are_not_images(
    array: np.ndarray, options: dict[str, object], says: str, eval_set: EvalSet, order: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "o.npy", array)
    refused(eval_set, tmp_path / "o.npy", says, options=Options(order=order, **options))  # type: ignore[arg-type]


def test_which_array_of_several(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", first=stack(), second=stack()[::-1])
    refused(eval_set, tmp_path / "o.npz", "first, second", "--array-key", options=Options(order=order))
    result = imported(
        eval_set, tmp_path / "o.npz", "generic", TASK, tmp_path / "p", Options(order=order, array_key="first")
    )
    check(eval_set, result.folder)


def test_ranges_are_recognised_from_their_ends() -> None:
    assert looks_like(-1, 1) is ValueRange.SIGNED
    assert looks_like(0, 1) is ValueRange.UNIT
    assert looks_like(0, 255) is ValueRange.BYTES
    assert looks_like(-0.05, 1.04) is None
    assert looks_like(-4, 4) is None


# Images.


def test_transparent_and_grey_images_are_taken_with_a_warning(eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    first, second = eval_set.items[0], eval_set.items[1]
    rgba = np.concatenate([image(0), np.full((SIZE, SIZE, 1), 255, np.uint8)], axis=2)
    rgba[:4, :, 3], rgba[4:8, :, 3] = 0, 128
    save(plain / f"{first.id}.png", rgba)
    save(plain / f"{second.id}.png", image(1)[..., 0])
    result = imported(eval_set, plain, "generic", TASK, tmp_path / "preds")
    assert {verdict.kind for verdict in result.verdicts} == {"alpha", "grey"}
    flat = pixels(result.folder / f"{first.id}.png")
    assert (flat[:4] == 0).all()
    assert np.abs(flat[4:8] - image(0)[4:8] * (128 / 255)).max() <= 0.51
    assert (flat[8:] == image(0)[8:]).all()
    assert (pixels(result.folder / f"{second.id}.png") == image(1)[..., :1]).all()
    kinds = [step["step"] for step in steps(result)]
    assert kinds == ["flatten_alpha", "replicate_grey"]
    refused(eval_set, plain, "alpha", "grey", "--strict", options=Options(strict=True))


@pytest.mark.parametrize("factor", [2, 3])
def test_other_sizes_are_resized_only_if_said(factor: int, eval_set: EvalSet, tmp_path: Path) -> None:
    for item in eval_set.items:
        save(tmp_path / "o" / f"{item.id}.png", np.kron(image(item.index), np.ones((factor, factor, 1), np.uint8)))
    refused(eval_set, tmp_path / "o", f"expected {SIZE}x{SIZE}, found {factor * SIZE}x{factor * SIZE}")
    result = imported(eval_set, tmp_path / "o", "generic", TASK, tmp_path / "p", Options(resize=Resize.AREA))
    check(eval_set, result.folder)
    (step,) = steps(result)
    assert (step["step"], step["method"], step["from"]) == ("resize", "area", [factor * SIZE, factor * SIZE])


# The folder that is written.


def test_a_folder_that_is_not_empty_is_left_alone(eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "preds").mkdir()
    imported(eval_set, plain, "generic", TASK, tmp_path / "preds")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "preds").rglob("*")}
    with pytest.raises(InputError, match="not empty"):
        imported(eval_set, plain, "generic", TASK, tmp_path / "preds")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "preds").rglob("*")} == before


def test_what_was_declared_is_recorded(eval_set: EvalSet, order: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", (stack() / 255).astype(np.float32))
    options = Options(order=order, value_range=ValueRange.UNIT, name="mine", about={"commit": "abc", "seed": "7"})
    result = imported(eval_set, tmp_path / "o.npy", "generic", TASK, tmp_path / "preds", options)
    described = json.loads((result.folder / "predictions.json").read_text())
    assert described == result.described
    assert described["model"] == {
        "name": "mine",
        "title": "mine",
        "kind": "imported",
        "fingerprint": None,
        "weights_sha256": None,
        "config": {},
    }
    assert (described["seed"], described["status"], described["count"]) == (None, "finished", COUNT)
    assert described["import"]["range"] == "0..1"
    assert described["import"]["axes"] == "NHWC"
    assert len(described["import"]["order_sha256"]) == 64
    assert described["about"] == {"commit": "abc", "seed": "7"}


def test_options_that_do_not_fit_the_task(eval_set: EvalSet, plain: Path) -> None:
    refused(eval_set, plain, "--composite is for tasks with a hole", options=Options(composite=True))
    refused(eval_set, plain, "--luma-paste is for colorization", options=Options(luma_paste=True))
    refused(eval_set, plain, "outputs of LaMa are not for task", name="lama")


def test_a_lossless_picture_is_no_jpeg(eval_set: EvalSet, plain: Path, tmp_path: Path) -> None:
    for item in eval_set.items[:2]:
        (plain / f"{item.id}.png").unlink()
        Image.fromarray(image(item.index)).save(plain / f"{item.id}.jpg", quality=95)
    result = imported(eval_set, plain, "generic", TASK, tmp_path / "preds")
    (verdict,) = result.verdicts
    assert (verdict.kind, verdict.numbers) == ("lossy", {"outputs": 2, "of": COUNT})
