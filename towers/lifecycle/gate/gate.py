"""The gate of a night: decides whether tonight's version may be published instead of the served one.

The verdict is a pure function of measurements. `towers retrain` asks for it up to four times a night, each time with
all that is known so far:

0. stage `data`: the data is prepared, and nothing is trained yet.
1. stage `twins`: the judged twins of tonight and of the champion are evaluated on one window. Rules that need an
   export say "not yet".
2. stage `export`: the refit is exported. Rules of manifests, drift, norms, index and ONNX are judged as well.
3. stage `served`: the export has answered canary requests in a server of its own.

    evidence = Evidence(
        stage="twins",
        twin=Judged(name=..., window=Window.of(protocol), evaluation=..., trained_before=..., checks=...),
        champion=Judged(...),          # None on the first night
        is_first_night=False,
        baselines={each.ranker: each for each in baselines},
        main_metric="recall@20",
        data=verdict_at(store.folder),
        reached=Reached(...),          # result of `Reached.of` on the night the champion was judged
        more="evaluations/.../report.html",
    )
    verdict = judge(evidence, rules, force_of(force, why))
    verdict.passed, verdict.refused, verdict.lines(), verdict.to_json()

A later stage is `replace(evidence, stage="export", exported=facts_of(export, champion))`, then
`replace(evidence, stage="served", canaries=Canaries(...))`.

The gate fails closed: a rule that lacks evidence of its stage refuses, and so does one with a figure that is not
finite. A rule that cannot apply (no champion yet, no cold contents, no times) says so and does not refuse.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

from towers.lifecycle.gate.evidence import Evidence, Lacking, Stage
from towers.lifecycle.gate.verdict import NOT_YET, Force, Outcome, Verdict


@runtime_checkable  # for the tests, which check annotations at run time
class Rule(Protocol):
    """A condition that a challenger must fulfil."""

    @property
    def stage(self) -> Stage:
        """Stage from which on it can be judged."""
        ...

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """Returns the outcome of the rule.

        Args:
            name: name of the rule in the configuration.
            evidence: evidence that has reached the rule's stage.

        Raises:
            Lacking: evidence that the rule needs is missing.
        """
        ...


def judge(evidence: Evidence, rules: Mapping[str, Rule | None], force: Force | None = None) -> Verdict:
    """Returns the verdict of all rules.

    Args:
        evidence: evidence of the night.
        rules: rules by name; null: switched off.
        force: who publishes in spite of the gate, and why; null: the gate decides.
    """
    outcomes = [outcome_of(name, rule, evidence) for name, rule in rules.items() if rule is not None]
    seen = (outcome.figures.get(SMALLEST_LOSS) for outcome in outcomes)
    return Verdict(
        outcomes=tuple(outcomes),
        smallest_loss=next((loss for loss in seen if loss is not None), None),
        force=force,
        more=evidence.more,
    )


SMALLEST_LOSS = "smallest_loss"
"""Figure of the main metric's rule that the verdict repeats."""


def outcome_of(name: str, rule: Rule, evidence: Evidence) -> Outcome:
    """Returns the outcome of one rule; it refuses where evidence is missing or one of its figures is not finite."""
    if not evidence.has_come_to(rule.stage):
        return Outcome(rule=name, status="not yet", words=NOT_YET)
    return closed(name, partial(rule.judge, name, evidence))


def closed(name: str, find: Callable[[], Outcome]) -> Outcome:
    """Returns the outcome of a rule, of this gate or another; refused where evidence is missing or not finite."""
    try:
        outcome = find()
    except Lacking as lacking:
        return Outcome(rule=name, status="refused", words=f"cannot be judged: {lacking}")
    odd = [key for key, figure in outcome.figures.items() if not math.isfinite(figure)]
    if odd and outcome.status == "passed":
        return replace(outcome, status="refused", words=f"not a finite number: {', '.join(odd)}; {outcome.words}")
    return outcome
