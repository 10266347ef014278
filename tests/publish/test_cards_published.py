"""Cards of models that run elsewhere: the printed rows they answer to, and the conventions they name."""

import pytest

from palette_bench.predict.card import AdapterKind, Card, cards
from palette_bench.predict.importing.conventions import CONVENTIONS
from palette_bench.prepare.input_layouts import INPUT_LAYOUTS, HoleColour
from palette_bench.protocol.tasks import TASKS
from palette_bench.publish.tables.printed import all_published_rows, resolve

OUTSIDE = [card for card in cards() if card.adapter.kind is AdapterKind.OUTSIDE]
OWN = ("Palette", "Regression", "Reference", "Ground Truth")
WITHOUT_A_CARD = {"palette-v2/table-2/Co-ModGAN"}


def references(card: Card) -> tuple[str, ...]:
    assert card.outside is not None
    return card.outside.published


def test_the_papers_third_parties_have_cards() -> None:
    names = {card.name for card in OUTSIDE}
    assert names >= {
        "deepfillv2",
        "hifill",
        "boundless",
        "infinitygan",
        "coltran",
        "pixcolor",
        "cgan",
        "photoshop-fill",
    }


@pytest.mark.parametrize("card", OUTSIDE, ids=lambda card: card.name)
def test_every_reference_is_a_printed_row_of_tasks_that_the_card_names(card: Card) -> None:
    for reference in references(card):
        assert {task for row in resolve(reference) for task in row.tasks} <= set(card.tasks)


def test_every_third_party_row_of_a_set_here_is_answered_by_exactly_one_card() -> None:
    answered = [reference for card in OUTSIDE for reference in references(card)]
    printed = {
        row.key
        for row in all_published_rows()
        if not row.model.startswith(OWN) and not row.repeats and not row.differs
        if any(cell.column.set_name for cell in row.cells)
    }
    assert sorted(answered) == sorted(printed - WITHOUT_A_CARD)
    assert printed > WITHOUT_A_CARD


@pytest.mark.parametrize("card", OUTSIDE, ids=lambda card: card.name)
def test_conventions_and_layouts_exist_and_fit_the_tasks(card: Card) -> None:
    assert card.outside is not None
    assert card.outside.how
    assert card.licence
    assert card.citation
    for name in card.tasks:
        CONVENTIONS[card.outside.import_from].check(TASKS[name])
        layout = INPUT_LAYOUTS[card.outside.export_layout]
        layout.check(TASKS[name], HoleColour.WHITE if layout.name == "plain" else None)
