"""The measured tables of docs/results.md, written from the JSON files in benchmarks/results.

    python scripts/results_page.py            # writes the tables anew, and the list of all result files

The sentences of the page are written by hand. What stands between `<!-- table NAME -->` and `<!-- end -->` is replaced
by the table of that name in `TABLES`, so that no figure there is typed. A new table is an entry in `TABLES` and two
such lines on the page.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import RESULTS, add_smallest
from scripts import results_rows as rows_of
from scripts.results_rows import Cells, Result
from towers.manifest import atomic_file

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Args:
        head: names of the columns, with ` | ` between them.
        rows: makes the rows from the results, in the order of `files`.
        files: names of its results, without `.json`.
    """

    head: str
    rows: Callable[..., Iterable[Cells]]
    files: tuple[str, ...]

    def text(self) -> str:
        """The table in Markdown, and a line that says which files its figures stand in and where they were measured."""
        results = [read(name) for name in self.files]
        sources = (f"`{name}.json` ({when(name, result)})" for name, result in zip(self.files, results, strict=True))
        return f"{markdown(self.head, self.rows(*results))}\n\nFrom {'; '.join(sources)}."


def read(name: str) -> Result:
    """A result of a benchmark."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def when(name: str, result: Result) -> str:
    """Date, commit, cores and load of a result, as far as it has them; a plus marks a commit with changed files."""
    machine = result.get("machine")
    machine = {**result, **machine} if isinstance(machine, dict) else result
    load = machine.get("load_average")
    if load and isinstance(load[0], list):  # before and after
        load = load[0]
    commit = f"commit {result['commit']}" if result.get("commit") else f"commit {UNKNOWN}"
    cores = f"{machine['cores']} cores" if "cores" in machine else f"cores {UNKNOWN}"
    return ", ".join((name[-10:], commit, cores, f"load {load[0]:.1f}" if load else f"load {UNKNOWN}"))


def markdown(head: str, rows: Iterable[Cells]) -> str:
    """A table in Markdown, of a head with ` | ` between its columns."""
    lines = [f"| {head} |", "|---" * len(head.split(" | ")) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]
    return "\n".join(lines)


MADE_OTHERWISE = {
    "backtest": "towers retrain action=backtest",
    "rectools_quality": "python benchmarks/training/training_speed.py --only quality",
    "time_to_quality": "python benchmarks/training/training_speed.py --only quality",
}
"""Commands of results whose names do not begin with their benchmark's."""

CATALOGUE = "catalogue", "lastfm1k", "thirtymusic"
REFITS = "refit-2026-11-29", "refit-1-2026-11-29", "refit-2-2026-11-29"
EXPORTS = (
    "export_throughput-2000000-2026-11-28",
    "export_kills-2026-11-28",
    "export_corruption-2026-11-28",
    "serving_search-build-nonlinear-10000000-2026-11-28",
    "serving_search-share-nonlinear-1000000-2026-11-28",
    "serving_http-2026-11-28",
)
DATA = (
    "engines-2026-11-30",
    "sets-5000000-2026-11-30",
    "sets-19000000-2026-11-30",
    "growing_store-2026-11-29",
    "data_faults-2026-11-30",
)

TABLES = {
    "ml1m": Table(
        "seed | validation NDCG@10 after 4, 8, 12 epochs | core-seconds | test NDCG@10 | test hit rate@10",
        rows_of.ml1m,
        ("quality-ml1m-averaged-2026-11-30", "quality-ml1m-2026-11-25"),
    ),
    "time_to_quality": Table(
        " | epochs | core-seconds | test NDCG@10", rows_of.time_to_quality, ("time_to_quality-2026-11-25",)
    ),
    "catalogue": Table(
        "recall@20 of | all | familiar | discovery | cold among all | cold among cold, ndcg@20",
        rows_of.catalogue,
        (
            "listen_chance-catalogue-test-2026-11-29",
            "cold_content-metadata-ids-2026-11-28",
            *(f"quality-catalogue-{name}" for name in REFITS),
        ),
    ),
    "sound": Table(
        "contents are known by | cold among cold, ndcg@20 | cold among all | discovery | all | "
        "first row less this: cold among cold | cold among all",
        rows_of.worth_of_sound,
        ("cold_content-metadata-ids-2026-11-28", "cold_content-sound-2026-11-28"),
    ),
    "placing": Table(
        "sounds | statistics | conv | frozen | joined | metadata alone",
        rows_of.placing,
        tuple(f"placing-test-{name}2026-11-29" for name in ("", "conv-", "600-", "200-")),
    ),
    "listen_chance": Table(
        "data | recall@20 of | all | familiar | among what was heard | discovery",
        rows_of.listen_chance,
        tuple(f"listen_chance-{name}-test-2026-11-29" for name in CATALOGUE),
    ),
    "short_histories": Table(
        "data | posted | sessions | Towers | session co-occurrence | item-kNN | ahead of co-occurrence, hit rate | mrr",
        rows_of.short_histories,
        ("short_histories-thirtymusic-2026-11-29", "short_histories-lastfm1k-2026-11-29"),
    ),
    "defaults": Table(
        "data | period | changed | discovery | best of three | ahead | all | own most-played",
        rows_of.defaults,
        ("default_settings-2026-11-29",),
    ),
    "demo": Table(
        "world | discovery recall@20 | x popularity | x chance | cold among cold recall@20 | x chance",
        rows_of.demo,
        ("demo_worlds-2026-11-25",),
    ),
    "space_versions": Table(
        "earlier, new | new listeners, new contents | old, old | old, new without the map | old, new mapped | "
        "share (95 %)",
        rows_of.space_versions,
        ("space_versions-2026-11-28",),
    ),
    "axes": Table("leading dimensions | 8 | 16 | 32 | 64", rows_of.axes, ("principal_axes-2026-11-29",)),
    "exports": Table("what | figure", rows_of.exports, EXPORTS),
    "prepare": Table(
        "prepared | core-seconds | time | memory at its peak", rows_of.prepared, ("prepare_scale-2026-11-29",)
    ),
    "data": Table("what | figure", rows_of.read_data, DATA),
    "backtest": Table(
        "network | discovery recall@20, mean of 13 nights | of a training from scratch, mean | least (night)",
        rows_of.backtest,
        ("backtest-catalogue-2026-11-30",),
    ),
    "nights": Table(
        "what | figure",
        rows_of.nights,
        ("poisoned_nights-2026-11-30", "killed_nights-2026-11-30", "serve_through-2026-11-30"),
    ),
    "gate": Table(
        "recall@20 of | figure | two seeds differ by | of that by listeners | `seed_noise`",
        rows_of.gate,
        ("gate_rates-catalogue-2026-11-30",),
    ),
    "discover_weekly": Table(
        " | recall@30 | styles met | Discover Weekly is (x)", rows_of.discover_weekly, ("discover_weekly-2026-11-29",)
    ),
    "home": Table(
        "policy | regret | of seeds | last 20 rounds | core-seconds", rows_of.home, ("home_regret-2026-11-30",)
    ),
    "off_policy": Table(
        "impressions, slots | estimator | error, mean over policies | of the worst policy | "
        "coverage of the 95 % interval (least to greatest policy)",
        rows_of.off_policy,
        tuple(f"off_policy-{name}-2026-11-30" for name in ("1-slots-10000", "1-slots-50000", "3-slots-10000")),
    ),
    "delayed": Table(
        "told | late regret, days a listener | the progressive filter has (x)",
        rows_of.delayed,
        ("delayed_outcomes-2026-11-30",),
    ),
    "planted": Table(
        "world | listeners x days | satiation planted | found (ensemble) | tau of five policies",
        rows_of.planted,
        tuple(f"planted_worlds-{name}-2026-11-30" for name in ("strong-none", "none-satisfaction", "moving-strong")),
    ),
    "sardine": Table(
        "policy | clicks of an episode | beside two of a topic with the true taste",
        rows_of.sardine,
        ("sardine_agent-2026-11-30",),
    ),
    "divided": Table(
        "`rows=` | processes | tables of a process | resident | a step", rows_of.divided, ("row_sharding-2026-11-30",)
    ),
}


def files() -> str:
    """All result files, what made them, and when."""
    modules = {path.stem: path.relative_to(ROOT) for path in (ROOT / "benchmarks").glob("*/*.py")}
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        made = max((name for name in modules if path.stem.startswith(name)), key=len, default="")
        command = MADE_OTHERWISE.get(path.stem.partition("-")[0]) or f"python {modules[made]}"
        rows.append((f"`{path.stem}`", f"`{command}`", when(path.stem, read(path.stem))))
    return markdown("file | command, without its arguments | date, commit, cores, load", rows)


def page(text: str) -> str:
    """The page with all tables written anew; raises `KeyError` for a table that there is not."""

    def written(found: re.Match[str]) -> str:
        table = files() if found[1] == "files" else TABLES[found[1]].text()
        return f"<!-- table {found[1]} -->\n\n{table}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->.*?<!-- end -->", written, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_smallest(parser)
    arguments = parser.parse_args()
    text = page(PAGE.read_text())
    if arguments.smallest:
        print(text)
    else:
        with atomic_file(PAGE) as path:
            path.write_text(text)
        print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
