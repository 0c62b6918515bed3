"""Removal, at a night's end, of old versions and what they were made from, so that disks do not fill up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from towers.disk import shown, size_of
from towers.errors import UserError
from towers.lifecycle.cleaning import BELONG, Keep, Verdict, remove_all, verdicts
from towers.lifecycle.inventory import Folders, Item, Origin, inventory
from towers.lifecycle.ledger import Entry, Ledger
from towers.lifecycle.opening import problem_of
from towers.lifecycle.replaced import original_name
from towers.manifest import read_json
from towers.retrieval.files import MANIFEST
from towers.training.run_folder import is_held

FOREIGN = "not of these nights"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNights:
    """Numbers of past versions and nights that stay.

    Args:
        versions: the served version, and the last ones before it that may serve again.
        nights: nights whose challenger was refused, marked bad or never published, tonight included.

    Raises:
        UserError: fewer than three versions, or no night.
    """

    versions: int
    nights: int

    def __post_init__(self) -> None:
        if self.versions < 3:
            raise UserError(f"keep.versions={self.versions}: must be at least 3, so that two can be rolled back")
        if self.nights < 1:
            raise UserError(f"keep.nights={self.nights}: must be at least 1, which is the last one")


def prune(ledger: Ledger, folders: Folders, keep: KeptNights, origin_of: Callable[[Path], Origin], now_s: float) -> str:
    """Removes what no kept night needs; a kill leaves things whole or hidden, and the next night continues.

    Returns:
        A line on what was removed.

    Raises:
        UserError: as for `prunable`; or `current` moved meanwhile, and the remaining things stay.
    """
    served = folders.served()
    judged = prunable(ledger, folders, keep, origin_of, now_s)
    going = [verdict.item for verdict in judged if verdict.goes]
    size_bytes = sum(size_of(item.path) for item in going)
    removed = remove_all(going, folders, served, ledger.alone)
    return f"removed {removed:,} old things, {shown(size_bytes)}" if going else "nothing to remove"


def prunable(
    ledger: Ledger, folders: Folders, keep: KeptNights, origin_of: Callable[[Path], Origin], now_s: float
) -> list[Verdict]:
    """Decides on all items: only versions and runs that the ledger knows, and stores of its data set, may go.

    Args:
        ledger: ledger of the data set.
        folders: folders of the items.
        keep: numbers of versions and nights that stay.
        origin_of: returns what the run in a folder was made with.
        now_s: present time, in seconds since 1970.

    Raises:
        UserError: `exports/current` or a record cannot be read.
    """
    entries = ledger.entries()
    kept = _kept(ledger, entries, keep)
    items = inventory(folders, origin_of, is_held, now_s)
    reasons = _Reasons(entries, kept, folders, ledger.folder.name)
    held = [replace(item, must_stay=item.must_stay or reasons.of(item)) for item in items]
    return verdicts(held, Keep(runs=0, stores=0, exports=0), 0.0, now_s)


def _kept(ledger: Ledger, entries: Sequence[Entry], keep: KeptNights) -> dict[str, str]:
    """Returns the nights that stay, by name, and why."""
    champions = [entry for entry in entries if entry.state == "champion"]
    kept = {entry.record.night: "serves" for entry in champions}
    before = 0
    for entry in ledger.retired():
        assert entry.export is not None  # else it is not among these
        is_whole = problem_of(entry.export) is None
        if is_whole and ledger.why_barred(read_json(entry.export / MANIFEST)):
            continue
        if before < keep.versions - 1:
            kept[entry.record.night] = f"may serve again (keep.versions={keep.versions})"
        before += is_whole  # an unreadable one is kept, and does not count
    others = [entry.record.night for entry in entries if entry.state in ("candidate", "rejected")]
    told = f"of the last nights that published nothing (keep.nights={keep.nights})"
    return kept | dict.fromkeys(others[: keep.nights], told)


class _Reasons:
    """Reasons why items stay."""

    def __init__(self, entries: Sequence[Entry], kept: Mapping[str, str], folders: Folders, data_set: str):
        self._data_set, self._stores = data_set, folders.stores
        self._versions: dict[str, str | None] = {}
        self._runs: dict[Path, str | None] = {}
        self._of_store: dict[str, str] = {}
        for record in (entry.record for entry in entries):
            why = kept.get(record.night)
            if record.version is not None:
                self._versions[record.version] = why
            for run in record.runs:
                path = folders.runs / run
                self._runs[path] = self._runs.get(path) or why
            if record.store is not None and why is not None:
                self._of_store[record.store] = why

    def of(self, item: Item) -> str | None:
        """Returns why an item stays by itself; null where only an item that needs it keeps it."""
        match item.kind:
            case "export":
                names = (item.path.name, original_name(item.path) or "")
                known = [self._versions[name] for name in names if name in self._versions]
                return known[0] if known else FOREIGN
            case "run":
                return self._runs.get(item.path, FOREIGN)
            case "store":
                own = item.path.parent == self._stores / self._data_set
                return self._of_store.get(item.path.name) if own else FOREIGN
            case "spectrograms":
                return None if item.path.parent.parent == self._stores / self._data_set else FOREIGN
            case kind:
                return FOREIGN if kind in BELONG and not item.needs else None
