"""Simulated listening as a folder in the raw data contract, so that all readers of real data can read it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.data.sources.part_files import part_files
from towers.errors import UserError
from towers.features.sound import UnusableSound
from towers.features.sound_folder import SoundFolder
from towers.manifest import atomic_directory, same_file, write_json
from towers.simulation.listeners.raw_events import event_table
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space

ABOUT: Final = "simulated.json"
"""File that describes the folder; no table."""
SIMULATED: Final = "simulated-"
"""Prefix of the ids of simulated sessions and of their impressions; the session's number follows."""
BEFORE: Final = "before"
"""Name of the part of `events/` with the real events before."""
LISTED: Final = (schema.CONTENTS, schema.USERS, schema.PLAYLISTS)
"""Tables that are taken over unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Contents of a folder of simulated listening.

    Args:
        events: number of simulated rows of `events/`.
        events_before: number of real rows.
        impressions: number of rows of `impressions/`.
        sounds: number of audio files.
    """

    events: int
    events_before: int
    impressions: int
    sounds: int


def write_raw_data(
    folder: Path,
    simulated: SessionLog,
    space: Space,
    *,
    root: Path,
    before: SessionLog | None,
    impressions: Iterable[tuple[str, pa.Table]],
    about: Mapping[str, Any],
) -> Written:
    """Writes a folder that `towers prepare` reads, atomically.

    `events/` and `impressions/` have one part for each simulated day (UTC), so that a nightly training can get the days
    one by one.
    `contents/`, `users/`, `playlists/` and sounds are those of the real data: hard links where the disk allows it, else
    copies.

    Args:
        folder: folder to make.
        simulated: simulated plays.
        space: contents whose rows they name.
        root: folder of the real data.
        before: real plays of the same listeners before, which are then written to `events/`, too; null: none.
        impressions: days and rows of `IMPRESSION_SCHEMA` for `impressions/`; tables of one day are consecutive.
        about: inputs of the simulation, as JSON values.

    Raises:
        UserError: the folder exists, or that of the real data does not.
    """
    if folder.exists():
        raise UserError(f"run.out={folder}: exists; give another folder or remove it")
    if not root.is_dir():
        raise UserError(f"root={root}: no such folder; give the folder of the real data, whose contents/ goes along")
    events = event_table(simulated, space, SIMULATED)
    real = None if before is None else event_table(before, space, f"{BEFORE}-")
    with atomic_directory(folder) as temporary:
        (temporary / schema.EVENTS).mkdir()
        for day, rows in _by_day(events):
            pq.write_table(rows, temporary / schema.EVENTS / f"{day}.parquet")
        if real is not None and len(real):
            pq.write_table(real, temporary / schema.EVENTS / f"{BEFORE}.parquet")
        written = Written(
            events=len(events),
            events_before=0 if real is None else len(real),
            impressions=_write_impressions(impressions, temporary / schema.IMPRESSIONS),
            sounds=_take_over(root, temporary),
        )
        write_json(temporary / ABOUT, {"note": "Simulated: no real listening.", **about})
    return written


def _by_day(events: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yields the rows of each day, by the time of the row, with the day as `YYYY-MM-DD`."""
    day = events["timestamp"].cast(pa.int64()).to_numpy() // DAY_US
    for each in np.unique(day).tolist():
        yield str(np.datetime64(each, "D")), events.filter(pa.array(day == each))


def _write_impressions(impressions: Iterable[tuple[str, pa.Table]], folder: Path) -> int:
    """Writes a part for each day; no folder where there is no row.

    Returns:
        The number of rows.
    """
    number = 0
    for day, tables in groupby(impressions, key=lambda each: each[0]):
        folder.mkdir(exist_ok=True)
        with pq.ParquetWriter(folder / f"{day}.parquet", IMPRESSION_SCHEMA) as part:
            for _, rows in tables:
                part.write_table(rows)
                number += len(rows)
    return number


def _take_over(root: Path, folder: Path) -> int:
    """Puts tables that are only listed, and the sounds that contents name, into the new folder.

    An unusable sound is left out, as `towers prepare` does.

    Returns:
        The number of sounds.
    """
    sounds: set[str] = set()
    for table in LISTED:
        for path in part_files(root / table)[0]:
            if not isinstance(path, Path):
                continue  # never happens: the folder is local
            # A link would itself be linked, and lead to a wrong place.
            same_file(path.resolve(), folder / table / path.relative_to(root / table))
            if table == schema.CONTENTS and "audio" in pq.read_schema(path).names:
                sounds.update(filter(None, pq.ParquetFile(path).read(columns=["audio"])["audio"].to_pylist()))
    place = SoundFolder(root)
    taken = 0
    for audio in sorted(sounds):
        if Path(audio).is_absolute():
            continue  # it would have to lie in the old folder
        try:
            found = place.find(audio)
        except UnusableSound:
            continue
        same_file(found.resolve(), folder / audio)
        taken += 1
    return taken
