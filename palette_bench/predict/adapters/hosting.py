"""Models run in processes of their own, so that one that hangs, dies or prints cannot take the program with it.

A host is a child process that builds a service once and then answers requests one by one. Several hosts share a list
of requests; the answers come back as they are ready.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, TypeVar

from palette_bench.common import workers
from palette_bench.common.errors import InputError, PaletteBenchError

_Ask = TypeVar("_Ask")
_Answer = TypeVar("_Answer")

READY = "ready"
_GONE = object()
LEAST_SECONDS_TO_BUILD = 120.0
"""Weights are read and libraries imported before the first batch, whatever the time limit of a batch is."""
ONE_THREAD: Mapping[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""One process a processor is the division of labour; the number of threads can also move the last digits."""


_forked = False
"""Whether this process has called `fork_hosts`."""


def fork_hosts(modules: Sequence[str]) -> None:
    """From now on, fork this process's hosts of `ONE_THREAD` from a server that has imported ``modules``.

    Each is still a fresh process with one model in it; only the imports, seconds for torch, are done once. For a
    process that runs one model after the other. Without effect where processes cannot be forked.
    """
    global _forked
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    # Libraries read these when they are imported.
    os.environ.update(ONE_THREAD)
    try:
        with workers.deaf_to_interrupts():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    _forked = True


class Host(Generic[_Ask, _Answer]):
    """One child process. ``name`` is what errors call the model; ``build`` and the requests must be picklable."""

    def __init__(
        self,
        build: Callable[[], Callable[[_Ask], _Answer]],
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        seconds: float | None = None,
    ) -> None:
        self._name = name
        patience = None if seconds is None else max(seconds, LEAST_SECONDS_TO_BUILD)
        self._deadline = None if patience is None else time.monotonic() + patience
        self._waiting_for = "while it was built"
        forked = _forked and environment == ONE_THREAD
        environment = {**os.environ, **(environment or {})}
        context = multiprocessing.get_context("forkserver") if forked else multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self.connection: Connection[_Ask | None, object] = here
        self.process: BaseProcess = context.Process(
            target=_serve, args=(there, build, environment, folder), daemon=False
        )
        with workers.deaf_to_interrupts():
            self.process.start()
        there.close()

    def ask(self, request: _Ask, *, about: str, seconds: float | None) -> None:
        """Send a request; ``about`` says in errors what it was, ``seconds`` how long the answer may take."""
        self._waiting_for = about
        self._deadline = None if seconds is None else time.monotonic() + seconds
        with contextlib.suppress(OSError):
            # A host that is gone is told of when the answer is read.
            self.connection.send(request)

    def answer(self) -> _Answer:
        """Wait for the answer. Raises what the service raised, or InputError when the process hangs or dies."""
        remaining = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)
        if not connection.wait([self.connection, self.process.sentinel], remaining):
            self.hung()
        try:
            found = self.connection.recv() if self.connection.poll() else _GONE
        except (EOFError, OSError):
            found = _GONE
        if found is _GONE:
            self.died()
        if isinstance(found, (PaletteBenchError, OSError)):
            raise found
        return found  # type: ignore[return-value]

    @property
    def deadline(self) -> float | None:
        """When the answer is due, on the monotonic clock."""
        return self._deadline

    def hung(self) -> None:
        """End the process and raise InputError."""
        self.stop()
        raise InputError(
            f"model {self._name} hangs: it was stopped",
            where=self._waiting_for,
            expected="an answer within the time limit of a batch",
            found="none",
            next_step="finished work is kept; a smaller --batch or a longer --timeout gives it more time",
        )

    def died(self) -> None:
        """Raise InputError with how the process ended."""
        self.process.join(5)
        code = self.process.exitcode
        self.stop()
        raise InputError(
            f"model {self._name} died",
            where=self._waiting_for,
            expected="an answer",
            found=how_it_ended(code),
            next_step="finished work is kept; where memory ran out, fewer --jobs or a smaller --batch help",
        )

    def stop(self) -> None:
        """End the process, however busy it is."""
        if self.process.is_alive():
            with contextlib.suppress(OSError):
                self.process.terminate()
            self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.connection.close()

    def finish(self) -> None:
        """Let the process end by itself, and clean up; stop it if it does not."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join(10)
        self.stop()


def how_it_ended(code: int | None) -> str:
    """A process's exit code in words."""
    if code is None:
        return "no exit code"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ended by signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(
    there: "Connection[object, _Ask | None]",
    build: Callable[[], Callable[[_Ask], _Answer]],
    environment: Mapping[str, str],
    folder: Path | None,
) -> None:
    """What a host does: build, say so, answer until it is told to end."""
    workers.start_worker(None)
    # A server's environment is that of when it was started.
    os.environ.clear()
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    # What a model prints is no result of ours.
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), 1)
    with contextlib.ExitStack() as at_end:
        try:
            service = build()
            close = getattr(service, "close", None)
            if close is not None:
                at_end.callback(close)
            there.send(READY)
            while (request := there.recv()) is not None:
                there.send(service(request))
        except (PaletteBenchError, OSError) as error:
            # A full disk, too, is told by the program and not by one of its processes.
            with contextlib.suppress(OSError):
                there.send(error)
        except EOFError:
            # The program is gone.
            pass


def answers(
    hosts: Sequence[Callable[[], Host[_Ask, _Answer]]],
    requests: Sequence[_Ask],
    *,
    about: Callable[[_Ask], str],
    seconds: float | None,
) -> Generator[tuple[_Ask, _Answer]]:
    """Each request with its answer, as they come, from as many hosts as ``hosts`` starts.

    The first error of any host is raised here, after the answers that were ready before it. Hosts end with the
    iterator.
    """
    waiting = list(reversed(requests))
    busy: dict[Host[_Ask, _Answer], _Ask | None] = {}
    everybody: list[Host[_Ask, _Answer]] = []
    well = False
    try:
        for start in hosts[: max(len(requests), 1)]:
            host = start()
            everybody.append(host)
            busy[host] = None
        while busy:
            for host in _ready(busy):
                request, answer = busy.pop(host), host.answer()
                if request is not None:
                    yield request, answer
                if waiting:
                    following = waiting.pop()
                    host.ask(following, about=about(following), seconds=seconds)
                    busy[host] = following
        well = True
    finally:
        for host in everybody:
            host.finish() if well else host.stop()


def _ready(busy: Mapping[Host[_Ask, _Answer], object]) -> list[Host[_Ask, _Answer]]:
    """Hosts that answered, died or are late."""
    due = [host.deadline for host in busy if host.deadline is not None]
    remaining = max(min(due) - time.monotonic(), 0.0) if due else None
    signs = {sign: host for host in busy for sign in (host.connection, host.process.sentinel)}
    found = {signs[sign] for sign in connection.wait(list(signs), remaining)}  # type: ignore[index]
    now = time.monotonic()
    late = {host for host in busy if host.deadline is not None and host.deadline <= now}
    return [host for host in busy if host in found or host in late]
