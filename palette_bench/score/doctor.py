"""Whether scoring would work on this machine: what is there, what is wrong, how long 10,000 images would take."""

import importlib.util
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata

import numpy as np

from palette_bench.artifacts.evalset import EvalSet, prepared_sets
from palette_bench.common import home
from palette_bench.common.errors import PaletteBenchError
from palette_bench.common.files import write_bytes
from palette_bench.common.version import __version__
from palette_bench.common.workers import default_jobs
from palette_bench.images import canary
from palette_bench.protocol.definition import Family, GeometryName
from palette_bench.score.backbones import weights
from palette_bench.score.backbones.loading import CPU
from palette_bench.score.backbones.weights import WeightsState
from palette_bench.score.engine import Compute, load_backbone
from palette_bench.score.features import BATCH_IMAGES

PACKAGES = ("torch", "torchvision", "torch-fidelity", "timm", "numpy", "scipy", "pillow")
EXTRAS = ("onnxruntime", "lpips")
IMAGES = 10_000
SIDE = 256
BYTES_AN_IMAGE = 4 * (2048 + 1008 + 1008 + 1000 + 1024)
"""Features of one image; predictions and references are kept."""

TRIAL_BATCHES = 2


class State(StrEnum):
    """How a check came out. Only ``WRONG`` keeps scoring from working."""

    GOOD = "ok"
    REMARK = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: what was looked at, how it is, and what to do about it."""

    subject: str
    state: State
    text: str
    next_step: str = ""


def examine(compute: Compute) -> Iterator[Finding]:
    """Findings, one after another; the trial of the networks comes last and takes seconds."""
    yield Finding("palette-bench", State.GOOD, f"{__version__}, Python {platform.python_version()}")
    yield from _packages()
    yield from _guarded("decoder", _decoder)
    yield from _guarded("device", lambda: _device(compute))
    yield from _guarded("home", _home)
    yield from _guarded("sets", _sets)
    networks, found = _weights()
    yield from found
    if networks:
        yield from _guarded("speed", lambda: _speed(networks, compute))


def _guarded(subject: str, check: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """A check's findings; what it raises is one."""
    try:
        return check()
    except PaletteBenchError as error:
        return [Finding(subject, State.WRONG, str(error.what), error.next_step or "")]
    except OSError as error:
        return [Finding(subject, State.WRONG, f"{error.filename or ''}: {error.strerror or error}")]


def _packages() -> Iterator[Finding]:
    missing = [name for name in PACKAGES if _version(name) is None]
    text = ", ".join(f"{name} {_version(name) or 'missing'}" for name in PACKAGES)
    yield Finding(
        "packages",
        State.WRONG if missing else State.GOOD,
        text,
        f"pip install {' '.join(missing)}" if missing else "",
    )
    for name in EXTRAS:
        if importlib.util.find_spec(name) is None:
            extra = "onnx" if name == "onnxruntime" else name
            why = "scoring would be faster on a processor" if extra == "onnx" else "only LPIPS needs it"
            yield Finding(
                f"extra {extra}", State.REMARK, f"not installed: {why}", f"pip install 'palette-bench[{extra}]'"
            )
        else:
            yield Finding(f"extra {name}", State.GOOD, _version(name) or "")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _decoder() -> list[Finding]:
    for geometry in GeometryName:
        canary.check(geometry)
    return [Finding("decoder", State.GOOD, "decodes and resizes the canary images as every other machine")]


def _device(compute: Compute) -> list[Finding]:
    from palette_bench.score.backbones.torch_common import torch_device

    found = torch_device(compute.device)
    text = f"{found}, {compute.jobs} of {default_jobs()} processors"
    if found.type == "cuda":
        import torch

        text = f"{torch.cuda.get_device_name(found)}, TF32 is switched off for scoring"
    return [Finding("device", State.GOOD, text)]


def _home() -> list[Finding]:
    folder = home.home()
    probe = folder / ".doctor"
    write_bytes(probe, b"palette-bench")
    probe.unlink()
    free = shutil.disk_usage(folder).free
    needed = 2 * IMAGES * BYTES_AN_IMAGE
    text = (
        f"{folder}, {free / 1e9:.1f} GB free; features of {IMAGES} predictions and references take {needed / 1e9:.1f}"
    )
    if free < needed:
        return [Finding("disk", State.WRONG, text, f"free space, or set {home.HOME_VARIABLE} to another disk")]
    return [Finding("disk", State.GOOD, text)]


def _sets() -> list[Finding]:
    names = prepared_sets()
    if not names:
        return [
            Finding(
                "sets",
                State.WRONG,
                "no set is prepared",
                "palette-bench prepare scenes32, or prepare PROTOCOL --source DIR",
            )
        ]
    findings: list[Finding] = []
    for name in names:
        eval_set = EvalSet(home.sets_folder() / name)
        for task in eval_set.task_names:
            eval_set.task_fingerprint(eval_set.task(task))
        findings.append(Finding(f"set {name}", State.GOOD, f"version {eval_set.version}, {len(eval_set.items)} items"))
    return findings


def _weights() -> tuple[list[str], list[Finding]]:
    """Networks that could be tried, and what is known of each weights file."""
    try:
        photographs = any(EvalSet(home.sets_folder() / name).family is not Family.SCENES32 for name in prepared_sets())
    except PaletteBenchError:
        photographs = True
    findings: list[Finding] = []
    usable: list[str] = []
    for row in weights.status():
        subject = f"weights {row.file.name}"
        if row.state is WeightsState.PRESENT:
            findings.append(Finding(subject, State.GOOD, "the published file, sha256 verified"))
            if not row.file.optional:
                usable.append(row.file.name)
        elif row.file.optional or not photographs:
            findings.append(
                Finding(
                    subject,
                    State.REMARK,
                    f"{row.state.value}; {row.file.used_for}",
                    f"palette-bench weights fetch {row.file.name}",
                )
            )
        else:
            findings.append(
                Finding(
                    subject,
                    State.WRONG,
                    f"{row.state.value} at {row.path}: {row.file.used_for}",
                    f"palette-bench weights fetch {row.file.name}",
                )
            )
    needed = [file.name for file in weights.default_files()]
    return (needed if usable == needed else ["scenes32"]), findings


def _speed(networks: Sequence[str], compute: Compute) -> list[Finding]:
    """A trial of the networks on noise: how long `IMAGES` of `SIDE` pixels would take."""
    loaded = [load_backbone(name, compute) for name in networks]
    side = 32 if networks == ["scenes32"] else SIDE
    workers = compute.jobs if compute.device == CPU else 1
    images = np.random.default_rng(0).integers(0, 256, (BATCH_IMAGES, side, side, 3), np.uint8)

    def once(_: int) -> None:
        for network in loaded:
            network.extract(images)

    def one_core() -> None:
        import torch

        torch.set_num_threads(1)

    with ThreadPoolExecutor(workers, initializer=one_core if compute.device == CPU else lambda: None) as pool:
        list(pool.map(once, range(workers)))
        start = time.monotonic()
        list(pool.map(once, range(workers * TRIAL_BATCHES)))
        rate = workers * TRIAL_BATCHES * BATCH_IMAGES / (time.monotonic() - start)
    seconds = IMAGES / rate
    duration = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
    how = ", ".join(f"{network.name} with {network.backend.value}" for network in loaded)
    text = f"{rate:.1f} images/s: about {duration} for {IMAGES} images of {side} pixels ({how})"
    return [Finding("speed", State.GOOD, text)]
