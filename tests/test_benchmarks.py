"""Every benchmark runs: its smallest form, which takes seconds and writes no result."""

import importlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import SMALL_WORLD, ok, run_of
from tests.end_to_end.in_chromium.chromium import needs_chromium
from tests.end_to_end.in_chromium.serving import served
from towers.manifest import read_json

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GOLDEN = Path(__file__).parent / "golden" / "format-2" / "export"
MODULES = {
    path.stem: ".".join(path.relative_to(BENCHMARKS.parent).with_suffix("").parts)
    for path in (*BENCHMARKS.rglob("*.py"), *BENCHMARKS.parent.glob("scripts/*.py"))
    if "__main__" in path.read_text() and "add_smallest" in path.read_text() and path.parent.name != "peers"
}
NAMES = sorted(MODULES)
LONG = (
    "agent_returns", "card_memory", "cold_content", "default_settings", "demo_worlds", "engines", "export_kills",
    "export_throughput", "gpu_check", "growing_store", "home_http", "killed_nights", "listen_chance", "metrics_cost",
    "off_policy", "page_pictures", "placing", "planted_worlds", "playlists_speed", "poisoned_nights", "prepare_scale",
    "report_pictures", "serve_through", "serving_http", "short_histories", "softmax", "space_versions",
    "training_speed", "user_encoding",
)  # fmt: skip
"""Benchmarks that take three seconds and more in their smallest form too: run with the long proofs."""
NEED_CHROMIUM = ("page_pictures", "report_pictures")
FEW_BASELINES = tuple(
    f"evaluation.baselines.{name}=null"
    for name in ("item_knn", "sessions", "ease", "ials", "bpr", "artist_mean", "audio_statistics", "recency")
)

pytestmark = [
    pytest.mark.unhooked,
    # export_kills forks; from Python 3.12 on that warns where there are threads, such as those of BLAS.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def labels(folder: Path) -> Path:
    """A style for every content: its kind and whether its id is even."""
    contents = pq.read_table(folder / "exports" / "current" / "contents.parquet", columns=["content_id", "kind"])
    path = folder / "labels.parquet"
    pq.write_table(contents.rename_columns(["content_id", "style"]), path)
    return path


def pools(folder: Path) -> list[str]:
    """Two editors' playlists of the export's tracks, and the day after its training ended."""
    export = folder / "exports" / "current"
    contents = pq.read_table(export / "contents.parquet", columns=["content_id", "kind"]).to_pylist()
    tracks = [row["content_id"] for row in contents if row["kind"] == "track"]
    rows = [{"playlist_id": f"p{at}", "title": None, "curator": "editor", "content_ids": tracks[at:]} for at in (0, 1)]
    (folder / "raw" / "playlists").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "raw" / "playlists" / "part-0.parquet")
    trained_until_us = json.loads((export / "manifest.json").read_text())["trained_until_us"]
    day = datetime.fromtimestamp(trained_until_us // 1_000_000, UTC).date() + timedelta(days=1)
    return [f"--export={export}", f"--raw={folder / 'raw'}", f"--as-of={day}"]


def plain_runs(folder: Path) -> list[str]:
    """Two runs without sound, of few dimensions: quick to export, and with more contents than dimensions, so that one's
    space can be turned into the other's."""
    sizes = (
        "content_tower.dim=16",
        "user_tower.dim=16",
        "audio_encoder=none",
        "placement=none",
        "trainer.max_epochs=1",
    )
    ok(folder, "train", "-m", "experiment=demo", *SMALL_WORLD, *sizes, "name=plain", "seed=5,6")
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("runs/plain/*/finished.json"))


def a_week_before_the_end(folder: Path) -> str:
    """Returns a day after which the demo's export has a week of events."""
    window = read_json(folder / "exports" / "current" / "manifest.json")["window"]
    return str((datetime.fromisoformat(window["end"]) - timedelta(days=7)).date())


def of_the_past(folder: Path) -> list[str]:
    """Returns arguments for the demo's export as of a week before its end, and for the later events."""
    return ["--export=exports/current", "--data=worlds/world-0", f"--as-of={a_week_before_the_end(folder)}"]


ARGUMENTS: dict[str, Callable[[Path], list[str]]] = {
    "algotorial": pools,
    "blend": of_the_past,
    "cold_content": lambda folder: [*SMALL_WORLD, "name=cold"],
    "data_faults": lambda folder: ["--data=worlds/world-0"],
    "demo_worlds": lambda folder: [
        "--seeds=0",
        f"--work={folder / 'worlds' / 'drawn'}",
        *SMALL_WORLD,
        *FEW_BASELINES,
        "evaluation.min_users=1",
        "evaluation.slicings=null",
        "trainer.max_epochs=1",
    ],
    "dial": of_the_past,
    "discover_weekly": of_the_past,
    "engines": lambda folder: ["--data=worlds/world-0", "data.max_unlisted_fraction=1"],
    "evaluation_cost": lambda folder: ["--work=cost"],
    "export_corruption": lambda folder: [str(GOLDEN)],
    "export_kills": lambda folder: plain_runs(folder)[:1],
    "front_end": lambda folder: ["--data=worlds/world-0", "--record-s=1.0"],
    "gate_rates": lambda folder: [
        "--exports",
        "exports/current",
        "exports/current",
        f"--store={next((folder / 'stores').glob('*/current'))}",
        "evaluation.min_users=2",
    ],
    "growing_store": lambda folder: ["--data=worlds/world-0"],
    "journeys": lambda folder: ["--export=exports/current"],
    "listen_chance": lambda folder: [*SMALL_WORLD, "evaluation.min_users=1"],
    "listening_on": of_the_past,
    "placing": lambda folder: [*SMALL_WORLD],
    "poisoned_nights": lambda folder: [
        "--command=prepare",
        "--data=worlds/world-0",
        "data=parquet",
        "data.name=nights",
        "features.spectrogram.record_s=1.0",
    ],
    "prepare_scale_reading": lambda folder: [str(next((folder / "stores").iterdir()))],
    "principal_axes": lambda folder: [run_of(folder)],
    "quality": lambda folder: ["demo", *SMALL_WORLD, "name=quality"],
    "report_pictures": lambda folder: [f"demo={run_of(folder)}/evaluation-test/report.html", "--target=pictures"],
    "serve_through": lambda folder: ["--exports", "exports/current", "exports/current", "--lists"],
    "serving_search": lambda folder: ["--work=search"],
    "space_versions": plain_runs,
    "derived": lambda folder: ["exports/current", "--later=exports/current", f"--labels={labels(folder)}"],
    "styles": lambda folder: [run_of(folder), f"--labels={labels(folder)}"],
}
"""Arguments of a benchmark beside --smallest: nearly always folders that the demo has left."""


def run(name: str, folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    command = [f"{name}.py", "--smallest", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    importlib.import_module(MODULES[name]).main()


def marked(name: str) -> object:
    """Marks the benchmark by its requirements or its cost."""
    marks = [needs_chromium] * (name in NEED_CHROMIUM) + [pytest.mark.slow] * (name in LONG)
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_runs_in_its_smallest_form(demo, name, monkeypatch, capfd):
    folder, before = demo[0], sorted((BENCHMARKS / "results").iterdir())
    if name == "page_pictures":
        contents = pq.read_table(folder / "exports" / "current" / "contents.parquet").to_pylist()
        content = next(row["content_id"] for row in contents if row["kind"] == "track" and row["audio"])
        user = pq.read_table(folder / "exports" / "current" / "user_embeddings")["user_id"][0]
        with served(folder, f"audio_root={folder / 'worlds' / 'world-0'}") as address:
            shown = [address, f"content={content}", f"listener={user}", "--target=pictures"]
            run(name, folder, shown, monkeypatch)
    else:
        run(name, folder, ARGUMENTS.get(name, lambda folder: [])(folder), monkeypatch)
    assert capfd.readouterr().out.strip()
    assert sorted((BENCHMARKS / "results").iterdir()) == before


def test_there_are_as_many_as_the_folder_has():
    assert {"quality", "ranking", "serving_http", "training_speed"} <= set(NAMES)
    assert set(ARGUMENTS) <= set(NAMES)


OWN_WAYS = ("argparse.ArgumentParser(", 'setdefault("OMP_NUM_THREADS"', '".venv-peers', '"towers", "serve"')


@pytest.mark.parametrize(
    "path", [path for path in BENCHMARKS.rglob("*.py") if path.parent.name != "peers"], ids=lambda path: path.stem
)
def test_none_has_its_own_command_line_threads_or_environments(path):
    """benchmarks/measuring.py, apart.py and one_thread.py have them for all."""
    harness = path.parent == BENCHMARKS and path.stem in ("measuring", "apart", "one_thread")
    assert harness or not [each for each in OWN_WAYS if each in path.read_text()]


def test_the_page_of_speed_says_what_the_results_say() -> None:
    speed = importlib.import_module("benchmarks.speed")
    assert speed.PAGE.read_text() == speed.page(), "write it anew: python benchmarks/speed.py --only"
