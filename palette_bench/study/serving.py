"""Running a study's server: in this process until it is interrupted, or beside a rehearsal."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn

from palette_bench.common.errors import InputError
from palette_bench.study.server import StudyServer


def config(server: StudyServer) -> uvicorn.Config:
    """How uvicorn runs: no access log (it would hold addresses and tokens), no names of software in answers."""
    return uvicorn.Config(
        server.app,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        limit_concurrency=512,
        lifespan="on",
    )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small packets at once; without, every answer waits 40 ms for the client.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise InputError(
            "the study cannot be served at this address",
            where=f"{host}:{port}",
            found=error.strerror or error,
            next_step="choose another --port or --host",
        ) from error
    return listener


@contextlib.contextmanager
def running(server: StudyServer, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread; gives the address."""
    listener = bind(host, port)
    uvicorn_server = uvicorn.Server(config(server))
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20.0
        while not uvicorn_server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise InputError("the study's server did not start")
            time.sleep(0.005)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        uvicorn_server.should_exit = True
        thread.join(timeout=10.0)
        listener.close()


def serve(server: StudyServer, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted."""
    listener = bind(host, port)
    ready(f"http://{host}:{listener.getsockname()[1]}")
    try:
        uvicorn.Server(config(server)).run(sockets=[listener])
    finally:
        listener.close()
