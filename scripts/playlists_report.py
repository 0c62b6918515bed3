"""Writes one page with the curves of all lists, of the newest results of their benchmarks.

    python scripts/playlists_report.py --output playlists.html

Reads `benchmarks/results`: Discover Weekly, the dial, calibration, blends, editors' pools, and lists that go on from
something. A benchmark without a result is left out. The page needs nothing but itself.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.measuring import RESULTS, add_smallest, command_line
from towers.evaluation.report.drawing import Picture, Series, dot_chart, from_zero, line_chart
from towers.evaluation.report.svg import inline_svg
from towers.manifest import atomic_file, read_json

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1f; background: #fff; }
figure { margin: 2.5rem 0; } svg { max-width: 100%; height: auto; } figcaption { color: #555; }
"""


def newest(name: str) -> dict[str, Any] | None:
    """The last result of a benchmark, of the latest day that it looks at; null without one."""
    found = [read_json(path) for path in RESULTS.glob(f"{name}*.json")]
    return max(found, key=lambda result: (result.get("as_of", ""), result["when"]), default=None)


def discover_weekly(result: dict[str, Any]) -> list[Picture]:
    """Draws who finds what is chosen first, under the same rules."""
    means = result["means"]
    rankers = [name for name in means if not name.startswith(("styles met", "plain"))]
    series = [Series(name="recall@30", means=[means[name] for name in rankers], place=0)]
    series.append(Series(name="styles met", means=[means[f"styles met, {name}"] for name in rankers], place=1))
    figure = dot_chart(rankers, series, xlabel="share found")
    from_zero(figure.axes[0])
    weeks = ", ".join(sorted({week["as_of"] for week in result["weeks"]}))
    picture = Picture(
        name="discover-weekly",
        title="Discover Weekly",
        caption=f"First listens of the week that were in the list, under the same rules for all; weeks from {weeks}.",
        figure=figure,
    )
    return [picture]


def dial(result: dict[str, Any]) -> list[Picture]:
    """Draws what each place of the dial costs."""
    places = [place for place in result["means"]["plain"] if place != "none"]
    series = [
        Series(name=name, means=[by_place[place]["ndcg"] for place in places], place=at)
        for at, (name, by_place) in enumerate(result["means"].items())
    ]
    figure, _ = line_chart(
        [float(place) for place in places],
        series,
        xlabel="familiar: share of the list that was heard",
        ylabel="ndcg@50",
    )
    best = result["means"]["plain"]["none"]
    caption = (
        f"A mix of 50 at each place of the dial, by all that is played in the week after {result['as_of']}. "
        f"Without the dial {best['heard']:.0%} of the list was heard, ndcg {best['ndcg']:.3f}."
    )
    picture = Picture(name="dial", title="Familiar and new", caption=caption, figure=figure)
    return [picture]


def calibration(result: dict[str, Any]) -> list[Picture]:
    """Draws how far lists are from the listener's styles, and what nearness costs."""
    pictures = []
    for at, (length, by_way) in enumerate(result["lists"].items()):
        ways = [way for way in by_way if "caps" not in way]
        series = [
            Series(
                name="KL, as a share of the plain list's", means=[by_way[way]["ratios"]["KL"] for way in ways], place=0
            ),
            Series(name="ndcg", means=[by_way[way]["ndcg"] for way in ways], place=1),
        ]
        figure = dot_chart(ways, series, xlabel="share of the plain list's KL; ndcg")
        from_zero(figure.axes[0])
        caption = f"Distance of a list from its listener's mix of styles; the week from {result['as_of']}."
        pictures.append(
            Picture(name=f"calibration-{at}", title=f"In their styles: {length}", caption=caption, figure=figure)
        )
    return pictures


def pools(result: dict[str, Any]) -> list[Picture]:
    """Lists from editors' pools."""
    names = list(result["aims"])
    found = [result["aims"][name] for name in names]
    series = [
        Series(
            name="ours over it",
            means=[one["ratio"] for one in found],
            bounds=[(one["low"], one["high"]) for one in found],
            place=0,
        ),
        Series(name="aim", means=[one["aim"] for one in found], place=1),
    ]
    price = 1 - result["floor"]["price"]["ratio"]
    caption = (
        f"ndcg@30 of 60 over that of another order, on plays inside the pool in two weeks from {result['as_of']}. "
        f"A floor of {result['floor']['floor']:g} of equal attention costs {price:.2%}."
    )
    figure = dot_chart(names, series, xlabel="ratio of ndcg@30")
    picture = Picture(name="pools", title="Editors with algorithms", caption=caption, figure=figure)
    return [picture]


def going_on(result: dict[str, Any]) -> list[Picture]:
    """Radio, continuation, similar artists, on repeat: a picture of each."""
    pictures = []
    for kind, found in result["figures"].items():
        means = found.get("means", {})
        keys = {key for figures in means.values() for key in figures}
        if not keys or len(means) < 2:
            continue
        key = min(keys)
        rankers = [name for name in means if key in means[name]]
        figure = dot_chart(
            rankers, [Series(name=key, means=[means[name][key] for name in rankers], place=0)], xlabel=key
        )
        from_zero(figure.axes[0])
        caption = f"Against other rankers, from {result['as_of']} on."
        title = kind.replace("_", " ").capitalize()
        pictures.append(Picture(name=kind.replace("_", "-"), title=title, caption=caption, figure=figure))
    return pictures


def blends(result: dict[str, Any]) -> list[Picture]:
    """Draws what a blend is to the member who is served worst."""
    as_of, found = max(result["figures"].items())
    sizes = list(found["lists"])
    makers = [name for name in found["lists"][sizes[0]] if not name.startswith(("coupled", "decoupled"))]
    series = [
        Series(name=name, means=[found["lists"][size][name]["worst"] for size in sizes], place=at)
        for at, name in enumerate(makers[:4])
    ]
    figure, _ = line_chart(
        [float(size) for size in sizes], series, xlabel="members", ylabel="of ndcg of their own list, worst-served"
    )
    picture = Picture(name="blend", title="Blend", caption=f"Groups in the week from {as_of}.", figure=figure)
    return [picture]


DRAWN: dict[str, Callable[[dict[str, Any]], list[Picture]]] = {
    "discover_weekly": discover_weekly,
    "dial": dial,
    "calibration-utility": calibration,
    "blend": blends,
    "algotorial": pools,
    "listening_on": going_on,
}


def page(pictures: list[Picture]) -> str:
    """HTML that needs nothing else."""
    figures = [
        f"<figure><h2>{escape(one.title)}</h2>{inline_svg(one.figure, name=one.name, label=one.title)}"
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in pictures
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}<title>Lists</title></head><body><h1>Lists</h1>" + (
        "\n".join(figures) + "</body></html>\n"
    )


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--output", type=Path, default=Path("playlists.html"))
    add_smallest(parser)
    arguments = parser.parse_args()
    results = {name: newest(name) for name in DRAWN}
    pictures = [one for name, result in results.items() if result is not None for one in DRAWN[name](result)]
    with atomic_file(arguments.output) as temporary:
        temporary.write_text(page(pictures), encoding="utf-8")
    print(f"written to {arguments.output}: {', '.join(one.title for one in pictures)}")


if __name__ == "__main__":
    main()
