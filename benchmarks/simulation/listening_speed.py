"""How many steps of simulated listeners does one core take a second?

    scripts/peers benchmarks/peers/sardine.txt .venv-peers-sardine
    python benchmarks/simulation/listening_speed.py

Listeners step together in `towers/Listening-v0`, vectorised: each is offered 10 of 200 candidates, picks one of them or
something else, reacts, stays or leaves and comes back, and is observed anew. A step is one listener's. Slates are the
nearest candidates of each (`nearest`, chosen from a query inside of the environment) or any candidates (`random`, which
listeners take less of, so that they choose more themselves, which is what costs most). The simulator is fitted to an
invented log of listeners with a taste each, of as many plays as an ordinary month holds. A second is one of processor
time on one thread; the best of the turns counts, since other work may share the cores.

SARDINE (Deffayet et al. 2023, "SARDINE: a simulator for automated recommendation in dynamic and interactive
environments") runs in an environment of its own: slates of 10 of its 1,000 items, one user a step, clicks by a position
model with boredom by topic and influence of clicks; no sessions, no return, no repeats, nothing fitted to a log.
"""

import argparse
import json
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.apart import SARDINE
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract.durations import DAY_US
from towers.simulation.environment.listening import ListeningVectorEnv
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import FINISH, SKIP, SessionLog
from towers.simulation.listeners.space import Space

UNTIL_US = 20_000 * DAY_US
REGIONS, ARTIST_CONTENTS = 30, 3


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--contents", type=int, default=3_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--fitted", type=int, default=600, help="listeners of the invented log")
    parser.add_argument("--sessions", type=int, default=12, help="of each of them")
    parser.add_argument("--steps", type=int, default=10, help="of a turn")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="SARDINE too")
    add_smallest(parser, listeners=20, contents=250, dim=8, fitted=30, sessions=6, steps=2, turns=1, peers=False)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        space = invented_space(arguments.contents, arguments.dim)
        log = invented_log(space, arguments.fitted, arguments.sessions)
        simulator = fit(log, space, FitSettings(members=0, min_listeners=10, drift_listeners=100), UNTIL_US)
        found = {kind: measured(arguments, simulator, log, kind) for kind in ("nearest", "random")}
    table = Table("slates", "steps a second", "own choices", "skips")
    for kind, facts in found.items():
        table.add_row(kind, f"{facts['steps_per_s']:,.0f}", f"{facts['own']:.0%}", f"{facts['skips']:.0%}")
    peers = sardine(arguments.turns) if arguments.peers else {}
    for name, rate in peers.items():
        table.add_row(name, f"{rate:,.0f}", "", "")
    Console().print(table)
    sizes = {name: getattr(arguments, name) for name in ("listeners", "contents", "dim", "fitted", "sessions")}
    write_result(
        arguments, "listening_speed", {"sizes": sizes, "plays_of_the_log": len(log), "slates": found, "peers": peers}
    )


def invented_space(contents: int, dim: int) -> Space:
    """Contents about the middles of regions."""
    rng = np.random.default_rng(0)
    region = rng.integers(REGIONS, size=contents)
    vectors = rng.normal(size=(REGIONS, dim))[region] + 0.7 * rng.normal(size=(contents, dim))
    return Space(
        space_id="invented", content_ids=[f"c{row}" for row in range(contents)],
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        region=region, region_names=tuple(f"r{row}" for row in range(REGIONS)),
        artist=np.arange(contents) // ARTIST_CONTENTS, duration_ms=rng.uniform(120_000, 300_000, contents),
        released_us=UNTIL_US - (rng.exponential(400.0, contents) * DAY_US).astype(np.int64) - 60 * DAY_US,
        kind=np.zeros(contents, int), kinds=("track",), is_playable=np.ones(contents, bool), plays=np.zeros(contents),
    )  # fmt: skip


def invented_log(space: Space, listeners: int, sessions: int) -> SessionLog:
    """Listeners who like three contents' neighbours, repeat half of the time, and skip what is far from them."""
    rng = np.random.default_rng(1)
    liked = space.vectors[rng.integers(len(space), size=(listeners, 3))]
    popularity = rng.gumbel(size=len(space))
    nearest = [np.argsort(-(8.0 * (space.vectors @ some.T).max(axis=1) + popularity))[:120] for some in liked]
    lengths = np.minimum(1 + rng.geometric(0.12, listeners * sessions), 60)
    session = np.repeat(np.arange(len(lengths)), lengths)
    listener, number = session // sessions, len(session)
    # The nearer ones more often, so that half of the plays are repeats.
    rank = np.where(rng.random(number) < 0.7, (rng.random(number) ** 3 * 60), rng.integers(120, size=number)).astype(
        int
    )
    content = np.stack(nearest)[listener, rank]
    is_skip = rng.random(number) < 0.2 + 0.3 * rank / 120
    begins_us = np.sort(rng.integers(28 * DAY_US, size=(listeners, sessions)), axis=1).ravel() + UNTIL_US - 29 * DAY_US
    place = np.arange(number) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return SessionLog(
        user_ids=tuple(f"u{row}" for row in range(listeners)), listener=listener, content=content,
        start_us=begins_us[session] + place * 200_000_000, session=session,
        outcome=np.where(is_skip, SKIP, FINISH).astype(np.int8),
        fraction=np.where(is_skip, 0.15, 1.0).astype(np.float32), liked=~is_skip & (rng.random(number) < 0.06),
        saved=~is_skip & (rng.random(number) < 0.04), disliked=is_skip & (rng.random(number) < 0.02),
        context=session % 3, contexts=("home", "work", "way"), device=session % 2, devices=("phone", "speaker"),
    )  # fmt: skip


def measured(arguments: argparse.Namespace, simulator: Simulator, log: SessionLog, kind: str) -> dict[str, float]:
    """Steps a second of the best turn, and what listeners did."""
    env = ListeningVectorEnv(arguments.listeners, simulator, log=log, action="query" if kind == "nearest" else "slate")
    rng, best = np.random.default_rng(2), np.inf
    plays = own = skips = 0
    for turn in range(arguments.turns):
        observation, _ = env.reset(seed=turn)
        spent = 0.0
        for _ in range(arguments.steps):
            candidates = observation["candidates"]
            action = (
                observation["taste"] if kind == "nearest" else candidates[:, rng.permutation(candidates.shape[1])[:10]]
            )
            begin = time.process_time()
            observation, _, _, _, infos = env.step(action)
            spent += time.process_time() - begin
            plays += int(infos["_streams"].sum())
            own += int(infos["is_own"].sum())
            skips += int(infos["skips"].sum())
        best = min(best, spent)
    steps_per_s = arguments.listeners * arguments.steps / best
    return {"steps_per_s": steps_per_s, "own": own / plays, "skips": skips / plays}


def sardine(turns: int) -> dict[str, float]:
    """The best of some turns of peers/sardine_speed.py, in its own environment."""
    best: dict[str, float] = {}
    for _ in range(turns):
        printed = SARDINE.output_of("sardine_speed.py", 5_000)
        best = {name: max(rate, best.get(name, 0.0)) for name, rate in json.loads(printed).items()}
    return best


if __name__ == "__main__":
    main()
