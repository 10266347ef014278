"""Recipes from cards: every mistake is named, all of them together."""

import re
from pathlib import Path

import pytest

from palette_bench.common.errors import InputError
from palette_bench.predict.card import find_card, load_card
from palette_bench.predict.models.diffusion import LossNorm
from palette_bench.predict.training.degradations import Family
from palette_bench.predict.training.recipe import Recipe, check_runs_as_trained, read_recipe
from tests.predict.training.runs import TABLE, recipe
from tests.training_card import write_card

BASELINES = Path(__file__).parents[3] / "baselines"


def problems_of(table: dict[str, object]) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        read_recipe(table, where=Path("card.toml"))
    return {re.split(r"[.\[]", problem.where)[0]: problem.detail for problem in caught.value.problems}


def test_mistakes_are_reported_together() -> None:
    found = problems_of(
        TABLE
        | {
            "lr": 0.1,
            "steps": "many",
            "batch": 0,
            "betas": [0.9],
            "loss": "l3",
            "stratified": 1,
            "seed": -1,
            "ema": 1.5,
            "dropout": 1.0,
            "tasks": {"inpaint": 1.0, "denoise": 1.0},
        }
    )
    assert set(found) == {"lr", "steps", "batch", "betas", "loss", "stratified", "seed", "ema", "dropout", "tasks"}
    assert "learning_rate" in found["lr"], "the known keys are listed"
    assert "colorize, inpaint, uncrop, jpeg" in found["tasks"]
    assert "'l1' or 'l2'" in found["loss"]
    assert "'many'" in found["steps"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", True),
        ("batch", 1.5),
        ("batch", True),
        ("seed", 1 << 63),
        ("betas", [0.9, 1.0]),
        ("rectangle_area", [0.3, 0.1]),
        ("rectangle_area", [0.5, 1.5]),
        ("tasks", {}),
        ("tasks", {"inpaint": 0.0}),
        ("tasks", {"inpaint": "often"}),
        ("tasks", "inpaint"),
        ("kind", ["palette"]),
        ("network", 5),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    assert list(problems_of(TABLE | {name: value})) == [name]


def test_tasks_are_needed() -> None:
    assert "tasks" in problems_of({"network": "tiny"})


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(InputError, match="palette256"):
        read_recipe(TABLE | {"network": "huge"}, where=Path("card.toml"))


def test_the_learning_rate_rises_and_falls() -> None:
    what = recipe(steps=100, learning_rate=1.0, warm_up=10, cool_down=20)
    assert [what.rate_at(step) for step in (0, 4, 9, 50, 80, 90, 99)] == [0.1, 0.5, 1.0, 1.0, 1.0, 0.5, 0.05]
    assert recipe(steps=100, learning_rate=1.0, warm_up=0).rate_at(99) == 1.0


def test_the_defaults_are_the_papers() -> None:
    default = Recipe()
    assert (default.steps, default.batch, default.learning_rate, default.warm_up) == (1_000_000, 1024, 1e-4, 10_000)
    assert (default.ema, default.ema_warm_up, default.clip_norm, default.dropout) == (0.9999, False, 0.0, 0.0)
    assert default.loss is LossNorm.L2


def test_tasks_come_in_one_order_whatever_the_cards() -> None:
    tasks = {"jpeg": 2.0, "colorize": 1.0}
    assert list(recipe(tasks=tasks).families) == [Family.COLORIZE, Family.JPEG]


def test_the_recipes_that_ship_are_readable() -> None:
    cards = [find_card(path.parent.name) for path in BASELINES.glob("*/card.toml")]
    trained = [card for card in cards if "steps" in card.training]
    assert len(trained) > 10
    for card in trained:
        name = card.name
        shipped = read_recipe(card.training, where=BASELINES / name)
        assert shipped.canonical()["steps"] == card.training["steps"]
        check_runs_as_trained(shipped, card)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "palette64"),
        ("mixing", "dilated"),
        ("gamma_embedding", "raw"),
        ("output", "velocity"),
        ("noisy_input", "wiener"),
        ("known", "noised"),
        ("kind", "regression"),
    ],
)
def test_a_card_that_would_run_otherwise_than_it_trains_is_refused(tmp_path: Path, name: str, value: object) -> None:
    card = load_card(write_card(tmp_path))
    check_runs_as_trained(read_recipe(card.training, where=tmp_path), card)
    other = read_recipe({**card.training, name: value}, where=tmp_path)
    with pytest.raises(InputError, match="otherwise than it trains") as caught:
        check_runs_as_trained(other, card)
    assert [problem.where for problem in caught.value.problems] == [name]
