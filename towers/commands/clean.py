"""`towers clean`: removes old runs, stores, exports and evaluations, never what serves or what it was made from."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from towers.assembly.cleaning import cleaning_plan, origin_of
from towers.commands.printed import print_table
from towers.disk import shown, size_of
from towers.lifecycle.cleaning import Verdict, remove_all, verdicts
from towers.lifecycle.inventory import DAY_S, Item, inventory
from towers.training.run_folder import is_held


def run(config: DictConfig) -> None:
    """Shows what would be removed, what stays, and why; removes it where `dry_run` is false."""
    plan, now_s = cleaning_plan(config), time.time()
    served = plan.folders.served()
    found = inventory(plan.folders, origin_of, is_held, now_s)
    judged = verdicts(found, plan.keep, plan.older_than_days, now_s)
    if judged:
        print_table(table(judged, now_s))
    going = [verdict.item for verdict in judged if verdict.goes]
    if not going:
        print(f"nothing to clean: {len(judged):,} things stay")
        return
    size = shown(sum(size_of(item.path) for item in going))
    if plan.is_trial:
        print(f"would remove {len(going):,} things, {size}; this was a dry run: dry_run=false removes them")
        return
    removed = remove_all(going, plan.folders, served, nullcontext)
    print(f"removed {removed:,} of {len(going):,} things, {size}")


def table(judged: Sequence[Verdict], now_s: float) -> Table:
    """Makes a table with a line for each thing, removals first: its fate, kind, folder, size, age in days, and the
    reason.

    Baselines, of which there are many, share a line where they share a fate.
    """
    together: dict[tuple[bool, str, Path, str], list[Item]] = {}
    for verdict in sorted(judged, key=lambda verdict: not verdict.goes):
        item = verdict.item
        path = item.path.parent if item.kind == "baseline" else item.path
        together.setdefault((verdict.goes, item.kind, path, verdict.reason), []).append(item)
    found = Table(box=None, pad_edge=False)
    for column in ("", "what", "where", "size", "days old", "why"):
        is_number = column in ("size", "days old")
        is_long = column in ("where", "why")
        found.add_column(column, justify="right" if is_number else "left", no_wrap=not is_long, overflow="fold")
    for (goes, kind, path, reason), items in together.items():
        days = (now_s - max(item.changed_s for item in items)) / DAY_S
        size = shown(sum(size_of(item.path) for item in items))
        what = kind if len(items) == 1 else f"{len(items):,} {kind}s"
        found.add_row(*map(Text, ("goes" if goes else "stays", what, str(path), size, f"{max(days, 0):.1f}", reason)))
    return found
