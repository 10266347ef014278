"""Which weights files there are, where they belong, and how one gets there.

A file counts only if its sha256 is the registered one: the digest is computed every time a file is located, because a
file that was good yesterday says nothing about today. Only `fetch` touches a network. Other weights than the
registered ones can be used if the caller says so; what is computed with them is comparable with nothing, and
`LocatedWeights.canonical` carries that on.
"""

import contextlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from palette_bench.common import home
from palette_bench.common.canonical import file_digest
from palette_bench.common.errors import InputError, Problem, UsageError
from palette_bench.common.files import atomic_writer

if TYPE_CHECKING:
    from palette_bench.common.progress import Progress, Task

OFFLINE_VARIABLE = "PALETTE_BENCH_OFFLINE"
"""The environment variable that forbids `fetch` the network; read by the command."""

TIMEOUT_SECONDS = 30
DOWNLOAD_CHUNK_BYTES = 1 << 18
BYTES_A_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """One published weights file.

    ``file_name`` is its name in the weights folder, ``url`` its address, ``sha256`` the digest of its bytes;
    ``size_bytes`` is None where it is not known and is only used to show progress. ``source`` says who made it and
    under which licence, ``used_for`` what needs it.
    """

    name: str
    file_name: str
    url: str
    sha256: str
    size_bytes: int | None
    source: str
    used_for: str
    optional: bool = False

    @property
    def path(self) -> Path:
        """Where the file belongs on this machine."""
        return home.weights_folder() / self.file_name


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A weights file that is there. ``canonical`` is False if ``sha256`` is not the registered digest."""

    path: Path
    sha256: str
    canonical: bool


class WeightsState(StrEnum):
    """What is found where a weights file belongs."""

    PRESENT = "present"
    MISSING = "missing"
    OTHER = "other weights"


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """One row of `weights list`; ``found_sha256`` is None if nothing is there."""

    file: WeightsFile
    path: Path
    state: WeightsState
    found_sha256: str | None


# SCORE: the digests decide which networks the published numbers are computed with.
INCEPTION_2015 = WeightsFile(
    name="inception2015",
    file_name="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size_bytes=95_628_359,
    source="Google's inception-2015-12-05 graph, converted for PyTorch by pytorch-fid and torch-fidelity; Apache-2.0",
    used_for="FID, Inception Score, PD (pool_3)",
)
RESNET50_V1 = WeightsFile(
    name="resnet50-v1",
    file_name="resnet50-0676ba61.pth",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    size_bytes=102_530_333,
    source="torchvision ResNet50_Weights.IMAGENET1K_V1; BSD-3-Clause",
    used_for="classification accuracy (CA)",
)
GOOGLENET = WeightsFile(
    name="googlenet",
    file_name="googlenet-1378be20.pth",
    url="https://download.pytorch.org/models/googlenet-1378be20.pth",
    sha256="1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
    size_bytes=None,
    source="torchvision GoogLeNet_Weights.IMAGENET1K_V1; BSD-3-Clause",
    used_for="PD (GoogLeNet pool)",
)
EFFICIENTNET_B0 = WeightsFile(
    name="efficientnet-b0",
    file_name="efficientnet_b0_rwightman-7f5810bc.pth",
    url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
    sha256="7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
    size_bytes=21_444_401,
    source="torchvision EfficientNet_B0_Weights.IMAGENET1K_V1; BSD-3-Clause",
    used_for="classification accuracy with EfficientNet-B0",
    optional=True,
)
ALEXNET = WeightsFile(
    name="alexnet",
    file_name="alexnet-owt-7be5be79.pth",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    size_bytes=244_408_911,
    source="torchvision AlexNet_Weights.IMAGENET1K_V1; BSD-3-Clause",
    used_for="LPIPS of several samples (diversity)",
    optional=True,
)

FILES: Mapping[str, WeightsFile] = MappingProxyType(
    {f.name: f for f in (INCEPTION_2015, RESNET50_V1, GOOGLENET, EFFICIENTNET_B0, ALEXNET)}
)
"""The registered files by name."""


def default_files() -> list[WeightsFile]:
    """The registered files that the recipes computed without being asked for need."""
    return [file for file in FILES.values() if not file.optional]


def named(name: str) -> WeightsFile:
    """The registered file called ``name``; UsageError with all names otherwise."""
    try:
        return FILES[name]
    except KeyError as error:
        raise UsageError("there are no weights of this name", expected=", ".join(FILES), found=name) from error


def locate(file: WeightsFile, *, allow_other: bool = False) -> LocatedWeights:
    """The file in the weights folder, its digest just computed.

    InputError if it is missing, and, unless ``allow_other``, if its digest is not the registered one.
    """
    if not file.path.is_file():
        raise _missing(file)
    digest = file_digest(file.path)
    canonical = digest == file.sha256
    if not canonical and not allow_other:
        raise InputError(
            f"the weights file of {file.name} is not the published one",
            where=file.path,
            expected=f"sha256 {file.sha256}",
            found=f"sha256 {digest}",
            next_step=f"get the published file with `palette-bench weights fetch {file.name}`, or from {file.url}; "
            "or pass --allow-other-weights: the record will say that it is comparable with nothing",
        )
    return LocatedWeights(path=file.path, sha256=digest, canonical=canonical)


def require(files: list[WeightsFile], *, allow_other: bool = False) -> dict[str, LocatedWeights]:
    """`locate` for several files by name, with all that is wrong in one InputError."""
    located: dict[str, LocatedWeights] = {}
    failures: list[InputError] = []
    for file in files:
        try:
            located[file.name] = locate(file, allow_other=allow_other)
        except InputError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise InputError(
            "weights files are missing or not the published ones",
            where=home.weights_folder(),
            problems=[Problem(kind="weights", where=str(e.where), detail=f"{e.what}; {e.next_step}") for e in failures],
            next_step="palette-bench weights fetch, or weights import FILE for each",
        )
    return located


def import_file(
    path: Path, *, name: str | None = None, allow_other: bool = False
) -> tuple[WeightsFile, LocatedWeights]:
    """Copy a weights file that is already on this machine to where it belongs.

    It is recognised by its digest; ``name`` states what it must be, and with ``allow_other`` what other weights are
    to be used as. The copy takes its place atomically after its digest was read back. A published file in place is
    never replaced by other weights.
    """
    if not path.is_file():
        raise InputError("there is no such file", where=path, expected="a weights file", found="nothing")
    digest = file_digest(path)
    recognised = next((f for f in FILES.values() if f.sha256 == digest), None)
    stated = None if name is None else named(name)
    if recognised is not None and stated is not None and stated != recognised:
        raise InputError(
            "the file is not what it was said to be", where=path, expected=stated.name, found=recognised.name
        )
    if recognised is None and not allow_other:
        raise InputError(
            "the file is none of the published weights",
            where=path,
            expected=f"sha256 {stated.sha256}"
            if stated
            else "the sha256 of one of: " + ", ".join(f"{f.name} {f.sha256}" for f in FILES.values()),
            found=f"sha256 {digest}",
            next_step="download it again; or import it with --as NAME --allow-other-weights: "
            "records made with it will say that they are comparable with nothing",
        )
    file = recognised or stated
    if file is None:
        raise UsageError(
            "other weights need a name",
            where=path,
            expected=", ".join(FILES),
            next_step="add --as NAME to say what they are",
        )
    if recognised is None and file.path.is_file() and file_digest(file.path) == file.sha256:
        raise InputError(
            f"the published weights of {file.name} are in place and are not replaced by others",
            where=file.path,
            next_step=f"remove that file first, or keep other weights in another folder with {home.HOME_VARIABLE}",
        )
    _copy_verified(path, file.path, digest)
    return file, LocatedWeights(path=file.path, sha256=digest, canonical=recognised is not None)


def fetch(file: WeightsFile, *, offline: bool, progress: "Progress") -> LocatedWeights:
    """The file, downloaded unless it is in place already.

    The download is checked before it takes its place; one of another digest or length is thrown away and is an
    InputError, as is a missing network. ``offline`` forbids the network. A file of another digest in place is
    replaced.
    """
    if file.path.is_file() and file_digest(file.path) == file.sha256:
        return LocatedWeights(path=file.path, sha256=file.sha256, canonical=True)
    if offline:
        raise _missing(file, why="the network is switched off (--offline or " + OFFLINE_VARIABLE + ")")
    if file.path.is_file():
        progress.note(f"{file.path} is not the published file and will be replaced")

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    bar = _DownloadBar(f"fetch {file.name}", progress)
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=DOWNLOAD_CHUNK_BYTES, timeout=TIMEOUT_SECONDS)
    try:
        with contextlib.closing(bar):
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{file.sha256}",
                fname=file.file_name,
                path=file.path.parent,
                downloader=downloader,
            )
    except ValueError as error:
        # pooch: the digest of what arrived is another; the temporary file is gone.
        raise InputError(
            f"what was downloaded is not the published weights of {file.name}, and was thrown away",
            where=file.url,
            expected=f"sha256 {file.sha256}",
            found=error,
            next_step=f"try again later, or {_by_hand(file)}",
        ) from error
    except OSError as error:
        raise InputError(
            f"the weights of {file.name} could not be downloaded",
            where=file.url,
            found=error,
            next_step=f"try again, or {_by_hand(file)}",
        ) from error
    return locate(file)


def status() -> list[WeightsStatus]:
    """What is there of each registered file, in the registry's order; the digests of files in place are computed."""
    rows: list[WeightsStatus] = []
    for file in FILES.values():
        digest = file_digest(file.path) if file.path.is_file() else None
        if digest is None:
            state = WeightsState.MISSING
        else:
            state = WeightsState.PRESENT if digest == file.sha256 else WeightsState.OTHER
        rows.append(WeightsStatus(file=file, path=file.path, state=state, found_sha256=digest))
    return rows


def _by_hand(file: WeightsFile) -> str:
    return (
        f"download {file.url} elsewhere and run `palette-bench weights import {file.file_name}`, "
        f"or put the file at {file.path}"
    )


def _missing(file: WeightsFile, *, why: str | None = None) -> InputError:
    return InputError(
        f"the published weights of {file.name} are missing ({file.used_for})" + (f", and {why}" if why else ""),
        where=file.path,
        expected=f"{file.file_name}, sha256 {file.sha256}, from {file.url}",
        found="another file" if file.path.exists() else "nothing",
        next_step=("" if why else f"run `palette-bench weights fetch {file.name}`, or ") + _by_hand(file),
    )


def _copy_verified(source: Path, target: Path, digest: str) -> None:
    """Copy atomically; the copy is read back and its digest compared before the caller may rely on it."""
    if target.exists() and source.samefile(target):
        return
    try:
        with source.open("rb") as reader, atomic_writer(target) as writer:
            shutil.copyfileobj(reader, writer, DOWNLOAD_CHUNK_BYTES)
            writer.flush()
            found = file_digest(Path(writer.name))
            if found != digest:
                raise InputError(
                    "the file changed while it was copied",
                    where=source,
                    expected=f"sha256 {digest}",
                    found=f"sha256 {found}",
                    next_step="import it again",
                )
    except OSError as error:
        raise InputError("a weights file could not be copied", where=target, found=error) from error


class _DownloadBar:
    """What pooch's downloader expects of a progress bar, on top of `Progress`.

    pooch sets ``total`` after the response's header, counts every chunk as full, and at the end resets and adds the
    total again.
    """

    def __init__(self, label: str, progress: "Progress") -> None:
        self.total = 0
        self._label = label
        self._progress = progress
        self._done = 0
        self._task: Task | None = None
        self._open = contextlib.ExitStack()

    def update(self, count: int) -> None:
        """``count`` more bytes have arrived, or fewer at the end of the file."""
        if self._task is None:
            megabytes = -(-self.total // BYTES_A_MEGABYTE)
            self._task = self._open.enter_context(self._progress.task(self._label, megabytes, "MB"))
        before = -(-self._done // BYTES_A_MEGABYTE)
        self._done = min(self._done + count, self.total)
        self._task.advance(-(-self._done // BYTES_A_MEGABYTE) - before)

    def reset(self) -> None:
        """Nothing: bytes counted stay counted."""

    def close(self) -> None:
        """The download has ended, well or not."""
        self._open.close()
