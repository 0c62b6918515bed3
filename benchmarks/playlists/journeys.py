"""Measures how small and even the steps of journeys are, beside those of paths, and what a plan over weeks offers,
beside going to its destination at once.

    python benchmarks/playlists/journeys.py --export exports/current
    python benchmarks/playlists/journeys.py journey --set pull=0.5 --seed 1 --export exports/current

Distances are shares of what random pieces are apart, by audience (vectors and co-listening) and by ear. Figures are
means over pairs or listeners, differences are paired, with 95 % intervals. Settings were chosen on other pairs and
listeners than those of `--seed 0`, which are reported.

- **journey**: ten steps between random pairs of pieces of one kind that have sound. `audience alone` minds no sound.
  A path may have an artist twice in a row.
- **home**: ten steps from what a listener likes most to a region that they would adopt; `of the first half known` says
  how much of the first half they know. `without knowing` minds neither what they know nor what they like.
- **plan**: the chance of a listen to the new pieces that a week offers, as the listener would be in that week, and how
  near the destination they are after all weeks. `at once` offers the destination's best from the first week on. All of
  it rests on the export's own user tower and on the assumption that all that is offered is played.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
from jaxtyping import Int

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.playlists.listening_on import Figures, evaluations, show
from towers.contract import schema
from towers.errors import UserError
from towers.policies.journey.apart import Apart
from towers.policies.journey.ends import End, regions_of
from towers.policies.journey.plan import PlanSettings, plan
from towers.policies.journey.regions import worths
from towers.policies.kinds import Journey
from towers.policies.listener import Listener
from towers.policies.playlists.hearing import listener_after
from towers.policies.playlists.journey import JourneySettings, journey
from towers.policies.playlists.path import path
from towers.policies.request import Request, Shared
from towers.retrieval.export import Export
from towers.retrieval.query import Query

STEPS = 10


def smoothness(apart: Apart, export: Export, rows: Int[np.ndarray, " pieces"]) -> Figures:
    """The lengths of a list's steps, and how often an artist follows themselves."""
    pairs = [(rows[[at]], rows[[at + 1]]) for at in range(len(rows) - 1)]
    audience = np.array([apart.by_audience(*pair)[0, 0] for pair in pairs])
    ears = np.array([apart.by_ear(*pair)[0, 0] for pair in pairs])
    ears = ears[np.isfinite(ears)]
    artists = export.facts.artists
    follows = [bool(set(artists[int(at)].tolist()) & set(artists[int(to)].tolist())) for (at,), (to,) in pairs]
    return {
        "ear, mean": float(ears.mean()) if len(ears) else np.nan,
        "ear, largest": float(ears.max()) if len(ears) else np.nan,
        "audience, mean": float(audience.mean()),
        "audience, largest": float(audience.max()),
        "artists in a row": float(sum(follows)),
    }


def journey_figures(
    shared: Shared, settings: JourneySettings, number: int, seed: int
) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Makes one pair after the other."""
    export, apart, random = shared.export, shared.apart, np.random.default_rng(seed)
    has_sound = apart.sound(np.arange(len(export.contents))).any(axis=1)
    of_kind = {kind: np.flatnonzero(export.catalogue.of_kinds((kind,)) & has_sound) for kind in schema.PLAYABLE_KINDS}
    usable = [kind for kind, rows in of_kind.items() if len(rows) > STEPS]
    shares = np.array([len(of_kind[kind]) for kind in usable], np.float64)
    for pair in range(number):
        kind = str(random.choice(usable, p=shares / shares.sum()))
        start, end = random.choice(of_kind[kind], 2, replace=False).tolist()
        query = Query(kind=(kind,), include_heard=True)
        ends = [End.of_content(apart, export, row, "leads") for row in (start, end)]
        found = {"path": path(export, start, end, steps=STEPS, query=query).rows}
        for name, changed in {"journey": settings, "audience alone": replace(settings, ear_share=0.0)}.items():
            made = journey(export, *ends, steps=STEPS, query=query, settings=changed, apart=apart)
            found[name] = made.rows
        order = ("journey", "audience alone", "path")
        yield pair, {name: smoothness(apart, export, found[name]) for name in order}


def home_figures(
    shared: Shared, settings: JourneySettings, number: int, seed: int
) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Makes one listener after the other."""
    for row in listeners_of(shared.export, number, seed):
        listener = Listener.of_row(shared.export, row)
        request = Request(shared=shared, listeners=(listener,))
        found = {}
        for name, changed in {
            "journey": settings,
            "without knowing": replace(settings, knowing=0.0, liking=0.0),
        }.items():
            kind = Journey(**{field: getattr(changed, field) for field in JourneySettings.__dataclass_fields__})
            try:
                rows = kind.make(request).rows
            except UserError:  # nothing is unfamiliar to them
                break
            half = rows[: len(rows) // 2 + 1]
            knows = {"of the first half known": float(np.isin(half, listener.standing.heard).mean())}
            found[name] = smoothness(shared.apart, shared.export, rows) | knows
        else:
            yield row, found


def plan_figures(
    shared: Shared, settings: PlanSettings, number: int, seed: int
) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Makes one listener after the other."""
    for row in listeners_of(shared.export, number, seed):
        listener = Listener.of_row(shared.export, row)
        try:
            made = plan(listener, settings, apart=shared.apart)
        except UserError:  # there is too little that they have not heard
            continue
        chances = [week.chance for week in made.weeks if week.chance is not None]
        new = [len(week.rows) - week.known for week in made.weeks]
        yield (
            row,
            {
                "plan": {
                    "chance in the first week": made.weeks[0].chance or np.nan,
                    "chance in all weeks": float(np.mean(chances)),
                    "nearness gained": made.weeks[-1].affinity - made.affinity,
                    "stations": float(len(made.stations)),
                },
                "at once": at_once(listener, made.stations[-1].region, new, len(made.stations)),
            },
        )


def at_once(listener: Listener, region: int, new: list[int], stations: int) -> Figures:
    """Returns the same for a plan in which each week offers as many new pieces, all of the destination, the best by
    chance."""
    regions = regions_of(listener.export)
    rows = np.flatnonzero(regions.region_of_content == region)
    left = rows[~np.isin(rows, np.concatenate([listener.standing.heard, listener.standing.disliked]))]
    now, chances = listener, []
    for count in new:
        chance = worths(now, left)
        best = np.argsort(-chance, kind="stable")[:count]
        if len(best):
            chances.append(float(chance[best].mean()))
            now = listener_after(now, left[best], 7)
            left = np.delete(left, best)
    nearness = [float(one.vector @ regions.centroids[region]) for one in (listener, now)]
    return {
        "chance in the first week": chances[0] if chances else np.nan,
        "chance in all weeks": float(np.mean(chances)) if chances else np.nan,
        "nearness gained": nearness[1] - nearness[0],
        "stations": float(stations),
    }


def listeners_of(export: Export, number: int, seed: int) -> list[int]:
    """Rows of random listeners who chose something."""
    rows = np.flatnonzero(np.diff(export.all_chosen.offsets) > 0)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:number]).tolist()


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--export", type=Path, required=True)
    parser.add_argument("--number", type=int, default=200, help="of pairs, and of listeners")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the kind, as name=number")
    add_smallest(parser, number=2)
    arguments = parser.parse_args()
    shared = Shared(Export(arguments.export, check_files=False))
    changes: dict[str, Any] = {
        name: json.loads(number) for name, _, number in (one.partition("=") for one in arguments.set)
    }
    results = {}
    for kind in arguments.kinds:
        figures, default = KINDS[kind]
        found = list(figures(shared, replace(default, **changes), arguments.number, arguments.seed))
        if found:
            results[kind] = show(kind, evaluations(found))
        else:
            print(f"{kind}: there is nothing to judge it by")
    content = {"version": shared.export.version, "contents": len(shared.export.contents), "settings": changes}
    write_result(
        arguments, f"journeys-{shared.export.version}", {**content, "seed": arguments.seed, "figures": results}
    )


KINDS: dict[str, tuple[Callable[..., Iterator[tuple[int, dict[str, Figures]]]], Any]] = {
    "journey": (journey_figures, JourneySettings()),
    "home": (home_figures, JourneySettings()),
    "plan": (plan_figures, PlanSettings()),
}

if __name__ == "__main__":
    main()
