"""Cards: the shipped ones load, and a bad one is refused with every fault at once."""

import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from palette_bench.common.canonical import bytes_digest
from palette_bench.common.errors import InputError, UsageError, VerificationError
from palette_bench.predict import card as cards_module
from palette_bench.predict.card import AdapterKind, baseline_names, cards, find_card, load_card

GOOD = """
format = 1
name = "mine"
title = "Mine"
tasks = ["uncrop", "colorize"]
sizes = [32]
stochastic = true

[adapter]
kind = "python"
entry = "package.module:Class"

[config]
steps = 3
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(text)
    return folder / "card.toml"


def faults(path: Path) -> set[tuple[str, str]]:
    with pytest.raises(InputError) as raised:
        load_card(path)
    assert raised.value.where == str(path)
    return {(problem.kind, problem.where) for problem in raised.value.problems}


def test_every_shipped_card_loads_and_its_weights_are_right() -> None:
    for card in cards():
        assert card.shipped
        assert card.folder is not None
        assert card.name == card.folder.name
        assert card.description, card.name
        assert card.licence, card.name
        if card.weights is not None and card.weights.source:
            assert card.weights.file == f"{card.name}.safetensors", "a name of its own in the weights folder"
            assert not (card.folder / card.weights.file).exists()
        elif (path := card.checked_weights()) is not None:
            assert path.parent == card.folder, "shipped weights lie beside their card"
        assert find_card(card.name) == card
    assert [card.name for card in cards()] == baseline_names()


def test_a_card_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "mine", GOOD)
    card = load_card(path)
    assert card == load_card(path.parent) == find_card(path) == find_card(str(path.parent))
    assert (card.name, card.tasks, card.sizes, card.stochastic) == ("mine", ("uncrop", "colorize"), (32,), True)
    assert (card.adapter.kind, card.adapter.entry, card.batch) == (AdapterKind.PYTHON, "package.module:Class", 16)
    assert card.config == {"steps": 3}
    card.check_can_do("uncrop", 32)
    with pytest.raises(UsageError, match="cannot do this task"):
        card.check_can_do("jpeg-qf5", 32)
    with pytest.raises(UsageError, match="this size"):
        card.check_can_do("uncrop", 64)


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad",
        """
format = 1
title = 3
tasks = ["uncrop", "uncorp"]
sizes = ["32"]
stochastic = "yes"
batch = 0
lisence = "MIT"
[adapter]
kind = "python"
entry = "no colon"
command = ["python"]
[config]
when = 2020-01-01
[weights]
file = "../outside.safetensors"
sha256 = "abc"
""",
    )
    assert faults(path) == {
        ("missing", "name"),
        ("wrong type", "title"),
        ("wrong value", "tasks[1]"),
        ("wrong type", "sizes[0]"),
        ("wrong type", "stochastic"),
        ("wrong value", "batch"),
        ("unknown key", "lisence"),
        ("wrong value", "adapter.entry"),
        ("wrong type", "config.when"),
        ("wrong value", "weights.file"),
        ("wrong value", "weights.sha256"),
    }
    with pytest.raises(InputError, match="did you mean licence"):
        load_card(path)


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        ("", {("missing", "adapter")}),
        ('[adapter]\nkind = "magic"', {("wrong value", "adapter.kind")}),
        ('[adapter]\nkind = "subprocess"', {("missing", "adapter.command")}),
        (
            '[adapter]\nkind = "subprocess"\ncommand = ["a"]\ntimeout_seconds = -1',
            {("wrong value", "adapter.timeout_seconds")},
        ),
        ('[adapter]\nkind = "subprocess"\ncommand = ["a", 1]', {("wrong type", "adapter.command[1]")}),
        ('[adapter]\nkind = "directory"', {("missing", "adapter.folder")}),
        ('[adapter]\nkind = "outside"', {("missing", "outside")}),
        ('[adapter]\nkind = "outside"\n[outside]\nhow = "x"\nwhere = "y"', {("unknown key", "outside.where")}),
    ],
)
def test_each_kind_has_its_own_keys(tmp_path: Path, adapter: str, expected: set[tuple[str, str]]) -> None:
    head = GOOD.partition("[adapter]")[0]
    assert faults(write(tmp_path / "mine", head + adapter)) == expected


def test_what_is_no_toml_and_another_format_are_refused(tmp_path: Path) -> None:
    for text, message in (("format =", "TOML"), (GOOD.replace("format = 1", "format = 2"), "another format")):
        with pytest.raises(InputError, match=message):
            load_card(write(tmp_path / "mine", text))
    (tmp_path / "mine" / "card.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read"):
        load_card(tmp_path / "mine")


def test_the_fingerprint_covers_what_moves_an_output_and_no_prose(tmp_path: Path) -> None:
    def of(text: str, name: str) -> str:
        return load_card(write(tmp_path / name, text)).fingerprint()

    whole = of(GOOD, "a")
    assert whole == "b79e2234fb6690c208a7445751ca1e3944cbec5bcd8a03031c078554d803ad54"
    for prose in (('"Mine"', '"Other"'), ("[32]", "[32, 64]"), ("stochastic = true", "stochastic = true\nbatch = 3")):
        assert of(GOOD.replace(*prose), "b") == whole
    for moving in (("steps = 3", "steps = 4"), ("package.module:Class", "package.module:Other")):
        assert of(GOOD.replace(*moving), "c") != whole
    weights = f'{GOOD}[weights]\nfile = "w"\nsha256 = "{"0" * 64}"\n'
    assert of(weights, "d") != whole

    command = GOOD.replace('kind = "python"\nentry = "package.module:Class"', 'kind = "subprocess"\ncommand = ["run"]')
    without = of(command, "e")
    (tmp_path / "e" / "run").write_text("1")
    one = load_card(tmp_path / "e").fingerprint()
    (tmp_path / "e" / "run").write_text("2")
    assert len({without, one, load_card(tmp_path / "e").fingerprint()}) == 3


def test_weights_are_found_and_checked(tmp_path: Path, home: Path) -> None:
    text = f'{GOOD}[weights]\nfile = "w.bin"\nsha256 = "{bytes_digest(b"right")}"\nurl = "https://example.org/w"\n'
    card = load_card(write(tmp_path / "mine", text))
    with pytest.raises(InputError, match="not here") as raised:
        card.checked_weights()
    assert "https://example.org/w" in str(raised.value)
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "w.bin").write_bytes(b"right")
    assert card.checked_weights() == home / "weights" / "w.bin"
    (tmp_path / "mine" / "w.bin").write_bytes(b"wrong")
    with pytest.raises(VerificationError, match="not those of its card"):
        card.checked_weights()


def test_a_class_is_a_model_without_a_card() -> None:
    card = find_card("tests.predict.adapters:Painter")
    assert (card.name, card.title, card.stochastic) == ("tests.predict.adapters:Painter", "Painter", None)
    assert "uncrop" in card.tasks


def test_what_is_no_model_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards_module, "entry_point_names", lambda: ["house-painter"])
    with pytest.raises(UsageError, match="did you mean house-painter") as raised:
        find_card("house-paintr")
    assert "palette-bench baselines" in str(raised.value)


def test_entry_points_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class, a function that returns a card, and one that cannot be loaded."""
    folder = write(tmp_path / "mine", GOOD).parent
    (tmp_path / "offered_models.py").write_text(
        f"class Model: ...\ndef card(): return {str(folder)!r}\ndef broken(): raise RuntimeError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = {"model": "offered_models:Model", "card": "offered_models:card", "broken": "offered_models:broken"}
    points = [metadata.EntryPoint(name, value, cards_module.ENTRY_POINTS) for name, value in values.items()]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    assert cards_module.entry_point_names() == ["broken", "card", "model"]
    assert "offered_models" not in sys.modules, "listing imports nothing"
    assert find_card("model").adapter.entry == "offered_models:Model"
    assert find_card("card") == load_card(folder)
    with pytest.raises(InputError, match="RuntimeError: no"):
        find_card("broken")


def test_reading_cards_loads_no_torch() -> None:
    script = "import sys; from palette_bench.predict.card import cards; cards(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_a_card_that_names_every_jpeg_task_does_any_other_quality() -> None:
    card = find_card("classical-median")
    assert card.does("jpeg-qf50")
    assert not card.does("uncrop")
    assert not replace(card, tasks=("jpeg-qf5", "jpeg-qf10")).does("jpeg-qf50")
    assert not replace(card, tasks=("jpeg-qf5", "jpeg-qf10")).does("jpeg-qf20")
    assert not card.does("nothing")
