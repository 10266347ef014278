"""The cards of the classical baselines: they say what their classes do, and the documentation lists them all."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palette_bench.common.errors import InputError, UsageError
from palette_bench.predict.adapters.base import Adapter, ModelInput, Setting
from palette_bench.predict.card import AdapterKind, Card, baseline_names, find_card
from palette_bench.predict.models import classical_holes, classical_jpeg
from palette_bench.predict.models.classical import OneByOne
from palette_bench.protocol.tasks import TASKS
from tests.predict.classical_inputs import given

NAMES = [name for name in baseline_names() if name.startswith("classical-")] + ["input"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "baselines.md"
LIBRARIES = {"cv2": "opencv", "patchmatch.patch_match": "patchmatch"}


def model_class(card: Card) -> type[OneByOne]:
    module, _, name = card.adapter.entry.partition(":")
    found: type[OneByOne] = getattr(importlib.import_module(module), name)
    return found


def build(card: Card, task: str, size: int = 32) -> Adapter:
    return model_class(card)(
        Setting(task=TASKS[task], size=size, config=card.config, weights=card.checked_weights()),
    )


def test_all_methods_have_a_card() -> None:
    entries = {find_card(name).adapter.entry for name in NAMES}
    assert len(NAMES) == 19
    classes = {
        f"{module.__name__}:{name}"
        for module in (classical_holes, classical_jpeg)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, OneByOne) and not name.startswith("_")
    }
    abstract = {"OneByOne", "HoleFilling", "JpegRepair"}
    assert {entry for entry in classes if entry.partition(":")[2] not in abstract} <= entries


@pytest.mark.parametrize("name", NAMES)
def test_a_card_lists_the_tasks_that_its_class_takes_and_no_others(name: str) -> None:
    card = find_card(name)
    assert card.tasks
    for task in TASKS:
        if task in card.tasks:
            one = given(task)
            output = build(card, task).predict([one])[0]
            assert output.shape == (32, 32, 3)
        else:
            with pytest.raises(UsageError):
                build(card, task)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_its_class_needs_and_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = find_card(name)
    task = card.tasks[0]
    one = given(task, 32, seed=1)
    other = ModelInput(one.id, one.image, one.hole, one.jpeg, 2)
    adapter = build(card, task)
    outputs = [adapter.predict([each])[0] for each in (one, other, one)]
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert (outputs[0] != outputs[1]).any() == card.stochastic
    assert card.config == getattr(model_class(card), "defaults", {})
    for module, extra in LIBRARIES.items():
        monkeypatch.setitem(sys.modules, module, None)
        if card.extra == extra:
            with pytest.raises(UsageError, match=re.escape(f"pip install 'palette-bench[{extra}]'")):
                build(card, task)
        else:
            build(card, task)
        monkeypatch.undo()
    assert card.licence
    assert card.description.endswith(".")


def test_a_library_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchmatch import patch_match

    monkeypatch.setattr(patch_match, "patchmatch_available", False)
    with pytest.raises(UsageError, match="cannot be loaded"):
        build(find_card("classical-patchmatch"), "uncrop")


def test_the_documentation_lists_every_baseline_once_with_its_extra() -> None:
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    listed = [re.findall("`([^`]+)`", row)[0] for row in rows]
    assert sorted(listed) == sorted([*NAMES, "reference"])
    for row, name in zip(rows, listed, strict=True):
        card = find_card(name)
        assert re.findall("extra `([a-z]+)`", row) == ([card.extra] if card.extra else [])
        for key, value in card.config.items():
            assert f"`{key}` {value:g}" in row


def test_no_classical_method_loads_torch() -> None:
    """Nor what only other methods need."""
    program = """
import sys
from palette_bench.protocol.tasks import TASKS
from palette_bench.predict.card import find_card
from tests.predict.test_classical_cards import NAMES, build, given
for name in NAMES:
    card = find_card(name)
    build(card, card.tasks[0]).predict([given(card.tasks[0])])
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2], timeout=120)


def test_only_the_shipped_reference_is_one(tmp_path: Path) -> None:
    card = find_card("reference")
    assert (card.adapter.kind, card.tasks, card.stochastic) == (AdapterKind.REFERENCE, tuple(TASKS), False)
    own = tmp_path / "reference" / "card.toml"
    own.parent.mkdir()
    assert card.folder is not None
    text = (card.folder / "card.toml").read_text(encoding="utf-8")
    own.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="--model reference"):
        find_card(own)
    own.write_text(
        text.replace('"reference"\n', '"python"\nentry = "a:B"\n').replace(
            'name = "python"\nentry = "a:B"', 'name = "mine"'
        )
    )
    assert find_card(own).adapter.kind is AdapterKind.PYTHON
