"""`towers recommend`: what a listener, or somebody with a given history, might play next."""

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
from towers.retrieval.show import found_table, history_table

EVERYBODY = "all"


def run(config: DictConfig) -> Found | None:
    """Prints recommendations and returns them; for everybody, writes them instead."""
    export = Export(Path(config.export))
    user, history = raw_text("user", config.user), raw_list("history", config.history)
    if (user is None) == (history is None):
        raise UserError("give either user=ID or history=[CONTENT_ID,...]")
    k, include_heard = value(config, "k", int), value(config, "include_heard", bool)
    if k < 1:
        raise UserError(f"k={k}: must be at least 1")
    kinds = tuple(raw_list("kind", config.kind) or ())
    candidates = raw_list("candidates", config.candidates)
    among = None if candidates is None else np.array([export.content_row(name) for name in candidates])
    if user == EVERYBODY:
        write_everybody(export, Path(value(config, "output", str)), k, kinds, include_heard, among)
        return None
    if user is not None:
        row = export.user_row(user)
        heard, vector, whom = export.chosen(row), export.user_vectors[row], f"listener {user}"
    else:
        heard = np.array([export.content_row(name) for name in history or []], dtype=np.int64)
        vector, whom = export.encode_events(export.plays(heard)), "this history"
    found = export.recommend(vector, k, kinds, None if include_heard else heard, among)
    console = Console()
    console.print(history_table(export, heard, f"Lately chosen by {whom}"))
    console.print(found_table(export, found, f"Recommended to {whom}"))
    return found


def write_everybody(
    export: Export, path: Path, k: int, kinds: tuple[str, ...], include_heard: bool, among: np.ndarray | None
) -> None:
    """Parquet with user_id, rank, content_id and score, for every listener."""
    users, ranks, contents, scores = [], [], [], []
    with StageProgress() as progress:
        for row, user_id in enumerate(export.user_ids):
            heard = None if include_heard else export.chosen(row)
            found = export.recommend(export.user_vectors[row], k, kinds, heard, among)
            users += [user_id] * len(found.rows)
            ranks += range(1, len(found.rows) + 1)
            contents += [export.content_ids[content] for content in found.rows.tolist()]
            scores += found.scores.tolist()
            progress.update("listeners", row + 1, len(export.user_ids))
    table = pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "rank": pa.array(ranks, pa.int32()),
            "content_id": pa.array(contents, pa.string()),
            "score": pa.array(scores, pa.float32()),
        }
    )
    with atomic_file(path) as temporary:
        pq.write_table(table.replace_schema_metadata({"space_id": export.space_id}), temporary)
    print(f"wrote {path}: {len(table):,} recommendations for {len(export.user_ids):,} listeners")


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="recommend")
def main(config: DictConfig) -> None:
    """The command."""
    run(config)
