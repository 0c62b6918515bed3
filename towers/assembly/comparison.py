"""Comparison of two runs or exports on one task: what changes from the first to the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towers.assembly.evaluation import EvaluationPlan
from towers.assembly.subject import Subject
from towers.errors import UserError
from towers.evaluation.checks.future import trained_before
from towers.evaluation.comparison.compare import compare
from towers.evaluation.comparison.values import Comparison
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.result import Evaluation, metric_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two subjects and the difference between them.

    Args:
        before: first subject.
        after: second subject.
        protocol: protocol by which both were evaluated.
        comparison: differences, after minus before.
    """

    before: Subject
    after: Subject
    protocol: EvaluationProtocol
    comparison: Comparison


def compared(plan: EvaluationPlan, folders: Sequence[str]) -> Compared:
    """Evaluates two subjects by one protocol; writes and prints nothing.

    Raises:
        UserError: not two folders, two subjects made from different prepared data, or one trained on the period.
    """
    named = f"compare=[{','.join(folders)}]"
    if len(folders) != 2:
        raise UserError(f"{named}: needs two folders of runs or exports, as compare=[A,B]")
    before, after = (plan.open(Path(folder)) for folder in folders)
    if before.store.fingerprint != after.store.fingerprint:
        raise UserError(
            f"{named}: made from different stores, {before.store.fingerprint} and "
            f"{after.store.fingerprint}; compare their exports, which can be measured on any store"
        )
    protocol = plan.protocol(before.store)
    for subject in (before, after):
        check = trained_before(protocol.store, protocol.period, subject.provenance)
        if check.passed is False:
            raise UserError(f"compare: {subject.folder}: {check.detail}; compare on a store with a later period")
    names = [subject.name for subject in (before, after)]
    if names[0] == names[1]:
        names = [f"{name} ({place})" for name, place in zip(names, ("before", "after"), strict=True)]
    first, second = (
        protocol.evaluate_vectors(name, *subject.judged_vectors(protocol))
        for name, subject in zip(names, (before, after), strict=True)
    )
    main_metric = metric_key(plan.main_metric, "discovery")
    if main_metric not in first.means():
        raise UserError(
            f"evaluation.min_users={protocol.min_users}: {first.counts['discovery']:,} listeners have a first listen, "
            f"too few for {main_metric}; lower it"
        )
    comparison = compare(
        protocol.task,
        first,
        second,
        ContentCards(protocol.store.contents, protocol.task),
        protocol.store.user_ids,
        _keys(plan, first, second),
        main_metric,
    )
    return Compared(before=before, after=after, protocol=protocol, comparison=comparison)


def _keys(plan: EvaluationPlan, first: Evaluation, second: Evaluation) -> list[str]:
    """Returns the columns of the tables, then the main metric in every slice, as far as both have a figure for them."""
    shared = first.means().keys() & second.means().keys()
    shown = [key for keys in plan.tables for key in keys]
    sliced = [metric_key(plan.main_metric, name) for name in first.slices]
    return [key for key in dict.fromkeys([*shown, *sliced]) if key in shared]
