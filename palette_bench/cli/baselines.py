"""``palette-bench baselines``."""

from typing import TYPE_CHECKING

import click

from palette_bench.cli import console
from palette_bench.cli.options import as_json

if TYPE_CHECKING:
    from palette_bench.predict.card import Card


@click.command(
    epilog="""\b
Examples:
  palette-bench baselines
  palette-bench baselines --task uncrop
  palette-bench baselines classical-mirror
  palette-bench baselines --json"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--task", "task_name", help="Only models for this task.")
@as_json
def command(names: tuple[str, ...], task_name: str | None, *, as_json: bool) -> None:
    """List the models that ship with the program, and those that installed packages offer.

    A NAME, or the path of a card, is told about in full.
    """
    from palette_bench.predict.card import cards, entry_point_names, find_card
    from palette_bench.protocol.tasks import task

    chosen = [find_card(name) for name in names] or cards()
    if task_name is not None:
        chosen = [card for card in chosen if card.does(task(task_name).name)]
    offered = [] if names else entry_point_names()
    if as_json:
        console.print_json({"baselines": [_facts(card) for card in chosen], "entry_points": offered})
        return
    if names:
        for card in chosen:
            _tell(card)
        return
    from rich.table import Table

    table = Table("model", "title", "runs", "tasks", "extra")
    for card in chosen:
        table.add_row(card.name, card.title, _runs(card), _tasks(card), card.extra)
    console.print_table(table)
    for name in offered:
        click.echo(f"offered by an installed package: {name}")
    click.echo("palette-bench baselines NAME tells what a model is; predict --model NAME runs it")


def _facts(card: "Card") -> dict[str, object]:
    return {
        "name": card.name,
        "title": card.title,
        "description": card.description,
        "kind": card.adapter.kind.value,
        "tasks": list(card.tasks),
        "sizes": list(card.sizes),
        "stochastic": card.stochastic,
        "licence": card.licence,
        "citation": card.citation,
        "extra": card.extra or None,
        "fingerprint": card.fingerprint(),
        "weights_sha256": None if card.weights is None else card.weights.sha256,
        "published": list(card.outside.published) if card.outside else [],
    }


def _tasks(card: "Card") -> str:
    from palette_bench.protocol.tasks import TASKS

    if set(card.tasks) == set(TASKS):
        return "all"
    names = list(card.tasks)
    for start in ("inpaint-", "uncrop", "jpeg-"):
        alike = [name for name in TASKS if name.startswith(start)]
        if set(alike) <= set(names):
            names = [f"{start}*" if name == alike[0] else name for name in names if name not in alike[1:]]
    return ", ".join(names)


def _runs(card: "Card") -> str:
    """How it is run, or that it has yet to be trained."""
    return "once trained" if card.training and card.weights is None else card.adapter.kind.value


def _tell(card: "Card") -> None:
    """One card in full."""
    click.echo(f"{card.name}: {card.title}")
    lines = {
        "": card.description,
        "tasks": _tasks(card),
        "sizes": ", ".join(map(str, card.sizes)) or "any",
        "runs as": _runs(card),
        "random": {True: "yes, from the seed", False: "no", None: "not declared"}[card.stochastic],
        "licence": card.licence,
        "citation": card.citation,
        "needs": f"palette-bench[{card.extra}]" if card.extra else "",
        "weights": f"{card.weights.file}, sha256 {card.weights.sha256}" if card.weights else "",
        "how": card.outside.how.strip() if card.outside else "",
        "answers to": ", ".join(card.outside.published) if card.outside else "",
        "fingerprint": card.fingerprint(),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"  {name + ': ' if name else ''}{text}")
