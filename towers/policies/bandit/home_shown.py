"""A table of a home page's shelf, to be printed."""

from rich.table import Table
from rich.text import Text

from towers.policies.bandit.home import Filled
from towers.policies.bandit.home_cards import HomeCards
from towers.retrieval.show import title_card


def shelf_table(cards: HomeCards, filled: Filled) -> Table:
    """Returns a table with slot, propensity, title, artists, kind and id of every card on a shelf.

    Args:
        cards: cards of an export.
        filled: the shelf as shown.
    """
    table = Table(title=Text(f"{filled.shelf.title} (of {int(filled.could.sum()):,} cards)"), title_justify="left")
    for column in ("slot", "propensity"):
        table.add_column(column, justify="right")
    for column in ("title", "artists", "kind", "id"):
        table.add_column(column, overflow="fold")
    rows = cards.rows[filled.places].tolist()
    for slot, (row, chance) in enumerate(zip(rows, filled.propensities.tolist(), strict=True), start=filled.first_slot):
        title, artists, kind, _, content_id = title_card(cards.export, row)
        table.add_row(str(slot), f"{chance:.4f}", *map(Text, (title, artists, kind, content_id)))
    return table
