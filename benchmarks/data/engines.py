"""Do DuckDB and Spark make the same store, and what does each cost?

    python benchmarks/data/engines.py                                  # the catalogue, without its sound
    python benchmarks/data/engines.py --data FOLDER data.memory_gb=1   # any folder; further arguments are overrides

Both prepare the same raw data by the real command, each in a process of its own; every file of the two stores has to be
equal byte for byte. Spark runs on threads of this machine. Sound is left out, since no engine decodes it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.disturbed import different, files_of
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.manifest import read_json

ENGINES = ("duckdb", "spark")
COMMAND = """
import json, resource, secrets, sys
from towers.cli import main
secrets.token_bytes = bytes
code = main(sys.argv[2:])
kinds = {"python": resource.RUSAGE_SELF, "jvm": resource.RUSAGE_CHILDREN}
used = {name: resource.getrusage(kind) for name, kind in kinds.items()}
told = {name: [one.ru_utime + one.ru_stime, one.ru_maxrss * 1024 / 1e9] for name, one in used.items()}
open(sys.argv[1], "w").write(json.dumps(told))
sys.exit(code)
"""
"""Runs `towers`, and writes what the process and those that it waited for took: core-seconds, and GB at their peak.
The random key by which forgotten listeners are hashed is the same for both engines."""
OWN = "digests.json"
"""Says of each raw file when it was looked at last."""


def without_sound(data: Path, target: Path) -> Path:
    """A copy of raw data whose contents name no sound; all other tables are links."""
    target.mkdir()
    for table in sorted(path for path in data.iterdir() if path.is_dir() and path.name != "audio"):
        if table.name != "contents":
            (target / table.name).symlink_to(table.absolute())
            continue
        (target / "contents").mkdir()
        for path in sorted(table.rglob("*.parquet")):
            rows = pq.read_table(path)
            kept = rows.drop_columns([name for name in rows.column_names if name == "audio"])
            pq.write_table(kept, target / "contents" / path.name)
    return target


def prepared(engine: str, raw: Path, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Prepares a store in a process of its own; returns what it took."""
    told = folder / f"{engine}.json"
    command = ["prepare", "data=parquet", f"data/engine={engine}", f"data.root={raw}", "data.name=store"]
    threads = os.cpu_count() or 1
    settings = [f"data.engine.master=local[{threads}]"] if engine == "spark" else []
    paths = [f"paths.stores={folder / engine}"]
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, told, *command, *settings, *paths, *overrides], check=True)
    return {"seconds": time.perf_counter() - begin, **read_json(told)}


def main() -> None:
    """Prints a table of both, and which files differ."""
    parser = command_line(__doc__)
    shared = os.environ.get("TOWERS_SHARED_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(shared) / "catalogue", help="folder of raw data")
    parser.add_argument("overrides", nargs="*", help="of `towers prepare`, for both")
    add_smallest(parser)
    arguments = parser.parse_args()
    overrides = arguments.overrides or ["data/split=catalogue"]
    with tempfile.TemporaryDirectory(prefix="towers-") as name:
        folder = Path(name)
        raw = without_sound(arguments.data, folder / "raw")
        found = {engine: prepared(engine, raw, folder, overrides) for engine in ENGINES}
        stores = [files_of(folder / engine / "store") for engine in ENGINES]
        events = read_json(next((folder / ENGINES[0] / "store").glob("*/manifest.json")))["counts"]["events"]
    unlike = [file for file in different(*stores) if file != OWN]
    print(f"\n{events:,} events; {len(stores[0]):,} files of a store, of which {len(unlike)} differ {unlike[:5]}")
    print(f"{'engine':8}{'seconds':>9}{'core-s, Python':>16}{'core-s, JVM':>13}{'GB, Python':>12}{'GB, JVM':>9}")
    for engine, one in found.items():
        (cores, memory), (jvm_cores, jvm_memory) = one["python"], one["jvm"]
        print(f"{engine:8}{one['seconds']:9.1f}{cores:16.1f}{jvm_cores:13.1f}{memory:12.2f}{jvm_memory:9.2f}")
    result = {"data": arguments.data.name, "overrides": overrides, "events": events, "engines": found}
    write_result(arguments, "engines", {**result, "files": len(stores[0]), "different": unlike})
    if unlike:
        sys.exit(f"these files differ: {unlike}")


if __name__ == "__main__":
    main()
