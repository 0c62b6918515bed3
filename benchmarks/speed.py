"""All claims of speed in one run, and the page that shows them: docs/speed.md.

    python benchmarks/speed.py                        # runs every command of the page, one after the other
    python benchmarks/speed.py --only serving_search  # those of some benchmarks; the page keeps the others' figures
    python benchmarks/speed.py --only                 # none: writes the page anew from the results that are there

Each command measures the peers beside Towers in its own run and writes its result to benchmarks/results; the page is
made of the latest result of each. Peers that are not installed have no row; the head of each benchmark says how to
install its own. A claim of Towers alone has no peer that does the same.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.apart import environment
from benchmarks.measuring import RESULTS, add_smallest, command_line
from benchmarks.one_thread import VARIABLES
from towers.manifest import atomic_file

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "speed.md"

PEERS = ("RecTools", "replay-rec", "torch-rechub", "hnswlib", "voyager", "vowpalwabbit", "sardine-rec")
"""Lists in benchmarks/peers whose libraries stand in the table."""

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of Towers and the best peer's figure from the same run.

    Args:
        what: name of the measured quantity.
        unit: unit of both figures.
        ours: Towers' figure.
        peer: name of the fastest peer; empty where there is none.
        theirs: figure of that peer.
        is_less_better: whether the smaller figure is the better one, as of seconds.
        measured: the ratio, where the benchmark measured it round by round; null: that of the figures.
    """

    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    is_less_better: bool = False
    measured: float | None = None

    @property
    def ratio(self) -> float | None:
        """Returns how many times as good as the peer Towers is; None without a peer's figure."""
        if not self.theirs or self.measured is not None:
            return self.measured
        return self.theirs / self.ours if self.is_less_better else self.ours / self.theirs


@dataclass(frozen=True, slots=True)
class Measure:
    """A command that measures, and how its result is read.

    Args:
        command: below `benchmarks/`, with its arguments.
        result: how the names of its results begin.
        rows: reads one.
    """

    command: str
    result: str
    rows: Callable[[Result], Iterator[Row]]

    @property
    def typed(self) -> str:
        """The command as it is typed."""
        name, *rest = self.command.split()
        return " ".join((f"python benchmarks/{name}.py", *rest))

    @property
    def benchmark(self) -> str:
        """The name of its module."""
        return self.command.split()[0].rpartition("/")[2]


def best_of(figures: Mapping[str, float], own: str = "") -> tuple[str, float]:
    """Name and figure of the fastest peer among rates; `own` begins the names that are no peers."""
    peers = {name: value for name, value in figures.items() if not (own and name.startswith(own))}
    return max(peers.items(), key=lambda pair: pair[1]) if peers else ("", float("nan"))


def trained(result: Result) -> Iterator[Row]:
    """Reads a result of training_speed.py."""
    protocol = result["protocol"]
    for compared in result["speed"]:
        rates, unit, ratios = compared["a_core_second"], f"{compared['unit']} a second", compared["ratios"]
        where = f"training, {compared['comparison']}, {protocol['allocator']} allocator"
        told = "" if compared["unit"] == "sequences" else ", one of each history"
        for peer, theirs in rates.items():
            if not peer.startswith("Towers"):
                yield Row(where, unit, rates["Towers"], peer + told, theirs, measured=ratios[peer]["Towers"])
        fastest = compared["fastest"]
        if fastest is not None:
            ours, ratio = rates["Towers, mixed"], ratios[fastest]["Towers, mixed"]
            yield Row(f"{where}, mixed lengths", unit, ours, fastest + told, rates[fastest], measured=ratio)


def throughput(result: Result) -> Iterator[Row]:
    """Reads a result of throughput.py."""
    where = f"training step of `ml1m`, {result['precision']}"
    yield Row(where, "tokens a second", result["tokens_per_s"])
    best = result["operations_per_s"] / result["share_of_ceiling"]
    yield Row(f"{where}: operations", "GFLOP/s", result["operations_per_s"] / 1e9, "matrix product", best / 1e9)


def evaluated(result: Result) -> Iterator[Row]:
    """Reads a result of evaluation_cost.py."""
    training, baselines = result["training"], result["baselines"].values()
    if not training:  # it was asked for the baselines alone
        return
    contents = re.findall(r"contents=(\d+)", result["world"])[0]
    spent = {
        "tuning the baselines": sum(each["core_seconds"]["tuning"] for each in baselines),
        "tuning, fitting, ranking them": sum(sum(each["core_seconds"].values()) for each in baselines),
        **result["evaluation"],
    }
    for what, seconds in spent.items():
        yield Row(f"{what}, {contents} contents of names", "core-seconds", seconds, "one training", training, True)


def searched(result: Result) -> Iterator[Row]:
    """Reads a result of serving_search.py."""
    sizes, figures = result["sizes"], result["figures"]
    for asked in dict.fromkeys(row["asked"] for row in figures):
        found = {row["name"]: row for row in figures if row["asked"] == asked and "Towers" not in row["name"]}
        (own,) = (row for row in figures if row["asked"] == asked and row["name"] == "Towers")
        for key, way in (("single", "one by one"), ("batch", "in batches of 256")):
            peer, theirs = best_of({name: row[key] for name, row in found.items() if row["recall"] >= 0.99})
            where = f"search, {sizes['contents']:,} {sizes['world']}, {asked}, {way}"
            yield Row(where, "queries a second", own[key], peer, theirs)


def home(result: Result) -> Iterator[Row]:
    """Reads a result of home_speed.py."""
    rates = result["decisions_per_s"]
    peer, theirs = best_of({name: rate for name, rate in rates.items() if name.startswith("vw")})
    yield Row("home page, 12 of 1,000 cards", "decisions a second", rates["hierarchical"], peer, theirs)


def simulated(result: Result) -> Iterator[Row]:
    """Reads a result of listening_speed.py."""
    peer, theirs = best_of(result["peers"])
    steps = min(figures["steps_per_s"] for figures in result["slates"].values())
    yield Row("simulated listeners, slates of 10", "steps a second", steps, peer, theirs)


def agent(result: Result) -> Iterator[Row]:
    """Reads a result of agent_speed.py."""
    rate = result["slates_per_second"]["agent, drawn with propensities"]
    yield Row("agent's slates of 10 of 200, with propensities", "slates a second", rate)


def playlists(result: Result) -> Iterator[Row]:
    """Reads a result of playlists_speed.py."""
    contents = result["sizes"]["contents"]
    yield Row(f"Discover Weekly, {contents:,} contents", "lists an hour", result["figures"]["lists_an_hour_a_core"])


def encoded(result: Result) -> Iterator[Row]:
    """Reads a result of user_encoding.py."""
    by_name = {figures["name"]: figures for figures in result["figures"]}
    eager = by_name.get("torch, eager", {}).get("core_p50_ms")
    length = result["sizes"]["length"]
    yield Row(f"a listener of {length} events to a vector", "ms", by_name["float32"]["core_p50_ms"],
              "torch, eager" if eager else "", eager, is_less_better=True)  # fmt: skip


def sounds(result: Result) -> Iterator[Row]:
    """Reads a result of front_end.py."""
    yield Row("decode, resample, log-mel (ogg)", "seconds of sound a second", result["rates"]["whole"])


MEASURES = (
    Measure("training/training_speed --only speed --rounds 3 --comparisons 0 2 3 4", "training_speed", trained),
    Measure(
        "training/training_speed --only speed --rounds 3 --comparisons 0 --allocator system",
        "training_speed_system",
        trained,
    ),
    Measure("evaluation/evaluation_cost --work runs/names", "evaluation_cost", evaluated),
    Measure("training/throughput experiment=ml1m", "throughput-ml1m-cpu", throughput),
    Measure("serving/serving_search", "serving_search-search-nonlinear-1000000", searched),
    Measure(
        "serving/serving_search --world clustered --contents 50000", "serving_search-search-clustered-50000", searched
    ),
    Measure("serving/user_encoding", "user_encoding", encoded),
    Measure("data/front_end", "front_end", sounds),
    Measure("home/home_speed", "home_speed", home),
    Measure("playlists/playlists_speed", "playlists_speed", playlists),
    Measure("simulation/listening_speed", "listening_speed", simulated),
    Measure("simulation/agent_speed", "agent_speed", agent),
)


def main() -> None:
    parser = command_line(__doc__)
    names = list(dict.fromkeys(measure.benchmark for measure in MEASURES))
    parser.add_argument(
        "--only", nargs="*", choices=names, default=names, help="benchmarks to run; none: the page alone"
    )
    add_smallest(parser, only=[])
    arguments = parser.parse_args()
    for measure in MEASURES:
        if measure.benchmark in arguments.only:
            print(f"== {measure.typed}", flush=True)
            run(measure)
    if arguments.smallest:
        print(page())
    else:
        with atomic_file(PAGE) as path:
            path.write_text(page())
        print(f"written to {PAGE}")


def run(measure: Measure) -> None:
    """Runs a benchmark in a process of its own, on one thread.

    Raises:
        SystemExit: the benchmark failed; results of earlier benchmarks are kept.
    """
    name, *rest = measure.command.split()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *rest]
    if subprocess.run(command, env=environment(**VARIABLES), cwd=ROOT, check=False).returncode:
        raise SystemExit(f"failed: {measure.typed}; the results of those before it are kept")


def page() -> str:
    """The text of docs/speed.md, from the latest results."""
    found = [(measure, result) for measure in MEASURES if (result := latest(measure)) is not None]
    rows = [line(row, measure, result) for measure, result in found for row in measure.rows(result)]
    head = "| what | Towers | peer | ratio | command | date, version, load |\n|---|---|---|---|---|---|"
    missing = [f"Not measured yet: `{measure.typed}`." for measure in MEASURES if latest(measure) is None]
    return "\n".join((HEAD.strip(), "", head, *rows, "", *missing, versions([result for _, result in found]), ""))


HEAD = """
# Speed

Made by `python benchmarks/speed.py`, which runs every command of this table one after the other, each with its peers in
the same run, and writes this page. One thread of an x86-64 machine with two cores and no GPU; a second is one of
processor time, so that other work on the machine matters less; every generator begins with seed 0. The head of each
benchmark tells its protocol, and how its peers are installed. A ratio above 1 says that Towers is ahead.

Training: all sides have an allocator that keeps memory, but for the rows that say "system". "Like lengths" and "chunks"
are RePlay's own parts put together for speed, which no recipe of its documentation does. Of a sampled softmax, Towers
and RePlay draw 256 negatives for a step, RecTools 256 and torch-rechub one for each target. "Two towers" is not one
network: torch-rechub's pools a mean and learns one target of a history, Towers' learns all of them; counted by
histories, torch-rechub is an order of magnitude ahead. Search: every method at the least effort that finds .99 of the
nearest 10.
"""


def line(row: Row, measure: Measure, result: Result) -> str:
    """A row of the table."""
    peer = f"{row.peer} {number(row.theirs)}" if row.peer and row.theirs else ""
    ratio = f"{row.ratio:.2f}" if row.ratio else ""
    load = result["machine"]["load_average"][0] if "machine" in result else float("nan")
    when = f"{result['when'][:16].replace('T', ' ')}, {result.get('commit', '')}, {load:.1f}"
    return f"| {row.what} | {number(row.ours)} {row.unit} | {peer} | {ratio} | `{measure.typed}` | {when} |"


def number(value: float) -> str:
    """Three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def versions(results: list[Result]) -> str:
    """The libraries of all results, and the peers as they are pinned, in two sentences."""
    libraries: dict[str, str] = {}
    for result in results:
        libraries |= result.get("libraries", {})
    pins = "\n".join(path.read_text() for path in sorted((ROOT / "benchmarks" / "peers").glob("*.txt")))
    peers = re.findall(rf"(?m)^({'|'.join(PEERS)})(?:==| @ )(\S+)", pins)
    return "\n".join(f"{what}: {', '.join(f'{name} {version}' for name, version in found)}."
                     for what, found in (("Libraries", sorted(libraries.items())), ("Peers", peers)))  # fmt: skip


def latest(measure: Measure) -> Result | None:
    """The newest result of a measure; null where there is none."""
    paths = sorted(RESULTS.glob(f"{measure.result}-20*.json"))
    return json.loads(paths[-1].read_text()) if paths else None


if __name__ == "__main__":
    main()
