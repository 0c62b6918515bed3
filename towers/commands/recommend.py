"""`towers recommend`: recommendations for a listener, for a given history, or for a vector."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig
from rich.console import Console

from towers.commands.asked import history_of, listed, mapping_of, told, vector_of
from towers.commands.progress import StageProgress
from towers.config.instantiate import value
from towers.config.overrides import raw_list, raw_text
from towers.manifest import atomic_file
from towers.retrieval.asker import asker_of
from towers.retrieval.export import Export
from towers.retrieval.mixing import MixedVersions, listeners_against
from towers.retrieval.query import Query
from towers.retrieval.raw_contents import date_of
from towers.retrieval.search import Found, recommend
from towers.retrieval.show import found_table, history_table

EVERYBODY = "all"
NOTHING = np.zeros(0, np.int64)
BLOCK = 4_096
"""Number of listeners whose recommendations are written at once."""

SCHEMA = pa.schema({"user_id": pa.string(), "rank": pa.int32(), "content_id": pa.string(), "score": pa.float32(),
                    "chance": pa.float32()})  # fmt: skip


def run(config: DictConfig) -> Found | None:
    """Prints recommendations and returns them; with `user=all`, writes those of all listeners and returns null."""
    is_checked = value(config, "check", bool)
    export = Export(Path(config.export), is_checked)
    user, history = raw_text("user", config.user), history_of(config, export)
    features, vector = mapping_of(config, "features"), vector_of(config)
    query = query_of(config, export)
    if user is None or history is not None or features or vector is not None:
        asker, past = asker_of(export, user=user, history=history, features=features, vector=vector)
        found = recommend(export, told(asker), query, None if past is None else past.standing)
        chosen = NOTHING if past is None else past.events.chosen_rows
        whom = "vector" if past is None else "history" if history is not None else "listener"
        return show(export, chosen, found, f"this {whom}")
    folder = value(config, "users", str | None)
    mixed = listeners_against(export if folder is None else Export(Path(folder), is_checked), export)
    if user == EVERYBODY:
        write_everybody(mixed, Path(value(config, "output", str)), query)
        return None
    row = mixed.users.user_row(user)
    return show(export, mixed.chosen(row), mixed.recommend(row, query), f"listener {user}")


def query_of(config: DictConfig, export: Export) -> Query:
    """Returns the query that the keys describe; ids and titles are looked up in `export`."""
    among, denied = raw_list("among", config.among), raw_list("deny", config.deny) or []
    return Query(
        k=value(config, "k", int),
        kind=tuple(raw_list("kind", config.kind) or ()),
        among=None if among is None else listed(export, "among", among),
        deny=listed(export, "deny", denied),
        explicit=value(config, "explicit", bool),
        include_heard=value(config, "include_heard", bool),
        familiar=value(config, "familiar", float | None),
        released_by=date_of("released_by", value(config, "released_by", str | None)),
        skip_cooldown_days=value(config, "skip_cooldown_days", float),
    )


def show(export: Export, chosen: np.ndarray, found: Found, whom: str) -> Found:
    """Prints the contents that a listener chose lately, and the recommendations."""
    console = Console()
    if len(chosen):
        console.print(history_table(export, chosen, f"Lately chosen by {whom}"))
    console.print(found_table(export, found, f"Recommended to {whom}"))
    return found


def write_everybody(mixed: MixedVersions, path: Path, query: Query) -> None:
    """Writes Parquet with user_id, rank, content_id, score and chance (null where lists are by score) for all
    listeners; memory holds one block of listeners."""
    total, listeners = 0, len(mixed.users.user_ids)
    schema = SCHEMA.with_metadata({"space_id": mixed.contents.space_id})
    with StageProgress() as progress, atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for first in range(0, listeners, BLOCK):
            rows = range(first, min(first + BLOCK, listeners))
            found = []
            for row in rows:
                found.append(mixed.recommend(row, query))
                progress.update("listeners", row + 1, listeners)
            block = found_by_user(mixed, rows, found, schema)
            writer.write_table(block)
            total += len(block)
    print(f"wrote {path}: {total:,} recommendations for {listeners:,} listeners")


def found_by_user(mixed: MixedVersions, users: Sequence[int], found: Sequence[Found], schema: pa.Schema) -> pa.Table:
    """Makes a table of the recommendations of some listeners (rows), one below the other."""
    counts = [len(one.rows) for one in found]
    columns = {
        "user_id": np.repeat(np.array([mixed.users.user_ids[row] for row in users], object), counts),
        "rank": np.concatenate([np.arange(1, count + 1) for count in counts]),
        "content_id": mixed.contents.contents["content_id"].take(np.concatenate([one.rows for one in found])),
        "score": np.concatenate([one.scores for one in found]),
        "chance": pa.chunked_array([_chances(one) for one in found], pa.float32()),
    }
    return pa.table(columns, schema)


def _chances(found: Found) -> pa.Array:
    if found.chances is None:
        return pa.nulls(len(found.rows), pa.float32())
    return pa.array(found.chances, pa.float32())
