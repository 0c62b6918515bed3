"""`towers clean`: removes old runs, stores, exports and evaluations, never what serves or what that came from."""

import time
from collections.abc import Sequence
from contextlib import nullcontext

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from towers.assembly.cleaning import cleaning_plan, config_digest
from towers.disk import shown, size_of
from towers.errors import UserError
from towers.lifecycle.cleaning import Verdict, remove, verdicts
from towers.lifecycle.inventory import DAY_S, Item, inventory
from towers.training.run_folder import alone_in, is_held


def run(config: DictConfig) -> None:
    """Shows what goes, what stays, and why; removes it where `dry_run` is false."""
    plan, now_s = cleaning_plan(config), time.time()
    found = inventory(plan.folders, config_digest, is_held, now_s)
    judged = verdicts(found, plan.keep, plan.older_than_days, now_s)
    if judged:
        Console().print(table(judged, now_s))
    going = [verdict.item for verdict in judged if verdict.goes]
    if not going:
        print(f"nothing to clean: {len(judged):,} things stay")
        return
    size = shown(sum(size_of(item.path) for item in going))
    if plan.is_trial:
        print(f"would remove {len(going):,} things, {size}; this was a dry run: dry_run=false removes them")
        return
    print(f"removed {sum(map(_is_removed, going)):,} of {len(going):,} things, {size}")


def _is_removed(item: Item) -> bool:
    """Removes it, unless somebody has begun to train there since."""
    try:
        remove(item.path, alone_in(item.path) if item.kind == "run" else nullcontext())
    except UserError as held:
        print(held)
        return False
    return True


def table(judged: Sequence[Verdict], now_s: float) -> Table:
    """A line a thing: what it is, its size and age, and what becomes of it."""
    found = Table()
    for column in ("what", "", "size", "days old", "", "why"):
        found.add_column(column, justify="right" if column in ("size", "days old") else "left", overflow="fold")
    for verdict in sorted(judged, key=lambda verdict: not verdict.goes):
        item = verdict.item
        age, verb = max(now_s - item.changed_s, 0) / DAY_S, "goes" if verdict.goes else "stays"
        cells = (item.kind, str(item.path), shown(size_of(item.path)), f"{age:.1f}", verb, verdict.reason)
        found.add_row(*map(Text, cells))
    return found
