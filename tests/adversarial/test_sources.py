"""Folders, archives, lists and options that a set cannot be made from."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from palette_bench.common.errors import ExitCode
from palette_bench.common.home import HOME_VARIABLE
from tests.adversarial import files
from tests.adversarial.files import Make, tar_bytes, tar_member
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


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _only_text(folder: Path) -> Path:
    return files.folder_of(folder, {"readme.txt": b"no images here"})


def _text_file(path: Path) -> Path:
    path.write_bytes(b"I am a file\n" * 100)
    return path


def _empty_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _loop_above(folder: Path) -> Path:
    files.images(folder, 2)
    (folder / "again").symlink_to(folder)
    return folder


def _loop_of_links(folder: Path) -> Path:
    files.images(folder, 2)
    (folder / "one.png").symlink_to(folder / "two.png")
    (folder / "two.png").symlink_to(folder / "one.png")
    return folder


def _link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _pipe(folder: Path) -> Path:
    files.images(folder, 2)
    os.mkfifo(folder / "pipe.png")
    return folder


def _link_to_pipe(folder: Path) -> Path:
    os.mkfifo(folder.parent / "pipe")
    files.images(folder, 2)
    (folder / "link.png").symlink_to(folder.parent / "pipe")
    return folder


def _bottomless(folder: Path) -> Path:
    folder.mkdir()
    here = os.getcwd()  # noqa: PTH109
    try:
        os.chdir(folder)
        for _ in range(150):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
    finally:
        os.chdir(here)
    return folder


FOLDERS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "missing": (lambda path: path, ("the source does not exist", "found:    nothing")),
    "empty folder": (_empty, ("the source holds no images", "an empty folder")),
    "no images": (_only_text, ("the source holds no images", "1 other files")),
    "a file": (_text_file, ("the source is not a whole tar file",)),
    "an empty file": (_empty_file, ("the source is not a whole tar file",)),
    "a device": (lambda _: Path("/dev/null"), ("the source does not exist", "a special file", "/dev/null")),
    "a loop to a folder above": (_loop_above, ("a symbolic link leads back", "/again")),
    "links to each other": (_loop_of_links, ("a symbolic link leads nowhere", "one.png")),
    "a link to itself": (_link_to_itself, ("the source",)),
    "a pipe": (_pipe, ("neither a file nor a folder", "pipe.png")),
    "a link to a pipe": (_link_to_pipe, ("neither a file nor a folder", "link.png")),
    "folders without end": (_bottomless, ("nested too deeply",)),
    "an impossible name": (lambda path: path / ("n" * 300), ("the source", "n" * 300)),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_source_without_usable_images_is_refused(kind: str, tmp_path: Path, home: Path) -> None:
    make, says = FOLDERS[kind]
    source = make(tmp_path / "source")
    assert_refused(prepare(source), ExitCode.INPUT, *says)
    assert complete_sets(home) == []


NAMES: dict[str, tuple[tuple[bytes, ...], tuple[str, ...]]] = {
    "letter case": ((b"A000.png",), ("duplicate: a000.png: the same id as A000.png",)),
    "two extensions": ((b"a000.jpg",), ("duplicate: a000.png: the same id as a000.jpg",)),
    "letter case and extension": ((b"A000.WEBP",), ("duplicate: a000.png: the same id as A000.WEBP",)),
    "two forms of a Unicode letter": (("\u00e9.png".encode(), "e\u0301.png".encode()), ("duplicate: ", "same id as")),
    "line break": ((b"x\ny.png",), ("unsafe-name: 'x\\ny.png'",)),
    "escape sequence": ((b"x\x1b[31my.png",), ("unsafe-name: 'x\\x1b[31my.png'",)),
    "not UTF-8": ((b"x\xff.png",), ("unsafe-name: 'x\\udcff.png'",)),
    "a character Windows refuses": ((b"x:y.png",), ("unsafe-name: 'x:y.png'",)),
    "a folder called like another image": ((b"x.jpg", b"x.png/y.jpg"), ("x.png",)),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_that_would_collide_or_cannot_be_written_are_refused(kind: str, source: Path, home: Path) -> None:
    names, says = NAMES[kind]
    made = []
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(source), name)))  # noqa: PTH118
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files.png(77))
        made.append(path)
    outcome = assert_refused(prepare(source), ExitCode.INPUT, "the same or an impossible file name", str(source), *says)
    assert "\x1b" not in outcome.err
    assert complete_sets(home) == []
    for path in made:
        path.unlink()
    assert_accepted(prepare(source))


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", files.png())
    return buffer.getvalue()


def _sparse() -> bytes:
    """A sparse member as GNU tar writes one: its stored bytes are not the file's."""
    data = files.png()
    member, _ = tar_member("hole.png", data, type=tarfile.GNUTYPE_SPARSE)
    return tar_bytes(tar_member("a.png", files.png(1)), (member, data))


def _negative_size() -> bytes:
    """A header that says minus 512 bytes, which leads a reader back to where it was."""
    header = bytearray(tar_member("a.png")[0].tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"\0" * 1024


def _damaged_header() -> bytes:
    data = bytearray(files.plain_tar())
    second = data.index(b"val/a1.png")
    data[second + 1] ^= 0xFF
    return bytes(data)


def _cut_between_members() -> bytes:
    data = files.plain_tar()
    return data[: data.index(b"val/a2.png")]


def _cut_in_a_header() -> bytes:
    data = files.plain_tar()
    return data[: data.index(b"val/a2.png") + 100]


LINK, HARD_LINK, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE

TARS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "a way out": (
        lambda: tar_bytes(tar_member("../evil.png", files.png()), tar_member("a/../../b.png", files.png())),
        ("2 members", "unsafe-member: ../evil.png: leads out", "unsafe-member: a/../../b.png"),
    ),
    "an absolute name": (
        lambda: tar_bytes(tar_member("/etc/x.png", files.png())),
        ("unsafe-member: /etc/x.png: leads out of the archive",),
    ),
    "a symbolic link": (
        lambda: tar_bytes(tar_member("a.png", files.png()), tar_member("b.png", type=LINK, linkname="a.png")),
        ("special-member: b.png: is a link or a device",),
    ),
    "a hard link": (
        lambda: tar_bytes(tar_member("a.png", files.png()), tar_member("b.png", type=HARD_LINK, linkname="a.png")),
        ("special-member: b.png",),
    ),
    "a device": (lambda: tar_bytes(tar_member("null.png", type=DEVICE)), ("special-member: null.png",)),
    "a sparse file": (_sparse, ("special-member: hole.png",)),
    "a member twice": (
        lambda: tar_bytes(tar_member("a.png", files.png(0)), tar_member("./a.png", files.png(1))),
        ("duplicate-member: ./a.png: is in the archive twice",),
    ),
    "an escape sequence": (
        lambda: tar_bytes(tar_member("../\x1b[31mred.png", files.png())),
        ("unsafe-member: ../\\x1b[31mred.png",),
    ),
    "cut in a member": (lambda: files.plain_tar()[:4000], ("the source is not a whole tar file",)),
    "cut in a header": (_cut_in_a_header, ("the source is not a whole tar file",)),
    "cut between members": (_cut_between_members, ("the source is not a whole tar file",)),
    "a damaged header": (_damaged_header, ("the source is not a whole tar file",)),
    "a negative size": (_negative_size, ("the source is not a whole tar file",)),
    "gzip": (lambda: gzip.compress(files.plain_tar()), ("a compressed archive", "gzip")),
    "bzip2": (lambda: bz2.compress(files.plain_tar()), ("a compressed archive", "bzip2")),
    "xz": (lambda: lzma.compress(files.plain_tar()), ("a compressed archive", "xz")),
    "zip": (_zip, ("a compressed archive", "zip")),
    "no member": (tar_bytes, ("the source holds no images", "an empty archive")),
    "only folders": (lambda: tar_bytes(tar_member("val", type=tarfile.DIRTYPE)), ("the source holds no images",)),
    "a bad image": (
        lambda: tar_bytes(tar_member("a.png", files.png()), tar_member("b.png", b"no")),
        ("bad-image: b.png: not an image",),
    ),
}


@pytest.mark.parametrize("kind", TARS)
def test_an_archive_that_is_not_what_it_should_be_is_refused(kind: str, tmp_path: Path, home: Path) -> None:
    make, says = TARS[kind]
    archive = tmp_path / "val.tar"
    archive.write_bytes(make())
    assert_refused(prepare(archive), ExitCode.INPUT, str(archive), *says)
    assert complete_sets(home) == []
    assert not list(tmp_path.rglob("evil.png"))
    archive.write_bytes(files.plain_tar())
    assert_accepted(prepare(archive))


def test_an_archive_and_its_folder_make_the_same_set(tmp_path: Path, home: Path) -> None:
    archive = tmp_path / "val.tar"
    archive.write_bytes(files.plain_tar(3))
    folder = files.folder_of(tmp_path / "folder", {f"val/a{k}.png": files.png(k) for k in range(3)})
    assert data_digest(archive, name="archive") == data_digest(folder, name="folder-of-it")


LISTS: dict[str, tuple[bytes | None, tuple[str, ...]]] = {
    "missing": (None, ("a list file cannot be read", "list.txt", "No such file")),
    "empty": (b"", ("a list is empty", "list.txt")),
    "blank lines": (b"\n \n\r\n", ("a list is empty",)),
    "unknown name": (b"a000.png\nb000.png\n", ("1 of 2 images are not in the source", "missing: b000.png")),
    "name without extension": (b"a000\n", ("missing: a000",)),
    "name twice": (b"a000.png\na001.png\na000.png\n", ("a list names images twice", "list.txt", "duplicate: a000.png")),
    "binary": (b"\xff\xfe\x00a", ("a list file is not text", "list.txt")),
    "a way out": (b"../source/a000.png\n", ("missing: ../source/a000.png",)),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_names_no_images_is_refused(kind: str, source: Path, tmp_path: Path, home: Path) -> None:
    content, says = LISTS[kind]
    chosen = tmp_path / "list.txt"
    if content is not None:
        chosen.write_bytes(content)
    assert_refused(prepare(source, "--list", chosen), ExitCode.INPUT, *says)
    assert complete_sets(home) == []
    chosen.write_bytes(b"\xef\xbb\xbfa003.png\r\na001.png\r\n")
    assert assert_accepted(prepare(source, "--list", chosen, "--json")).json()["count"] == 2


def test_a_list_that_is_a_folder_is_refused(source: Path, home: Path) -> None:
    assert_refused(prepare(source, "--list", source), ExitCode.INPUT, "a list file cannot be read", str(source))


OPTIONS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "an unknown protocol": (("imagenet",), ("no such protocol", "scenes32", "imagenet")),
    "no source": (("folder",), ("--source DIR", "no --source")),
    "no source of a dataset": (("places10k",), ("--source with the folder or .tar", "no --source")),
    "a source of the embedded set": (("scenes32", "--source", "."), ("drawn by the program", "--source")),
    "a name of a dataset": (("places10k", "--source", ".", "--name", "x"), ("--name and --size are for folder sets",)),
    "a path as a name": (("folder", "--source", ".", "--name", "../x"), ("a folder set needs a name", "../x")),
    "a protocol's name": (("folder", "--source", ".", "--name", "scenes32"), ("scenes32", "--name")),
    "an odd size": (("folder", "--source", ".", "--size", "36"), ("--size must be a multiple of 8", "36")),
    "a size of zero": (("folder", "--source", ".", "--size", "0"), ("--size",)),
    "a size in words": (("folder", "--source", ".", "--size", "big"), ("--size", "big")),
    "no processes": (("folder", "--source", ".", "--jobs", "0"), ("--jobs",)),
    "an unknown geometry": (("folder", "--source", ".", "--geometry", "stretch"), ("stretch", "square-area")),
    "an unknown option": (("folder", "--from", "."), ("--from",)),
    "masks for a folder": (("folder", "--source", ".", "--released-masks", "."), ("no mask file was released",)),
    "no protocol": ((), ("PROTOCOL",)),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_that_cannot_work_are_refused_as_usage(kind: str, source: Path, home: Path) -> None:
    arguments, says = OPTIONS[kind]
    at = [str(source) if value == "." else value for value in arguments]
    assert_refused(run("prepare", *at), ExitCode.USAGE, *says, next_step=False)
    assert complete_sets(home) == []


def test_an_unknown_command_is_refused_as_usage() -> None:
    assert_refused(run("prepair"), ExitCode.USAGE, "prepair", next_step=False)


def test_a_set_of_other_images_under_the_same_name_is_not_taken_for_it(tiny: Path, tmp_path: Path) -> None:
    more = files.images(tmp_path / "more", COUNT + 1)
    assert_refused(prepare(more), ExitCode.VERIFICATION, "of other images", str(tiny), "--replace")
    changed = files.images(tmp_path / "changed", COUNT)
    (changed / "a003.png").write_bytes(files.png(50))
    assert_refused(prepare(changed), ExitCode.VERIFICATION, "of other images", "a003", "--replace")
    assert_accepted(run("verify", TINY))
    assert assert_accepted(prepare(changed, "--replace", "--json")).json()["fresh"] is True
    assert_accepted(run("verify", TINY))


def test_a_home_that_is_a_file_is_refused(
    source: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file", encoding="utf-8")
    monkeypatch.setenv(HOME_VARIABLE, str(blocked))
    assert_refused(prepare(source), ExitCode.INPUT, str(blocked))
    assert blocked.read_text(encoding="utf-8") == "a file"


def test_a_home_of_an_unknown_user_is_refused(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, "~no-such-user-here/bench")
    assert_refused(prepare(source), ExitCode.USAGE, "~no-such-user-here", HOME_VARIABLE)


def test_a_home_without_permission_is_refused(
    source: Path, home: Path, unwritable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(unwritable / "bench"))
    assert_refused(prepare(source), ExitCode.INPUT, "no permission", str(unwritable), "PALETTE_BENCH_HOME")
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    assert_accepted(prepare(source))


def test_a_folder_that_cannot_be_made_is_refused(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, "/proc/bench")
    assert_refused(prepare(source), ExitCode.INPUT, "/proc/bench")
