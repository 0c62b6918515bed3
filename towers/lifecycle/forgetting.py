"""Finds everything that holds data of some listeners (stores, runs, exports, evaluations, lists, engines, the log of a
home page), and removes it. Raw data is the caller's own and is left alone."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from towers.data.build import CONVERTED
from towers.data.store import CURRENT
from towers.errors import UserError
from towers.lifecycle import forgetting_evaluations as evaluations
from towers.lifecycle import forgetting_exports as exports
from towers.lifecycle import forgetting_home as home
from towers.lifecycle import forgetting_stores as stores
from towers.lifecycle.cleaning import remove
from towers.lifecycle.forgetting_rows import count_in, drop_rows, is_one_of
from towers.lifecycle.inventory import Folders, leftovers
from towers.lifecycle.watching import wandb_shown
from towers.manifest import read_json, write_json
from towers.publishing.sinks.rows import CONTENTS, USERS
from towers.publishing.sinks.sink import Progress, Sink
from towers.retrieval.export import Export
from towers.training.run_folder import ENVIRONMENT_FILE

RECORD = "forgotten.json"
"""File in the folder of stores that records each removal; it names no listener."""
LOG = "log/current/rows/users.parquet"
"""Row map of listeners, below the folder of a data set; its column `id` has the listeners with a row in the event
log."""
ANEW = "written anew without them"
GOES = "removed; it can be made again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A thing that holds data of some listeners.

    Args:
        kind: kind of thing, such as `export`.
        path: its folder or file; for an engine's table, the table's name.
        told: description of what it holds of the listeners.
        fate: description of what removal does to it.
        erase: removes the listeners from it.
        waits: reason why the removal is not possible now; null: it is.
    """

    kind: str
    path: Path
    told: str
    fate: str
    erase: Callable[[], Any]
    waits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """All places that may hold data of listeners.

    Args:
        folders: where stores, runs, exports and evaluations are.
        lists: Parquet files, and folders of them, with lists and recommendations.
        home_logs: folders of the logs of home pages.
        sink: the engine that was filled from the exports.
        is_held: tells whether a run's folder is being trained in.
        prepared: data set that is prepared without the listeners before anything is removed; null: none.
        on_progress: called during long steps.
    """

    folders: Folders
    lists: Sequence[Path]
    home_logs: Sequence[Path]
    sink: Sink
    is_held: Callable[[Path], bool]
    prepared: str | None
    on_progress: Progress

    def finish(self) -> None:
        """Completes replacements that a killed process has begun."""
        stores.finish_swaps(self.folders.stores)
        exports.finish_replacing(self.folders.exports, list(exports.versions_in(self.folders.exports)))

    def traces(self, user_ids: Sequence[str]) -> list[Trace]:
        """Finds everything that holds data of some listeners, in the order in which it must be removed.

        Stores come last, since they say which rows in other files are the listeners'.

        Raises:
            UserError: a file cannot be read.
        """
        held = [stores.held(path, user_ids) for path in stores.versions_in(self.folders.stores)]
        found = [exports.exported(path, user_ids) for path in exports.versions_in(self.folders.exports)]
        rows = stores.rows_by_fingerprint(held)
        playlists = sorted({one for each in (*held, *found) for one in each.playlist_ids})
        parts = (
            self._half_written(),
            self._lists(user_ids),
            self._evaluations(user_ids, rows),
            self._nights(user_ids),
            self._exports(found, user_ids),
            self._engine({USERS: [*user_ids], CONTENTS: playlists}),
            self._home_logs(user_ids),
            self._logs(user_ids),
            self._rejected(user_ids),
            self._converted(user_ids),
            self._stores(held, user_ids),
        )
        return [*chain.from_iterable(parts)]

    def mentions(self, user_ids: Sequence[str]) -> list[Path]:
        """Finds text files, such as logs, that contain one of some ids as a word and are none of Towers' own files."""
        own = self.folders
        return [*evaluations.mentions((own.stores, own.runs, own.exports, own.evaluations, *self.lists), user_ids)]

    def _half_written(self) -> Iterator[Trace]:
        """Finds unfinished files of killed processes; they are removed without a look inside."""
        all_of_them = (
            self.folders.stores,
            self.folders.runs,
            self.folders.exports,
            self.folders.evaluations,
            *self.lists,
            *self.home_logs,
        )
        for item in {item.path: item for folder in all_of_them for item in leftovers(folder, time.time())}.values():
            yield _going("leftover", item.path, "unknown contents")

    def _lists(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        for folder in self.lists:
            for path in evaluations.lists_with(folder, user_ids):
                told = f"{count_in(path, user_ids):,} rows"
                yield Trace(kind="lists", path=path, told=told, fate=ANEW, erase=partial(drop_rows, path, user_ids))

    def _evaluations(self, user_ids: Sequence[str], rows: Mapping[str, set[int]]) -> Iterator[Trace]:
        for folder in (self.folders.runs, self.folders.evaluations):
            for path in evaluations.evaluations_in(folder):
                found = evaluations.judged(path, user_ids, rows)
                if found.told:
                    fate = f"{ANEW}; the page goes" if found.has_page else ANEW
                    erase = partial(evaluations.clear_evaluation, found, user_ids)
                    yield Trace(kind="evaluation", path=path, told=found.told, fate=fate, erase=erase)
        folder = self.folders.evaluations
        for path in evaluations.comparisons_with(folder, user_ids):
            yield _going("comparison", path, "differences for them")
        for path in evaluations.baselines_with(folder / "baselines", rows):
            yield _going("baseline", path, "figures and lists of theirs")

    def _nights(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        """Finds runs of Weights & Biases that show what the listeners chose and what is recommended to them."""
        for folder, run_id, count in wandb_shown.runs_with(self.folders.nights, user_ids):
            told = f"lists of {count:,}, by their place alone"
            fate = "removed; an uploaded copy is yours to remove"
            erase = partial(wandb_shown.remove_run, folder, run_id)
            yield Trace(kind="night's run", path=folder / run_id, told=told, fate=fate, erase=erase)

    def _exports(self, found: Sequence[exports.Exported], user_ids: Sequence[str]) -> Iterator[Trace]:
        folder = self.folders.exports
        served = self.folders.served()
        for each in found:
            if each.told:
                erase = partial(exports.replace_export, folder, each, user_ids)
                fate = f"a version {ANEW}" + (", and current moves to it" if each.folder.resolve() == served else "")
                yield Trace(kind="export", path=each.folder, told=each.told, fate=fate, erase=erase)
        if served is not None and served.parent != folder.resolve() and exports.exported(served, user_ids).told:
            waits = f"current leads out of the folder; run this with paths.exports={served.parent}, too"
            yield Trace(kind="export", path=served, told="they are in it", fate="stays", erase=_nothing, waits=waits)

    def _engine(self, ids: Mapping[str, Sequence[str]]) -> Iterator[Trace]:
        held = self.sink.holding(ids)
        for number, (name, count) in enumerate(held.items()):
            told = f"{count:,} rows" if count else "half filled"
            fate = "filled anew from current, then dropped" if number == 0 else "dropped with it"
            yield Trace(kind="engine", path=Path(name), told=told, fate=fate, erase=partial(self._empty, ids))

    def _empty(self, ids: Mapping[str, Sequence[str]]) -> None:
        current = self.folders.exports / CURRENT
        self.sink.forget(ids, Export(current, check_files=False) if current.exists() else None, self.on_progress)

    def _home_logs(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        """Looks into the logs after the exports, so that their servers show the listeners no further page."""
        for log in self.home_logs:
            if told := home.logged(log, user_ids).told:
                erase = partial(home.clear_log, log, user_ids)
                yield Trace(kind="home log", path=log, told=told, fate="its parts and database " + ANEW, erase=erase)

    def _logs(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        """Finds event logs, from which the next prepare would restore the listeners."""
        for path in sorted(self.folders.stores.glob(f"[!.]*/{LOG}")):
            has_rows = is_one_of(pq.read_table(path, columns=["id"])["id"], user_ids).any()
            if has_rows or any(count_in(each, user_ids) for each in path.parents[1].rglob("*.parquet")):
                name = path.relative_to(self.folders.stores).parts[0]
                is_prepared = name == self.prepared
                waits = None if is_prepared else f"needs data= and data.root= of {name}, as for prepare"
                told = "their rows and events"
                fate = "prepare leaves them out"
                yield Trace(kind="event log", path=path.parents[2], told=told, fate=fate, erase=_nothing, waits=waits)

    def _rejected(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        """Finds rejected rows that a failed prepare has left beside the versions."""
        for path in sorted(self.folders.stores.glob("[!.]*/rejected/*.parquet")):
            if count := count_in(path, user_ids):
                told = f"{count:,} rows"
                yield Trace(kind="rejected", path=path, told=told, fate=ANEW, erase=partial(drop_rows, path, user_ids))

    def _converted(self, user_ids: Sequence[str]) -> Iterator[Trace]:
        """Finds tables that a public set was converted to; like the raw data, the set's own files still hold the
        listeners."""
        for folder in sorted(self.folders.stores.glob(f"[!.]*/{CONVERTED}")):
            if count := sum(count_in(path, user_ids) for path in folder.rglob("*.parquet")):
                yield _going("converted", folder, f"{count:,} rows")

    def _stores(self, held: Sequence[stores.Held], user_ids: Sequence[str]) -> Iterator[Trace]:
        training = {
            read_json(path).get("store"): path.parent
            for path in self.folders.runs.rglob(ENVIRONMENT_FILE)
            if self.is_held(path.parent)
        }
        for each in held:
            if not each.told:
                continue
            run = training.get(each.folder.name)
            waits = None if run is None else f"{run} is being trained on it; run this again after its end"
            erase = partial(stores.replace_version, each, user_ids)
            yield Trace(kind="store", path=each.folder, told=each.told, fate=ANEW, erase=erase, waits=waits)


@dataclass(slots=True)
class Record:
    """The record of a removal: time, number of listeners, things changed, and command. It names no listener.

    Args:
        path: the file; each removal adds an entry.
        command: the command that removes, without ids.
        num_listeners: number of listeners to be forgotten.
    """

    path: Path
    command: str
    num_listeners: int
    _removed: list[dict[str, str]] = field(default_factory=list)
    _began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    _place: int = -1

    def add(self, trace: Trace) -> None:
        """Records that the listeners were removed from a thing."""
        self._removed.append({"kind": trace.kind, "path": str(trace.path), "done": trace.fate})
        self.write(is_finished=False)

    def write(self, is_finished: bool) -> None:
        """Writes the file anew with what was removed so far; earlier entries stay.

        Raises:
            UserError: the file is damaged.
        """
        entries = list(read_json(self.path).get("forgotten", ())) if self.path.exists() else []
        if self._place < 0:
            self._place = len(entries)
        entry = {
            "when": self._began, "command": self.command, "listeners": self.num_listeners, "removed": self._removed,
            "finished": is_finished,
        }  # fmt: skip
        entries[self._place : self._place + 1] = [entry]
        write_json(self.path, {"forgotten": entries})


def _going(kind: str, path: Path, told: str) -> Trace:
    return Trace(kind=kind, path=path, told=told, fate=GOES, erase=partial(remove, path, nullcontext()))


def _nothing() -> None:
    raise UserError("nothing is removed here")
