"""Terminal output of a comparison: tables of metrics, of listeners with both lists, and of contents."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from towers.evaluation.comparison.values import Comparison, ListenerChange
from towers.evaluation.report.listener_examples import Recommendation

SHOWN: Final = 10
"""Number of ranks of a list, and of contents, that are printed."""


def show(comparison: Comparison, console: Console, *, num_listeners: int = 3, num_contents: int = SHOWN) -> None:
    """Prints the comparison: metrics, overlap, some listeners with both lists (hits marked), and contents."""
    console.print(_figure_table(comparison))
    if comparison.left_out:
        console.print(Text(f"not in both evaluations: {', '.join(comparison.left_out)}"))
    for name, overlap in comparison.overlap.items():
        console.print(
            Text(f"lists of {name}: Jaccard {overlap.jaccard:.3f}, rank-biased overlap {overlap.rank_biased:.3f}")
        )
    for word, changes in (("gained", comparison.gained), ("lost", comparison.lost)):
        for change in changes[:num_listeners]:
            heard = ", ".join(card.title for card in change.recent) or "nothing"
            figures = f"{comparison.main_metric} {change.before:.3f} to {change.after:.3f}"
            # Printed above the table, because a title would wrap at the table's width.
            console.print(Text(f"{change.user} {word}: {figures}; heard {heard}"))
            console.print(_both_lists(comparison, change))
    exposure = Table(title="Number of listeners' lists of new contents with this content", title_justify="left")
    for name in ("content", "training plays", "before", "after"):
        exposure.add_column(name, justify="left" if name == "content" else "right")
    for change in comparison.exposure[:num_contents]:
        plays = f"{change.card.train_positives:,}"
        exposure.add_row(Text(change.card.line), plays, f"{change.before:,}", f"{change.after:,}")
    console.print(exposure)


def _figure_table(comparison: Comparison) -> Table:
    """Builds the table of metrics, with differences whose simultaneous bounds exclude 0 in bold."""
    result = Table(title=Text(f"{comparison.after} against {comparison.before}"), title_justify="left")
    result.add_column("figure")
    for name in ("before", "after", "difference", "alone", "among all", "p", "listeners"):
        result.add_column(name, justify="right")
    for key, change in comparison.changes.items():
        found = change.difference
        result.add_row(
            Text(key),
            f"{change.before:.4f}",
            f"{change.after:.4f}",
            Text(f"{found.mean:+.4f}", "bold" if found.is_clear else ""),
            f"{found.low:+.4f} to {found.high:+.4f}",
            f"{found.low_of_all:+.4f} to {found.high_of_all:+.4f}",
            f"{found.p_value:.3f}",
            f"{found.users:,}",
        )
    return result


def _both_lists(comparison: Comparison, change: ListenerChange) -> Table:
    """Builds a table of both lists side by side, with hits marked."""
    result = Table()
    for name in ("#", comparison.before, comparison.after):
        result.add_column(Text(name))
    for rank in range(min(SHOWN, max(len(change.list_before), len(change.list_after)))):
        cells = [_place(places, rank) for places in (change.list_before, change.list_after)]
        result.add_row(str(rank + 1), *cells)
    return result


def _place(places: Sequence[Recommendation], rank: int) -> Text:
    if rank >= len(places):
        return Text("–")
    place = places[rank]
    return Text(f"{'✓' if place.is_hit else ' '} {place.card.title}", "bold" if place.is_hit else "")
