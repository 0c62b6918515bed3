"""Adds new raw files to the event log: only files that it does not hold yet are read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from towers.data.blocks import blocks
from towers.data.event_log.files import LogFiles, LogWriter, lengthened, offsets_of
from towers.data.event_log.log import COLUMNS, HEARD, MANIFEST, REJECTED, ROWS, EventLog
from towers.data.event_log.merging import Repeated, merge
from towers.data.event_log.rows import Rows
from towers.data.event_log.stream import ORDER, ArrivalStream
from towers.data.rejecting import DUPLICATE, Losses, write_rejected
from towers.data.tables import Tables
from towers.manifest import same_file, write_json

LOG_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Inputs from which the next state of an event log is made.

    Args:
        previous: the log that new files are added to; null where all files are read anew.
        rows: the rows that ids have got so far.
        files: raw files of events and impressions by path below the data set's folder, with their digests.
        settings: further settings that decide how raw events are read.
    """

    previous: EventLog | None
    rows: Rows
    files: Mapping[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, current: EventLog | None, files: Mapping[str, str], settings: Mapping[str, Any]) -> "Growth":
        """Returns the inputs of the next log: it grows the newest one if the files that it read and the settings are
        unchanged.

        Otherwise, and if a file comes back that had been removed (its place is before files that were read since),
        all files are read anew; ids keep their rows. A renamed file keeps its number.

        Args:
            current: the newest log; null where there is none.
            files: raw files of events and impressions by path below the data set's folder, with their digests.
            settings: further settings that decide how raw events are read.
        """
        settings = {"log_format": LOG_FORMAT, **settings}
        if current is None:
            return cls(previous=None, rows=Rows.none().with_files(files), files=files, settings=settings)
        is_same = current.manifest["settings"] == settings
        read = current.manifest["files"]
        has_all = all(files.get(name) == digest for name, digest in read.items())
        is_back = not (files.keys() - read.keys()).isdisjoint(current.rows.files.ids.to_pylist())
        previous = current if is_same and has_all and not is_back else None
        rows = current.rows if has_all else current.rows.with_renamed(read, files)
        return cls(previous=previous, rows=rows.with_files(files), files=files, settings=settings)

    def is_new(self, name: str) -> bool:
        """Returns whether a raw file has still to be read."""
        return self.previous is None or name not in self.previous.manifest["files"]

    def still_forgotten(self, clean: Tables) -> list[str]:
        """Finds listeners named in users/ or playlists/ who were forgotten earlier and have done nothing since."""
        if not self.rows.forgotten.until_file:
            return []
        clean.run("named_listeners")
        until_file = self.rows.forgotten.among(clean.texts("named_in_lists", ("user_id",)))
        if not until_file:
            return []
        clean.put("perhaps", {"user_id": pa.array(until_file), "until_file": pa.array(until_file.values(), pa.int32())})
        clean.run("come_back")
        has_row = pa.array(self.rows.users.is_among(until_file))
        returned = {*clean.texts("come_back"), *self.rows.users.ids.filter(has_row).to_pylist()}
        return [each for each in until_file if each not in returned]

    def returned(self, clean: Tables) -> dict[str, int]:
        """Finds listeners who were forgotten earlier and have events in the files to be read.

        Returns the listener -> the number of the first raw file whose events of theirs count. Where the log only
        grows this is empty: every file that is read arrived after they were forgotten.
        """
        if self.previous is not None or not self.rows.forgotten.until_file:
            return {}
        return self.rows.forgotten.among(clean.texts("named_in_events"))


class Grower:
    """Writes the next state of an event log.

    Args:
        growth: the log so far, the rows and the raw files.
        clean: the database, in which the files to be read and the lists are known.
        on_progress: called with (stage, done, all).
    """

    def __init__(self, growth: Growth, clean: Tables, on_progress: Callable[[str, int, int], None]):
        self._growth, self._clean, self._on_progress = growth, clean, on_progress

    def write(self, folder: Path) -> EventLog:
        """Writes the log into an empty folder."""
        growth, clean = self._growth, self._clean
        forgotten = clean.texts("forgotten", ("user_id",))
        is_gone = growth.rows.users.is_among(forgotten)
        rows = self._rows(forgotten)
        rows.write(folder / ROWS)
        counted = clean.row("counted_events")
        losses = Losses(rows=counted["num_rows"], bad=counted["num_bad"])
        if growth.previous is not None and not losses.rows and not is_gone.any():
            linked(growth.previous.folder / COLUMNS, folder / COLUMNS)
            if len(rows.users) > growth.previous.columns.num_users:
                lengthened(folder / COLUMNS, len(rows.users))
            heard = growth.previous.heard
        else:
            merged = self._merge(folder / COLUMNS, rows, is_gone)
            heard, losses = merged.heard, losses.plus(merged.losses)
        np.save(folder / HEARD, np.pad(heard, (0, len(rows.contents) - len(heard))))
        new = self._rejected() if losses.bad or losses.repeated else iter(())
        if growth.previous is not None:
            kept, went = _without(growth.previous.rejected, forgotten)
            losses = losses.plus(growth.previous.losses).minus(went)
            new = chain(kept, new)
        write_rejected(folder / REJECTED, new)
        manifest = {"settings": growth.settings, "files": dict(growth.files), "losses": losses.to_json()}
        write_json(folder / MANIFEST, manifest)
        return EventLog(folder, rows)

    def _rejected(self) -> Iterator[pa.RecordBatch]:
        self._clean.run("rejected_events")
        return self._clean.batches("rejected_events", ("file", "file_row_number"))

    def _rows(self, forgotten: list[str]) -> Rows:
        """Extends the row maps by new ids, and makes them known to the database."""
        before, clean = self._growth.rows, self._clean
        users, contents = before.users.erased(forgotten), before.contents
        was = pa.array(before.listed)
        clean.put("known_users", {"user_id": users.ids, "user_row": users.rows})
        clean.put("known_contents", {"content_id": contents.ids, "content_row": contents.rows, "was_listed": was})
        clean.put("known", {"num_users": [len(users)], "num_contents": [len(contents)]})
        clean.run("rows")
        users = users.grown(clean.column("new_users", "user_id", ("user_row",)))
        contents = contents.grown(clean.column("new_contents", "content_id", ("content_row",)))
        was_listed = np.pad(before.listed, (0, len(contents) - len(before.listed)))
        contexts = before.contexts.grown_by(clean.texts("seen_contexts", ("context",)))
        devices = before.devices.grown_by(clean.texts("seen_devices", ("device",)))
        clean.put("context_codes", {"context": contexts.ids, "code": contexts.rows})
        clean.put("device_codes", {"device": devices.ids, "code": devices.rows})
        clean.run("arrivals")
        return replace(
            before,
            users=users,
            contents=contents,
            listed=was_listed | contents.is_among(clean.column("listed_contents", "content_id")),
            contexts=contexts,
            devices=devices,
            forgotten=before.forgotten.with_more(forgotten, len(before.files)),
        )

    def _merge(self, folder: Path, rows: Rows, is_gone: Bool[np.ndarray, " users"]) -> "_Merged":
        """Writes the columns, and makes the events that repeat another one known to the database."""
        clean, previous = self._clean, self._growth.previous
        base = LogFiles(folder if previous is None else previous.folder / COLUMNS)
        num_users, num_contents = len(rows.users), len(rows.contents)
        counted = clean.table("counted_users")
        lengths = np.pad(np.diff(base.offsets), (0, num_users - base.num_users))
        lengths[counted["user_row"].to_numpy()] += counted["num_events"].to_numpy()
        is_gone = np.pad(is_gone, (0, num_users - len(is_gone)))
        heard, done, went = np.zeros(num_contents, dtype=np.int64), 0, 0
        left_out: list[Repeated] = []
        self._on_progress("sorting", 0, 0)
        arrivals = ArrivalStream(clean.batches("arrivals", ORDER))
        with LogWriter(folder) as writer:
            for each in blocks(offsets_of([lengths])):
                begin, end = each.users.start, each.users.stop
                old = base.block(begin, end)
                block = old.without(is_gone[begin:end])
                went += len(old) - len(block)
                block, repeated = merge(block, arrivals.take(begin, end))
                left_out.append(repeated)
                writer.append(block)
                content = block.columns["content_row"]
                np.add.at(heard, content[content >= 0], 1)
                done += each.size
                self._on_progress("event log", done, int(lengths.sum()))
        repeated = Repeated.of(left_out)
        clean.put("repeated", {name: getattr(repeated, name) for name in ("file", "file_row", "differs")})
        differ = int(repeated.differs.sum())
        return _Merged(heard=heard, losses=Losses(rows=-went, bad=differ, repeated=len(repeated.file) - differ))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    """The result of a merge: the number of events of each content, and how many events were left out."""

    heard: Int[np.ndarray, " contents"]
    losses: Losses


def linked(folder: Path, target: Path) -> None:
    """Puts the files of a folder into another one: as hard links where the disk has them, else as copies."""
    target.mkdir(parents=True)
    for path in folder.iterdir():
        same_file(path, target / path.name)


def _without(path: Path, forgotten: list[str]) -> tuple[Iterator[pa.RecordBatch], Losses]:
    """Reads earlier rejected events without those of some listeners, and counts the ones that went."""
    if not path.exists():
        return iter(()), Losses()
    batches = pq.ParquetFile(path).iter_batches()
    if not forgotten:
        return batches, Losses()
    are_they = pc.field("user_id").isin(forgotten)
    went = pq.read_table(path, columns=["reason"], filters=are_they)["reason"].to_pylist()
    repeated = went.count(DUPLICATE)
    kept = (part for batch in batches for part in pa.Table.from_batches([batch]).filter(~are_they).to_batches())
    return kept, Losses(rows=len(went), bad=len(went) - repeated, repeated=repeated)
