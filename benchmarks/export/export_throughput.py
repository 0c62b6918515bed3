"""How many vectors a second does the exporter write, and does its memory grow with them?

    python benchmarks/export/export_throughput.py --contents 1000000 --listeners 1000000

Everything that `towers export` writes, by the code that it runs, of a catalogue made here: unit vectors around many
centres, titles, listeners without a history. What a network would take to make the vectors is not in it: contents come
from a generator, and all listeners stand where the user tower puts an unknown listener (a real one, exported and
compared
with torch as ever). Memory is the process's own at its peak (RssAnon); pages of mapped files, which the system takes
back when it wants to, come on top and are shown beside it.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import torch

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.assembly.export import export_plan
from towers.config.composing import compose
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.contract.provenance import Provenance
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings, SpectrogramSettings
from towers.features.vocabulary import Vocabulary
from towers.models.user_tower import UserTower
from towers.publishing.tables import write_mapped
from towers.publishing.trained import Trained
from towers.publishing.writer import write_export
from towers.retrieval.files import mapped_table

BLOCK, CENTRES = 65_536, 20_000


class Memory(threading.Thread):
    """The most that the process held, in bytes, of its own and with mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.resident = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Looks twenty times a second."""
        while not self.ended.wait(0.05):
            lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.own = max(self.own, 1024 * int(lines["RssAnon"].split()[0]))
            self.resident = max(self.resident, 1024 * int(lines["VmRSS"].split()[0]))


def contents_table(folder: Path, rows: int) -> pa.Table:
    """Returns it mapped, as a prepared store has it."""
    strings, lists = pa.nulls(rows, pa.string()), pa.nulls(rows, pa.list_(pa.string()))
    numbers = pa.array(np.arange(rows)).cast(pa.string())
    table = pa.table(
        {
            "content_id": pa.compute.binary_join_element_wise("c", numbers, ""),
            "kind": pa.repeat("track", rows),
            "title": pa.compute.binary_join_element_wise("Title", numbers, " "),
            "artist_ids": lists, "album_id": strings, "genres": lists, "language": strings,
            "release_date": pa.nulls(rows, pa.date32()), "duration_ms": pa.nulls(rows, pa.int64()),
            "explicit": pa.nulls(rows, pa.bool_()), "audio": strings,
        }
    )  # fmt: skip
    write_mapped(folder / "contents", table, {})
    return mapped_table(folder / "contents")


def content_blocks(rows: int, dim: int) -> Iterator[np.ndarray]:
    """Unit vectors around centres."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CENTRES, dim), dtype=np.float32)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        vectors = centres[generator.integers(0, CENTRES, count)]
        vectors += 0.5 * generator.standard_normal((count, dim), dtype=np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def trained(folder: Path, contents: int, listeners: int, dim: int) -> Trained:
    """Returns the input of the exporter."""
    torch.manual_seed(0)
    tower = UserTower((), 1, dim, dim=64, num_layers=2, num_heads=2, dropout=0.0).eval()
    nothing = [torch.zeros(1, 0, dtype=torch.long)] * 4
    with torch.inference_mode():
        unknown = tower(torch.zeros(1, 0, dim), *nothing, torch.zeros(1, 0, dtype=torch.long))[0, -1].numpy()
    users = pa.table(
        {"user_id": pa.compute.binary_join_element_wise("u", pa.array(np.arange(listeners)).cast("string"), "")}
    )
    write_mapped(folder / "users", users, {})
    no_events = {name: np.zeros(0, kind) for name, kind in (
        ("content_row", np.int32), ("action", np.int8), ("timestamp_us", np.int64), ("played_fraction", np.float32),
        ("context", np.int32), ("session", np.int32), ("device", np.int32), ("is_positive", bool),
    )}  # fmt: skip
    offsets = np.zeros(listeners + 1, np.int64)
    store = SimpleNamespace(
        contents=contents_table(folder, contents),
        users=mapped_table(folder / "users"),
        histories=SimpleNamespace(
            offsets=offsets, known_until=lambda until: offsets[1:], num_users=listeners, **no_events
        ),
        user_codes=np.zeros((listeners, 0), np.int32),
        features=FeatureSettings(
            min_played_fraction=0.5, content_parts=(), user_columns=(), spectrogram=SpectrogramSettings()
        ),
        vocabulary=lambda name: Vocabulary([]),
        kind_codes=np.zeros(contents, np.int8),
        members=Ragged(np.zeros(contents + 1, np.int64), np.zeros(0, np.int32)),
        playlists=PLAYLIST_COLUMNS.empty_table(), as_of_us=None, end_us=None, is_withdrawn=np.zeros(contents, bool),
        has_clock=True, fingerprint="synthetic", manifest={"validation_start_us": None, "test_start_us": None},
    )  # fmt: skip
    return Trained(
        store=store,
        two_tower=SimpleNamespace(dim=dim, user_tower=tower, content_tower=SimpleNamespace(has_content=False)),
        positives=np.ones(contents, np.int64),
        content_blocks=lambda: content_blocks(contents, dim),
        sounds=None, sound_blocks=lambda: iter(()),
        user_vectors=lambda rows, inputs, until: np.broadcast_to(unknown, (len(rows), dim)),
        max_length=200, provenance=Provenance(trained_on="synthetic"), weights="synthetic", config="synthetic",
        metrics={}, held_out=SimpleNamespace(
            user_rows=np.zeros(0, np.int64), min_users=1, is_candidate=np.ones(contents, bool)
        ),
        judged="synthetic vectors chose nothing",
    )  # fmt: skip


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--contents", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    add_smallest(parser, contents=300, listeners=50, dim=8)
    arguments = parser.parse_args()
    settings = export_plan(compose("export", ["export.variants=[]", "export.long_term=null"])).settings
    stages: dict[str, float] = {}

    def told(stage: str, done: int, total: int) -> None:
        stages.setdefault(stage, time.perf_counter())

    with tempfile.TemporaryDirectory(dir=".") as scratch:
        made = trained(Path(scratch), arguments.contents, arguments.listeners, arguments.dim)
        memory = Memory()
        memory.start()
        start, start_cpu = time.perf_counter(), time.process_time()
        write_export(Path(scratch) / "exports" / "version", made, settings, None, told)
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        memory.ended.set()
        size = sum(path.stat().st_size for path in (Path(scratch) / "exports").rglob("*") if path.is_file())
    vectors = arguments.contents + arguments.listeners
    figures = {
        "contents": arguments.contents, "listeners": arguments.listeners, "dim": arguments.dim,
        "seconds": seconds, "process_s": cpu_s, "vectors_a_second": vectors / seconds,
        "own_memory_bytes": memory.own, "resident_bytes": memory.resident, "export_bytes": size,
    }  # fmt: skip
    for name, figure in figures.items():
        print(f"{name:>18} {figure:,.0f}")
    write_result(arguments, f"export_throughput-{vectors}", figures)


if __name__ == "__main__":
    main()
