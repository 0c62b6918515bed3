"""Quotas that a list prefers to keep."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.features.ragged import Ragged
from towers.policies.rules import Candidates, Quota, Rules
from towers.policies.slate import pick
from towers.policies.soft_quotas import pick_leaning


def candidates(utility: list[float]) -> Candidates:
    none = Ragged(np.zeros(len(utility) + 1, np.int64), np.zeros(0, np.int64))
    return Candidates.of(np.arange(len(utility)), np.array(utility, float), none)


def test_a_quota_that_costs_little_is_met():
    found = candidates([1.0, 0.9, 0.8, 0.7, 0.6])
    soft = [Quota(name="of the last", mask=np.array([False, False, False, True, True]), least=1)]
    assert pick_leaning(found, Rules(k=3), [], soft).places.tolist() == [0, 1, 3]


@given(
    utility=st.lists(st.floats(-5, 5), min_size=1, max_size=12),
    least=st.integers(0, 4),
    share=st.sampled_from([0.0, 0.5]),
    draws=st.randoms(use_true_random=False),
)
def test_firm_quotas_hold_and_soft_ones_are_never_further_off(utility, least, share, draws):
    found = candidates(utility)
    firm = [Quota(name="firm", mask=np.array([draws.random() < 0.5 for _ in utility]), share=share)]
    soft = [Quota(name="soft", mask=np.array([draws.random() < 0.5 for _ in utility]), least=least)]
    rules = Rules(k=4)
    plain, leaning = pick(found, rules, firm), pick_leaning(found, rules, firm, soft)
    assert firm[0].mask[leaning.places].sum() >= share * len(leaning.places)
    assert len(leaning.places) == len(plain.places)
    assert min(soft[0].mask[leaning.places].sum(), least) >= min(soft[0].mask[plain.places].sum(), least)
