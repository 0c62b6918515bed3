"""Which old runs, stores, exports and evaluations go, and why the others stay; and how they go."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from towers.errors import Unreachable, UserError
from towers.lifecycle.inventory import DAY_S, REMOVED, Folders, Item, Kind
from towers.training.run_folder import alone_in

BELONG: tuple[Kind, ...] = ("evaluation", "baseline", "spectrograms")
"""Kinds that stay with what they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How many of each kind stay, however old they are: the newest ones.

    Args:
        runs: of an experiment.
        stores: of a data set.
        exports: of all.

    Raises:
        UserError: a number below 0.
    """

    runs: int
    stores: int
    exports: int

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 0:
                raise UserError(f"keep.{each.name}={getattr(self, each.name)}: must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of an item.

    Args:
        item: it.
        goes: whether it is removed.
        reason: why, or why not.
    """

    item: Item
    goes: bool
    reason: str


def verdicts(items: Sequence[Item], keep: Keep, older_than_days: float, now_s: float) -> list[Verdict]:
    """What becomes of each, in the order of `items`.

    Something goes where it is older than `older_than_days`, so many newer ones of its kind stand beside it as are to be
    kept, and nothing that stays came from it.

    Args:
        items: all that there is.
        keep: how many of each kind stay.
        older_than_days: age from which on something may go.
        now_s: seconds since 1970.

    Raises:
        UserError: an age below 0.
    """
    if not older_than_days >= 0:
        raise UserError(f"older_than_days={older_than_days}: must be 0 or more")
    stays = {item.path: item.must_stay for item in items if item.must_stay is not None}
    numbers: dict[str, int] = {"run": keep.runs, "store": keep.stores, "export": keep.exports}
    seen: Counter[tuple[Kind, Path]] = Counter()
    for item in sorted(items, key=lambda item: -item.changed_s):
        beside = (item.kind, item.path.parent)
        seen[beside] += 1
        if item.kind == "leftover":
            continue
        if item.kind not in BELONG and seen[beside] <= numbers[item.kind]:
            stays.setdefault(item.path, f"one of the newest (keep.{item.kind}s={numbers[item.kind]})")
        elif now_s - item.changed_s < older_than_days * DAY_S:
            stays.setdefault(item.path, f"not yet {older_than_days:g} days old")
    came = {item.path: item for item in items if item.kind not in BELONG}
    staying = [item for path, item in came.items() if path in stays]
    for item in staying:  # which grows by what each came from
        for path in sorted(item.needs - stays.keys()):
            stays[path] = f"{item.kind} {item.path.name} came from it"
            staying += [came[path]] if path in came else []
    return [_verdict(item, stays) for item in items]


def _verdict(item: Item, stays: Mapping[Path, str]) -> Verdict:
    if item.kind == "leftover":
        words = "half removed" if item.path.name.endswith(REMOVED) else "left by a process that was killed"
        return Verdict(item=item, goes=True, reason=words)
    why = stays.get(item.path)
    if item.kind in BELONG and why is None:
        owners = sorted(path.name for path in item.needs if path in stays)
        if owners:
            return Verdict(item=item, goes=False, reason=f"belongs to {owners[0]}")
        return Verdict(item=item, goes=True, reason="what it belongs to goes, or is gone")
    return Verdict(item=item, goes=why is None, reason=why or "old")


def remove_all(
    going: Sequence[Item], folders: Folders, served: Path | None, guard: Callable[[], AbstractContextManager[Any]]
) -> int:
    """Removes items, unless somebody has begun to train there since.

    Args:
        going: in the order in which they go.
        folders: that they stand in.
        served: version that `current` led to when it was decided that they go.
        guard: gives what is held while one is taken away.

    Returns:
        How many are gone.

    Raises:
        UserError: another version serves by now, and nobody knows what of the rest it came from.
    """
    removed = 0
    for item in going:
        try:
            remove(item.path, _still(item, folders, served, guard))
        except _Moved:
            raise
        except UserError as held:
            print(held)
        else:
            removed += 1
    return removed


class _Moved(Unreachable):
    """Another version serves than before."""


@contextmanager
def _still(
    item: Item, folders: Folders, served: Path | None, guard: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Holds what must not change while an item is taken away."""
    with guard(), alone_in(item.path) if item.kind == "run" else nullcontext():
        if folders.served() != served:
            raise _Moved(f"{folders.exports}: current has moved meanwhile; what is left stays, run this again")
        yield


def remove(path: Path, alone: AbstractContextManager[Any]) -> None:
    """Removes a file or folder; a kill leaves it as it was, or under a hidden name that the next call removes.

    Links in it are removed, and what they lead to is left. What is gone already is no fault.

    Args:
        path: of it.
        alone: is entered while it gets the hidden name, and may refuse.
    """
    hidden = path
    with suppress(FileNotFoundError):
        if not path.name.endswith(REMOVED):
            hidden = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}{REMOVED}")
            with alone:
                path.rename(hidden)
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden)
        else:
            hidden.unlink()
