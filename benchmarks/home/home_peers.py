"""Do the home page's policies choose better than Vowpal Wabbit's contextual bandits, on a small carousel world?

    scripts/peers benchmarks/peers/vowpal_wabbit.txt .venv-peers-vw
    OMP_NUM_THREADS=1 python benchmarks/home/home_peers.py

Vowpal Wabbit (`--cb_explore_adf` with squarecb, bag and cover) runs in a process and an environment of its own. It is
told the listener's vector and segment and the card's number, with interactions of the one or the other or both with the
card, and each slot that was seen is an example, with the propensity and the cost -1 for a stream. It gives a
chance for each card; a slate is drawn from these without repeats (`drawn`, with 1 % of the chances spread over all
cards), or has the likeliest cards in order (`ranked`). Bags and covers put few cards in an order, so that the rest of
such a slate is random; asking them again for each slot would be fairer to them, and is not done. It is slow, so the
world is smaller than that of `home_regret.py`: fewer cards, listeners and rounds, and fewer segments, so that a segment
has about half as many impressions of a card as there.

| figure | is |
|---|---|
| same log | regret of slates for fresh listeners, relative to random's, after learning from one log of random slates |
| online | cumulative regret relative to random's, where each policy learns from its own slates round by round |

Both count for Vowpal Wabbit with the best of its settings, found afterwards on the same seeds, which is in its favour.
Floors are 0, as Vowpal Wabbit has none here.
"""

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.apart import VOWPAL_WABBIT
from benchmarks.home.home_regret import POLICIES, figures_of
from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract.policy import Candidates, Context, Outcomes, Policy
from towers.contract.slate import Slate
from towers.policies.bandit.cascade import Cascade
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.rounds import random_places, rounds_of
from towers.simulation.carousel.world import Carousel, expected_streams

SEGMENT, VECTOR, BOTH = "--interactions sc", "--interactions uc", "--interactions sc --interactions uc"
SETTINGS = {
    "squarecb 10": f"--squarecb {SEGMENT}",
    "squarecb 1000, segment": f"--squarecb --gamma_scale 1000 {SEGMENT}",
    "squarecb 1000, vector": f"--squarecb --gamma_scale 1000 {VECTOR}",
    "squarecb 1000, both": f"--squarecb --gamma_scale 1000 {BOTH}",
    "squarecb 10000, segment": f"--squarecb --gamma_scale 10000 {SEGMENT}",
    "squarecb 1000, segment, rate .1": f"--squarecb --gamma_scale 1000 -l 0.1 {SEGMENT}",
    "bag 10, segment": f"--bag 10 {SEGMENT}",
    "bag 10, both": f"--bag 10 {BOTH}",
    "cover 8, segment, mtr": f"--cover 8 --cb_type mtr {SEGMENT}",
    "cover 8, both, dr": f"--cover 8 --cb_type dr {BOTH}",
}
DRAWN, RANKED = "drawn", "ranked"
MODES = (DRAWN, RANKED)
SPREAD = 0.01
"""Share of the chances that is spread over all cards: bags and covers give most cards none."""
OURS = "hierarchical"
AIM = 1.05


class VowpalWabbit:
    """A bandit in its own process, as far as rounds ask for it.

    Args:
        options: of `--cb_explore_adf`.
        cards: how many can be shown; their rows are their numbers.
        slots: of a slate.

    Attributes:
        mode: one of `MODES`.
    """

    def __init__(self, options: str, cards: int, slots: int):
        self.policy_id, self.slots, self.mode, self._cards = "vowpal-wabbit", slots, MODES[0], cards
        command = VOWPAL_WABBIT.program("vowpal_wabbit_home.py", cards, *options.split())
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Returns one slate for each listener."""
        given = np.array(self._asked("choose", lines(context))).reshape(len(context), self._cards)
        chances = (1 - SPREAD) * given + SPREAD / self._cards
        chances /= chances.sum(axis=1, keepdims=True)
        if self.mode == RANKED:
            ties = np.argsort(generator.random(chances.shape), axis=1)
            places = np.lexsort((ties, -given), axis=1)[:, : self.slots]
            propensities = np.ones(places.shape)
        else:
            # The largest of logarithms with Gumbel noise are drawn without repeats, each by its share of what is left.
            places = np.argsort(-(np.log(chances) + generator.gumbel(size=chances.shape)), axis=1)[:, : self.slots]
            own = np.take_along_axis(chances, places, axis=1)
            before = np.cumsum(own, axis=1) - own
            propensities = np.minimum(own / np.maximum(1 - before, own), 1.0)
        return Slate(content_rows=candidates.content_rows[places], propensities=propensities, shelf="home")

    def update(self, outcomes: Outcomes) -> None:
        """Learns from the slots that were seen, one after the other."""
        seen = outcomes.of(outcomes.is_seen)
        figures = (seen.content_rows.tolist(), (-seen.rewards).tolist(), seen.propensities.tolist())
        self._asked("learn", list(zip(lines(seen.context), *figures, strict=True)))

    def ended(self) -> float:
        """Ends the process, and says how many seconds of processor time it took."""
        processor_s = self._asked("processor_s", None)
        self._process.communicate()  # closes both pipes and waits
        return processor_s

    def _asked(self, wish: str, content: Any) -> Any:
        writing, reading = cast(Any, self._process.stdin), cast(Any, self._process.stdout)
        writing.write(json.dumps({wish: content}) + "\n")
        writing.flush()
        answer = reading.readline()
        if not answer:
            raise SystemExit(f"Vowpal Wabbit ended with {self._process.wait()}")
        return json.loads(answer)


class Recorder:
    """Shows what another policy shows, and keeps what comes of it instead of learning.

    Args:
        shown: the other policy.
    """

    def __init__(self, shown: Policy):
        self.slots, self.policy_id, self.log = shown.slots, shown.policy_id, list[Outcomes]()
        self.select = shown.select

    def update(self, outcomes: Outcomes) -> None:
        """Keeps them."""
        self.log.append(outcomes)


def lines(context: Context) -> list[str]:
    """Listeners as Vowpal Wabbit reads them."""
    vectors = [" ".join(f"{at}:{value:.5f}" for at, value in enumerate(vector)) for vector in context.user_vectors]
    return [f"|u {vector} |s s{segment}" for vector, segment in zip(vectors, context.segments.tolist(), strict=True)]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--policies", nargs="+", default=["pessimistic", OURS], choices=[*POLICIES, OURS],
                        metavar="NAME")  # fmt: skip
    parser.add_argument("--settings", nargs="*", default=[*SETTINGS], choices=[*SETTINGS], metavar="NAME")
    parser.add_argument("--cards", type=int, default=60)
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--segments", type=int, default=5, help="and communities")
    parser.add_argument("--own-share", type=float, default=0.04, help="of a listener's taste")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--listeners-per-round", type=int, default=200)
    parser.add_argument("--fresh", type=int, default=2_000, help="listeners who are shown slates after the log")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of rounds")
    parser.add_argument("--world-seed", type=int, default=0)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="Vowpal Wabbit too")
    add_smallest(
        parser, cards=15, listeners=40, dim=3, segments=2, rounds=2, listeners_per_round=10, fresh=20,
        settings=["squarecb 10"], peers=VOWPAL_WABBIT.is_installed,
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.peers and not VOWPAL_WABBIT.is_installed:
        parser.error(f"Vowpal Wabbit is missing; {VOWPAL_WABBIT.makes} installs it, --no-peers leaves it out")
    world = made_carousel(
        cards=arguments.cards, listeners=arguments.listeners, dim=arguments.dim, segments=arguments.segments,
        communities=arguments.segments, own_share=arguments.own_share, seed=arguments.world_seed,
    )  # fmt: skip
    contenders = contenders_of(arguments, world)
    figures: dict[str, list[dict[str, float]]] = defaultdict(list)
    with Progress(console=Console(stderr=True)) as progress:
        shown = progress.add_task("contenders", total=len(arguments.seeds) * len(contenders))
        for seed in arguments.seeds:
            log = recorded(world, arguments, seed)
            for name, make in contenders.items():
                progress.update(shown, description=f"seed {seed}: {name}")
                for mode, found in measured(make, world, log, arguments, seed).items():
                    figures[name + mode].append(found)
                    progress.console.print(f"{name}{mode}: {found['same log']:.3f}, {found['online']:.3f}")
                progress.advance(shown)
    Console(width=120).print(as_table(figures))
    against = ratios(figures)
    for figure, both in against.items():
        print(f"{figure}: the best of ours over the best of Vowpal Wabbit's: {both['ratio']:.3f}, at most {AIM}")
    sizes = {name: value for name, value in vars(arguments).items() if name not in ("smallest", "peers")}
    write_result(arguments, "home_peers", {"sizes": sizes, "figures": figures, "ours over theirs": against})


def contenders_of(arguments: argparse.Namespace, world: Carousel) -> dict[str, Callable[[int], Any]]:
    """Returns by name a function that makes a contender from a seed."""
    ours = {
        **POLICIES,
        OURS: lambda seed: HierarchicalThompson(dim=arguments.dim, segments=arguments.segments, floor=0.0, seed=seed),
    }
    contenders: dict[str, Callable[[int], Any]] = {name: ours[name] for name in arguments.policies}
    for setting in arguments.settings if arguments.peers else ():

        def make(seed: int, options: str = SETTINGS[setting]) -> VowpalWabbit:
            return VowpalWabbit(f"{options} --random_seed {seed}", len(world.cards), world.slots)

        contenders[f"vw {setting}"] = make
    return contenders


def recorded(world: Carousel, arguments: argparse.Namespace, seed: int) -> list[Outcomes]:
    """A log of random slates: an item for each round."""
    recorder = Recorder(POLICIES["random"](seed))
    for _ in played(cast(Policy, recorder), world, arguments, 1_000 + seed):
        pass
    return recorder.log


def played(policy: Policy, world: Carousel, arguments: argparse.Namespace, seed: int):
    """The rounds of a policy that learns from its own slates."""
    return rounds_of(
        policy, world, Cascade(without_stream="all"), rounds=arguments.rounds,
        listeners=arguments.listeners_per_round, seed=seed,
    )  # fmt: skip


def measured(
    make: Callable[[int], Any], world: Carousel, log: list[Outcomes], arguments: argparse.Namespace, seed: int
) -> dict[str, dict[str, float]]:
    """Both figures of one contender, and what Vowpal Wabbit's processes took, by the mode in which it makes slates."""
    taught = make(seed)
    for outcomes in log:
        taught.update(outcomes)
    if not isinstance(taught, VowpalWabbit):
        online = figures_of(list(played(make(seed), world, arguments, seed)))["cumulative"]
        return {"": {"same log": fresh_regret(taught, world, arguments, seed), "online": online, "vw_s": 0.0}}
    found = {}
    for mode in MODES:
        taught.mode, online = mode, make(seed)
        online.mode = mode
        figures = figures_of(list(played(online, world, arguments, seed)))
        of_log = fresh_regret(cast(Policy, taught), world, arguments, seed)
        found[f", {mode}"] = {"same log": of_log, "online": figures["cumulative"], "vw_s": online.ended()}
    taught.ended()
    return found


def fresh_regret(policy: Policy, world: Carousel, arguments: argparse.Namespace, seed: int) -> float:
    """Regret relative to random's of slates for listeners of another draw, without any more learning."""
    generator = np.random.default_rng([seed, 7])
    asked = generator.integers(len(world.listeners), size=arguments.fresh)
    slate = policy.select(world.context(asked, arguments.rounds), world.candidates(), generator)

    def expected(places: Any) -> float:
        chances: Float[np.ndarray, "asked slots"] = world.chances(asked, places)
        return float(expected_streams(chances).mean())

    best = expected(world.best(asked))
    random = expected(random_places(len(world.cards), arguments.fresh, world.slots, generator))
    return (best - expected(world.places(slate.content_rows))) / (best - random)


def ratios(figures: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Our least regret over theirs, of means over the seeds, and who has it; nothing where one side did not play."""
    found = {}
    for figure in ("same log", "online"):
        means = {name: float(np.mean([row[figure] for row in rows])) for name, rows in figures.items()}
        theirs = [name for name in means if name.startswith("vw ")]
        if theirs and len(theirs) < len(means):
            best = min(theirs, key=lambda name: means[name])
            own = min((name for name in means if name not in theirs), key=lambda name: means[name])
            found[figure] = {"ours": own, "theirs": best, "ratio": means[own] / means[best]}
    return found


def as_table(figures: Mapping[str, list[dict[str, float]]]) -> Table:
    """Means over the seeds."""
    table = Table("policy", "same log", "online", "seconds of vw", title="regret relative to random's")
    for name, rows in figures.items():
        same, online, seconds = (float(np.mean([row[key] for row in rows])) for key in ("same log", "online", "vw_s"))
        table.add_row(name, f"{same:.3f}", f"{online:.3f}", f"{seconds:.0f}" if seconds else "")
    return table


if __name__ == "__main__":
    main()
