"""Hosts that are forked from a server which has imported a model's libraries once."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.processes import alive

SERVICE = """
    import json, os, sys
    from functools import partial
    from pathlib import Path

    AT_START = sorted(name for name in ("colorsys", "torch") if name in sys.modules)

    class Tells:
        def __call__(self, request):
            seen = {"pid": os.getpid(), "parent": os.getppid(), "at start": AT_START}
            return seen | {"threads": os.environ.get("OMP_NUM_THREADS"), "later": os.environ.get("SET_LATER")}

    class Waits:
        def __call__(self, request):
            import time
            Path(request).write_text(str(os.getpid()))
            time.sleep(600)
"""
MAIN = """
    from service import Tells, Waits
    from palette_bench.predict.adapters.hosting import ONE_THREAD, Host, answers, fork_hosts

    def seen(service, requests, environment, count):
        start = partial(Host, service, name="a model", environment=environment)
        return [answer for _, answer in answers([start] * count, requests, about=str, seconds=60)]
"""


def _run(folder: Path, main: str) -> subprocess.Popen[str]:
    (folder / "service.py").write_text(textwrap.dedent(SERVICE))
    script = folder / "program.py"
    body = textwrap.indent(textwrap.dedent(main), "    ")
    script.write_text("from service import *\n" + textwrap.dedent(MAIN) + "\nif __name__ == '__main__':\n" + body)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_forked_hosts_are_processes_of_their_own_with_the_imports_made(tmp_path: Path) -> None:
    """Two in turn: other processes, one parent, which is not the program; what is asked for is imported before."""
    program = _run(
        tmp_path,
        """
        fork_hosts(["colorsys"])
        assert "OMP_NUM_THREADS" not in os.environ
        os.environ["SET_LATER"] = "yes"
        found = seen(Tells, [1], ONE_THREAD, 1) + seen(Tells, [1], ONE_THREAD, 1) + seen(Tells, [1], {}, 1)
        print(json.dumps([os.getpid(), found]))
        """,
    )
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    own, (first, second, other) = json.loads(out)
    assert len({own, first["pid"], second["pid"], other["pid"]}) == 4
    assert first["parent"] == second["parent"] != own
    assert first["at start"] == second["at start"] == ["colorsys"]
    assert first["threads"] == "1"
    assert first["later"] == "yes", "the environment is the program's of now, not the server's"
    # A host that is to have more threads is not forked from a server that has one.
    assert other["parent"] == own
    assert other["at start"] == []
    assert other["threads"] is None


def test_forked_hosts_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = _run(
        tmp_path,
        f"""
        fork_hosts([])
        seen(Waits, [{str(tmp_path / "pid")!r}], ONE_THREAD, 1)
        """,
    )
    limit = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.05)
    number = int((tmp_path / "pid").read_text())
    assert alive(number)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    while alive(number) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not alive(number)


def test_a_forked_host_that_dies_is_told_of(tmp_path: Path) -> None:
    program = _run(
        tmp_path,
        f"""
        from threading import Thread
        fork_hosts([])
        def kill():
            import time, signal
            while not Path({str(tmp_path / "pid")!r}).exists():
                time.sleep(0.01)
            time.sleep(0.05)
            os.kill(int(Path({str(tmp_path / "pid")!r}).read_text()), signal.SIGKILL)
        Thread(target=kill, daemon=True).start()
        seen(Waits, [{str(tmp_path / "pid")!r}], ONE_THREAD, 1)
        """,
    )
    _, err = program.communicate(timeout=120)
    assert program.returncode == 1
    assert "model a model died" in err
    assert "ended by signal SIGKILL" in err
