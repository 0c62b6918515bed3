"""Writes histories anew without the events that filters leave out, in bounded memory."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from towers.data.array_files import ArrayFiles, ArrayReader
from towers.data.blocks import Block, blocks
from towers.data.filters.before import Before
from towers.data.filters.filter import Filter
from towers.data.firsts import first_places, is_first
from towers.data.histories import HISTORY_COLUMNS, PLACES, Histories
from towers.data.splits.split import Cuts
from towers.errors import UserError


def filters_of(cuts: Cuts, filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """Returns all filters in order, by key of the configuration; where the cuts have an end, a filter that leaves out
    later events comes first."""
    behind: dict[str, Filter] = {} if cuts.end_us is None else {"data.split": Before(cuts.end_us)}
    return {**behind, **{f"data.filters.{name}": rule for name, rule in filters.items()}}


def apply_filters(folder: Path, filters: Mapping[str, Filter], num_contents: int) -> dict[str, int]:
    """Applies filters one after the other, each to the events that the one before it has kept.

    No process may read the folder yet: a kill in the middle leaves columns of different lengths.

    Args:
        folder: `histories` of a store that is being written.
        filters: filters by key of the configuration, in the order in which they are applied.
        num_contents: number of content rows.

    Returns:
        For each key, how many events the filter left out.

    Raises:
        UserError: no positive event of training is left.
    """
    left_out = {}
    for name, rule in filters.items():
        histories = Histories.read(folder)
        keep = rule.keep(histories, num_contents)
        left_out[name] = len(keep) - int(keep.sum())
        if not left_out[name]:
            continue
        if not _has_training(histories, keep):
            raise UserError(f"{name}: leaves no positive event of training; leave it out, or give it milder settings")
        _rewrite(folder, histories, keep)
    return left_out


def _has_training(histories: Histories, keep: Bool[np.ndarray, " events"]) -> bool:
    for block in blocks(histories.offsets):
        place = np.arange(block.events.start, block.events.stop)
        is_in = place < np.repeat(histories.train_end[block.users], block.lengths)
        if (is_in & keep[block.events] & np.asarray(histories.is_positive[block.events])).any():
            return True
    return False


def _rewrite(folder: Path, histories: Histories, keep: Bool[np.ndarray, " events"]) -> None:
    def is_discovery(block: Block) -> np.ndarray:
        found = np.zeros(block.size, bool)
        chosen = np.flatnonzero(keep[block.events] & np.asarray(histories.is_positive[block.events]))
        rows = np.asarray(histories.content_row[block.events])[chosen]
        found[chosen] = is_first(block.user_of_event[chosen], rows)
        return found

    def session(block: Block) -> np.ndarray:
        """`[events]`: the place of the session's first kept event within the kept history."""
        given = np.asarray(histories.session[block.events])
        kept, user = keep[block.events], block.user_of_event
        known = np.flatnonzero(kept & (given >= 0))
        before = np.append(0, np.cumsum(kept))  # in the block
        begins = before[np.cumsum(block.lengths) - block.lengths]
        found = np.full(block.size, -1, np.int64)
        first = known[first_places(user[known], given[known])]
        found[known] = before[first] - begins[user[known]]
        return found

    computed: dict[str, Callable[[Block], np.ndarray]] = {"is_discovery": is_discovery, "session": session}
    total = int(keep.sum())
    partial = folder / "partial"
    partial.mkdir()
    for name, dtype in HISTORY_COLUMNS.items():
        column = ArrayReader(folder / f"{name}.npy")
        compute = computed.get(name, lambda block, column=column: column[block.events])
        with ArrayFiles(partial, {name: dtype}, total) as file:
            for block in blocks(histories.offsets):
                file.append({name: compute(block)[keep[block.events]].astype(dtype)})
        (partial / f"{name}.npy").replace(folder / f"{name}.npy")  # `histories` still has what was there
    partial.rmdir()
    for name, places in _moved(histories, keep).items():
        np.save(folder / f"{name}.npy", places)


def _moved(histories: Histories, keep: Bool[np.ndarray, " events"]) -> dict[str, np.ndarray]:
    """Returns listeners' places among the events that stay, by the name of the array."""
    moved = {name: np.zeros(len(getattr(histories, name)), np.int64) for name in PLACES}
    done = 0
    for block in blocks(histories.offsets):
        before = np.append(0, np.cumsum(keep[block.events])) + done
        for name in PLACES:
            moved[name][block.users] = before[getattr(histories, name)[block.users] - block.events.start]
        done = int(before[-1])
    moved["offsets"][-1] = done
    return moved
