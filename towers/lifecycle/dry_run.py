"""Checks at the beginning of a night for what could fail late in it: space, folders, raw data, sink, served version."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage
from typing import Final

from towers.data.sources.remote import bytes_of
from towers.data.sources.tables import Source
from towers.data.store import CURRENT
from towers.disk import check_writable, mount_of, shown, size_of
from towers.errors import Unreachable, UserError
from towers.lifecycle.inventory import Folders
from towers.lifecycle.watching.watcher import Watcher
from towers.publishing.sinks.sink import Sink
from towers.retrieval.export import Export
from towers.secrets import masked
from towers.training.run_folder import FINISHED

GB: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Disk space that a night requires before it begins, relative to the sizes that the night before left.

    Args:
        stores: multiple of the size of the data set's last store and event log.
        runs: multiple of the size of the experiment's last run; a night has two.
        exports: multiple of the size of the served version.
        spare_gb: GB that must stay free on each disk in addition.

    Raises:
        UserError: a value is below 0.
    """

    stores: float
    runs: float
    exports: float
    spare_gb: float

    def __post_init__(self) -> None:
        for name in ("stores", "runs", "exports", "spare_gb"):
            if not getattr(self, name) >= 0:
                raise UserError(f"headroom.{name}={getattr(self, name)}: must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a night reads and writes, and what is therefore tried before it begins.

    Args:
        folders: folders that it writes to.
        nights: folder of the data set's records.
        data: name of the data set.
        name: name of the experiment.
        source: source of the raw data.
        sink: engine that is filled.
        watchers: watchers of the night, by name.
    """

    folders: Folders
    nights: Path
    data: str
    name: str
    source: Source
    sink: Sink
    watchers: Mapping[str, Watcher] = field(default_factory=dict)


def dry_run(night: Tried, settings: Headroom) -> list[str]:
    """Tries all of it; nothing that it writes stays.

    Returns:
        A line for people about each thing that was tried.

    Raises:
        UserError: lists all faults, each with its key, its path and a way out; `Unreachable` where all faults are of
            things that do not answer.
    """
    lines: list[str] = []
    wrong: list[UserError] = []
    for tried in (_raw, _folders, _space, _served, _sink, _watchers):
        with _noted(wrong):
            for line in tried(night, settings):
                lines.append(line)
    if wrong:
        kind = Unreachable if all(isinstance(each, Unreachable) for each in wrong) else UserError
        raise kind(f"nothing was begun: {'; '.join(dict.fromkeys(map(str, wrong)))}")
    return lines


class _Wrong(UserError):
    """Several errors at once.

    Args:
        wrong: the errors.
    """

    def __init__(self, wrong: list[UserError]):
        super().__init__("; ".join(map(str, wrong)))
        self.wrong = wrong


@contextmanager
def _noted(wrong: list[UserError]) -> Iterator[None]:
    """Appends errors that the block raises for the caller's mistake or the system's to `wrong`."""
    try:
        yield
    except _Wrong as several:
        wrong += several.wrong
    except UserError as error:
        wrong.append(error)
    except OSError as error:
        wrong.append(UserError(str(error)))


def _raw(night: Tried, settings: Headroom) -> Iterator[str]:
    """Lists the raw data; the source's own messages name `data.root`."""
    root, files = night.source.inputs()
    yield f"data.root={masked(str(root))}: files: {len(files):,}, {shown(sum(map(bytes_of, files)))}"


def _folders(night: Tried, settings: Headroom) -> Iterator[str]:
    places = _places(night)
    wrong: list[UserError] = []
    for key, folder in places.items():
        with _noted(wrong):
            check_writable(key, folder)
    current = night.folders.exports / CURRENT
    if current.exists() and not current.is_symlink():
        told = f"paths.exports: {current} is no link, so it cannot be pointed to a new version; move it away"
        wrong.append(UserError(told))
    if wrong:
        raise _Wrong(wrong)
    yield f"can be written to: {', '.join(map(str, places.values()))}"


def _space(night: Tried, settings: Headroom) -> Iterator[str]:
    """Compares needed and free space on each disk, for all that goes there together."""
    by_disk: dict[Path, dict[str, float]] = {}
    for key, size_bytes in _needed_bytes(night, settings).items():
        by_disk.setdefault(mount_of(_places(night)[key]), {})[key] = size_bytes
    wrong: list[UserError] = []
    for disk, needed in by_disk.items():
        free, total = disk_usage(disk).free, int(sum(needed.values()) + GB * settings.spare_gb)
        told = ", ".join(f"{key} {shown(int(size_bytes))}" for key, size_bytes in needed.items())
        if free < total:
            elsewhere = " or ".join(f"{key}=FOLDER" for key in needed)
            lower = " or ".join(f"headroom.{key.partition('.')[2]}" for key in needed)
            spare = shown(int(GB * settings.spare_gb))
            needs = (
                f"disk {disk}: a night needs about {shown(total)} ({told}, to spare {spare}), {shown(free)} are free"
            )
            ways = f"free some (towers clean), write elsewhere with {elsewhere}, or lower {lower} or headroom.spare_gb"
            wrong.append(UserError(f"{needs}; {ways}"))
        else:
            yield f"disk {disk}: about {shown(total)} needed ({told}), {shown(free)} free"
    if wrong:
        raise _Wrong(wrong)


def _needed_bytes(night: Tried, settings: Headroom) -> Mapping[str, float]:
    """Returns needed bytes by key; for a first store the size of the raw data, and 0 where there is no earlier one."""
    data, served = night.folders.stores / night.data, night.folders.served()
    runs = (finished.parent for finished in (night.folders.runs / night.name).glob(f"*/{FINISHED}"))
    last = max(runs, key=lambda run: (run / FINISHED).stat().st_mtime, default=None)
    stores = size_of((data / CURRENT).resolve()) + size_of(data / "log")
    stores = stores or sum(map(bytes_of, night.source.inputs()[1]))
    return {
        "paths.stores": settings.stores * stores,
        "paths.runs": settings.runs * (size_of(last) if last is not None else 0),
        "paths.exports": settings.exports * (size_of(served) if served is not None else 0),
    }


def _served(night: Tried, settings: Headroom) -> Iterator[str]:
    """Opens the served version and verifies all its checksums."""
    served = night.folders.served()
    if served is None:
        yield f"{night.folders.exports / CURRENT}: no version serves yet"
        return
    try:
        export = Export(served)
    except UserError as error:
        way_out = "point it to a version that opens (towers retrain action=rollback), or remove the link"
        raise UserError(f"paths.exports: {night.folders.exports / CURRENT}: {error}; {way_out}") from error
    yield f"{export.version} serves, and opens: {len(export.manifest.get('files', {}))} checksums"


def _sink(night: Tried, settings: Headroom) -> Iterator[str]:
    """Reaches the sink, whose own messages name their key."""
    night.sink.reach()
    yield f"sink: {type(night.sink).__name__} can be reached"


def _watchers(night: Tried, settings: Headroom) -> Iterator[str]:
    """Checks the watchers, whose own messages name their key."""
    wrong: list[UserError] = []
    for watcher in night.watchers.values():
        with _noted(wrong):
            watcher.check()
    if wrong:
        raise _Wrong(wrong)
    if night.watchers:
        yield f"watchers: {', '.join(night.watchers)}"


def _places(night: Tried) -> Mapping[str, Path]:
    folders = night.folders
    return {
        "paths.stores": folders.stores,
        "paths.runs": folders.runs,
        "paths.exports": folders.exports,
        "paths.evaluations": folders.evaluations,
        "paths.nights": night.nights,
    }
