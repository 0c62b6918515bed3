"""The gate of a night: whether tonight's version may be published instead of the one that serves.

A pure function of what was measured. `towers retrain` asks it up to four times a night, each time with all that is
known so far:

0. stage `data`: the data is prepared, and nothing was trained yet.
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
        reached=Reached(...),          # what `Reached.of` gave on the night the champion was judged
        more="evaluations/.../report.html",
    )
    verdict = judge(evidence, rules, force_of(force, why))
    verdict.passed, verdict.refused, verdict.lines(), verdict.to_json()

A later stage is `replace(evidence, stage="export", exported=facts_of(export, champion))`, then
`replace(evidence, stage="served", canaries=Canaries(...))`.

The gate fails closed: a rule that lacks what it needs at its stage refuses, and so does one whose figures are not all
finite. A rule that cannot apply (no champion yet, no cold contents, no clock) says so and refuses nothing.
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
    """One thing that a challenger must fulfil."""

    @property
    def stage(self) -> Stage:
        """From when on it can be judged."""
        ...

    def judge(self, name: str, evidence: Evidence) -> Outcome:
        """What it finds.

        Args:
            name: its own, in the configuration.
            evidence: has come to the rule's stage.

        Raises:
            Lacking: what it needs is not there.
        """
        ...


def judge(evidence: Evidence, rules: Mapping[str, Rule | None], force: Force | None = None) -> Verdict:
    """The verdict of all rules.

    Args:
        evidence: of the night.
        rules: by name; null: switched off.
        force: who publishes whatever the gate says.
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
"""Figure of the rule of the main metric that the verdict repeats."""


def outcome_of(name: str, rule: Rule, evidence: Evidence) -> Outcome:
    """What one rule says; it refuses where it lacks something or one of its figures is not finite."""
    if not evidence.has_come_to(rule.stage):
        return Outcome(rule=name, status="not yet", words=NOT_YET)
    return closed(name, partial(rule.judge, name, evidence))


def closed(name: str, find: Callable[[], Outcome]) -> Outcome:
    """What a rule finds, of this gate or another; refused where it lacks something or a figure is not finite."""
    try:
        outcome = find()
    except Lacking as lacking:
        return Outcome(rule=name, status="refused", words=f"cannot be judged: {lacking}")
    odd = [key for key, figure in outcome.figures.items() if not math.isfinite(figure)]
    if odd and outcome.status == "passed":
        return replace(outcome, status="refused", words=f"not a finite number: {', '.join(odd)}; {outcome.words}")
    return outcome
