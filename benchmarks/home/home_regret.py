"""What do the published bandits lose on the carousel world, relative to random slates?

Rounds of listeners, one slate each, the policy told at the end of each round, on a made world or on any own cards
and listeners. For each policy, over seeds of one world's rounds: cumulative regret relative to random's, the slope of
the last rounds relative to random's, and for some what the cascade model of attention is worth: how much less
they lose than the same policy that takes every slot of every slate for seen. Published for 100 rounds of 20,000
listeners (Bendada et al., RecSys 2020, Figure 2): about .19 for epsilon-greedy, .20 for naive and .12 for pessimistic
Thompson sampling. They draw once for a whole slate, as published; `floored` is the pessimistic one as it may serve,
which decides in each slot anew and keeps a floor of 5 % there. Ours is `hierarchical`: once without a floor, as the
published ones play, and once with one of 5 % in each slot, as it serves.

With `--replace-at`, `--turn-at` or `--new-at` the world changes before that round, and two columns more say after how
many rounds regret is again within a tenth of what it was in the ten rounds before, and how often new cards were shown
in the fifth round of theirs, relative to the best slates. `forgetting` is the pessimistic one that keeps nine tenths of
its counts a round; `hierarchical` notices that cards have changed, `hierarchical-still` does not, and
`hierarchical-forgetting` forgets beside it.

    OMP_NUM_THREADS=1 python benchmarks/home/home_regret.py  # one to four processor minutes a policy and
seed
    OMP_NUM_THREADS=1 python benchmarks/home/home_regret.py --policies pessimistic --cards FILE --listeners FILE
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract.policy import Policy
from towers.policies.bandit.cascade import Cascade, everything
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.segment_rules import BestMean, BetaDraws, ExploreFirst, Rule, UpperBounds
from towers.policies.bandit.segment_wise import SegmentWise
from towers.policies.bandit.uniform import Uniform
from towers.simulation.carousel.changes import Change, NewCards, ReplacedCards, TurnedTastes
from towers.simulation.carousel.files import carousel_of_files
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.rounds import rounds_of
from towers.simulation.carousel.summary import after_change, figures_of
from towers.simulation.carousel.world import Carousel

Make = Callable[[int], Policy]


def _published(rule: Rule, floor: float = 0.0, by_segment: bool = True, discount: float = 1.0) -> Make:
    """A policy that draws once for a slate."""
    return lambda seed: SegmentWise(
        rule=rule, floor=floor, by_segment=by_segment, discount=discount, per_slate=True, seed=seed,
        policy_id=type(rule).__name__,
    )  # fmt: skip


POLICIES: dict[str, Make] = {
    "random": lambda seed: Uniform(),
    "popular": _published(BestMean(unseen=0.0), floor=0.05, by_segment=False),
    "epsilon-greedy-explore": _published(BestMean(), floor=0.1),
    "epsilon-greedy-exploit": _published(BestMean(), floor=0.01),
    "etc-explore": _published(ExploreFirst(100)),
    "etc-exploit": _published(ExploreFirst(20)),
    "kl-ucb": _published(UpperBounds()),
    "naive": _published(BetaDraws(beta=1.0)),
    "naive-all-listeners": _published(BetaDraws(beta=1.0), by_segment=False),
    "pessimistic": _published(BetaDraws(beta=99.0)),
    "forgetting": _published(BetaDraws(beta=99.0), discount=0.9),
    "floored": lambda seed: SegmentWise(rule=BetaDraws(beta=99.0), seed=seed, policy_id="floored"),
}
OURS: dict[str, dict[str, Any]] = {
    "hierarchical": {"floor": 0.0},
    "hierarchical-floored": {},
    "hierarchical-floored-per-slot": {"per_slate": False},
    "hierarchical-still": {"floor": 0.0, "change_chance": 0.0},
    "hierarchical-forgetting": {"keep": 0.6},
}
"""The policy of this repository that knows listeners' vectors, and how it differs from its defaults."""
CASCADE_OF = ("epsilon-greedy-explore", "pessimistic", "hierarchical")
"""Policies that play once more without the cascade, as in the published Figure 3."""
NO_CASCADE = "-no-cascade"


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--policies", nargs="+", default=[*POLICIES, *OURS], choices=[*POLICIES, *OURS], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--listeners-per-round", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the rounds")
    parser.add_argument("--world-seed", type=int, default=0, help="of the made world, and of segments made for a file")
    parser.add_argument(
        "--without-stream", choices=["all", "first"], default="all", help="what the cascade thinks then"
    )
    parser.add_argument("--cards", type=Path, help="weights and biases; null: a made world")
    parser.add_argument("--listeners", type=Path, help="vectors, and perhaps segments")
    parser.add_argument("--made-cards", type=int, default=862)
    parser.add_argument("--made-listeners", type=int, default=50_000)
    parser.add_argument("--segments", type=int, default=100)
    parser.add_argument("--replace-at", type=int, help="round before which half of the cards are replaced")
    parser.add_argument("--turn-at", type=int, help="round before which tastes turn")
    parser.add_argument("--new-at", type=int, help="round before which 20 cards enter")
    add_smallest(
        parser, rounds=8, new_at=2, listeners_per_round=40, seeds=[0], made_cards=30, made_listeners=60, segments=3,
        policies=["random", "epsilon-greedy-explore", "kl-ucb", "pessimistic", "floored", "hierarchical"],
    )  # fmt: skip
    arguments = parser.parse_args()
    if (arguments.cards is None) != (arguments.listeners is None):
        parser.error("--cards and --listeners go together")
    names = [name + end for name in arguments.policies for end in ("", NO_CASCADE) if not end or name in CASCADE_OF]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with Progress(console=Console(stderr=True)) as progress:
        shown = progress.add_task("rounds", total=len(names) * len(arguments.seeds) * arguments.rounds)
        world = world_of(arguments)
        for seed in arguments.seeds:
            for name in names:
                progress.update(shown, description=f"seed {seed}: {name}")
                figures[name].append(played(name, world, seed, arguments, lambda *_: progress.advance(shown)))
    Console(width=140).print(as_table(figures))
    sizes = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    write_result(arguments, "home_regret", {"sizes": sizes, "figures": figures})


def world_of(arguments: argparse.Namespace) -> Carousel:
    """The world that is asked for: the files', or one made from its seed."""
    seed = arguments.world_seed
    if arguments.cards is not None:
        return carousel_of_files(arguments.cards, arguments.listeners, segments=arguments.segments, seed=seed)
    return made_carousel(
        cards=arguments.made_cards, listeners=arguments.made_listeners, segments=arguments.segments, seed=seed
    )


def played(
    name: str, world: Carousel, seed: int, arguments: argparse.Namespace, progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Returns the regret of a policy, and the processor time of its rounds, with the world's part."""
    attention = everything if name.endswith(NO_CASCADE) else Cascade(without_stream=arguments.without_stream)
    policy = made(name.removesuffix(NO_CASCADE), world, seed, has_slot_offsets=arguments.without_stream == "first")
    began = time.process_time()
    rounds = list(
        rounds_of(
            policy, world, attention, rounds=arguments.rounds, changes=changes_of(arguments),
            listeners=arguments.listeners_per_round, seed=seed, progress=progress,
        )
    )  # fmt: skip
    processor_s = time.process_time() - began
    changed = [change.before_round for change in changes_of(arguments)]
    after = after_change(rounds, min(changed)) if changed else {}
    return {**figures_of(rounds), **after, "processor_s": processor_s}


def made(name: str, world: Carousel, seed: int, *, has_slot_offsets: bool) -> Policy:
    """A policy that has learned nothing; slots have offsets where the cascade takes them for seen by a stream alone."""
    if name not in OURS:
        return POLICIES[name](seed)
    dim = world.listeners.vectors.shape[1]
    own: dict[str, Any] = {"dim": dim, "has_slot_offsets": has_slot_offsets, "seed": seed, **OURS[name]}
    return HierarchicalThompson(**own)


def changes_of(arguments: argparse.Namespace) -> list[Change]:
    """Changes of the world."""
    changes: list[Change] = []
    if arguments.replace_at is not None:
        changes.append(ReplacedCards(before_round=arguments.replace_at))
    if arguments.turn_at is not None:
        changes.append(TurnedTastes(before_round=arguments.turn_at))
    if arguments.new_at is not None:
        changes.append(NewCards(before_round=arguments.new_at, cards=20))
    return changes


def as_table(figures: dict[str, list[dict[str, float]]]) -> Table:
    """Means over the seeds, and the smallest and largest cumulative regret."""
    table = Table("policy", "regret / random's", "of seeds", "last 20", "streams", "cascade is worth", "CPU s")
    is_changed = "recovered_in" in next(iter(figures.values()))[0]
    if is_changed:
        table.add_column("recovered in")
        table.add_column("new cards' exposure")
    for name, of_seeds in figures.items():

        def mean(figure: str, rows: list[dict[str, float]] = of_seeds) -> float:
            return float(np.mean([row[figure] for row in rows]))

        totals = [row["cumulative"] for row in of_seeds]
        without = figures.get(name + NO_CASCADE)
        worth = "" if without is None else f"{1 - mean('cumulative') / mean('cumulative', without):.0%}"
        cells: list[Any] = [
            name, f"{mean('cumulative'):.3f}", f"{min(totals):.3f} to {max(totals):.3f}", f"{mean('last_20'):.3f}",
            f"{mean('expected_streams'):.3f}", worth, f"{mean('processor_s'):.0f}",
        ]  # fmt: skip
        if is_changed:
            cells += [f"{mean('recovered_in'):.1f} rounds", f"{mean('new_exposure'):.0%}"]
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    main()
