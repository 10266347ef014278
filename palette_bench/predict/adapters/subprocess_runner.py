"""A model in an environment and language of its own: files for images, one line of JSON each way for a batch.

To the program's stdin goes ``{"batch": n, "task": ..., "size": ..., "device": ..., "config": {...}, "weights": path or
null, "items": [{"id", "sample", "seed", "image", "mask", "jpeg", "output"}]}``, where the last four are paths: a PNG
with the condition, a PNG with 255 in the hole (or null), the frozen JPEG file (or null), and where its PNG is expected.
Back on stdout comes ``{"done": n}`` or ``{"error": "..."}``. Other lines are taken for chatter. When stdin ends, so
should the program.
"""

import contextlib
import ctypes
import json
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from palette_bench.common.errors import InputError, Problem
from palette_bench.images.decode import BadImageError, encode_png
from palette_bench.images.types import ImageU8
from palette_bench.predict.adapters.base import Place, Wanted, read_image
from palette_bench.predict.adapters.checks import checked_outputs, items_of
from palette_bench.predict.adapters.hosting import how_it_ended
from palette_bench.predict.card import Card

TAIL_LINES = 12
TAIL_BYTES = 4096
LONGEST_LINE = 1 << 20
PATIENCE_SECONDS = 5.0
"""How long a program may take to end after its stdin did."""
_PR_SET_PDEATHSIG = 1


class SubprocessRunner:
    """One long-lived process, started with the first batch, in a process group of its own."""

    def __init__(self, card: Card, place: Place) -> None:
        self._card = card
        self._place = place
        self._seconds = place.seconds or card.adapter.timeout_seconds
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._scratch = Path(tempfile.mkdtemp(prefix="palette-bench-"))
        place.log.parent.mkdir(parents=True, exist_ok=True)
        place.log.write_bytes(b"")

    def run(self, batch: Sequence[Wanted]) -> list[ImageU8]:
        """Hand a batch over as files, wait for the answer, read and check the files that came back."""
        self._number += 1
        folder = self._scratch / str(self._number)
        folder.mkdir()
        inputs = [wanted.given for wanted in batch]
        items = [_write(folder, place, wanted) for place, wanted in enumerate(batch)]
        request = {
            "batch": self._number,
            "task": self._place.task.name,
            "size": self._place.size,
            "device": self._place.device,
            "config": dict(self._card.config),
            "weights": None if self._place.weights is None else str(self._place.weights.resolve()),
            "items": items,
        }
        where = items_of(inputs)
        self._exchange(json.dumps(request).encode() + b"\n", where)
        images: list[ImageU8] = []
        problems: list[Problem] = []
        for item in items:
            name = f"{item['id']}, sample {item['sample']}"
            try:
                images.append(read_image(Path(str(item["output"]))))
            except FileNotFoundError:
                problems.append(Problem("missing", name, "the program wrote no file"))
            except (OSError, BadImageError) as error:
                problems.append(Problem("undecodable", name, str(error)))
        if problems:
            raise InputError(
                f"model {self._card.name} gives no images",
                where=where,
                expected="an 8-bit RGB PNG at the `output` of every item",
                problems=problems,
                next_step=self._log_hint(),
            )
        checked = checked_outputs(self._card.name, inputs, images)
        shutil.rmtree(folder)
        return checked

    def _exchange(self, request: bytes, where: str) -> None:
        """Send a line and wait for its answer."""
        deadline = time.monotonic() + self._seconds
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program was started without pipes")
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stdin, selectors.EVENT_WRITE)
            while True:
                ready = selector.select(max(deadline - time.monotonic(), 0.0))
                if not ready and time.monotonic() >= deadline:
                    raise self._failed("hangs: it was stopped", where, f"no answer in {self._seconds:g} s")
                for key, _ in ready:
                    if key.fileobj is process.stdin:
                        try:
                            request = request[os.write(process.stdin.fileno(), request[:4096]) :]
                        except BrokenPipeError:
                            # It is ending; what it says on stdout, or its exit code, tells why.
                            request = b""
                        if not request:
                            selector.unregister(process.stdin)
                        continue
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    if not data:
                        raise self._failed("died", where, None)
                    self._pending += data
                    if self._answered(where):
                        return

    def _answered(self, where: str) -> bool:
        """Whether the lines that have come hold the answer to this batch. Raises InputError for another answer."""
        while b"\n" in self._pending:
            line, _, self._pending = self._pending.partition(b"\n")
            try:
                answer = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(answer, dict) or not {"done", "error"} & answer.keys():
                continue
            if "error" in answer:
                raise self._failed("failed", where, str(answer["error"]))
            if answer["done"] != self._number:
                raise self._failed(
                    "answers something else", where, f'{{"done": {answer["done"]!r}}} to batch {self._number}'
                )
            return True
        if len(self._pending) > LONGEST_LINE:
            raise self._failed("answers something else", where, "a line without end")
        return False

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None:
            return self._process
        command = list(self._card.adapter.command)
        # "python" is the one that runs us only if there is no other.
        if command[0] == "python" and shutil.which("python") is None:
            command[0] = sys.executable
        try:
            with self._place.log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    cwd=self._card.folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    bufsize=0,
                    start_new_session=True,
                    preexec_fn=_follower(),
                )
        except OSError as error:
            raise InputError(
                f"the program of model {self._card.name} cannot be started",
                where=self._card.folder,
                expected=f"the command {shlex.join(command)}",
                found=error.strerror or error,
                next_step="install it, or correct `command` in the card",
            ) from error
        return self._process

    def _failed(self, what: str, where: str, found: str | None) -> InputError:
        """Stop the program and say what it did, with the end of what it wrote to stderr."""
        process, self._process = self._process, None
        if process is not None and found is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                # It closed its stdout, and may be about to end.
                process.wait(PATIENCE_SECONDS)
            found = how_it_ended(process.returncode) if process.returncode is not None else "it closed its stdout"
        if process is not None:
            _end(process)
        tail = self._tail()
        return InputError(
            f"model {self._card.name} {what}",
            where=where,
            expected=f'{{"done": {self._number}}} on stdout',
            found="\n            ".join([found or "nothing", *(["its last words:"] if tail else []), *tail]),
            next_step=self._log_hint(),
        )

    def _tail(self) -> list[str]:
        with contextlib.suppress(OSError):
            text = self._place.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")
            return [f"    {line}" for line in text.splitlines()[-TAIL_LINES:]]
        return []

    def _log_hint(self) -> str:
        return f"finished work is kept; its stderr is in {self._place.log}"

    def close(self) -> None:
        """End stdin, give the program time to end by itself, end its group, remove the scratch files."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
            _end(process)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _write(folder: Path, place: int, wanted: Wanted) -> dict[str, object]:
    """Write what is given of one output, named by its place in the batch, and describe it."""
    given = wanted.given
    paths: dict[str, str | None] = {"mask": None, "jpeg": None}
    files = {"image": (".png", encode_png(given.image))}
    if given.hole is not None:
        files["mask"] = ("-mask.png", encode_png(given.hole.astype(np.uint8) * 255))
    if given.jpeg is not None:
        files["jpeg"] = (".jpg", given.jpeg)
    for name, (ending, data) in files.items():
        path = folder / f"{place}{ending}"
        path.write_bytes(data)
        paths[name] = str(path)
    output = str(folder / f"{place}-output.png")
    return {"id": given.id, "sample": wanted.sample, "seed": given.seed, **paths, "output": output}


def _follower() -> Callable[[], object] | None:
    """What a program does first: have Linux kill it when the process that started it is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a program and its group."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
