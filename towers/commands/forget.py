"""`towers forget`: finds everything that is stored about listeners, and removes it on request."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from towers.assembly.forgetting import ForgettingPlan, forgetting_plan, prepare_config
from towers.commands import prepare
from towers.commands.printed import print_table
from towers.commands.progress import StageProgress
from towers.data.sources.remote import is_remote
from towers.data.sources.tables import raw_folder
from towers.errors import UserError
from towers.lifecycle.forgetting import RECORD, Record, Trace
from towers.lifecycle.forgetting_raw import rows_in, unread_rows_in

SHOWN = 5
"""Most text files that are named."""
COMMAND = "towers forget remove=true"


def run(config: DictConfig) -> list[Trace]:
    """Shows what holds data of the listeners, and removes it if `remove` is true; returns what still holds some."""
    with StageProgress() as progress:
        plan = forgetting_plan(config, progress.update)
    if plan.removes:
        plan.places.finish()
        if plan.places.prepared is not None:
            with prepare_config(config, plan.user_ids) as prepared:
                prepare.prepare(prepared)
    found = plan.places.traces(plan.user_ids)
    if found:
        print_table(table(found, plan.removes))
    if plan.removes:
        found = remove(plan, found)
    elif found:
        print(f"{len(found):,} things hold data of the listeners; this was a dry run: remove=true removes them")
    else:
        print(nothing(plan))
    for line in [*raw_rows(plan.roots, plan.user_ids), *mentions(plan, found)]:
        print(line)
    return found


def remove(plan: ForgettingPlan, found: Sequence[Trace]) -> list[Trace]:
    """Removes what can be removed, searches again, and prints the result.

    Raises:
        UserError: something still holds data of the listeners.
    """
    record = Record(plan.places.folders.stores / RECORD, COMMAND, len(plan.user_ids))
    with StageProgress() as progress:
        for done, trace in enumerate(found, start=1):
            if trace.waits is None:
                trace.erase()
                record.add(trace)
            progress.update("forget", done, len(found), trace.kind)
    left = plan.places.traces(plan.user_ids)
    record.write(is_finished=not left)
    if left:
        why = "; ".join(f"{trace.path}: {trace.waits or 'is new, run this again'}" for trace in left)
        raise UserError(f"{len(left):,} things still hold data of the listeners: {why}")
    print(
        f"nothing holds data of the listeners any more: {len(found):,} things changed; {record.path} lists them, "
        "without the listeners' ids"
    )
    return left


def nothing(plan: ForgettingPlan) -> str:
    """Returns the message for a search that found nothing."""
    (one, *others) = plan.user_ids
    hint = "; several ids are users=[ID,ID]" if not others and one[:1] + one[-1:] == "[]" else ""
    return f"nothing holds data of the listeners{hint}"


def raw_rows(roots: Sequence[str], user_ids: Sequence[str]) -> list[str]:
    """Returns lines about raw data that still names the listeners; `forget` does not change it."""
    lines = []
    for root in roots:
        try:
            folder = raw_folder(root)
            found, unread = dict(rows_in(folder, user_ids)), dict(unread_rows_in(folder, user_ids))
        except UserError as error:
            if not is_remote(root):
                raise
            lines.append(f"{root} is your raw data and could not be read: {error}")
            continue
        if found:
            lines.append(
                f"{root} is yours and still names them: {_shown(found)}; prepare leaves out the rows of those who are "
                "forgotten"
            )
        if unread:
            lines.append(
                f"{root} is yours and names them in files that are not read: {_shown(unread)}; those that a log calls "
                "dead go by VACUUM (Delta) or by expire_snapshots and remove_orphan_files (Iceberg)"
            )
    return lines


def _shown(rows: Mapping[str, int]) -> str:
    """Formats numbers of rows by the tables that they are in."""
    return ", ".join(f"{count:,} of {name}/" for name, count in rows.items())


def mentions(plan: ForgettingPlan, found: Sequence[Trace]) -> list[str]:
    """Returns a line about other text files, such as logs, that name the listeners."""
    texts = plan.places.mentions(plan.user_ids)
    others = [str(path) for path in texts if not any(path.is_relative_to(trace.path) for trace in found)]
    more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
    return [f"text files that contain their ids, for you to check: {', '.join(others[:SHOWN])}{more}"] if others else []


def table(found: Sequence[Trace], removes: bool) -> Table:
    """Makes a table with a line for each thing: its kind, its path, what it holds of the listeners, and its fate.
    Baselines, of which there are many, share a line."""
    together: dict[tuple[str, ...], int] = {}
    for trace in found:
        path = trace.path.parent if trace.kind == "baseline" else trace.path
        line = (trace.kind, str(path), trace.told, trace.waits or trace.fate)
        together[line] = together.get(line, 0) + 1
    shown = Table(box=None, pad_edge=False)
    for column in ("what", "where", "of them", "becomes" if removes else "remove=true"):
        shown.add_column(column, overflow="fold", no_wrap=column == "what")
    for (kind, *others), count in together.items():
        shown.add_row(*map(Text, (kind if count == 1 else f"{count:,} {kind}s", *others)))
    return shown
