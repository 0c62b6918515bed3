"""`towers recommend`: what a listener, or somebody with a given history, might play next."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig
from rich.console import Console

from towers.commands.progress import StageProgress
from towers.config import CONFIG_DIR, raw_list, raw_text, value
from towers.errors import UserError
from towers.manifest import atomic_file
from towers.retrieval.export import Export, Found
from towers.retrieval.mixing import listeners_against
from towers.retrieval.show import found_table, history_table

EVERYBODY = "all"
BLOCK = 4_096
"""Listeners whose recommendations are written at once."""

SCHEMA = pa.schema({"user_id": pa.string(), "rank": pa.int32(), "content_id": pa.string(), "score": pa.float32()})


def run(config: DictConfig) -> Found | None:
    """Prints recommendations and returns them; for everybody, writes them instead."""
    is_checked = value(config, "check", bool)
    export = Export(Path(config.export), is_checked)
    user, history = raw_text("user", config.user), raw_list("history", config.history)
    if (user is None) == (history is None):
        raise UserError("give either user=ID or history=[CONTENT_ID,...]")
    k, include_heard = value(config, "k", int), value(config, "include_heard", bool)
    kinds = tuple(raw_list("kind", config.kind) or ())
    candidates = raw_list("candidates", config.candidates)
    among = None if candidates is None else rows_of(export, "candidates", candidates)
    denied = rows_of(export, "deny", raw_list("deny", config.deny) or [])
    wanted = Wanted(
        k=k, kinds=kinds, include_heard=include_heard, among=among, denied=denied,
        allow_explicit=value(config, "explicit", bool),
    )  # fmt: skip
    if user == EVERYBODY:
        write_everybody(export, Path(value(config, "output", str)), wanted)
        return None
    if user is not None:
        folder = value(config, "users", str | None)
        mixed = listeners_against(export if folder is None else Export(Path(folder), is_checked), export)
        row = mixed.users.user_row(user)
        heard, vector, whom = mixed.heard(row), mixed.vector(row), f"listener {user}"
    else:
        heard = rows_of(export, "history", history or [])
        vector, whom = export.encode_events(export.plays(heard)), "this history"
    found = wanted.of(export, vector, heard)
    console = Console()
    console.print(history_table(export, heard, f"Lately chosen by {whom}"))
    console.print(found_table(export, found, f"Recommended to {whom}"))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What may be recommended, and how much of it.

    Args:
        k: at most so many.
        kinds: of contents.
        include_heard: whether what was heard before may come again.
        among: rows to choose from; null: all.
        denied: `[denied]`, rows that must not be shown.
        allow_explicit: whether contents that are marked explicit may be shown.
    """

    k: int
    kinds: tuple[str, ...]
    include_heard: bool
    among: np.ndarray | None
    denied: np.ndarray
    allow_explicit: bool

    def of(self, export: Export, vector: np.ndarray, heard: np.ndarray) -> Found:
        """For somebody at `vector` (`[dim]`) who heard these rows."""
        without = self.denied if self.include_heard else np.concatenate([self.denied, heard])
        return export.recommend(vector, self.k, self.kinds, without, self.among, self.allow_explicit)


def rows_of(export: Export, key: str, names: list[str]) -> np.ndarray:
    """The rows of the ids or titles in a list."""
    try:
        return np.array([export.content_row(name) for name in names], dtype=np.int64)
    except UserError as error:
        advice = "; one with a comma goes into quotes: ['A, B',C]" if len(names) > 1 else ""
        raise UserError(f"{key}: {error}{advice}") from error


def write_everybody(export: Export, path: Path, wanted: Wanted) -> None:
    """Parquet with user_id, rank, content_id and score, for every listener; in memory is one block of listeners."""
    total, listeners = 0, len(export.user_ids)
    schema = SCHEMA.with_metadata({"space_id": export.space_id})
    with StageProgress() as progress, atomic_file(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for first in range(0, listeners, BLOCK):
            rows = range(first, min(first + BLOCK, listeners))
            found = []
            for row in rows:
                found.append(wanted.of(export, export.user_vectors[row], export.chosen(row)))
                progress.update("listeners", row + 1, listeners)
            block = found_by_user(export, rows, found, schema)
            writer.write_table(block)
            total += len(block)
    print(f"wrote {path}: {total:,} recommendations for {listeners:,} listeners")


def found_by_user(export: Export, users: Sequence[int], found: Sequence[Found], schema: pa.Schema) -> pa.Table:
    """What was found for each of some listeners (rows), below one another."""
    counts = [len(one.rows) for one in found]
    columns = {
        "user_id": np.repeat(np.array([export.user_ids[row] for row in users], object), counts),
        "rank": np.concatenate([np.arange(1, count + 1) for count in counts]),
        "content_id": export.contents["content_id"].take(np.concatenate([one.rows for one in found])),
        "score": np.concatenate([one.scores for one in found]),
    }
    return pa.table(columns, schema)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="recommend")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
