"""Everybody's lists of one kind, in files: streamed, in parallel processes, and gone on with after a kill.

Listeners are spread over a fixed number of parts by their ids. A part is one Parquet file, which is there whole or not
at all, with a signature of all that decides what is in it; one that is there with the same signature is left alone. A
list is the one that is made for its listener alone.
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
"""Listeners whose lists are written at once, and read at once when one of them is wanted."""
Progress = Callable[[str, int, int, str], None]
"""Is told a stage, how many lists of how many are made, and how fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What everybody's lists are made by.

    Args:
        export: folder of a version.
        kind: of list, for one listener.
        week: ISO week of the lists.
        folder: of all lists; these come into `folder/KIND/WEEK`.
        lists: folder that earlier weeks' lists are read from, most often the same.
        parts: number of files.
        pool: of an editor, as `request_of`.
        today: on which the pool is to be open, as `request_of`.
        asked: fields of `Query`, with rows in the place of ids.

    Raises:
        UserError: no part, or a week that is none.
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
        """The folder of the lists."""
        return self.folder / name_of(self.kind) / self.week

    def path(self, part: int) -> Path:
        """The file of a part."""
        return self.of_week / part_name(part, self.parts)

    @property
    def shown(self) -> Shown:
        """The earlier lists that count."""
        return Shown(self.lists, name_of(self.kind), self.week, weeks_apart(self.kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch.

    Args:
        folder: of the files.
        made: parts that were made.
        kept: parts that were there already.
        lists: that were made.
    """

    folder: Path
    made: int
    kept: int
    lists: int


class Maker:
    """Makes the parts of a batch from an opened export.

    Args:
        batch: what is to be made.
        export: of it, opened.

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
        """How many listeners are in some parts."""
        return int(np.isin(self._part_of_row, parts).sum())

    def signature(self, part: int) -> str:
        """A digest of everything that decides which lists a part holds: export, settings, week, pool, earlier lists."""
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
        """Writes a part; `count` is given how many lists were made since it was last."""
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
    """Writes everybody's lists, as far as they are not there yet.

    Where the pool asks for a floor and has no weights beside it for this version, they are fitted first.

    Args:
        batch: what is to be made.
        export: of it, opened; each process opens it again.
        workers: processes; with one all is made in this.
        progress: is told how far it is.

    Raises:
        UserError: as `request_of`, `run_tasks` and the kind of list; parts that were made by then stay.
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
    """Opens the export, in whichever process, and gives what makes a part."""
    return Maker(batch, Export(batch.export, check_files=False)).write


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
