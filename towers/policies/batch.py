"""Lists of one kind for all listeners, in files: streamed, made in parallel processes, and resumed after a kill.

Listeners are spread over a fixed number of parts by their ids. A part is one Parquet file, written atomically, with a
signature of all that decides its contents; a file with the right signature is left alone. Each list equals the one that
is made for its listener alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.errors import UserError
from towers.manifest import atomic_file, digest_of
from towers.policies.asking import fit_missing_weights, request_of
from towers.policies.listener import Listener
from towers.policies.processes import Count, Worker, run_tasks
from towers.policies.request import Kind, Request, Shared, name_of, weeks_apart
from towers.policies.shown import SIGNATURE, Shown, ShownRows, part_name, part_of, parts_in, signature_in
from towers.policies.told import SCHEMA, table_of
from towers.policies.weeks import monday_of
from towers.retrieval.export import Export

BLOCK = 512
"""Number of listeners whose lists are written at once; a reader of one list reads as many."""
Progress = Callable[[str, int, int, str], None]
"""Function that is given a stage, the number of lists made, the number of all lists, and the speed in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Settings of the lists of all listeners.

    Args:
        export: folder of a version.
        kind: kind of list, for one listener.
        week: ISO week of the lists.
        folder: folder of all lists; these are written to `folder/KIND/WEEK`.
        lists: folder that earlier weeks' lists are read from, usually the same.
        parts: number of files.
        pool: an editors' pool, as in `request_of`.
        today: day on which the pool has to be open, as in `request_of`.
        asked: fields of `Query`, with rows in the place of ids.

    Raises:
        UserError: `parts` is below 1, or the week is invalid.
    """

    export: Path
    kind: Kind
    week: str
    folder: Path
    lists: Path
    parts: int = 16
    pool: str | None = None
    today: date | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise UserError(f"parts={self.parts}: must be at least 1")
        monday_of(self.week)

    @property
    def of_week(self) -> Path:
        """The folder of the week's lists."""
        return self.folder / name_of(self.kind) / self.week

    def path(self, part: int) -> Path:
        """Returns the file of a part."""
        return self.of_week / part_name(part, self.parts)

    @property
    def shown(self) -> Shown:
        """The earlier weeks' lists that count."""
        return Shown(self.lists, name_of(self.kind), self.week, weeks_apart(self.kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Result of writing a batch.

    Args:
        folder: folder of the files.
        made: number of parts that were made.
        kept: number of parts that were there already.
        lists: number of lists that were made.
    """

    folder: Path
    made: int
    kept: int
    lists: int


class Maker:
    """Makes the parts of a batch from an opened export.

    Args:
        batch: settings of the lists.
        export: the opened export of the batch.

    Raises:
        UserError: as `request_of`.
    """

    def __init__(self, batch: Batch, export: Export):
        self._batch, self._export = batch, export
        self._request = request_of(Shared(export), pool=batch.pool, today=batch.today, asked=batch.asked)

    @cached_property
    def _part_of_row(self) -> Int[np.ndarray, " users"]:
        users, parts = self._export.user_ids, self._batch.parts
        return np.fromiter((part_of(user_id, parts) for user_id in users), np.int64, len(users))

    def num_lists(self, parts: Sequence[int]) -> int:
        """Returns the number of listeners in the given parts."""
        return int(np.isin(self._part_of_row, parts).sum())

    def signature(self, part: int) -> str:
        """Returns a digest of all that decides the lists of a part: export, settings, week, pool, earlier lists."""
        batch, pool = self._batch, self._request.pool
        return digest_of(
            {
                "export": digest_of(self._export.manifest),
                "kind": repr(batch.kind),
                "week": batch.week,
                "part": [part, batch.parts],
                "pool": None if pool is None else [pool.pool.fingerprint, pool.may_come.tolist()],
                "weights": _plain(self._request.weights),
                "asked": {name: _plain(value) for name, value in batch.asked.items()},
                "earlier": batch.shown.digest(part, batch.parts),
            }
        )

    def write(self, part: int, count: Count) -> None:
        """Writes a part; `count` is called with the number of lists made since its last call."""
        rows = np.flatnonzero(self._part_of_row == part).tolist()
        rows.sort(key=self._export.user_ids.__getitem__)
        shown = self._batch.shown.of_part(self._export, part, self._batch.parts)
        schema = SCHEMA.with_metadata({SIGNATURE: self.signature(part), b"space_id": self._export.space_id})
        with atomic_file(self._batch.path(part)) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for first in range(0, len(rows), BLOCK):
                some = rows[first : first + BLOCK]
                lists = [self._batch.kind.make(self._request_for(row, shown)) for row in some]
                users = [self._export.user_ids[row] for row in some]
                writer.write_table(table_of(self._export, lists, users).cast(schema))
                count(len(some))

    def _request_for(self, user_row: int, shown: ShownRows) -> Request:
        listener = Listener.of_row(self._export, user_row)
        return replace(self._request, listeners=(listener,), shown=shown.of(user_row))


def write_lists(batch: Batch, export: Export, workers: int = 1, progress: Progress | None = None) -> Written:
    """Writes the lists of all listeners, except parts that are there already.

    Weights of a pool that asks for a floor, if none for this version are beside it, are fitted first.

    Args:
        batch: settings of the lists.
        export: the opened export of the batch; each worker process opens it again.
        workers: number of processes; 1: all is done in this process.
        progress: called with the progress.

    Raises:
        UserError: as `request_of`, `run_tasks` and the kind of list; parts made so far are kept.
    """
    if batch.pool is not None:
        if progress is not None:
            progress("weights", 0, 0, "")
        fit_missing_weights(Shared(export), batch.pool, batch.today)
    maker = Maker(batch, export)
    pending = [part for part in range(batch.parts) if signature_in(batch.path(part)) != maker.signature(part)]
    total, begun = maker.num_lists(pending), time.monotonic()

    def tell(done: int) -> None:
        if progress is not None:
            progress("lists", done, total, f"{done / max(time.monotonic() - begun, 1e-9):.0f} a second")

    run_tasks(partial(worker_of, batch), pending, workers, tell)
    for path, _, parts in parts_in(batch.of_week):
        if parts != batch.parts:  # of an earlier batch with another number
            path.unlink()
    return Written(folder=batch.of_week, made=len(pending), kept=batch.parts - len(pending), lists=total)


def worker_of(batch: Batch) -> Worker:
    """Opens the export in the present process, and returns a function that makes a part."""
    return Maker(batch, Export(batch.export, check_files=False)).write


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
