"""Table of the nights and versions of a data set: what became of each, why, and by whom."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from towers.lifecycle.ledger import Entry
from towers.lifecycle.record import Record

COLUMNS = ("version", "state", "data until", "metric", "gate", "last")
UNKNOWN = "–"


def rows_of(entries: Sequence[Entry], main_metric: str) -> list[tuple[str, ...]]:
    """Returns a row of texts for each night, in the order of `COLUMNS`.

    Args:
        entries: entries of a ledger, the newest first.
        main_metric: metric whose mean is shown.
    """
    return [_row(entry, main_metric) for entry in entries]


def history_table(entries: Sequence[Entry], main_metric: str) -> Table:
    """Makes a table of the rows; the arguments are those of `rows_of`."""
    found = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        name = main_metric if column == "metric" else column
        found.add_column(name, justify="right" if column == "metric" else "left", overflow="fold")
    for row in rows_of(entries, main_metric):
        found.add_row(*map(Text, row))
    return found


def verdict_word(record: Record) -> str:
    """Returns the gate's verdict on a night in words, with the rules that refused it."""
    if not record.verdict:
        return "not asked"
    refused = ", ".join(record.verdict.get("refused", ()))
    if not refused:
        return "passed" if record.verdict.get("passed") else "not passed"
    return f"forced past {refused}" if record.verdict.get("forced") else f"refused by {refused}"


def _row(entry: Entry, main_metric: str) -> tuple[str, ...]:
    record = entry.record
    figure = record.metrics.get(main_metric)
    return (
        record.version or f"none of night {record.night}",
        entry.state if entry.export is not None or record.version is None else f"{entry.state}, removed",
        (record.data_end or UNKNOWN)[:16],
        UNKNOWN if figure is None else f"{figure:.4f}",
        verdict_word(record),
        _last(record),
    )


def _last(record: Record) -> str:
    """Formats the last remark; for a barred version, the one that says so."""
    told = [remark for remark in record.remarks if record.bar is None or remark.event == "marked bad"]
    if not told:
        return UNKNOWN
    last = told[-1]
    why = "" if last.why is None else f": {last.why}"
    return f"{last.event} {last.when[:16]} by {last.who}{why}"
