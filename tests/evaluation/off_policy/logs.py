"""Logs for tests: rows by hand, all outcomes of a world of three cards, and the sample of the Open Bandit Dataset."""

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from towers.evaluation.off_policy.log import LoggedBandit


def log_of(**columns) -> LoggedBandit:
    """Makes a log with one slot a request and one request a listener, unless columns say otherwise."""
    rows = len(columns["rewards"])
    given = {"requests": np.arange(rows), "listeners": np.arange(rows), "slots": np.zeros(rows, np.int64)}
    arrays = {
        name: {kind: np.asarray(each, float) for kind, each in values.items()}
        if name == "guards"
        else np.asarray(values, np.int64 if name in ("requests", "listeners", "slots", "kinds") else float)
        for name, values in columns.items()
    }
    return LoggedBandit(**{**given, **arrays})


def women() -> LoggedBandit:
    """Returns 10,000 rows logged by Bernoulli Thompson sampling, for a policy that draws any of the 46 products.

    Open Bandit Dataset (ZOZO, CC BY 4.0; Saito et al. 2020), its small sample as `obp` 0.5.7 ships it, campaign
    "women": two of its columns, by time.
    """
    table = pq.read_table(Path(__file__).parent / "open_bandit_women.parquet")
    propensities, clicks = (table[name].to_numpy() for name in ("propensity_score", "click"))
    return log_of(
        propensities=propensities, new_propensities=np.full(len(clicks), 1 / 46), rewards=clicks.astype(float)
    )


@dataclass(frozen=True, kw_only=True)
class Everything:
    """All slates of two slots and all rewards, each as a request, and the chance of each."""

    log: LoggedBandit
    chances: np.ndarray
    value: float


def everything(with_repeats: bool = False, is_additive: bool = False, is_right: bool = False) -> Everything:
    """Returns each slate of three cards that a policy can log with each outcome, and the new policy's true value.

    Args:
        with_repeats: whether the slots are drawn independently, so that a card can stand twice.
        is_additive: whether a reward depends on its own card and slot alone; else on the card before as well.
        is_right: whether the direct model knows the truth; else it guesses.
    """
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    first = np.array([0.2, 0.5, 0.7])
    second = np.array([[0.2, 0.6, 0.1], [0.9, 0.5, 0.3], [0.2, 0.4, 0.8]])
    if is_additive:
        second = np.tile([0.3, 0.6, 0.1], (3, 1))
    shown = list(product(range(3), repeat=2)) if with_repeats else list(permutations(range(3), 2))

    def steps(chances: np.ndarray, card: int, other: int) -> tuple[float, float]:
        return chances[card], chances[other] if with_repeats else chances[other] / (1 - chances[card])

    def marginal(chances: np.ndarray) -> np.ndarray:
        """Returns the chance of each card in the second slot."""
        return np.array([sum(np.prod(steps(chances, a, b)) for a, b in shown if b == card) for card in range(3)])

    guesses = np.random.default_rng(0).normal(size=(4, 3))
    q_second = second if is_right else guesses[1:]
    v_second = np.zeros(3)
    for card, other in shown:
        v_second[card] += steps(new, card, other)[1] * q_second[card, other]
    q_first = first + v_second if is_right else guesses[0]
    rows, weights, value = [], [], 0.0
    for card, other in shown:
        one, then = steps(old, card, other)
        new_one, new_then = steps(new, card, other)
        value += new_one * new_then * (first[card] + second[card, other])
        streams = np.array([first[card], second[card, other]])
        q_then, v_then = q_second[card, other], v_second[card]
        for rewards in product((0.0, 1.0), repeat=2):
            weights.append(one * then * np.prod(np.where(rewards, streams, 1 - streams)))
            rows += [
                (one, new_one, rewards[0], q_first[card], new @ q_first, old[card], new[card]),
                (then, new_then, rewards[1], q_then, v_then, marginal(old)[other], marginal(new)[other]),
            ]
    names = ("propensities", "new_propensities", "rewards", "estimates", "new_estimates", "slot_propensities",
             "new_slot_propensities")  # fmt: skip
    requests = np.repeat(np.arange(len(weights)), 2)
    columns = dict(zip(names, np.array(rows).T, strict=True))
    slots = np.tile([0, 1], len(weights))
    log = log_of(requests=requests, listeners=requests, slots=slots, **columns)
    return Everything(log=log, chances=np.array(weights), value=value)
