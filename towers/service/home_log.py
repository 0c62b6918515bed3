"""The log of the home page: what was shown and what came of it, as Parquet parts of the raw contract's `impressions/`.

```
LOG/impressions/part-*.parquet   rows of `IMPRESSION_SCHEMA`, each written once, whole parts alone
LOG/open.sqlite                  rows that still wait for their outcome
```
A row is kept in the database from the moment it is shown, so nothing is lost however the server ends. It is written
into a part once its outcome is there or its wait is over; the part has the outcome in its own columns. All worker
processes share the database, and one at a time writes parts.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.contract.durations import SECOND_US
from towers.contract.impressions import IMPRESSION_SCHEMA, OUTCOMES, Impression
from towers.errors import UserError
from towers.manifest import alone, atomic_file, digest_of
from towers.policies.bandit.satiation import HALVED_US, faded

IMPRESSIONS, OPEN, WRITING = "impressions", "open.sqlite", ".writing"
AT_ONCE = 2_000
"""Rows of a part, at most: pages wait while they are named; with a thousand candidates a row they take some 20 MB."""
FORGOTTEN_US = 8 * HALVED_US
"""Time after which a listener is no longer tired of a card."""
STREAM_MS = 30_000
"""Shortest play, in milliseconds, that counts as listening to a card and ends the listener's fatigue of it."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS cards (cards TEXT PRIMARY KEY, ids TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shown (
    request_id TEXT NOT NULL, slot INTEGER NOT NULL, user_id TEXT NOT NULL, timestamp_us INTEGER NOT NULL,
    chosen_id TEXT NOT NULL, shelf TEXT NOT NULL, propensity REAL NOT NULL, policy_id TEXT NOT NULL,
    space_id TEXT NOT NULL, cards TEXT NOT NULL, could BLOB NOT NULL,
    clicked INTEGER, played_ms INTEGER, skipped INTEGER, finished INTEGER, saved INTEGER,
    is_told INTEGER NOT NULL DEFAULT 0, part TEXT, is_written INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (request_id, slot)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON shown (timestamp_us);
CREATE INDEX IF NOT EXISTS by_part ON shown (part, is_written);
CREATE TABLE IF NOT EXISTS tired (
    user_id TEXT NOT NULL, content_id TEXT NOT NULL, sum REAL NOT NULL, at_us INTEGER NOT NULL,
    PRIMARY KEY (user_id, content_id)
) WITHOUT ROWID;
"""
_OWN: Final = (
    "request_id", "slot", "user_id", "timestamp_us", "chosen_id", "shelf", "propensity", "policy_id", "space_id",
)  # fmt: skip


class UnknownRequest(UserError):
    """An outcome for a slot that was not shown, or that was shown too long ago."""


class ToldAlready(UserError):
    """A second outcome for one slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of one slot; fields that the client does not report are null.

    Args:
        request_id: id of the page's request.
        slot: slot of the page; null: `content_id` identifies it.
        content_id: content that the slot showed; null: `slot` identifies it.
        clicked, played_ms, skipped, finished, saved: as in `Impression`.
    """

    request_id: str
    slot: int | None = None
    content_id: str | None = None
    clicked: bool | None = None
    played_ms: int | None = None
    skipped: bool | None = None
    finished: bool | None = None
    saved: bool | None = None


class HomeLog:
    """Log of shown cards and their outcomes; see the module for its files.

    Args:
        folder: folder of the log; created if it is missing.
        wait_s: seconds that a row waits for its outcome; from then on an outcome for it is refused.

    Raises:
        UserError: the folder cannot be written to, or its database is damaged.
    """

    def __init__(self, folder: Path, wait_s: float = 1_800.0):
        self.folder, self._wait_us = folder, int(wait_s * SECOND_US)
        self._lock = threading.Lock()
        self._known_cards: set[str] = set()
        try:
            (folder / IMPRESSIONS).mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(folder / OPEN, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute("PRAGMA secure_delete=ON")  # a row that is in a part leaves no bytes here
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{folder}: the log cannot be opened ({error})") from None

    def close(self) -> None:
        """Writes rows that have an outcome or whose wait is over, and closes the database."""
        self.write_parts()
        with self._lock:
            self._database.close()

    def show(self, rows: Sequence[Impression], card_ids: "CardIds", could: Sequence[bytes]) -> None:
        """Keeps the rows of one page, all or none.

        Args:
            rows: impressions of the page; their candidates are not read, `could` has them.
            card_ids: ids of the cards that pages are drawn from.
            could: for each row, `np.packbits` of a mask over `card_ids`: which of them were candidates.
        """
        cards = card_ids.digest
        values = [(*(getattr(row, name) for name in _OWN), cards, bits) for row, bits in zip(rows, could, strict=True)]
        with self._lock, self._transaction():
            if cards not in self._known_cards:
                self._database.execute("INSERT OR IGNORE INTO cards VALUES (?, ?)", (cards, json.dumps([*card_ids])))
            self._database.executemany(
                f"INSERT INTO shown ({', '.join(_OWN)}, cards, could) VALUES ({', '.join('?' * 11)})", values
            )
            for row in rows:
                self._tire(row.user_id, row.chosen_id, row.timestamp_us)
        self._known_cards.add(cards)

    def tell(self, outcome: Outcome, now_us: int) -> int:
        """Keeps an outcome.

        Args:
            outcome: the outcome of one slot.
            now_us: microseconds since 1970, UTC.

        Returns:
            The number of the slot.

        Raises:
            UnknownRequest: nothing was shown under this id, in this slot or of this content, or too long ago.
            ToldAlready: the slot has an outcome.
        """
        where = "slot = ?" if outcome.slot is not None else "chosen_id = ?"
        key = outcome.slot if outcome.slot is not None else outcome.content_id
        with self._lock, self._transaction():
            found = self._database.execute(
                f"SELECT slot, chosen_id, is_told, user_id FROM shown WHERE request_id = ? AND {where} "
                "AND timestamp_us > ? AND (is_told OR part IS NULL)",
                (outcome.request_id, key, now_us - self._wait_us),
            ).fetchone()
            if found is None:
                raise UnknownRequest(self._unknown(outcome, now_us))
            slot, chosen_id, is_told, user_id = found
            if outcome.content_id not in (None, chosen_id):
                raise UnknownRequest(
                    f"content_id {outcome.content_id!r}: slot {slot} of request {outcome.request_id} "
                    f"showed {chosen_id!r}"
                )
            if is_told:
                raise ToldAlready(f"request {outcome.request_id}, slot {slot}: its outcome was told before")
            self._database.execute(
                f"UPDATE shown SET {', '.join(f'{name} = ?' for name in OUTCOMES)}, is_told = 1 "
                "WHERE request_id = ? AND slot = ?",
                (*(getattr(outcome, name) for name in OUTCOMES), outcome.request_id, slot),
            )
            is_long = (outcome.played_ms or 0) >= STREAM_MS or (outcome.finished and outcome.played_ms is None)
            if is_long and not outcome.skipped:
                self._database.execute("DELETE FROM tired WHERE user_id = ? AND content_id = ?", (user_id, chosen_id))
        return slot

    def satiation(self, user_id: str, place_of: Mapping[str, int], now_us: int) -> Float[np.ndarray, " cards"]:
        """Returns how tired a listener is of each card, `log(1 + s)`; see `satiation.py`.

        Args:
            user_id: the listener.
            place_of: place of each card by its id.
            now_us: microseconds since 1970, UTC.
        """
        found = np.zeros(len(place_of))
        with self._lock:
            rows = self._database.execute(
                "SELECT content_id, sum, at_us FROM tired WHERE user_id = ?", (user_id,)
            ).fetchall()
        for content_id, value, at_us in rows:
            place = place_of.get(content_id, -1)
            if place >= 0:
                found[place] = faded(value, now_us - at_us)
        return np.log1p(found)

    def write_parts(self, now_us: int | None = None, everything: bool = False) -> int:
        """Writes the rows whose outcome has come or whose wait is over.

        A kill at any moment leaves each row in the database or in one part, not in both: a part's rows are named in the
        database before it is written, and the next process finishes what is named.

        Args:
            now_us: microseconds since 1970, UTC; null: now.
            everything: whether to write rows that still wait, too; outcomes for them are then refused.

        Returns:
            The number of rows written.

        Raises:
            UserError: the disk is full.
        """
        now_us = time.time_ns() // 1_000 if now_us is None else now_us
        num_written = 0
        with alone(self.folder / WRITING, lambda: None):
            for (part,) in self._all("SELECT DISTINCT part FROM shown WHERE part IS NOT NULL AND is_written = 0"):
                num_written += self._write(part)
            while True:
                part = f"part-{now_us:020d}-{time.time_ns():x}"
                with self._lock, self._transaction():
                    named = self._database.execute(
                        "UPDATE shown SET part = ? WHERE (request_id, slot) IN (SELECT request_id, slot FROM shown "
                        "WHERE part IS NULL AND (is_told = 1 OR timestamp_us <= ? OR ?) "
                        "ORDER BY timestamp_us, request_id, slot LIMIT ?)",
                        (part, now_us - self._wait_us, everything, AT_ONCE),
                    ).rowcount
                if not named:
                    break
                num_written += self._write(part)
        with self._lock, self._transaction():
            self._database.execute(
                "DELETE FROM shown WHERE is_written = 1 AND timestamp_us <= ?", (now_us - self._wait_us,)
            )
            self._database.execute("DELETE FROM tired WHERE at_us <= ?", (now_us - FORGOTTEN_US,))
        return num_written

    def _write(self, part: str) -> int:
        """Writes a part whose rows are named, unless it is there already, and marks them."""
        path = self.folder / IMPRESSIONS / f"{part}.parquet"
        if not path.exists():
            table = self._table(part)
            with atomic_file(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        with self._lock, self._transaction():
            return self._database.execute("UPDATE shown SET is_written = 1 WHERE part = ?", (part,)).rowcount

    def _table(self, part: str) -> pa.Table:
        names = [name for name in IMPRESSION_SCHEMA.names if name not in ("candidate_ids", "timestamp")]
        query = f"SELECT {', '.join(names)}, timestamp_us, cards, could FROM shown WHERE part = ? "
        with closing(sqlite3.connect(self.folder / OPEN, timeout=10.0)) as reading:  # beside pages, which do not wait
            found = reading.execute(f"{query} ORDER BY timestamp_us, request_id, slot", (part,)).fetchall()
            texts = reading.execute("SELECT cards, ids FROM cards").fetchall()
        ids = {cards: pa.array(json.loads(text)) for cards, text in texts}
        columns: dict[str, Any] = dict(
            zip([*names, "timestamp_us", "cards", "could"], zip(*found, strict=True), strict=True)
        )
        could = [
            np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), count=len(ids[cards])))
            for cards, bits in zip(columns["cards"], columns["could"], strict=True)
        ]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in could])]).astype(np.int32)
        chosen_from = [ids[cards].take(pa.array(one)) for cards, one in zip(columns["cards"], could, strict=True)]
        arrays = {"candidate_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.concat_arrays(chosen_from))}
        for name in names:
            kind = IMPRESSION_SCHEMA.field(name).type
            values = columns[name]
            if pa.types.is_boolean(kind):
                values = [None if one is None else bool(one) for one in values]
            arrays[name] = pa.array(values, kind)
        arrays["timestamp"] = pa.array(columns["timestamp_us"], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        return pa.table({name: arrays[name] for name in IMPRESSION_SCHEMA.names}, schema=IMPRESSION_SCHEMA)

    def _tire(self, user_id: str, content_id: str | None, now_us: int) -> None:
        found = self._database.execute(
            "SELECT sum, at_us FROM tired WHERE user_id = ? AND content_id = ?", (user_id, content_id)
        ).fetchone()
        value = 1.0 if found is None else faded(found[0], now_us - found[1]) + 1.0
        self._database.execute("INSERT OR REPLACE INTO tired VALUES (?, ?, ?, ?)", (user_id, content_id, value, now_us))

    def _unknown(self, outcome: Outcome, now_us: int) -> str:
        """Returns the reason why no row matches an outcome."""
        there = self._database.execute(
            "SELECT COUNT(*) FROM shown WHERE request_id = ? AND timestamp_us > ?",
            (outcome.request_id, now_us - self._wait_us),
        ).fetchone()[0]
        if there:
            what = f"slot {outcome.slot}" if outcome.slot is not None else f"content_id {outcome.content_id!r}"
            return f"request {outcome.request_id}: {what} is none of its {there} that wait for an outcome"
        return (
            f"request {outcome.request_id!r}: no page of this id was shown in the last {self._wait_us // SECOND_US} s"
        )

    def _all(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


def waiting_since_us(folder: Path) -> int | None:
    """Returns when the first row that is in no part yet was shown, in microseconds since 1970, UTC; null if all are.

    Args:
        folder: folder of a log.

    Raises:
        UserError: its database is damaged.
    """
    try:
        with closing(sqlite3.connect(folder / OPEN, timeout=10.0)) as reading:
            return reading.execute("SELECT MIN(timestamp_us) FROM shown WHERE is_written = 0").fetchone()[0]
    except sqlite3.Error as error:
        raise UserError(f"{folder / OPEN}: cannot be read ({error}); restore it") from None


class CardIds(tuple[str, ...]):
    """Ids of cards, with their digest, computed once."""

    digest: str

    def __new__(cls, ids: Sequence[str]) -> "CardIds":
        """Creates the tuple and computes its digest."""
        made = super().__new__(cls, ids)
        made.digest = digest_of(list(ids))
        return made


class _Transaction:
    """Transaction over a block: all of its statements or none; writes of other processes wait."""

    def __init__(self, database: sqlite3.Connection):
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._database.execute("COMMIT")
        else:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
