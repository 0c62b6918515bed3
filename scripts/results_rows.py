"""The rows of the tables of docs/results.md: which figures of a benchmark's result files stand in which column.

Each function takes the results of its table (`TABLES` in results_page.py) and gives its rows as text.
"""

from collections.abc import Iterable, Sequence
from typing import Any

CATALOGUE = (
    "recall@20",
    "recall@20/familiar",
    "recall@20/discovery",
    "recall@20/cold_content",
    "ndcg@20/cold_among_cold",
)
COLD = "ndcg@20/cold_among_cold", "recall@20/cold_content", "recall@20/discovery", "recall@20"

Result = dict[str, Any]
Cells = Sequence[str]


def share(value: float | None, digits: int = 3) -> str:
    """A figure between -1 and 1 as this project writes it: .425; empty where there is none."""
    if value is None:
        return ""
    if value in (0, 1):
        return str(int(value))
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def within(difference: Result) -> str:
    """A difference with its 95 % interval."""
    return f"{signed(difference['mean'])} ({signed(difference['low'])} to {signed(difference['high'])})"


def signed(value: float) -> str:
    """A figure with its sign."""
    return ("+" if value >= 0 else "") + share(value)


def times(ratio: Result) -> str:
    """A ratio with its 95 % interval."""
    return f"{ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def means(figures: Result, names: Iterable[str], keys: Iterable[str]) -> Iterable[Cells]:
    """A row for each ranker: its means by key."""
    return ([name, *(share(figures[name]["means"].get(key)) for key in keys)] for name in names)


def ml1m(result: Result, before: Result) -> Iterable[Cells]:
    for run in sorted(result["seeds"], key=lambda run: run["seed"]):
        curve = ", ".join(share(at["validation/ndcg@10"]) for at in run["curve"])
        test = run["test"]
        yield (
            str(run["seed"]),
            curve,
            f"{run['core_seconds']:.0f}",
            share(test["ndcg@10"], 4),
            share(test["hit_rate@10"], 4),
        )
    for name, each in (("mean", result), ("mean of the recipe before", before)):
        core_seconds = sum(run["core_seconds"] for run in each["seeds"]) / len(each["seeds"])
        mean, deviation = each["mean"], share(each["standard_deviation"]["ndcg@10"], 4)
        ndcg = f"{share(mean['ndcg@10'], 4)} (standard deviation {deviation})"
        yield name, "", f"{core_seconds:.0f}", ndcg, share(mean["hit_rate@10"], 4)


def time_to_quality(result: Result) -> Iterable[Cells]:
    quality = result["quality"]
    for name, epochs in (
        (f"RecTools {result['peer']['RecTools']}", quality["peer"]["epochs"]),
        ("Towers", quality["epochs"]),
    ):
        last = epochs[-1]
        yield name, str(last["epoch"]), f"{last['core_seconds']:,.0f}", share(last["ndcg@10"], 4)


def catalogue(ranked: Result, cold: Result, *refits: Result) -> Iterable[Cells]:
    yield from means(ranked["figures"], ("own most-played", "item-kNN", "sessions", "EASE", "iALS"), CATALOGUE)
    names = {"artist mean": "artist mean", "audio statistics": "statistics of the sound",
             "ids": "Towers, ids alone", "metadata": "Towers without sound"}  # fmt: skip
    for name, told in names.items():
        yield [told, *(share(cold["figures"][name]["means"].get(key)) for key in CATALOGUE)]
    (towers,) = means(ranked["figures"], ("towers",), CATALOGUE)
    (chance,) = means(ranked["figures"], ("towers, listen chance",), CATALOGUE)
    yield ["**Towers**", *towers[1:]]
    yield ["**Towers, by the chance of a listen**", *chance[1:]]
    mean = [sum(each["mean"][key] for each in refits) / len(refits) for key in CATALOGUE]
    yield ["**Towers, fitted on everything before the test**", *map(share, mean)]


def worth_of_sound(first: Result, second: Result) -> Iterable[Cells]:
    for figures, name in (
        (first, "sound and metadata"), (first, "metadata"), (first, "ids"),
        (second, "sound"), (first, "artist mean"), (first, "audio statistics"),
    ):  # fmt: skip
        row = figures["figures"][name]
        less = row.get("first_row_less_this")
        yield [
            name,
            *(share(row["means"][key]) for key in COLD),
            *(within(less[key]) if less else "" for key in COLD[:2]),
        ]


def placing(*results: Result) -> Iterable[Cells]:
    ways = "statistics", "conv", "frozen", "joined", "metadata"
    for result in results:
        by_way = {name.partition(",")[0]: row["means"] for name, row in result["figures"].items()}
        cells = [share(by_way[way][COLD[0]]) if way in by_way else "" for way in ways]
        yield [str(result["sounds"] or "all"), *cells]


def listen_chance(*results: Result) -> Iterable[Cells]:
    names = "towers, listen chance", "towers", "own most-played", "sessions", "item-kNN", "EASE", "iALS"
    keys = "recall@20", "recall@20/familiar", "recall@20/among heard", "recall@20/discovery"
    for told, result in zip(("catalogue", "Last.fm-1K", "30Music"), results, strict=True):
        for row in means(result["figures"], (name for name in names if name in result["figures"]), keys):
            yield [told, *row]


def short_histories(*results: Result) -> Iterable[Cells]:
    for result in results:
        rows = result["sets"][0]["rows"]
        for row in (row for row in rows if row["posted"] in (2, 5, 10, None)):
            figures, ahead = row["figures"], row["ahead"]["sessions"]
            cells = [
                f"{figures[name]['hit_rate@20']:.1f} / {figures[name]['mrr@20']:.1f}"
                for name in ("towers", "sessions", "item-kNN")
            ]
            intervals = [
                f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
                for mean, low, high in (ahead["hit_rate@20"], ahead["mrr@20"])
            ]
            yield [
                result["sets"][0]["set"],
                str(row["posted"] or "2 to 10"),
                f"{row['sessions']:,}",
                *cells,
                *intervals,
            ]


def defaults(result: Result) -> Iterable[Cells]:
    for call in result["calls"]:
        extra = " ".join(call["overrides"][1:])
        for each in call["sets"]:
            mean, low, high = map(signed, each["ahead"])
            best = f"{share(each['discovery'][each['rival']])} ({each['rival']})"
            first = [
                each["set"],
                call["period"],
                f"`{extra}`" if extra else "",
                share(each["discovery"]["towers"]),
                best,
            ]
            everything = share(each["all"]["towers"]), share(each["all"]["own most-played"])
            yield [*first, f"{mean} ({low} to {high})", *everything]


def demo(result: Result) -> Iterable[Cells]:
    discovery, cold = "recall@20/discovery", "recall@20/cold_among_cold"
    for row in result["worlds"]:
        world = row["world"].replace("-shuffled", ", all events drawn anew")
        found, popular, chance = (row[f"{name} {discovery}"] for name in ("towers", "popularity", "random"))
        new, new_by_chance = row[f"towers {cold}"], row[f"random {cold}"]
        times_chance = f"{found / chance:.2f}"
        yield world, share(found), f"{found / popular:.2f}", times_chance, share(new), share(new / new_by_chance, 2)


def space_versions(result: Result) -> Iterable[Cells]:
    for pair in result["pairs"]:
        ways = ("new listeners, new contents", "old listeners, old contents",
                "old listeners, new contents, unmapped", "old listeners, new contents, mapped")  # fmt: skip
        low, high = map(share, pair["recall_share_95%"])
        yield [
            pair["name"],
            *(share(pair["recall@20"][way], 4) for way in ways),
            f"{share(pair['recall_share'])} ({low} to {high})",
        ]


def axes(result: Result) -> Iterable[Cells]:
    for turn in ("as trained", "axes"):
        for key in ("kept", "recall@20"):
            of_runs = [run["turns"][turn][key] for run in result["runs"]]
            yield [
                f"{turn}: {key}",
                *(share(sum(each[dim] for each in of_runs) / len(of_runs)) for dim in ("8", "16", "32", "64")),
            ]


def exports(
    throughput: Result, kills: Result, changes: Result, build: Result, processes: Result, http: Result
) -> Iterable[Cells]:
    own = throughput["own_memory_bytes"] / 1e9
    yield (
        "vectors of dim 128 written, index and map included, of 2,000,000",
        f"{throughput['vectors_a_second']:,.0f} a second, {own:.1f} GB of own memory",
    )
    yield (
        "exports killed at random moments; damaged afterwards",
        f"{kills['kills']} of {kills['kills'] + kills['ended before']}; {kills['damaged']}",
    )
    yield "single bytes of an export changed; not found", f"{changes['changes']:,}; {changes['not_found']}"
    figures = build["figures"]
    yield (
        "index of 10,000,000 x 128 built",
        f"{figures['seconds']:.0f} s, {figures['own_mb_peak']:.0f} MB of own memory",
    )
    one, ten = processes["figures"]["1"], processes["figures"]["10"]
    yield "memory of processes that read 1,000,000 x 128: one; ten together", f"{sum(one):.0f} MB; {sum(ten):.0f} MB"
    for row in http["figures"]:
        rate = f"{row['requests_per_s']:.0f} a second, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
        yield f"`/recommend` of the catalogue, one worker, connections: {row['connections']}", rate


def prepared(result: Result) -> Iterable[Cells]:
    rows = {f"{row['events']:,} events, all": row for row in result["sizes"]}
    rows["one more day, to 99,923,034 events"] = result["incremental"]["day"]
    for told, row in rows.items():
        yield told, f"{row['core_s']:.1f}", f"{row['wall_s']:.0f} s", f"{row['peak_gb']:.2f} GB"


def read_data(engines: Result, small: Result, large: Result, growing: Result, faults: Result) -> Iterable[Cells]:
    for name, engine in engines["engines"].items():
        yield f"catalogue's {engines['events']:,} events by {name}", f"{engine['seconds']:.1f} s"
    for row in (*small["sets"], *large["sets"]):
        yield (
            f"{row['set']}, {row['rows']:,} made-up rows",
            f"{row['core_s']:.1f} core-seconds, {row['peak_gb']:.2f} GB",
        )
    told = f"{growing['killed']}; {len(growing['different'])}"
    yield (
        f"prepares killed while {growing['days']} days were added; files unlike those of one prepare of all",
        told,
    )
    found = sum(fault["found"] for fault in faults["faults"].values())
    told = f"{found} of {len(faults['faults'])}; {len(faults['false_alarms'])} in {faults['clean_days']} days"
    yield "planted faults of the data that were found; false alarms on clean days", told


def backtest(result: Result) -> Iterable[Cells]:
    summary = result["summary"]
    for name, told in (
        ("served", "what serves"),
        ("twin", "the night's twin, before the refit"),
        ("frozen", "the first version's network"),
    ):
        of_scratch, night = summary["worst"][name]
        yield told, share(summary["means"][name], 4), share(summary["ratios"][name]), f"{share(of_scratch)} ({night})"


def nights(poisoned: Result, killed: Result, served: Result) -> Iterable[Cells]:
    faults = {name: night for name, night in poisoned["nights"].items() if name != "nothing"}
    moved = sum(night["moved"] for night in faults.values())
    yield "poisoned nights; of which the version that serves was moved", f"{len(faults)}; {moved}"
    for name, tried in killed["tried"].items():
        yield f"disturbed nights ({name}) that were found wrong", str(len(tried["wrong"]))
    failed = sum(switch["before: failed"] + switch["then: failed"] for switch in served["switches"])
    yield (
        f"requests while {len(served['switches'])} versions came to serve; failed around the changes",
        f"{served['requests']:,}; {failed}",
    )


def gate(result: Result) -> Iterable[Cells]:
    for name, row in result["seed_noise"].items():
        if name in ("all", "discovery", "cold_content", "track", "episode"):
            shares = row["difference"], row["listeners' error"], row["seed_noise"]
            yield name, share(row["mean"]), *(f"{100 * each:.1f} %" for each in shares)


def discover_weekly(result: Result) -> Iterable[Cells]:
    for name in ("Discover Weekly", "learnt mixture", "vector", "item-kNN", "EASE", "iALS", "popularity"):
        ratio = result["ratios"]["Discover Weekly"].get(name)
        yield (
            name,
            share(result["means"][name], 4),
            share(result["means"][f"styles met, {name}"], 4),
            times(ratio) if ratio else "",
        )


def home(result: Result) -> Iterable[Cells]:
    for name, runs in result["figures"].items():
        mean = {key: sum(run[key] for run in runs) / len(runs) for key in ("cumulative", "last_20", "processor_s")}
        ends = [share(end(run["cumulative"] for run in runs)) for end in (min, max)]
        yield name, share(mean["cumulative"]), " to ".join(ends), share(mean["last_20"]), f"{mean['processor_s']:.0f}"


def off_policy(*results: Result) -> Iterable[Cells]:
    for result in results:
        for name in ("dr", "snips", "direct", "on-policy"):
            error, covered = result["error"][name], result["coverage"].get(name)
            told = (
                f"{100 * covered['mean']:.1f} % ({100 * covered['least']:.1f} to {100 * covered['greatest']:.1f})"
                if covered
                else ""
            )
            log = f"{result['impressions']:,} of {result['slots']}"
            yield log, name, f"{100 * error['mean']:.1f} %", f"{100 * error['worst policy']:.1f} %", told


def delayed(result: Result) -> Iterable[Cells]:
    for name, regret in result["late_regret"].items():
        ratio = result["ratios"].get(name)
        yield name, share(sum(regret) / len(regret)), times(ratio) if ratio else ""


def planted(*results: Result) -> Iterable[Cells]:
    for result in results:
        for name, world in result["worlds"].items():
            found = world["effects"]["satiation"]
            effect = f"{share(found['central'], 2)} ({share(found['low'], 2)} to {share(found['high'], 2)})"
            size = f"{result['sizes']['listeners']} x {result['sizes']['days']}"
            yield name, size, share(world["planted"].get("satiation", 0), 1), effect, share(world["streams"]["tau"], 1)


def sardine(result: Result) -> Iterable[Cells]:
    for name, row in result["policies"].items():
        yield (
            name,
            f"{row['clicks']:.1f} (+- {row['half_width']:.1f})",
            f"{row['more']:+.1f} (+- {row['more_half_width']:.1f})" if row["more"] else "",
        )


def divided(result: Result) -> Iterable[Cells]:
    groups: dict[tuple[str, int], list[Result]] = {}
    for row in result["figures"]:
        groups.setdefault((row["kind"], row["ranks"]), []).append(row)
    for (kind, ranks), rows in groups.items():
        tables = max(sum(row["table_bytes"].values()) for row in rows) / 1e6
        resident = max(row["resident_bytes"] for row in rows) / 1e6
        yield (
            kind,
            str(ranks),
            f"{tables:.0f} MB",
            f"{resident:.0f} MB",
            f"{share(max(row['seconds'] for row in rows), 2)} s",
        )
