"""Worker processes that never outlive the command that started them."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from palette_bench.common.errors import InputError

_Job = TypeVar("_Job")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
JOBS_AHEAD = 3
SECONDS_TO_END = 5.0
TERMINATED = 128 + signal.SIGTERM
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

_work: Callable[[Any], Any] | None = None
"""What `run_chunks` built in this process."""

_failure: Exception | None = None
"""What went wrong when this worker was prepared; a worker that raised it there would only look killed."""


def default_jobs() -> int:
    """The number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have glibc keep freed buffers of an image's size instead of returning each to the system and asking again.

    Page faults cost image work a noticeable part of its time otherwise. Other allocators have no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 28)
        mallopt(_M_TRIM_THRESHOLD, 1 << 28)
        mallopt(_M_TOP_PAD, 1 << 24)


def start_worker(prepare: Callable[[], None] | None) -> None:
    """What every worker process does first: leave interrupts to its parent, end when that ends, then ``prepare``.

    Terminated, it removes what it has half written.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            # A parent killed with SIGKILL cannot say goodbye; without this its workers would wait for ever.
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    global _failure
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        if prepare is not None:
            prepare()
    except Exception as error:  # noqa: BLE001
        _failure = error
    except SystemExit:
        # The pool would print it.
        os._exit(TERMINATED)


def _run_job(function: Callable[[_Job], _Result], job: _Job) -> _Result:
    if _failure is not None:
        raise _failure
    try:
        return function(job)
    except SystemExit:
        # The pool would only note the exit as an exception of this job, and wait for the next.
        os._exit(TERMINATED)


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """An interrupt waits until a worker is started, and the worker never sees one.

    A half-started worker, and one that is interrupted before it can ignore it, would print a traceback. The mask is
    for the worker, which inherits it; the handler is for this process, of which any thread may get the signal.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler or signal.default_int_handler)
        if arrived:
            signal.raise_signal(signal.SIGINT)


def _end(workers: Sequence[BaseProcess]) -> None:
    """Terminate workers, and kill those that are still there a moment later.

    One that ends while it holds the queue's lock would leave another one waiting for it, and the pool with it.
    """
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.terminate()
    left = {worker.sentinel: worker for worker in workers}
    limit = time.monotonic() + SECONDS_TO_END
    while left and (gone := connection.wait(list(left), max(limit - time.monotonic(), 0.0))):
        left = {sentinel: worker for sentinel, worker in left.items() if sentinel not in gone}
    for worker in left.values():
        with contextlib.suppress(OSError):
            worker.kill()


def map_unordered(
    function: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    *,
    processes: int,
    prepare: Callable[[], None] | None = None,
) -> Generator[_Result]:
    """Results of ``function`` over ``jobs`` as they come; one process means this one.

    ``prepare`` runs once in every process first. ``function`` and ``prepare`` must be picklable. At most a few jobs
    are in flight for each process, so memory does not grow with their number. An exception of a job is raised here;
    workers end with the iterator.
    """
    if isinstance(jobs, Sized):
        processes = min(processes, len(jobs))
    if processes <= 1:
        if prepare is not None:
            prepare()
        for job in jobs:
            yield function(job)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker, initargs=(prepare,))
    finished = False
    try:
        pending: set[Future[_Result]] = set()
        # It would let interrupts through again when the first worker starts it.
        resource_tracker.ensure_running()
        for job in jobs:
            with deaf_to_interrupts():
                pending.add(pool.submit(_run_job, function, job))
            if len(pending) >= processes * JOBS_AHEAD:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
        finished = True
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died",
            found="killed by the system, often because memory ran out",
            next_step="run the command again: finished work is kept; fewer --jobs need less memory",
        ) from error
    finally:
        workers = list((getattr(pool, "_processes", None) or {}).values())
        if not finished:
            _end(workers)
        # Waiting for workers that are gone takes no time, and the interpreter's end would trip over their remains.
        pool.shutdown(wait=True, cancel_futures=True)


def run_chunks(
    build: Callable[[], Callable[[Sequence[_Item]], _Result]],
    items: Sequence[_Item],
    *,
    size: int,
    processes: int,
) -> Generator[_Result]:
    """Results of some work over runs of ``size`` consecutive items, as they come.

    ``build``, which must be picklable, makes the work once in every process: opens files, loads tables. It may be a
    class with ``__call__``. One process means this one. Otherwise as `map_unordered`.
    """
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    if processes <= 1 or len(chunks) <= 1:
        return map_unordered(build(), chunks, processes=1)
    return map_unordered(_run_work, chunks, processes=processes, prepare=partial(_build_work, build))


def _build_work(build: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    _work = build()


def _run_work(chunk: Any) -> Any:  # noqa: ANN401
    if _work is None:
        raise RuntimeError("the worker was not prepared")
    return _work(chunk)
