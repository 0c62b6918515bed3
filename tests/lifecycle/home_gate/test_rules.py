"""The gate of the home page: each rule passes and refuses evidence, by its name and its figure."""

from dataclasses import replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.evaluation.off_policy.logs import women
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.errors import UserError
from towers.evaluation.intervals import Interval
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.judge import Guarded, OffPolicyResult
from towers.lifecycle.gate.verdict import force_of
from towers.lifecycle.home_gate.gate import HomeEvidence, judge
from towers.lifecycle.home_gate.rules import Agree, Guardrail, LowerBound

CONFIG = OmegaConf.load(f"{CONFIG_DIR}/home_gate/default.yaml")
RULES = {str(name): instantiate(node, f"home_gate.rules.{name}") for name, node in CONFIG.rules.items()}
JUDGE = instantiate(CONFIG.judge, "home_gate.judge")


def around(mean, half=0.005):
    return Interval(mean=mean, low=mean - half, high=mean + half)


EVEN = WeightDiagnostics.of(np.random.default_rng(0).uniform(0.5, 1.5, 20_000))
GOOD = OffPolicyResult(
    requests=20_000, listeners=4_000, slots=2, weights=(EVEN, EVEN),
    estimates={"snips": around(0.52), "dr": around(0.51), "direct": around(0.9)}, bernstein=around(0.5, 0.1),
    production=around(0.5),
    guards={
        "skips": Guarded(new=around(0.2), production=0.2), "kinds": Guarded(new=around(2.5), production=2.6),
        "new_cards": Guarded(new=around(0.1), production=0.1),
    },
)  # fmt: skip


def weighing(**changes):
    return replace(GOOD, weights=(EVEN, replace(EVEN, **changes)))


def estimating(**estimates):
    return replace(GOOD, estimates={**GOOD.estimates, **estimates})


def guarding(name, new, production):
    return replace(GOOD, guards={**GOOD.guards, name: Guarded(new=around(new), production=production)})


REFUSED = {
    "few requests": ("effective_requests", weighing(effective=999.0), "999.0 of 20,000 requests are effective"),
    "a small share": ("effective_requests", weighing(requests=100_000, effective=1_500.0), "at least 2,000"),
    "one request": ("largest_weight", weighing(largest_share=0.01), "1.00% of all weight"),
    "what the log cannot show": ("supported", weighing(mean=0.9), "average 0.900"),
    "wrong propensities": ("supported", weighing(mean=1.3), "average 1.300"),
    "estimators apart": ("estimators_agree", estimating(snips=around(0.62)), "21.6% apart"),
    "no agreement without a model": (
        "estimators_agree", replace(GOOD, estimates={"snips": around(0.5)}), "no estimate by dr",
    ),
    "nothing earned": ("estimators_agree", estimating(dr=around(0.0)), "nan"),
    "worse": ("lower_bound", estimating(dr=Interval(mean=0.52, low=0.489, high=0.55)), "0.978 of it"),
    "no number": ("lower_bound", estimating(dr=Interval(mean=0.52, low=np.nan, high=np.nan)), "nan"),
    "no model": ("lower_bound", replace(GOOD, estimates={"direct": around(0.9)}), "needs a direct model"),
    "nothing to lose": ("lower_bound", replace(GOOD, production=around(0.0)), "earns nothing"),
    "skipped more": ("skips", guarding("skips", 0.23, 0.2), "limit 0.22"),
    "skips where there were none": ("skips", guarding("skips", 0.01, 0.0), "limit 0.0"),
    "one kind": ("kinds", guarding("kinds", 1.2, 2.6), "kinds 1.2000"),
    "new cards hidden": ("new_cards", guarding("new_cards", 0.05, 0.1), "new_cards 0.0500"),
    "skips unknown": ("skips", replace(GOOD, guards={}), "the log has no skips"),
    "not judged": ("new_cards", None, "not judged"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    rule, result, words = REFUSED[case]
    verdict = judge(HomeEvidence(result=result, more="a page"), {rule: RULES[rule]})
    assert not verdict.passed
    assert verdict.rules == rule
    assert words in verdict.refused[0].words
    assert verdict.lines()[-1] == "more: a page"


def test_every_rule_has_been_refused():
    assert {rule for rule, *_ in REFUSED.values()} == set(RULES)


def test_a_good_policy_passes_every_rule():
    verdict = judge(HomeEvidence(result=GOOD), RULES)
    assert {outcome.rule: outcome.status for outcome in verdict.outcomes} == dict.fromkeys(RULES, "passed")


def test_what_was_not_judged_passes_no_rule():
    assert {outcome.rule for outcome in judge(HomeEvidence(result=None), RULES).refused} == set(RULES)


def test_without_new_cards_none_can_be_hidden():
    verdict = judge(HomeEvidence(result=guarding("new_cards", 0.0, 0.0)), RULES)
    assert verdict.passed
    assert verdict.outcomes[-1].status == "does not apply"


def test_open_bandit_is_refused():
    """Two of its requests are effective, and one has most of the weight, though IPS gives 1.6 times production."""
    result = replace(JUDGE, resamples=50).judge(women(), np.ones((10_000, 1)), np.ones((10_000, 1)))
    assert result.estimates["ips"].mean / result.production.mean == pytest.approx(1.617, abs=0.001)
    verdict = judge(HomeEvidence(result=result), RULES)
    words = {outcome.rule: outcome.words for outcome in verdict.refused}
    assert "2.1 of 10,000 requests are effective" in words["effective_requests"]
    assert "69.36% of all weight" in words["largest_weight"]
    assert {"estimators_agree", "lower_bound"} <= set(words)


@pytest.mark.parametrize(
    "make", [lambda: LowerBound(estimator="direct"), lambda: Agree(first="direct"), lambda: Agree(second="direct")]
)
def test_never_the_direct_method_alone(make):
    with pytest.raises(ValueError, match="no rule may rest on the direct method"):
        make()


def test_a_guardrail_without_a_limit():
    with pytest.raises(ValueError, match="least or most"):
        Guardrail(figure="skips")


def test_a_rule_is_switched_off_by_name():
    result = estimating(snips=around(0.62))
    assert judge(HomeEvidence(result=result), {**RULES, "estimators_agree": None}).passed


def test_forced_with_a_reason():
    with pytest.raises(UserError, match=r"home_gate\.why"):
        force_of(True, None, "home_gate")
    verdict = judge(HomeEvidence(result=None), RULES, force_of(True, "a test of the page", "home_gate"))
    assert verdict.passed
    assert verdict.to_json()["refused"] == list(RULES)
