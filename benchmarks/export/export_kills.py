"""Does `exports/current` always open and verify, whenever an export is killed?

    python benchmarks/export/export_kills.py runs/demo/<signature> --kills 200

The run is exported once; then again and again in a process of its own, each time in another way (parts of another
size), so that there is a new version to write and to publish. Each is killed (SIGKILL) after a time drawn evenly from
nought to a little more than a whole export takes, and then `current` must open, every checksum must be right, and
everything that `towers verify` looks at. A last export, which is let to its end, must come out well among what the
killed ones left.
"""

import random
import shutil
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.disturbed import ended, killed_after, started
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.export import export_plan
from towers.assembly.run import load_run
from towers.config.composing import compose
from towers.publishing.trained import ExportSettings, Trained
from towers.publishing.writer import CURRENT, publish, write_export
from towers.retrieval.export import Export
from towers.retrieval.verify import problems

MIN_INDEX_RECALL = 0.9


def export(trained: Trained, settings: ExportSettings, exports: Path, number: int) -> None:
    """Writes one version and publishes it."""
    target = exports / f"version-{number}"
    write_export(target, trained, replace(settings, rows_per_part=5 + number), None, lambda stage, done, total: None)
    publish(target)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stores", type=Path, default=Path("stores"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    add_smallest(parser, kills=1)
    arguments = parser.parse_args()
    plan = export_plan(compose("export", ["evaluation.min_users=2", "export.variants=[]"]))
    trained = plan.trained(load_run(arguments.run, arguments.stores, is_compact=True))
    settings, moments = plan.settings, random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        exports = Path(scratch) / "exports"
        start = time.perf_counter()
        told = Path(scratch) / "told.txt"
        version = partial(export, trained, settings, exports)
        assert ended(started(partial(version, 0), told)) == 0, told.read_text()
        whole_s = time.perf_counter() - start
        killed, versions = 0, {(exports / CURRENT).resolve().name}
        for number in range(1, arguments.kills + 1):
            killed += killed_after(started(partial(version, number), told), moments.uniform(0, 1.1 * whole_s))
            found = list(problems(Export(exports / CURRENT), MIN_INDEX_RECALL))
            assert not found, (number, found)
            versions.add((exports / CURRENT).resolve().name)
            for old in exports.glob("version-*"):
                if old != (exports / CURRENT).resolve():
                    shutil.rmtree(old)
            print(f"\r{number} of {arguments.kills}", end="", flush=True)
        assert ended(started(partial(version, arguments.kills + 1), told)) == 0, told.read_text()
        assert not list(problems(Export(exports / CURRENT), MIN_INDEX_RECALL))
    print(f"\r{killed} exports of {whole_s:.1f} s killed, {arguments.kills - killed} were quicker than the kill;")
    print(f"`current` pointed to {len(versions)} versions and was whole every time")
    figures = {"kills": killed, "ended before": arguments.kills - killed, "versions": len(versions), "damaged": 0}
    write_result(arguments, "export_kills", {"seed": arguments.seed, "export_s": whole_s, **figures})


if __name__ == "__main__":
    main()
