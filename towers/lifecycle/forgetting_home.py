"""Finds and removes listeners in the log of a home page, while its server may be running."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from towers.errors import Unreachable, UserError
from towers.lifecycle.forgetting_rows import count_in, drop_rows
from towers.manifest import alone
from towers.service.home_log import IMPRESSIONS, OPEN, WRITING

WAIT_S: Final = 10.0
"""Seconds that a statement waits for the server's own."""
_TABLES: Final = {"shown": "rows that wait or were just written", "tired": "cards they are tired of"}
_THEIRS: Final = "user_id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What a log holds of some listeners.

    Args:
        folder: the log's folder.
        in_database: number of their rows by table of the database, as far as there are any.
        in_parts: number of their rows by part, as far as there are any.
    """

    folder: Path
    in_database: dict[str, int]
    in_parts: dict[Path, int]

    @property
    def told(self) -> str:
        """Description of what it holds of the listeners; empty where it holds nothing."""
        words = [f"{count:,} {_TABLES[name]}" for name, count in self.in_database.items()]
        if self.in_parts:
            words.append(f"{sum(self.in_parts.values()):,} rows of {len(self.in_parts):,} parts")
        return ", ".join(words)


def logged(folder: Path, user_ids: Sequence[str]) -> Logged:
    """Looks for some listeners in a log.

    Args:
        folder: the log's folder, as `home.log` of the server names it.
        user_ids: ids of the listeners.

    Raises:
        UserError: the folder has no log, or a file of it cannot be read.
    """
    database, parts = folder / OPEN, folder / IMPRESSIONS
    if not database.exists() and not parts.is_dir():
        raise UserError(f"{folder}: no log of a home page here ({OPEN}, {IMPRESSIONS}/); give the folder of home.log")
    counts = {path: count_in(path, user_ids) for path in sorted(parts.glob("*.parquet"))}
    return Logged(
        folder=folder,
        in_database=_counted(database, user_ids) if database.exists() else {},
        in_parts={path: count for path, count in counts.items() if count},
    )


def clear_log(folder: Path, user_ids: Sequence[str]) -> None:
    """Removes some listeners from a log.

    The server shows pages meanwhile, but writes no part, so that no part is made of rows that are being removed. A kill
    leaves every part either unchanged or done, and the database likewise; the next call continues.

    Args:
        folder: the log's folder.
        user_ids: ids of the listeners.

    Raises:
        UserError: a file cannot be read, or the database is in use all the time.
    """
    with alone(folder / WRITING, lambda: None):
        # Rows assigned to a part may be in it without being marked yet, so both are searched while the lock is held.
        for path in logged(folder, user_ids).in_parts:
            drop_rows(path, user_ids)
        if (folder / OPEN).exists():
            _clear_database(folder / OPEN, user_ids)


def _counted(database: Path, user_ids: Sequence[str]) -> dict[str, int]:
    """Counts the listeners' rows by table; tables without any are left out."""
    with _opened(database) as opened:
        opened.execute("PRAGMA query_only=ON")
        found = {
            name: opened.execute(f"SELECT COUNT(*) FROM {name} WHERE {_THEIRS}", (json.dumps(user_ids),)).fetchone()[0]
            for name in _TABLES
        }
    return {name: count for name, count in found.items() if count}


def _clear_database(database: Path, user_ids: Sequence[str]) -> None:
    """Deletes the listeners' rows, and their bytes: a deleted row stays in the file until the database is rewritten,
    and in the write-ahead log until that is emptied."""
    with _opened(database) as opened:
        opened.execute("PRAGMA secure_delete=ON")  # should a kill come before the next steps
        opened.execute("BEGIN IMMEDIATE")
        for name in _TABLES:
            opened.execute(f"DELETE FROM {name} WHERE {_THEIRS}", (json.dumps(user_ids),))
        opened.execute("COMMIT")
        opened.execute("VACUUM")
        if opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise Unreachable(f"{database}: another process reads it all the time; run this again")


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Opens the database of a log beside its server; even reading may write, as a killed server's changes are recovered
    first.

    Raises:
        UserError: it is damaged, or in use for too long.
    """
    address = f"{database.resolve().as_uri()}?mode=rw"  # not created if it is missing
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)) as opened:
            yield opened
    except sqlite3.Error as error:
        raise UserError(f"{database}: cannot be read or changed ({error}); run this again, or restore it") from None
