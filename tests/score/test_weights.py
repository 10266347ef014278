import hashlib
import http.server
import json
import os
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from click.testing import CliRunner

from palette_bench.cli.weights import command
from palette_bench.common.errors import InputError, PaletteBenchError, UsageError
from palette_bench.common.home import HOME_VARIABLE
from palette_bench.common.progress import Silent
from palette_bench.score.backbones import base, loading, weights
from palette_bench.score.backbones.weights import WeightsFile, WeightsState
from tests.score import random_weights

CONTENT = b"weights " * 40_000

NETWORKS = [file.name for file in weights.default_files()]
"""Backbones that have the name of their weights, and whose random weights all tests share."""


@pytest.fixture
def registered(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsFile:
    """A registry of one small file."""
    file = WeightsFile(
        name="small",
        file_name="small-1.pth",
        url="http://127.0.0.1:9/small-1.pth",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        source="made here",
        used_for="tests",
    )
    monkeypatch.setattr(weights, "FILES", MappingProxyType({file.name: file}))
    assert file.path == empty_home / "weights" / "small-1.pth"
    return file


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/good": CONTENT, "/wrong": CONTENT[:-1] + b"!", "/short": CONTENT}.get(self.path)
        if body is None:
            self.send_error(404)
            return
        # Before the answer: the client may be done with it before this thread goes on.
        COUNTS[self.path] = COUNTS.get(self.path, 0) + 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


COUNTS: dict[str, int] = {}


@pytest.fixture
def server() -> Iterator[str]:
    COUNTS.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class Recorded(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.totals: list[int] = []
        self.done = 0

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Recorded"]:
        self.totals.append(total)
        yield self

    def advance(self, count: int = 1) -> None:
        self.done += count

    def note(self, message: str) -> None:
        self.notes.append(message)


def only_file(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def test_fetch_downloads_once_and_checks(registered: WeightsFile, server: str) -> None:
    file = replace(registered, url=f"{server}/good")
    progress = Recorded()
    found = weights.fetch(file, offline=False, progress=progress)
    assert (found.path, found.sha256, found.canonical) == (file.path, file.sha256, True)
    assert file.path.read_bytes() == CONTENT
    assert progress.totals == [1]
    assert progress.done == 1
    weights.fetch(file, offline=False, progress=progress)
    weights.fetch(file, offline=True, progress=progress)
    assert COUNTS == {"/good": 1}


@pytest.mark.parametrize("path", ["/wrong", "/short", "/absent"])
def test_a_bad_download_leaves_nothing(registered: WeightsFile, server: str, path: str) -> None:
    file = replace(registered, url=server + path)
    with pytest.raises(InputError) as caught:
        weights.fetch(file, offline=False, progress=Silent())
    assert file.url in str(caught.value)
    assert "palette-bench weights import" in str(caught.value)
    assert only_file(file.path.parent) == []


def test_a_bad_download_leaves_what_was_there(registered: WeightsFile, server: str) -> None:
    registered.path.parent.mkdir(parents=True)
    registered.path.write_bytes(b"other")
    progress = Recorded()
    with pytest.raises(InputError):
        weights.fetch(replace(registered, url=f"{server}/wrong"), offline=False, progress=progress)
    assert registered.path.read_bytes() == b"other"
    weights.fetch(replace(registered, url=f"{server}/good"), offline=False, progress=progress)
    assert registered.path.read_bytes() == CONTENT
    assert all("will be replaced" in note for note in progress.notes)
    assert len(progress.notes) == 2


def test_no_network_and_offline_say_what_to_do(registered: WeightsFile) -> None:
    for offline in (False, True):
        with pytest.raises(InputError) as caught:
            weights.fetch(registered, offline=offline, progress=Silent())
        for part in (registered.url, str(registered.path), registered.file_name):
            assert part in str(caught.value)


def test_a_missing_file_says_which_from_where_and_where_to(registered: WeightsFile) -> None:
    with pytest.raises(InputError) as caught:
        weights.locate(registered)
    for part in (registered.file_name, registered.url, registered.sha256, str(registered.path), "weights fetch small"):
        assert part in str(caught.value)


def test_other_weights_are_refused_unless_allowed(registered: WeightsFile) -> None:
    registered.path.parent.mkdir(parents=True)
    registered.path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(InputError, match="not the published one") as caught:
        weights.locate(registered)
    assert registered.sha256 in str(caught.value)
    found = weights.locate(registered, allow_other=True)
    assert not found.canonical
    assert found.sha256 == hashlib.sha256(CONTENT[:-1] + b"!").hexdigest()
    registered.path.write_bytes(CONTENT)
    assert weights.locate(registered).canonical


def test_require_reports_everything_at_once(registered: WeightsFile) -> None:
    second = replace(registered, name="second", file_name="second.pth")
    with pytest.raises(InputError) as caught:
        weights.require([registered, second])
    assert len(caught.value.problems) == 2
    registered.path.parent.mkdir(parents=True)
    registered.path.write_bytes(CONTENT)
    with pytest.raises(InputError, match="second"):
        weights.require([registered, second])
    assert set(weights.require([registered])) == {"small"}


def test_import_recognises_a_file_by_its_digest(registered: WeightsFile, tmp_path: Path) -> None:
    source = tmp_path / "download (1).pth"
    source.write_bytes(CONTENT)
    file, found = weights.import_file(source)
    assert (file, found.canonical) == (registered, True)
    assert registered.path.read_bytes() == CONTENT
    assert only_file(registered.path.parent) == [registered.file_name]
    weights.import_file(registered.path)
    assert registered.path.read_bytes() == CONTENT


def test_import_refuses_what_it_does_not_know(registered: WeightsFile, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other")
    with pytest.raises(InputError, match="none of the published"):
        weights.import_file(other)
    with pytest.raises(InputError, match="none of the published"):
        weights.import_file(other, name="small")
    with pytest.raises(UsageError, match="need a name"):
        weights.import_file(other, allow_other=True)
    with pytest.raises(UsageError, match="no weights of this name"):
        weights.import_file(other, name="unheard", allow_other=True)
    with pytest.raises(InputError, match="no such file"):
        weights.import_file(tmp_path / "absent.pth")
    assert only_file(registered.path.parent) == []
    _, found = weights.import_file(other, name="small", allow_other=True)
    assert not found.canonical
    good = tmp_path / "good.pth"
    good.write_bytes(CONTENT)
    weights.import_file(good)
    with pytest.raises(InputError, match="not replaced"):
        weights.import_file(other, name="small", allow_other=True)
    assert registered.path.read_bytes() == CONTENT


def test_import_refuses_a_file_that_is_said_to_be_another(
    registered: WeightsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = replace(registered, name="second", sha256="5" * 64)
    monkeypatch.setattr(weights, "FILES", MappingProxyType({"small": registered, "second": second}))
    source = tmp_path / "file"
    source.write_bytes(CONTENT)
    with pytest.raises(InputError, match="not what it was said to be"):
        weights.import_file(source, name="second", allow_other=True)


def test_status(registered: WeightsFile) -> None:
    assert [row.state for row in weights.status()] == [WeightsState.MISSING]
    registered.path.parent.mkdir(parents=True)
    registered.path.write_bytes(b"other")
    assert [row.state for row in weights.status()] == [WeightsState.OTHER]
    registered.path.write_bytes(CONTENT)
    assert [(row.state, row.found_sha256) for row in weights.status()] == [(WeightsState.PRESENT, registered.sha256)]


def test_the_registered_digests_and_addresses() -> None:
    for file in weights.FILES.values():
        assert len(file.sha256) == 64
        assert file.sha256[:8] in file.file_name
        assert file.url.endswith(file.file_name)


def test_what_is_fetched_without_being_asked_for() -> None:
    assert NETWORKS == ["inception2015", "resnet50-v1", "googlenet"]
    assert {file.name for file in weights.FILES.values() if file.optional} == {"efficientnet-b0", "alexnet"}


def test_command_fetches_lists_and_imports(
    registered: WeightsFile, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FILES", MappingProxyType({"small": replace(registered, url=f"{server}/good")}))
    runner = CliRunner()
    result = runner.invoke(command, ["fetch"], env={"PALETTE_BENCH_OFFLINE": "1"})
    assert isinstance(result.exception, InputError)
    result = runner.invoke(command, ["fetch", "--offline"])
    assert isinstance(result.exception, InputError)
    assert COUNTS == {}
    result = runner.invoke(command, ["fetch", "small", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)[0]["canonical"] is True
    result = runner.invoke(command, ["list", "--json"], catch_exceptions=False)
    assert [row["state"] for row in json.loads(result.stdout)] == ["present"]
    result = runner.invoke(command, ["list"], catch_exceptions=False)
    for part in ("present", registered.sha256, f"{server}/good", str(registered.path)):
        assert part in result.stdout
    result = runner.invoke(command, ["fetch", "big"])
    assert isinstance(result.exception, UsageError)
    registered.path.unlink()
    other = tmp_path / "other"
    other.write_bytes(b"other")
    result = runner.invoke(command, ["import", str(other)])
    assert isinstance(result.exception, PaletteBenchError)
    result = runner.invoke(
        command, ["import", str(other), "--as", "small", "--allow-other-weights"], catch_exceptions=False
    )
    assert "comparable with nothing" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["list"], ["fetch"], ["import"]])
def test_every_help_has_an_example(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, [*arguments, "--help"])
    assert result.exit_code == 0
    assert "Example:\n" in result.output
    assert "palette-bench weights" in result.output


class TestNetworks:
    @pytest.fixture
    def home(self, random_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv(HOME_VARIABLE, str(random_home))
        return random_home

    @pytest.mark.parametrize("name", NETWORKS)
    def test_other_weights_load_only_if_allowed_and_say_so(self, home: Path, name: str) -> None:
        with pytest.raises(InputError, match="not the published one"):
            loading.load(name)
        found = loading.load(name, allow_other_weights=True)
        assert not found.canonical
        assert found.fingerprint != base.canonical_fingerprint(name)

    def test_loading_and_running_touches_no_network(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("the network was touched")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        random_numbers = torch.random.get_rng_state()
        for name in NETWORKS:
            loading.load(name, allow_other_weights=True).extract(random_weights.random_images(1, 64))
        assert torch.equal(torch.random.get_rng_state(), random_numbers)

    def test_a_device_that_is_not_there(self, home: Path) -> None:
        with pytest.raises(UsageError, match="device"):
            loading.load("resnet50-v1", device="cuda:99", allow_other_weights=True)
        with pytest.raises(UsageError, match="device"):
            loading.load("resnet50-v1", device="abacus", allow_other_weights=True)
        with pytest.raises(UsageError, match="no backbone"):
            loading.load("resnet51")

    @pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 8, 8, 1), (8, 8, 3)])
    def test_images_of_another_shape_are_refused(self, home: Path, shape: tuple[int, ...]) -> None:
        import numpy as np

        network = loading.load("googlenet", allow_other_weights=True)
        with pytest.raises(InputError, match="cannot take"):
            network.extract(np.zeros(shape, np.uint8))


class Command:
    """What a hostile file would run when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("name", NETWORKS)
def test_damaged_and_hostile_files_are_refused_by_name(
    name: str, random_home: Path, empty_home: Path, tmp_path: Path
) -> None:
    file = weights.FILES[name]
    file.path.parent.mkdir(parents=True)
    good = (random_home / "weights" / file.file_name).read_bytes()
    state = torch.load(random_home / "weights" / file.file_name, weights_only=True)
    first, second = list(state)[:2]
    proof = tmp_path / "was-run"
    cases: dict[str, object] = {
        "a name too few": {k: v for k, v in state.items() if k != first},
        "a name too many": {**state, "extra.weight": torch.zeros(1)},
        "another shape": {**state, first: state[first][1:]},
        "not finite": {**state, second: torch.full_like(state[second], float("nan"))},
        "not tensors": {**state, first: "text"},
        "not a mapping": [1, 2],
        "a command": {**state, "x": Command(str(proof))},
    }
    # The two large files take seconds a case; what they share with the small one is tested with that.
    tried = cases if name == "googlenet" else {w: cases[w] for w in ("a name too few", "another shape", "a command")}
    for what, content in tried.items():
        torch.save(content, file.path)
        with pytest.raises(InputError, match="cannot be used") as caught:
            loading.load(name, allow_other_weights=True).prepare()
        assert str(file.path) in str(caught.value), what
    for content in (good[: len(good) // 2], b"", b"<html>", pickle.dumps(Command(str(proof)))):
        file.path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be used"):
            loading.load(name, allow_other_weights=True).prepare()
    assert not proof.exists()
    assert pickle.loads(pickle.dumps(Command(str(proof)))) is None  # noqa: S301
    assert proof.exists()
