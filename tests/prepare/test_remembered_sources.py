"""Where datasets are is said once, and `prepare` works as it is typed."""

import os
from pathlib import Path

import pytest

from palette_bench.common.errors import UsageError
from palette_bench.common.progress import Silent
from palette_bench.prepare.plan import Choices, make_plan, open_labelled
from palette_bench.prepare.sources import remembered
from palette_bench.prepare.sources.remembered import VARIABLE, find_source, forget, remember
from palette_bench.protocol.definition import Family, load_protocol
from tests.conftest import RunCommand


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and no known place."""
    monkeypatch.setenv("PALETTE_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(remembered, "_KNOWN", dict.fromkeys(remembered.NAMES, ()))


def val(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"1")
    return folder


def test_a_source_is_said_once(tmp_path: Path, run: RunCommand) -> None:
    protocol = load_protocol("imagenet-ctest10k")
    with pytest.raises(UsageError, match="palette-bench sources set imagenet-val PATH"):
        make_plan(protocol.name, Choices(), progress=Silent())
    code, out, err = run("sources", "set", "imagenet-val", val(tmp_path / "val"))
    assert (code, out) == (0, f"imagenet-val: {tmp_path / 'val'}\n"), err
    assert open_labelled(protocol, None, None).source.where == tmp_path / "val"
    assert "imagenet-val: " in run("sources", "list")[1]
    forget("imagenet-val")
    assert find_source(Family.IMAGENET) is None


def test_the_variable_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("imagenet-val", val(tmp_path / "kept"))
    monkeypatch.setenv(VARIABLE, os.pathsep.join(("imagenet-val=/a", "places365-val=/b")))
    assert [row.path for row in remembered.remembered()] == [Path("/a"), Path("/b")]
    val(tmp_path / "all" / "imagenet-val")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "all"))
    found = find_source(Family.IMAGENET)
    assert found is not None
    assert found.path == tmp_path / "all" / "imagenet-val"
    monkeypatch.setenv(VARIABLE, "imagenet=/a")
    with pytest.raises(UsageError, match="names no dataset"):
        find_source(Family.IMAGENET)


def test_known_places_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = val(tmp_path / "hub" / "snapshots" / "abc")
    monkeypatch.setattr(remembered, "_KNOWN", {"imagenet-val": (f"{place.parent}/*",), "places365-val": ()})
    found = find_source(Family.IMAGENET)
    assert found is not None
    assert (found.path, found.said_by) == (place, "a known place")


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean imagenet-val"):
        remember("imagenet-vall", tmp_path)
    with pytest.raises(UsageError, match="nothing at this place"):
        remember("imagenet-val", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not remembered"):
        forget("imagenet-val")
