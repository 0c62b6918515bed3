"""Storage of a comparison as JSON and Parquet."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from towers.evaluation.comparison.values import Comparison
from towers.manifest import atomic_file, read_json, write_json

FILE = "comparison.json"


def write(comparison: Comparison, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Writes `listeners.parquet`, `contents.parquet`, and last `FILE`, each atomically.

    Args:
        comparison: comparison to write.
        folder: folder, which is created if necessary; files of an earlier comparison are replaced.
        metadata: JSON-like facts about the compared evaluations.
    """
    for name, rows in (("listeners", comparison.listeners), ("contents", comparison.contents)):
        with atomic_file(folder / f"{name}.parquet") as temporary:
            pq.write_table(rows, temporary, compression="zstd")
    parts = {name: getattr(comparison, name) for name in ("before", "after", "main_metric", "left_out")}
    parts["changes"] = {key: asdict(change) for key, change in comparison.changes.items()}
    parts["overlap"] = {name: asdict(overlap) for name, overlap in comparison.overlap.items()}
    for name in ("gained", "lost", "exposure"):
        parts[name] = [asdict(change) for change in getattr(comparison, name)]
    write_json(folder / FILE, {"metadata": dict(metadata), **parts})


def means(folder: Path) -> dict[str, dict[str, float]]:
    """Reads from a written comparison the means of both rankers and their `difference` (after - before), by metric.

    All are over the listeners for whom both have the metric.
    """
    found = read_json(folder / FILE)
    changes = found["changes"].items()
    return {
        found["before"]: {key: change["before"] for key, change in changes},
        found["after"]: {key: change["after"] for key, change in changes},
        "difference": {key: change["difference"]["mean"] for key, change in changes},
    }
