"""What the tests of studies share: a server in this process, and raters for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from palette_bench.study.definition import Study
from palette_bench.study.rater import Rater
from palette_bench.study.server import StudyServer
from palette_bench.study.serving import running
from tests.study.served import Served

Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(folder, study)``: the study's server, running, with a clock that can be moved."""
    with ExitStack() as stack:

        def start(folder: Path, study: Study, *, database: str = "answers.sqlite", limited: bool = False) -> Served:
            shift = [0.0]
            server = StudyServer(
                folder, study, database=database, clock=lambda: time.time() + shift[0], limited=limited
            )
            address = stack.enter_context(running(server))
            return Served(server, address, shift)

        yield start


@pytest.fixture
def rater() -> type[Rater]:
    return Rater
