"""How many home pages a second does one core choose, one listener at a time, beside Vowpal Wabbit in the same run?

    scripts/peers benchmarks/peers/vowpal_wabbit.txt .venv-peers-vw
    python benchmarks/home/home_speed.py

Each decision is a slate of 12 slots out of 1,000 cards of 64 dimensions, with exact propensities. A second is one of
processor time on one thread. The parts take turns and the best of the turns counts, since other work may share the
cores. Vowpal Wabbit chooses one card (`--cb_explore_adf`), by the same vectors as namespaces of listener and card and
their interaction: cards once as text that it parses, as its documentation does (`text`), and once parsed beforehand,
so that only the prediction is timed (`parsed`). It runs in a process and an environment of its own. The last column is
each rate over that of Vowpal Wabbit's fastest.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.apart import VOWPAL_WABBIT
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract.policy import Candidates, Context, Outcomes, Policy
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.linear import LinearThompson, LinUCB


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--cards", type=int, default=1_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--decisions", type=int, default=300, help="of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="Vowpal Wabbit too")
    add_smallest(parser, cards=40, dim=4, members=2, decisions=3, turns=1, peers=False)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    cards = Candidates(
        content_rows=np.arange(arguments.cards),
        vectors=_unit(generator.normal(size=(arguments.cards, arguments.dim))),
        kinds=generator.integers(0, 5, arguments.cards),
    )
    users = _unit(generator.normal(size=(arguments.decisions, arguments.dim)))
    policies: dict[str, Policy] = {
        "linear thompson": LinearThompson(features={"dim": arguments.dim}, members=arguments.members),
        "lin-ucb": LinUCB(features={"dim": arguments.dim}),
        "hierarchical": HierarchicalThompson(dim=arguments.dim, members=arguments.members),
    }
    figures: dict[str, float] = {name: 0.0 for name in policies}
    for policy in policies.values():
        teach(policy, cards, users)
    with threadpool_limits(1):
        for _ in range(arguments.turns):
            for name, policy in policies.items():
                figures[name] = max(figures[name], per_second(asking(policy, cards, users), len(users)))
            for name, rate in (vowpal_wabbit(arguments) if arguments.peers else {}).items():
                figures[name] = max(figures.get(name, 0.0), rate)
    fastest = max((rate for name, rate in figures.items() if name.startswith("vw ")), default=float("nan"))
    table = Table("policy", "decisions a second", "over vw")
    for name, rate in figures.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / fastest:.2f}" if fastest > 0 else "")
    Console().print(table)
    sizes = {name: getattr(arguments, name) for name in ("cards", "dim", "members", "decisions", "turns")}
    write_result(arguments, "home_speed", {"sizes": sizes, "decisions_per_s": figures})


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def teach(policy: Policy, cards: Candidates, users: np.ndarray) -> None:
    """Some outcomes of every card, so that the policy has something to choose by."""
    generator = np.random.default_rng(1)
    shown = np.tile(np.arange(len(cards)), 4)
    zeros = np.zeros(len(shown), dtype=np.int64)
    vectors = users[generator.integers(0, len(users), len(shown))]
    chances = 0.05 + 0.1 * ((vectors * cards.vectors[shown]).sum(axis=1) > 0)
    policy.update(
        Outcomes(
            context=Context(user_vectors=vectors, segments=zeros, times_us=zeros), content_rows=shown,
            vectors=cards.vectors[shown], kinds=cards.kinds[shown], slots=zeros, propensities=np.ones(len(shown)),
            is_seen=np.ones(len(shown), bool), rewards=(generator.random(len(shown)) < chances).astype(float),
        )
    )  # fmt: skip


def asking(policy: Policy, cards: Candidates, users: np.ndarray) -> Callable[[], None]:
    """Chooses for one listener after the other."""
    generator = np.random.default_rng(2)
    segment, hour = np.zeros(1, dtype=np.int64), np.array([1_767_225_600_000_000])

    def ask() -> None:
        for user in users:
            policy.select(Context(user_vectors=user[None], segments=segment, times_us=hour), cards, generator)

    return ask


def per_second(ask: Callable[[], None], decisions: int) -> float:
    start = time.process_time()
    ask()
    return decisions / (time.process_time() - start)


def vowpal_wabbit(arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the result of peers/vowpal_wabbit_speed.py, run in its own environment."""
    sizes = arguments.cards, arguments.dim, max(3, arguments.decisions // 30)
    return json.loads(VOWPAL_WABBIT.output_of("vowpal_wabbit_speed.py", *sizes))


if __name__ == "__main__":
    main()
