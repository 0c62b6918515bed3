"""Quotas that a list leans towards: met where that costs little, at a hundredth of an exact program's time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from towers.policies.rules import Candidates, Picked, Quota, Rules
from towers.policies.slate import pick

ROUNDS = 8
STEP = 0.5
"""Of the standard deviation of the candidates' utilities, what a round adds to contents of a quota that is not met."""


def pick_leaning(candidates: Candidates, rules: Rules, firm: Sequence[Quota], soft: Sequence[Quota]) -> Picked:
    """The list of `pick` under rules and firm quotas, with the soft ones met as far as some rounds bring it.

    Contents of a soft quota that is not met gain utility, the same for all of them, and the list is picked anew: prices
    of a Lagrangian relaxation, raised in steps. The list never lacks a firm quota for a soft one. Of the lists of all
    rounds the one that misses fewest places is taken, of equal ones the earliest, which costs least.
    """
    step = STEP * float(np.std(candidates.utility)) if len(candidates) else 0.0
    bonus = np.zeros(len(candidates))
    best, least_missed = pick(candidates, rules, firm), np.inf
    found = best
    for _ in range(ROUNDS):
        missing = [quota.least - int(quota.mask[found.places].sum()) for quota in soft]
        missed = sum(max(number, 0) for number in missing)
        if missed < least_missed:
            best, least_missed = found, missed
        if not missed or not step:
            break
        for quota, number in zip(soft, missing, strict=True):
            bonus[quota.mask] += step if number > 0 else 0.0
        found = _picked_by(candidates, candidates.utility + bonus, rules, firm)
    return best


def _picked_by(candidates: Candidates, utility: np.ndarray, rules: Rules, quotas: Sequence[Quota]) -> Picked:
    """The list by other utilities, in places of the candidates."""
    order = np.argsort(-utility, kind="stable")
    by_it = replace(candidates.at(order), utility=utility[order])
    found = pick(by_it, rules, [replace(quota, mask=quota.mask[order]) for quota in quotas])
    return replace(found, places=np.sort(order[found.places]))
