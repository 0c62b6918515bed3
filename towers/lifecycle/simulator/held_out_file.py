"""The file of listeners that a simulator's export must not have seen, and the commands that make such an export."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from towers.data.event_log.log import LOG, EventLog
from towers.data.event_times import shown_time
from towers.data.store import Store
from towers.errors import UserError
from towers.lifecycle.simulator.parts import HeldOut
from towers.manifest import atomic_file

FILE = "held_out.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The listeners that were left out.

    Args:
        path: path of the file.
        held_out: number of listeners in it.
        listeners: number of all listeners.
        commands: command lines that train an export without them, and fit a simulator on it.
    """

    path: Path
    held_out: int
    listeners: int
    commands: tuple[str, ...]


def leave_out(folder: Path, store: Path, held_out: HeldOut) -> Left:
    """Writes the ids of held-out listeners, one on each line, for `data.forget`.

    Args:
        folder: folder of the simulator.
        store: folder of the prepared store of all listeners.
        held_out: rule for who they are.

    Raises:
        UserError: no store there, or no listener is held out, or all are.
    """
    opened = Store.open(store)
    log = EventLog.current(store / LOG)
    if log is None:
        raise UserError(f"store={store}: has no event log; run `towers prepare` again, which writes it")
    active = np.flatnonzero(log.columns.lengths > 0)
    user_ids = tuple(str(user_id) for user_id in log.rows.users.ids.take(active).to_pylist())
    is_out = held_out.among(user_ids)
    if is_out.all() or not is_out.any():
        raise UserError(
            f"held_out.share={held_out.share}: holds out {int(is_out.sum()):,} of {len(user_ids):,} listeners; a fit "
            "and a check need some each"
        )
    path = folder / FILE
    with atomic_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{user_ids[row]}\n" for row in np.flatnonzero(is_out).tolist()))
    return Left(
        path=path, held_out=int(is_out.sum()), listeners=len(user_ids), commands=_commands(folder, store, opened, path)
    )


def _commands(folder: Path, store: Path, opened: Store, path: Path) -> tuple[str, ...]:
    """Returns the commands that train an export which has seen neither those listeners nor the period of the check."""
    name = f"{store.name}-held-out"
    named = f"data.name={name} name={name}"
    cuts = {"validation_start": opened.manifest["validation_start_us"], "test_start": opened.manifest["test_start_us"]}
    times = {key: shown_time(time_us) for key, time_us in cuts.items() if time_us is not None}
    split = "".join(f" data.split.{key}={time}" for key, time in times.items())
    as_of = f" as_of={times['validation_start']}" if times else ""
    return (
        f"towers prepare data.root={opened.manifest.get('root')} data.name={name} data.forget={path}{split}",
        f"towers train {named}",
        f"towers export {named}{as_of} paths.exports={folder / 'exports'} promote=true",
        f"towers simulate action=fit folder={folder} store={store}",
    )
