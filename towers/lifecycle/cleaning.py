"""Choice of old runs, stores, exports and evaluations to remove, with reasons, and their removal."""

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
"""Kinds that stay with the item that they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Numbers of the newest things of each kind that stay regardless of age.

    Args:
        runs: runs of each experiment.
        stores: stores of each data set.
        exports: exports in all.

    Raises:
        UserError: a number is below 0.
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
    """Decision about an item.

    Args:
        item: item that is decided on.
        goes: whether it is removed.
        reason: reason for it.
    """

    item: Item
    goes: bool
    reason: str


def verdicts(items: Sequence[Item], keep: Keep, older_than_days: float, now_s: float) -> list[Verdict]:
    """Decides on each item, in the order of `items`.

    An item goes where it is older than `older_than_days`, `keep` newer ones of its kind are beside it, and nothing that
    stays was made from it.

    Args:
        items: all items.
        keep: numbers of the newest items that stay.
        older_than_days: least age, in days, of an item that goes.
        now_s: present time, in seconds since 1970.

    Raises:
        UserError: the age is below 0.
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
    for item in staying:  # the list grows by what each item was made from
        for path in sorted(item.needs - stays.keys()):
            stays[path] = f"{item.kind} {item.path.name} was made from it"
            staying += [came[path]] if path in came else []
    return [_verdict(item, stays) for item in items]


def _verdict(item: Item, stays: Mapping[Path, str]) -> Verdict:
    if item.kind == "leftover":
        words = "half removed" if item.path.name.endswith(REMOVED) else "left by a killed process"
        return Verdict(item=item, goes=True, reason=words)
    why = stays.get(item.path)
    if item.kind in BELONG and why is None:
        owners = sorted(path.name for path in item.needs if path in stays)
        if owners:
            return Verdict(item=item, goes=False, reason=f"belongs to {owners[0]}")
        return Verdict(item=item, goes=True, reason="the item that it belongs to is removed, or gone")
    return Verdict(item=item, goes=why is None, reason=why or "old")


def remove_all(
    going: Sequence[Item], folders: Folders, served: Path | None, guard: Callable[[], AbstractContextManager[Any]]
) -> int:
    """Removes items, except runs that are being trained again meanwhile.

    Args:
        going: items in the order of their removal.
        folders: folders that they are in.
        served: version that `current` pointed to when the removal was decided.
        guard: returns a lock to hold while an item is moved away.

    Returns:
        Number of items that were removed.

    Raises:
        UserError: another version serves meanwhile (`Unreachable`), and some remaining item may be what it was made
            from.
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
    """Another version serves than when the removal was decided."""


@contextmanager
def _still(
    item: Item, folders: Folders, served: Path | None, guard: Callable[[], AbstractContextManager[Any]]
) -> Iterator[None]:
    """Holds what must not change while an item is moved away."""
    with guard(), alone_in(item.path) if item.kind == "run" else nullcontext():
        if folders.served() != served:
            raise _Moved(f"{folders.exports}: current has moved meanwhile, so the other things stay; run this again")
        yield


def remove(path: Path, alone: AbstractContextManager[Any]) -> None:
    """Removes a file or folder; a kill leaves it as it was, or under a hidden name that the next call removes.

    Links in it are removed, but not their targets. It is no error if the path is already gone.

    Args:
        path: file or folder.
        alone: entered while the path gets its hidden name; may raise to refuse.
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
